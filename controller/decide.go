package controller

import (
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/p4/packet"
)

// effectiveHealth is what the plan goes by. A backend without a verdict is up, for a controller without
// healthd balances too; but where healthd has judged others of the pool, one that has no slots yet waits
// for its first verdict instead of getting connections it may not be ready for.
func effectiveHealth(intent *config.Intent, st store.State) map[plan.BackendKey]plan.Health {
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
			serving[s.Name] = !s.Removed && s.Slots+s.MovingOut > 0
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
func judged(intent *config.Intent, st store.State) map[plan.BackendKey]store.Verdict {
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

func vipKey(v config.VIP) rows.VIPKey {
	return rows.VIPKey{Address: v.Address, Protocol: v.Protocol, Port: v.Port}
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

// backendMACs are the addresses whose owners can be named.
func backendMACs(intent *config.Intent) map[packet.MAC]bool {
	macs := make(map[packet.MAC]bool)
	for _, pool := range intent.Pools {
		for _, b := range pool.Backends {
			macs[b.MAC] = true
		}
	}
	return macs
}

// view is what the loop knows of one switch.
type view struct {
	status device.Status
	served uint64                     // counts the changes of what the switch holds of the VIPs
	idle   map[plan.SlotRef]time.Time // moving slots reported silent, and when

	lost time.Time // when it was lost last, zero: never
	met  time.Time // when it was connected last
	back time.Time // when it held what was decided again
	// behind: it has been lost, and has not held what was decided since.
	behind bool

	forgot   int       // slots that moved when it was connected and held nothing: it has lost their marks
	forgotAt time.Time // when that was
}

func (v *view) connected() bool { return v.status.State != device.Disconnected }

// away says whether the switch goes on by what it was told before it was lost.
func (v *view) away() bool { return !v.connected() && v.status.Connects > 0 }

// hold says whether a switch lacks what was decided by sequence, or may lack it.
func hold(views map[string]*view, sequence uint64) bool {
	for _, v := range views {
		if v.away() || v.connected() && v.status.Applied < sequence {
			return true
		}
	}
	return false
}

// caughtUp says whether the switches that are connected hold what was decided by sequence.
func caughtUp(views map[string]*view, sequence uint64) bool {
	for _, v := range views {
		if v.connected() && v.status.Applied < sequence {
			return false
		}
	}
	return true
}

// away names the switches that are.
func away(views map[string]*view) []string {
	var names []string
	for name, v := range views {
		if v.away() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// settleable returns those of the slots that every switch has reported silent lately, but for those that
// were never connected: a report older than maxAge may have been overtaken by traffic, as switches repeat
// themselves while a slot stays silent, and of a switch that is away nothing is known.
func settleable(refs []plan.SlotRef, views map[string]*view, now time.Time, maxAge func(rows.PoolID) time.Duration) []plan.SlotRef {
	var out []plan.SlotRef
	for _, ref := range refs {
		silent := false
		for _, v := range views {
			if !v.connected() && !v.away() {
				continue
			}
			at, ok := v.idle[ref]
			silent = ok && now.Sub(at) <= maxAge(ref.Pool)
			if !silent {
				break
			}
		}
		if silent {
			out = append(out, ref)
		}
	}
	return out
}

// samePools says whether two states have the same slots: states share what did not change.
func samePools(a, b plan.State) bool {
	if len(a.Pools) != len(b.Pools) {
		return false
	}
	for name, pool := range a.Pools {
		if b.Pools[name] != pool {
			return false
		}
	}
	return true
}
