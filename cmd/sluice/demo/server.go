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

	"github.com/sluicelb/sluice/bmv2-tests/lab"
)

// server is one real server: a host with the VIP on its loopback and net/http on the VIP.
type server struct {
	lab.Node
	*lab.Stack
	vip netip.AddrPort

	http    *http.Server // nil while it has no power
	serving sync.WaitGroup

	served atomic.Int64 // pages sent for clients, over all its lives

	mu      sync.Mutex // guards outages
	outages []outage
}

// outage is a time without power; still on while to is zero.
type outage struct{ from, to time.Time }

// powerOn boots the server and plugs it in. Nothing is left of the time before. One that has power goes on.
func (s *server) powerOn() error {
	if s.http != nil {
		return nil
	}
	if s.Host == nil {
		if err := s.Boot(); err != nil {
			return err
		}
	}
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(time.Duration(2+rand.IntN(20)) * time.Millisecond) // what a page takes to make
		s.served.Add(1)
		fmt.Fprint(w, page(s.Name))
	})
	pages.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	s.http = &http.Server{Handler: pages}
	for _, address := range []netip.AddrPort{s.vip, netip.AddrPortFrom(s.Address.Addr(), s.vip.Port())} {
		l, err := s.Listen(address)
		if err != nil {
			s.powerOff()
			return err
		}
		s.serving.Go(func() { s.http.Serve(l) }) // until powerOff
	}
	if err := s.SetLink(true); err != nil {
		return err
	}
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
	if s.http == nil {
		return time.Time{}
	}
	s.mu.Lock()
	now := time.Now()
	s.outages = append(s.outages, outage{from: now})
	s.mu.Unlock()
	s.PowerOff()
	s.http.Close()
	s.serving.Wait()
	s.http = nil
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
