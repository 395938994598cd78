package loadreport

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socket is a UDP socket that answers from the address that was asked: those who ask through a connected
// socket hear no other, and a host has several when the socket is bound to none.
type socket struct {
	conn     *net.UDPConn
	wildcard bool
	oob      []byte
}

func listen(address string) (*socket, error) {
	at, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(readsBuffer) // the system's limit will do
	s := &socket{conn: conn, oob: make([]byte, 128)}
	if local := s.addr().Addr(); local.IsUnspecified() {
		// Where the system cannot tell, its choice of the source stands.
		if local.Is4() {
			s.wildcard = ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true) == nil
		} else {
			s.wildcard = ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true) == nil
		}
	}
	return s, nil
}

func (s *socket) addr() netip.AddrPort { return s.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// read returns the next datagram, who sent it, and the address it was sent to, invalid when that is the
// socket's own. A datagram that does not fit into b is cut off.
func (s *socket) read(b []byte) (n int, from netip.AddrPort, to netip.Addr, err error) {
	n, rest, _, from, err := s.conn.ReadMsgUDPAddrPort(b, s.oob)
	if err == nil && s.wildcard {
		to = destination(s.oob[:rest])
	}
	return n, from, to, err
}

// destination reads the control message of either family: a socket for both gets those of both.
func destination(oob []byte) netip.Addr {
	var six ipv6.ControlMessage
	if six.Parse(oob) == nil && six.Dst != nil {
		to, _ := netip.AddrFromSlice(six.Dst)
		return to.Unmap()
	}
	var four ipv4.ControlMessage
	if four.Parse(oob) == nil && four.Dst != nil {
		to, _ := netip.AddrFromSlice(four.Dst)
		return to.Unmap()
	}
	return netip.Addr{}
}

// write sends b to somebody from an address, if that is valid.
func (s *socket) write(b []byte, to netip.AddrPort, from netip.Addr) error {
	var oob []byte
	switch {
	case from.Is4():
		oob = (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
	case from.Is6():
		oob = (&ipv6.ControlMessage{Src: from.AsSlice()}).Marshal()
	}
	_, _, err := s.conn.WriteMsgUDPAddrPort(b, oob, to)
	return err
}
