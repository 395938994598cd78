package check

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// pinger is the socket of one echo request.
type pinger struct {
	conn    *icmp.PacketConn
	address netip.Addr
	to      net.Addr
	raw     bool
}

func listenPing(address netip.Addr) (*pinger, error) {
	unprivileged, privileged := "udp4", "ip4:icmp"
	if address.Is6() {
		unprivileged, privileged = "udp6", "ip6:ipv6-icmp"
	}
	conn, pingErr := icmp.ListenPacket(unprivileged, "")
	if pingErr == nil {
		to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 0))
		return &pinger{conn: conn, address: address, to: to}, nil
	}
	conn, rawErr := icmp.ListenPacket(privileged, "")
	if rawErr == nil {
		to := &net.IPAddr{IP: address.AsSlice(), Zone: address.Zone()}
		return &pinger{conn: conn, address: address, to: to, raw: true}, nil
	}
	return nil, fmt.Errorf("%w: neither a ping socket (net.ipv4.ping_group_range must include this group: %v) nor a "+
		"raw socket (needs CAP_NET_RAW: %v)",
		ErrNotAsked, plain(pingErr), plain(rawErr))
}

// exchange sends the request and waits for its reply. A raw socket hears all ICMP of the host, and
// even a ping socket may hear a reply to an earlier owner of its identifier: random data tells.
func (p *pinger) exchange() (time.Duration, error) {
	request, reply, protocol := icmp.Type(ipv4.ICMPTypeEcho), icmp.Type(ipv4.ICMPTypeEchoReply), 1
	if p.address.Is6() {
		request, reply, protocol = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58
	}
	data := make([]byte, 18)
	rand.Read(data)
	echo := &icmp.Echo{ID: int(binary.BigEndian.Uint16(data[16:])), Seq: 1, Data: data[:16]}
	out, err := (&icmp.Message{Type: request, Body: echo}).Marshal(nil)
	if err != nil {
		return 0, fmt.Errorf("building the echo request: %w", err)
	}
	start := time.Now()
	if _, err := p.conn.WriteTo(out, p.to); err != nil {
		return 0, err
	}
	in := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(in)
		if err != nil {
			return 0, err
		}
		took := time.Since(start)
		m, err := icmp.ParseMessage(protocol, in[:n])
		if err != nil || m.Type != reply || !sameHost(from, p.address) {
			continue
		}
		got, ok := m.Body.(*icmp.Echo)
		// The kernel puts an identifier of its own into what a ping socket sends.
		if ok && got.Seq == echo.Seq && bytes.Equal(got.Data, echo.Data) && (!p.raw || got.ID == echo.ID) {
			return took, nil
		}
	}
}

func sameHost(from net.Addr, want netip.Addr) bool {
	var ip net.IP
	switch a := from.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	}
	got, ok := netip.AddrFromSlice(ip)
	return ok && got.Unmap() == want.Unmap().WithZone("")
}
