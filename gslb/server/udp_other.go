//go:build !linux

package server

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// udpSocket is one UDP socket and its loop. What makes it fast, and have answers leave from the address asked where a
// host has many, is there on Linux only.
type udpSocket struct {
	conn *net.UDPConn
	s    *Server
}

// openUDP opens one socket, however many are asked for.
func openUDP(s *Server, a netip.AddrPort, _ int) ([]*udpSocket, error) {
	network := "udp4"
	if a.Addr().Is6() {
		network = "udp6"
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(a))
	if err != nil {
		return nil, err
	}
	return []*udpSocket{{c, s}}, nil
}

func (u *udpSocket) addr() netip.AddrPort { return u.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (u *udpSocket) close() { u.conn.Close() }

// run answers until ctx ends. close, which comes later, ends late answers.
func (u *udpSocket) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { u.conn.SetReadDeadline(time.Unix(1, 0)) })()
	w := u.s.newWorker(func(wire []byte, to netip.AddrPort, _ local) { u.conn.WriteToUDPAddrPort(wire, to) })
	in, out := make([]byte, maxUDP+1), make([]byte, maxUDP)
	for {
		n, from, err := u.conn.ReadFromUDPAddrPort(in)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		w.begin()
		if n := w.handle(in[:n], from, local{}, out); n > 0 {
			u.conn.WriteToUDPAddrPort(out[:n], from)
		}
		w.end(1)
	}
}
