package rpc

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// credentials says whether the kernel tells the two ends of a unix socket who the other is.
const credentials = true

// peerOf returns who is at the other end: for a server who connected, for a client who listens, each as it was then
// (unix(7), SO_PEERCRED and SO_PEERGROUPS).
func peerOf(c *net.UnixConn) Caller {
	raw, err := c.SyscallConn()
	if err != nil {
		return Caller{Err: err}
	}
	var who Caller
	if err := raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			who.Err = fmt.Errorf("reading the other end's credentials: %w", err)
			return
		}
		who.UID, who.GID = cred.Uid, cred.Gid
		who.Groups, who.Err = groupsOf(int(fd))
	}); err != nil {
		return Caller{Err: err}
	}
	return who
}

// groupsOf returns the supplementary groups of who is at the other end. Kernels before 4.13 do not tell.
func groupsOf(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(4 * len(groups))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size/4) > len(groups):
			groups = make([]uint32, size/4)
		case errors.Is(errno, unix.ENOPROTOOPT), errors.Is(errno, unix.ENODATA):
			return nil, nil
		default:
			return nil, fmt.Errorf("reading the other end's groups: %w", errno)
		}
	}
}
