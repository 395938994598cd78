package rpc

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// as runs f as another user, whose group has the same number: the kernel knows users by thread, and the thread of f
// ends with it. What f has others do is done as this process's user.
func as(t *testing.T, uid int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		defer close(done)
		for _, call := range []struct {
			number uintptr
			args   [3]uintptr
		}{
			{unix.SYS_SETGROUPS, [3]uintptr{}},
			{unix.SYS_SETRESGID, [3]uintptr{uintptr(uid), uintptr(uid), uintptr(uid)}},
			{unix.SYS_SETRESUID, [3]uintptr{uintptr(uid), uintptr(uid), uintptr(uid)}},
		} {
			if _, _, errno := unix.RawSyscall(call.number, call.args[0], call.args[1], call.args[2]); errno != 0 {
				done <- errno
				return
			}
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatalf("becoming user %d: %v", uid, err)
	}
}
