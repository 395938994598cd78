package controller

import (
	"sync"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
)

// checks holds what healthd has to watch, and wakes those who wait for the next version.
type checks struct {
	mu       sync.Mutex // guards all below
	current  *api.Checks
	next     chan struct{} // closed when current is replaced
	watchers int
}

func (c *checks) set(m *api.Checks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = m
	if c.next != nil {
		close(c.next)
	}
	c.next = make(chan struct{})
}

func (c *checks) get() (*api.Checks, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.next
}

// watch counts a watcher until it calls the returned function.
func (c *checks) watch() func() {
	add := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.watchers += n
	}
	add(1)
	return func() { add(-1) }
}

func (c *checks) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watchers > 0
}

func checksOf(intent *config.Intent, revision int64) *api.Checks {
	m := &api.Checks{IntentRevision: revision}
	for _, pool := range intent.Pools {
		p := &api.PoolChecks{Pool: pool.Name}
		for _, b := range pool.Backends {
			p.Backends = append(p.Backends, &api.CheckedBackend{Name: b.Name, Address: b.Address.String()})
		}
		for _, c := range pool.Checks {
			check := &api.Check{
				Type:              string(c.Type),
				Port:              uint32(c.Port),
				Path:              c.Path,
				Host:              c.Host,
				Interval:          durationpb.New(c.Interval),
				FastInterval:      durationpb.New(c.FastInterval),
				Timeout:           durationpb.New(c.Timeout),
				Jitter:            durationpb.New(c.Jitter),
				Rise:              uint32(c.Rise),
				Fall:              uint32(c.Fall),
				VerifyCertificate: c.VerifyCertificate,
			}
			for _, code := range c.ExpectStatus {
				check.ExpectStatus = append(check.ExpectStatus, uint32(code))
			}
			p.Checks = append(p.Checks, check)
		}
		m.Pools = append(m.Pools, p)
	}
	return m
}
