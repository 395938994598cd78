// Package netstack is hosts made of software: gVisor's TCP/IP on an Ethernet wire, so that real TCP
// and HTTP run through the embedded switch on a machine that gives no privileges. A host holds its
// VIPs as operators of Direct Server Return configure a real server: /32 on the loopback, answering
// no ARP for them (arp_ignore=1) and never naming them in ARP of its own (arp_announce=2).
//
// What the wire is made of, and cutting it, is left to the Link. The demo and the tests of the
// switch, the controller and the health daemon build their networks from it.
package netstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/link/loopback"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"github.com/sluicelb/sluice/p4/packet"
)

const (
	mtu = 1500

	loopbackNIC = tcpip.NICID(1) // Ethernet interfaces are numbered from 2

	// Half a minute of short connections must not pile up: the default is a minute.
	timeWait = 5 * time.Second
)

// Config describes a host with one Ethernet interface.
type Config struct {
	Name    string // in errors
	MAC     packet.MAC
	Address netip.Prefix // IPv4, with the length of its network's prefix
	Gateway netip.Addr   // the zero Addr: only the host's own network can be reached
	VIPs    []netip.Addr // IPv4, on the loopback

	// AnswerARPForVIPs puts the VIPs on the Ethernet interface as well: the host answers ARP for
	// them, the misconfiguration that Direct Server Return fears most.
	AnswerARPForVIPs bool
}

// Host is a running host or router. Its methods may be called from any goroutine.
type Host struct {
	name  string
	stack *stack.Stack
	nics  []*nic
	close func()
}

// New starts a host on a link, which the host reads until Close.
func New(cfg Config, link Link) (*Host, error) {
	h := newHost(cfg.Name)
	if err := h.configure(cfg, link); err != nil {
		h.Close()
		return nil, fmt.Errorf("starting host %s: %w", cfg.Name, err)
	}
	return h, nil
}

// silence drops what gVisor would write to standard error: that a listener met a segment while its
// host went away, for example.
var silence = sync.OnceFunc(func() {
	log.SetTarget(log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}})
})

func newHost(name string) *Host {
	silence()
	h := &Host{name: name}
	h.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, icmp.NewProtocol4},
		HandleLocal:        true,
	})
	h.close = sync.OnceFunc(func() {
		for _, n := range h.nics {
			n.detach()
		}
		h.stack.Destroy()
	})
	return h
}

func (h *Host) configure(cfg Config, link Link) error {
	sack, wait := tcpip.TCPSACKEnabled(true), tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &wait} {
		if err := h.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("setting TCP option: %w", asError(err))
		}
	}
	if err := h.stack.CreateNICWithOptions(loopbackNIC, loopback.New(), stack.NICOptions{Name: "lo"}); err != nil {
		return fmt.Errorf("adding the loopback: %w", asError(err))
	}
	own := map[netip.Addr]bool{cfg.Address.Addr(): true}
	for _, vip := range cfg.VIPs {
		if err := h.addAddress(loopbackNIC, netip.PrefixFrom(vip, 32)); err != nil {
			return err
		}
		own[vip] = true
	}
	if err := h.addEthernet(Interface{Link: link, MAC: cfg.MAC, Address: cfg.Address}, own, nil); err != nil {
		return err
	}
	if cfg.AnswerARPForVIPs {
		for _, vip := range cfg.VIPs {
			if err := h.addAddress(h.nics[0].id, netip.PrefixFrom(vip, 32)); err != nil {
				return err
			}
		}
	}
	if cfg.Gateway.IsValid() {
		h.stack.AddRoute(tcpip.Route{
			Destination: subnet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
			Gateway:     address(cfg.Gateway),
			NIC:         h.nics[0].id,
		})
	}
	if len(cfg.VIPs) > 0 {
		// gVisor takes a packet for an address of another interface, and answers from it, only when
		// it forwards. The interface lets in nothing that is not the host's own, so nothing else is
		// forwarded.
		if err := h.stack.SetForwardingDefaultAndAllNICs(ipv4.ProtocolNumber, true); err != nil {
			return fmt.Errorf("turning on forwarding: %w", asError(err))
		}
	}
	h.nics[0].attach()
	return nil
}

// addEthernet adds an interface, not attached to its link yet. own and transit are nic's.
func (h *Host) addEthernet(i Interface, own map[netip.Addr]bool, transit func([]byte)) error {
	if i.MAC.IsZero() || i.MAC.IsGroup() {
		return fmt.Errorf("MAC %v: must be that of a station", i.MAC)
	}
	id := loopbackNIC + 1 + tcpip.NICID(len(h.nics))
	n := newNIC(id, i, own, transit)
	h.nics = append(h.nics, n)
	options := stack.NICOptions{Name: fmt.Sprintf("eth%d", len(h.nics)-1)}
	if err := h.stack.CreateNICWithOptions(id, ethernet.New(n), options); err != nil {
		return fmt.Errorf("adding an Ethernet interface: %w", asError(err))
	}
	if err := h.addAddress(id, i.Address); err != nil {
		return err
	}
	h.stack.AddRoute(tcpip.Route{Destination: subnet(i.Address.Masked()), NIC: id})
	return nil
}

func (h *Host) addAddress(id tcpip.NICID, p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() {
		return fmt.Errorf("address %v: must be IPv4", p)
	}
	err := h.stack.AddProtocolAddress(id, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()},
	}, stack.AddressProperties{})
	if err != nil {
		return fmt.Errorf("adding address %v: %w", p, asError(err))
	}
	return nil
}

// Close takes the host off its links and ends all its connections. It sends nothing: peers see a
// host that went away.
func (h *Host) Close() { h.close() }

// DialContext connects over TCP to an IPv4 address and port, "10.0.0.100:80". It resolves no names.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if network != "tcp" && network != "tcp4" {
		return nil, fmt.Errorf("dialing from %s: network %q: must be tcp or tcp4", h.name, network)
	}
	remote, err := netip.ParseAddrPort(addr)
	if err != nil || !remote.Addr().Is4() {
		return nil, fmt.Errorf("dialing from %s: address %q: must be an IPv4 address and port", h.name, addr)
	}
	return h.DialFrom(ctx, netip.AddrPort{}, remote)
}

// DialFrom connects over TCP from a local address and port of the caller's choice. The zero
// AddrPort leaves it to the host.
func (h *Host) DialFrom(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	var from tcpip.FullAddress
	if local.IsValid() {
		from = fullAddress(local)
	}
	conn, err := gonet.DialTCPWithBind(ctx, h.stack, from, fullAddress(remote), ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("dialing %v from %s: %w", remote, h.name, err)
	}
	return conn, nil
}

// Listen accepts TCP connections to an address of the host, a VIP as well as its own.
func (h *Host) Listen(addr netip.AddrPort) (net.Listener, error) {
	l, err := gonet.ListenTCP(h.stack, fullAddress(addr), ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("listening on %v of %s: %w", addr, h.name, err)
	}
	return &listener{TCPListener: l, closed: make(chan struct{})}, nil
}

// listener closes as net.Listener promises: a blocked Accept returns net.ErrClosed.
type listener struct {
	*gonet.TCPListener
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.TCPListener.Accept()
	if err == nil {
		return conn, nil
	}
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
		return nil, err
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.Shutdown()
		l.TCPListener.Close()
	})
	return nil
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{Addr: address(a.Addr()), Port: a.Port()}
}

func subnet(p netip.Prefix) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()}.Subnet()
}

// asError makes an error of gVisor's own kind, which does not implement error.
func asError(err tcpip.Error) error { return errors.New(err.String()) }
