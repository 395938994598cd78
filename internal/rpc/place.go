package rpc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// root's directory for local sockets.
const systemDir = "/run/sluice"

// Socket returns the address of a role's local socket where this user's process makes it: in /run/sluice for root;
// for others in $XDG_RUNTIME_DIR/sluice if that directory is theirs alone, or else in a directory for temporary
// files that has the user's number in its name. Listen makes the directory, and nobody takes its word for whose it is.
func Socket(role string) string { return address(ownDir(), role) }

// Find returns the address where a client looks for a role: this user's own socket, or where there is none root's.
func Find(role string) string { return find(ownDir(), systemDir, os.Geteuid(), role) }

// find does not look into a directory of somebody else, who could hide root's socket by what is there.
func find(own, system string, uid int, role string) string {
	_, err := os.Lstat(filepath.Join(own, role+".sock"))
	if err != nil || checkDir(own, uid) != nil {
		if _, err := os.Lstat(filepath.Join(system, role+".sock")); err == nil {
			return address(system, role)
		}
	}
	return address(own, role)
}

func address(dir, role string) string { return "unix:" + filepath.Join(dir, role+".sock") }

func ownDir() string { return dirOf(os.Geteuid(), os.Getenv("XDG_RUNTIME_DIR"), os.TempDir()) }

// dirOf is where a user's sockets are.
func dirOf(uid int, runtime, temporary string) string {
	if uid == 0 {
		return systemDir
	}
	if filepath.IsAbs(runtime) && checkDir(runtime, uid) == nil {
		return filepath.Join(runtime, "sluice")
	}
	return filepath.Join(temporary, "sluice-"+strconv.Itoa(uid))
}

// checkDir says why a directory is not the user's alone to write to.
func checkDir(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	switch owner := ownerOf(info); {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link: it must be a directory of user %d", dir, uid)
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case owner != uint32(uid):
		return fmt.Errorf("%s belongs to user %d: it must belong to user %d", dir, owner, uid)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s has mode %v: nobody but its owner may write to it", dir, info.Mode().Perm())
	}
	return nil
}

// makeDir makes the directory of this user's sockets, if it is that, and makes sure whose it is.
func makeDir(dir string) error {
	if dir != ownDir() {
		return nil // the operator's choice, who made it
	}
	mode := fs.FileMode(0o700)
	if dir == systemDir {
		mode = 0o755 // some sockets are for others too; each has its own mode
	}
	err := os.Mkdir(dir, mode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkDir(dir, os.Geteuid())
}

func ownerOf(info fs.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return ^uint32(0) // nobody is trusted by it
}
