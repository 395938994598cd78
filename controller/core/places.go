package core

import (
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/p4/packet"
)

// places remembers the rows that follow from where stations are: slots change with each verdict, and these do not.
// Where stations have the same port on all switches, these share one set.
type places struct {
	intent  *config.Intent
	members [][]plan.Member // by the intent's pools
	retired map[packet.MAC]time.Time
	same    bool
	of      map[string]plan.Places // by switch; "": of all
}

// fit says whether the rows that are remembered were made of the same intent and state.
func (p *places) fit(intent *config.Intent, st Stored) bool {
	if p.of == nil || p.intent != intent || !maps.Equal(p.retired, st.Retired) {
		return false
	}
	for i, pool := range intent.Pools {
		if !slices.EqualFunc(p.members[i], st.Plan.Pools[pool.Name].Members, plan.Member.Equal) {
			return false
		}
	}
	return true
}

// on returns the rows of a switch. Nobody may modify them.
func (p *places) on(name string, intent *config.Intent, st Stored) plan.Places {
	if !p.fit(intent, st) {
		*p = places{
			intent: intent, retired: st.Retired, same: plan.SamePlaces(intent, st.Plan),
			of: make(map[string]plan.Places),
		}
		for _, pool := range intent.Pools {
			p.members = append(p.members, st.Plan.Pools[pool.Name].Members)
		}
	}
	if p.same {
		name = ""
	}
	at, ok := p.of[name]
	if !ok {
		at = plan.Place(intent, st.Plan, name)
		for m := range st.Retired {
			at.Retire(m)
		}
		p.of[name] = at
	}
	return at
}
