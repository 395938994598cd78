package core

import (
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
)

// effectiveHealth is what the plan goes by. A backend without a verdict is up, for a controller without
// healthd balances too; but where healthd has judged others of the pool, one that has no slots yet waits
// for its first verdict instead of getting connections it may not be ready for.
func effectiveHealth(intent *config.Intent, st Stored) map[plan.BackendKey]plan.Health {
	health := make(map[plan.BackendKey]plan.Health)
	for _, pool := range intent.Pools {
		if len(pool.Checks) == 0 {
			continue // nobody judges it; verdicts from when it had checks are void
		}
		leavers, _ := st.Plan.Leavers(pool.Name)
		for _, m := range leavers {
			key := plan.BackendKey{Pool: pool.Name, Backend: m.Name}
			if v, ok := st.Verdicts[key]; ok {
				health[key] = v.Health
			}
		}
		var unjudged []plan.BackendKey
		for _, b := range pool.Backends {
			key := plan.BackendKey{Pool: pool.Name, Backend: b.Name}
			if v, ok := st.Verdicts[key]; ok {
				health[key] = v.Health
			} else {
				unjudged = append(unjudged, key)
			}
		}
		if len(unjudged) == 0 || len(unjudged) == len(pool.Backends) {
			continue
		}
		census, _ := st.Plan.Census(pool.Name)
		serving := make(map[string]bool)
		for _, s := range census.Backends {
			serving[s.Name] = !s.Removed && s.Owns()
		}
		for _, key := range unjudged {
			if !serving[key.Backend] {
				health[key] = plan.Down
			}
		}
	}
	return health
}

// judged keeps the verdicts on the backends that are checked: those of the intent, and those that left it
// and own slots yet.
func judged(intent *config.Intent, st Stored) map[plan.BackendKey]Verdict {
	kept := prune(intent, st.Verdicts)
	for _, pool := range intent.Pools {
		if p := st.Plan.Pools[pool.Name]; p != nil {
			for _, m := range p.Members {
				key := plan.BackendKey{Pool: pool.Name, Backend: m.Name}
				if v, ok := st.Verdicts[key]; ok {
					kept[key] = v
				}
			}
		}
	}
	return kept
}

// prune keeps the entries of m whose backends the intent has.
func prune[V any](intent *config.Intent, m map[plan.BackendKey]V) map[plan.BackendKey]V {
	kept := make(map[plan.BackendKey]V)
	for _, pool := range intent.Pools {
		for _, b := range pool.Backends {
			key := plan.BackendKey{Pool: pool.Name, Backend: b.Name}
			if v, ok := m[key]; ok {
				kept[key] = v
			}
		}
	}
	return kept
}
