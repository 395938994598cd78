package core

import (
	"maps"
	"slices"

	"github.com/sluicelb/sluice/controller/plan"
)

// setChecks has healthd told what to watch, if that has changed, and forgets verdicts on backends that it no longer
// watches.
func (c *Core) setChecks() {
	var leavers []plan.Member
	for _, pool := range c.intent.Pools {
		members, _ := c.stored.Plan.Leavers(pool.Name)
		leavers = append(leavers, members...)
	}
	if c.checked == c.stored.Intent.Revision && slices.EqualFunc(leavers, c.leavers, plan.Member.Equal) {
		return
	}
	c.checked, c.leavers = c.stored.Intent.Revision, leavers
	c.out = append(c.out, Watch{})
	c.authors.forget(c.Knows)
	maps.DeleteFunc(c.doubts, func(k plan.BackendKey, _ doubt) bool { return !c.Knows(k) })
}
