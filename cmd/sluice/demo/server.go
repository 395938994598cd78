package demo

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/p4/netstack"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// server is one real server: a host with the VIP on its loopback and net/http on the VIP.
type server struct {
	name    string
	vip     netip.AddrPort
	address netip.Prefix
	gateway netip.Addr
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

// powerOn boots the server and plugs it in. Nothing is left of the time before. One that has power goes on.
func (s *server) powerOn() error {
	if s.host != nil {
		return nil
	}
	var err error
	s.host, err = netstack.New(netstack.Config{
		Name: s.name, MAC: s.mac, Address: s.address, Gateway: s.gateway,
		VIPs: []netip.Addr{s.vip.Addr()},
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
	for _, address := range []netip.AddrPort{s.vip, netip.AddrPortFrom(s.address.Addr(), s.vip.Port())} {
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

func (s *server) history() []outage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.outages)
}

// offDuring reports whether the server was without power at any time between two.
func (s *server) offDuring(from, to time.Time) bool {
	return slices.ContainsFunc(s.history(), func(o outage) bool {
		return o.from.Before(to) && (o.to.IsZero() || o.to.After(from))
	})
}

func (s *server) offAt(t time.Time) bool {
	return slices.ContainsFunc(s.history(), func(o outage) bool {
		return !o.from.After(t) && (o.to.IsZero() || o.to.After(t))
	})
}
