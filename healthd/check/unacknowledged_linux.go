package check

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledged reports that the peer of a TCP connection has not acknowledged the FIN that it was sent.
func unacknowledged(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false // a userland stack, which does not tell
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	const finWait1, closing = 4, 11 // of RFC 9293, as linux/tcp_states.h numbers them
	var info *unix.TCPInfo
	controlErr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	return controlErr == nil && err == nil && (info.State == finWait1 || info.State == closing)
}
