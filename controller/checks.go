package controller

import (
	"sync"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
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

// watch counts a watcher until it calls the returned function. changed is called when the first one comes and when the
// last one leaves.
func (c *checks) watch(changed func(watched bool)) func() {
	add := func(n int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		before := c.watchers > 0
		c.watchers += n
		if after := c.watchers > 0; before != after {
			changed(after)
		}
	}
	add(1)
	return func() { add(-1) }
}

func (c *checks) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watchers > 0
}

// checksOf lists the backends of the intent, and those that left it and own slots yet: their death must
// be known too.
func checksOf(intent *config.Intent, st core.Stored, urgent func(plan.BackendKey) bool) *api.Checks {
	m := &api.Checks{IntentRevision: st.Intent.Revision}
	for _, pool := range intent.Pools {
		p := &api.PoolChecks{Pool: pool.Name}
		add := func(name, address string) {
			soon := urgent(plan.BackendKey{Pool: pool.Name, Backend: name})
			p.Backends = append(p.Backends, &api.CheckedBackend{Name: name, Address: address, Urgent: soon})
		}
		for _, b := range pool.Backends {
			add(b.Name, b.Address.String())
		}
		leavers, _ := st.Plan.Leavers(pool.Name)
		for _, b := range leavers {
			if b.Address != "" {
				add(b.Name, b.Address)
			}
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
