package core

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// apply makes an intent the running one, unless something is wrong with it.
func (c *Core) apply(in Apply) (Answer, error) {
	next := c.stored
	if in.Loaded {
		next.Intent.Loaded = Fingerprint(in.Text)
	}
	if next.Intent.Revision > 0 && in.Text == next.Intent.YAML {
		c.save = next.Intent != c.stored.Intent
		c.stored = next
		return Answer{Revision: next.Intent.Revision}, nil
	}
	if in.Err != nil {
		return Answer{}, in.Err
	}
	next.Intent.YAML, next.Intent.File, next.Intent.AppliedAt = in.Text, in.File, c.now
	next.Intent.Revision++
	next.Retired = retired(c.stored.Retired, c.intent, in.Intent, c.now)
	next.VIPAge = vipAges(in.Intent, c.stored.VIPAge, next.Intent.Revision)
	next.Admin = prune(in.Intent, c.stored.Admin)
	next.Verdicts = judged(in.Intent, c.stored)
	if err := c.adopt(in.Intent, next); err != nil {
		return Answer{}, err
	}
	c.publish(IntentApplied{next.Intent.Revision})
	return Answer{Revision: next.Intent.Revision, Changed: true}, nil
}

// adopt makes intent, which goes with next, the running one.
func (c *Core) adopt(intent *config.Intent, next Stored) error {
	return c.adoptFor(fmt.Sprintf("intent revision %d", next.Intent.Revision), intent, next)
}

// adoptFor is adopt for a reason.
func (c *Core) adoptFor(text string, intent *config.Intent, next Stored) error {
	before, served := c.intent, len(c.stored.Plan.Pools) > 0
	next.PortIDs = c.numbered(intent, next.PortIDs)
	c.written, c.intent, c.known = intent, intent.Resolve(next.PortIDs), backendsOf(intent)
	why := cause{text: text}
	if err := c.step(next, why, true); err != nil {
		return err
	}
	c.recheck(before)
	c.giveUp(before)
	maps.DeleteFunc(c.drained, func(key plan.BackendKey, _ bool) bool { return c.stored.Admin[key] != plan.Drain })
	maps.DeleteFunc(c.forced, func(key plan.BackendKey, _ Forced) bool { return c.stored.Admin[key] != plan.Drain })
	c.syncSwitches(served, before == nil && served)
	if c.mayGoOn() {
		c.goOn() // a switch that others waited for is gone
	}
	return nil
}

// setAdmin drains a backend or takes it back.
func (c *Core) setAdmin(key plan.BackendKey, admin plan.Admin) error {
	if c.stored.Admin[key] == admin {
		return nil
	}
	next := c.stored
	next.Admin = maps.Clone(c.stored.Admin)
	why := fmt.Sprintf("drain of %v", key)
	next.Admin[key] = admin
	if admin == plan.Active {
		why = fmt.Sprintf("end of the drain of %v", key)
		delete(next.Admin, key)
	}
	delete(c.drained, key)
	delete(c.forced, key)
	c.save = true
	if err := c.step(next, cause{text: why}, false); err != nil {
		return err
	}
	c.publish(AdminChanged{key, admin})
	return nil
}

// vipAges gives new VIPs the revision that they come with.
func vipAges(intent *config.Intent, before map[rows.VIPKey]int64, revision int64) map[rows.VIPKey]int64 {
	ages := make(map[rows.VIPKey]int64)
	for _, v := range intent.VIPs {
		key := vipKey(v)
		ages[key] = revision
		if old, ok := before[key]; ok {
			ages[key] = old
		}
	}
	return ages
}

func vipKey(v config.VIP) rows.VIPKey {
	return rows.VIPKey{Address: v.Address, Protocol: v.Protocol, Port: v.Port}
}

// recheck notes which pools have got other checks: their verdicts count even if they were detected before the last ones
// of the former checks.
func (c *Core) recheck(before *config.Intent) {
	if before == nil {
		return
	}
	checks := make(map[string][]config.Check)
	for _, p := range before.Pools {
		checks[p.Name] = p.Checks
	}
	for _, p := range c.intent.Pools {
		if was, ok := checks[p.Name]; ok && !reflect.DeepEqual(was, p.Checks) {
			c.rechecked[p.Name] = c.now
		}
	}
	maps.DeleteFunc(c.rechecked, func(pool string, _ time.Time) bool {
		return !slices.ContainsFunc(c.intent.Pools, func(p config.Pool) bool { return p.Name == pool })
	})
}

func backendsOf(intent *config.Intent) map[plan.BackendKey]bool {
	known := make(map[plan.BackendKey]bool)
	for _, p := range intent.Pools {
		for _, b := range p.Backends {
			known[plan.BackendKey{Pool: p.Name, Backend: b.Name}] = true
		}
	}
	return known
}

// wanted says whether the operator wants the backend to serve: its intent has it, enabled.
func wanted(pool config.Pool, backend string) bool {
	return slices.ContainsFunc(pool.Backends, func(b config.Backend) bool { return b.Name == backend && b.Enabled })
}

// giveUp takes note of the backends that the operator disabled or removed while they were down: he says that they are
// dead, as the floor's message asks him to. One that fell after it was disabled was drained alive, and its checks are
// no more certain than those of others. This is not stored: after a restart of the controller the floor counts for
// these backends as for all.
func (c *Core) giveUp(before *config.Intent) {
	if before == nil {
		return
	}
	is := make(map[string]config.Pool, len(c.intent.Pools))
	for _, pool := range c.intent.Pools {
		is[pool.Name] = pool
	}
	for _, was := range before.Pools {
		pool := is[was.Name]
		for _, b := range was.Backends {
			key := plan.BackendKey{Pool: was.Name, Backend: b.Name}
			removed := !slices.ContainsFunc(pool.Backends, func(is config.Backend) bool { return is.Name == b.Name })
			switch {
			case wanted(pool, b.Name):
				delete(c.givenUp, key)
			case (wanted(was, b.Name) || removed) && isDown(pool, c.stored.Verdicts[key].Health):
				c.givenUp[key] = true
			}
		}
	}
}
