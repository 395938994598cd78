package control

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

const socketMode = 0o666

// peer returns who is at the other end, as unix(7) SO_PEERCRED tells.
func peer(c net.Conn) caller {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return caller{err: errors.New("it is not on a unix socket")}
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return caller{err: err}
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return caller{err: err}
	}
	if failed != nil {
		return caller{err: failed}
	}
	return caller{uid: cred.Uid, gid: cred.Gid}
}
