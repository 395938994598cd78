package server

import (
	"sync"

	"github.com/sluicelb/sluice/gslb/ratelimit"
	"github.com/sluicelb/sluice/gslb/responder"
)

// core is what one goroutine at a time needs to answer: where round robins stand, and counters.
type core struct {
	responder responder.Core
	counts    *counters
}

// corePool lends cores to the goroutines that answer over TCP, and late. There are no more than were asked for, because
// answering only computes. The one that came back last goes first, so that the round robin of a lone client is one.
type corePool struct {
	tokens chan struct{}
	mu     sync.Mutex // guards free
	free   []*core
}

func newCorePool(n int, t *tally) *corePool {
	p := &corePool{tokens: make(chan struct{}, n)}
	for range n {
		p.free = append(p.free, &core{counts: t.add()})
	}
	return p
}

// with calls f with a core that no one else has meanwhile.
func (p *corePool) with(f func(*core)) {
	p.tokens <- struct{}{}
	p.mu.Lock()
	c := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.free = append(p.free, c)
		p.mu.Unlock()
		<-p.tokens
	}()
	f(c)
}

// category is what a response counts as in the rate limit.
func category(k responder.Kind) ratelimit.Category {
	switch k {
	case responder.Answer, responder.Referral:
		return ratelimit.Answer
	case responder.NoData:
		return ratelimit.NoData
	case responder.NXDomain:
		return ratelimit.NXDomain
	}
	return ratelimit.Error
}
