//go:build !linux

package control

import (
	"net"
	"os"
)

const socketMode = 0o600

// peer is the owner of the socket: nobody else can connect.
func peer(net.Conn) caller {
	return caller{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
}
