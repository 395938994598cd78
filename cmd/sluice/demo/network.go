package demo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/netstack"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// picture is the demo's network; the values below are its other half.
const picture = `
     client 192.0.2.10                              healthd
          |                                            |
     router 192.0.2.1 / 10.0.0.1                mgmt 10.0.0.250
          |                                            |
   +------1--------------------------------------------5------+
   |  switch: sluice.p4 on softswitch    VIP 10.0.0.100:80    |--- P4Runtime
   +------2--------------------3-----------------------4------+        |
          |                    |                       |          controller
     web1 10.0.0.11       web2 10.0.0.12          web3 10.0.0.13
     VIP on lo            VIP on lo               VIP on lo
`

const (
	routerPort     = 1
	managementPort = 5
)

var (
	vip             = netip.MustParseAddrPort("10.0.0.100:80")
	vipMAC          = packet.MAC{0x02, 0x53, 0x4c, 0, 0, 0x01}
	clientAddress   = netip.MustParsePrefix("192.0.2.10/24")
	clientGateway   = netip.MustParsePrefix("192.0.2.1/24")
	serverGateway   = netip.MustParsePrefix("10.0.0.1/24")
	managementHost  = netip.MustParsePrefix("10.0.0.250/24")
	clientMAC       = packet.MAC{0x02, 0, 0, 0, 0x02, 0x10}
	routerClientMAC = packet.MAC{0x02, 0, 0, 0, 0x02, 0x01}
	routerMAC       = packet.MAC{0x02, 0, 0, 0, 0, 0x01}
	managementMAC   = packet.MAC{0x02, 0, 0, 0, 0, 0xfa}
)

// network is everything at the switch's ports.
type network struct {
	servers    []*server // by name
	client     *netstack.Host
	management *netstack.Host
	proof      *proof
	ports      map[uint16]port.Port // for the switch, taps on
	closers    []func() error       // undone from last to first
}

// newNetwork builds the hosts and their wires. With a directory, what passes each port is recorded
// there, or the error is a CaptureError. tamper, in tests, gets to falsify what happens between a tap and the host's wire, or between
// the switch and the tap.
func newNetwork(captures string, tamper tamper) (*network, error) {
	n := &network{ports: make(map[uint16]port.Port)}
	macs := make(map[uint16]packet.MAC)
	for i := range 3 {
		s := &server{
			name:    fmt.Sprintf("web%d", i+1),
			address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(11 + i)}), 24),
			mac:     packet.MAC{0x02, 0, 0, 0, 0, byte(0x11 + i)},
			port:    uint16(2 + i),
		}
		n.servers = append(n.servers, s)
		macs[s.port] = s.mac
	}
	n.proof = newProof(vip, vipMAC, routerPort, macs)
	if captures != "" {
		if err := os.MkdirAll(captures, 0o777); err != nil {
			return nil, &CaptureError{err}
		}
	}
	if err := n.build(captures, tamper); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// CaptureError says that the directory for captures cannot be used.
type CaptureError struct{ err error }

func (e *CaptureError) Error() string { return e.err.Error() }
func (e *CaptureError) Unwrap() error { return e.err }

func (n *network) build(captures string, tamper tamper) error {
	inner, outer, stop := netstack.Cable()
	n.closers = append(n.closers, func() error { stop(); return nil })
	routerEnd, err := n.wire(routerPort, "router", captures, tamper)
	if err != nil {
		return err
	}
	router, err := netstack.NewRouter("router",
		netstack.Interface{Link: outer, MAC: routerClientMAC, Address: clientGateway},
		netstack.Interface{Link: routerEnd, MAC: routerMAC, Address: serverGateway})
	if err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { router.Close(); return nil })
	n.client, err = netstack.New(netstack.Config{
		Name: "client", MAC: clientMAC, Address: clientAddress, Gateway: clientGateway.Addr(),
	}, inner)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { n.client.Close(); return nil })
	managementEnd, err := n.wire(managementPort, "mgmt", captures, tamper)
	if err != nil {
		return err
	}
	n.management, err = netstack.New(netstack.Config{Name: "mgmt", MAC: managementMAC, Address: managementHost}, managementEnd)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, func() error { n.management.Close(); return nil })
	for _, s := range n.servers {
		if s.end, err = n.wire(s.port, s.name, captures, tamper); err != nil {
			return err
		}
		if err := s.powerOn(); err != nil {
			return err
		}
		n.closers = append(n.closers, func() error { s.powerOff(); return nil })
	}
	return nil
}

// wire makes a port of the switch with its taps, and returns the host's end.
func (n *network) wire(id uint16, name, captures string, tamper tamper) (*port.End, error) {
	p, end := port.NewLink()
	n.closers = append(n.closers, end.Close)
	if tamper.wire != nil {
		p = tamper.wire(id, p)
	}
	if captures != "" {
		file, err := os.Create(filepath.Join(captures, fmt.Sprintf("port%d-%s.pcap", id, name)))
		if err != nil {
			return nil, &CaptureError{err}
		}
		pcap, err := port.NewPcap(file)
		if err != nil {
			return nil, &CaptureError{errors.Join(err, file.Close())}
		}
		n.closers = append(n.closers, func() error { return errors.Join(pcap.Err(), file.Close()) })
		p = port.Capture(p, pcap)
	}
	p = port.Tap(p, n.proof.tap(id))
	if tamper.inside != nil {
		p = tamper.inside(id, p)
	}
	n.ports[id] = p
	return end, nil
}

func (n *network) close() error {
	var err error
	for i := len(n.closers) - 1; i >= 0; i-- {
		err = errors.Join(err, n.closers[i]())
	}
	return err
}

func (n *network) server(name string) *server {
	for _, s := range n.servers {
		if s.name == name {
			return s
		}
	}
	panic("no server " + name)
}

// offDuring reports whether the server at a port was without power at any time between two.
func (n *network) offDuring(id uint16, from, to time.Time) bool {
	for _, s := range n.servers {
		if s.port == id {
			return s.offDuring(from, to)
		}
	}
	return false
}

// tamper makes the network lie, so that a test can see the proof fail. Each function may replace a
// port; nil leaves it.
type tamper struct {
	wire   func(id uint16, p port.Port) port.Port // beyond the taps: what servers send
	inside func(id uint16, p port.Port) port.Port // before the taps: what the switch sends
}

// server is one real server: a host with the VIP on its loopback and net/http on the VIP.
type server struct {
	name    string
	address netip.Prefix
	mac     packet.MAC
	port    uint16
	end     *port.End

	host    *netstack.Host // nil while it has no power
	http    *http.Server
	serving sync.WaitGroup

	served atomic.Int64 // pages sent for clients, over all its lives

	mu      sync.Mutex // guards outages
	outages []outage
}

// outage is a time without power; still on while to is zero.
type outage struct{ from, to time.Time }

// powerOn boots the server and plugs it in. Nothing is left of the time before.
func (s *server) powerOn() error {
	var err error
	s.host, err = netstack.New(netstack.Config{
		Name: s.name, MAC: s.mac, Address: s.address, Gateway: serverGateway.Addr(),
		VIPs: []netip.Addr{vip.Addr()},
	}, s.end)
	if err != nil {
		return err
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Duration(2+rand.IntN(20)) * time.Millisecond) // what a page takes to make
		s.served.Add(1)
		fmt.Fprint(w, page(s.name))
	})
	pages.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	s.http = &http.Server{Handler: pages}
	for _, address := range []netip.AddrPort{vip, netip.AddrPortFrom(s.address.Addr(), vip.Port())} {
		l, err := s.host.Listen(address)
		if err != nil {
			s.powerOff()
			return err
		}
		s.serving.Go(func() { s.http.Serve(l) }) // until powerOff
	}
	s.end.SetUp(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.outages); n > 0 {
		s.outages[n-1].to = time.Now()
	}
	return nil
}

// powerOff cuts the power: frames vanish at once, and the host never closes anything. It returns
// when that was.
func (s *server) powerOff() time.Time {
	if s.host == nil {
		return time.Time{}
	}
	s.mu.Lock()
	now := time.Now()
	s.outages = append(s.outages, outage{from: now})
	s.mu.Unlock()
	s.end.SetUp(false)
	s.host.Close()
	s.http.Close()
	s.serving.Wait()
	s.host = nil
	return now
}

func (s *server) offDuring(from, to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.outages {
		if o.from.Before(to) && (o.to.IsZero() || o.to.After(from)) {
			return true
		}
	}
	return false
}
