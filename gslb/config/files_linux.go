package config

import (
	"io/fs"
	"syscall"
	"time"
)

// changedAfterWritten reports whether something was done to a file after it was last written, as moving it is: the
// kernel notes both times (inode(7): ctime, mtime), and they are the same after a write.
func changedAfterWritten(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && time.Unix(stat.Ctim.Unix()).After(info.ModTime())
}
