package healthd

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd/probe"
)

// verdict is what healthd says of one backend, which is never unknown.
type verdict struct {
	health     probe.Health
	reason     string
	since      time.Time // end of the first of the probes in a row that made the verdict
	detectedAt time.Time // end of the last of them
}

// board is where the scheduler writes verdicts and the reporter reads them. Verdicts stand there, and
// are made there, whether or not a controller listens.
type board struct {
	changed chan struct{} // one token while news is not empty

	mu       sync.Mutex // guards the rest
	verdicts map[backendKey]verdict
	news     map[backendKey]struct{} // changed since they were last taken
	fallen   map[backendKey]struct{} // were failing or down at any time
}

func newBoard() *board {
	return &board{
		changed:  make(chan struct{}, 1),
		verdicts: map[backendKey]verdict{},
		news:     map[backendKey]struct{}{},
		fallen:   map[backendKey]struct{}{},
	}
}

// set records v. Only a new state is news; a new reason of the same state travels with the next full report.
func (b *board) set(k backendKey, v verdict) (isNew bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, ok := b.verdicts[k]
	if ok && old.health == v.health {
		old.reason = v.reason
		b.verdicts[k] = old
		return false
	}
	b.verdicts[k] = v
	if v.health == probe.Failing || v.health == probe.Down {
		b.fallen[k] = struct{}{}
	}
	b.news[k] = struct{}{}
	select {
	case b.changed <- struct{}{}:
	default: // the token is there
	}
	return true
}

// retain drops the verdicts on backends that are not in keep.
func (b *board) retain(keep map[backendKey]*backend) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.verdicts {
		if keep[k] == nil {
			delete(b.verdicts, k)
			delete(b.news, k)
			delete(b.fallen, k)
		}
	}
}

// hasFallen reports that k has been called failing or down since it came.
func (b *board) hasFallen(k backendKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.fallen[k]
	return ok
}

// all returns the verdicts as they stand.
func (b *board) all() map[backendKey]verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.verdicts)
}

// takeNews returns the verdicts that changed since they were last taken by either method.
func (b *board) takeNews() []*api.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*api.Verdict
	for k := range b.news {
		list = append(list, message(k, b.verdicts[k]))
	}
	clear(b.news)
	return sorted(list)
}

// takeAll returns all verdicts.
func (b *board) takeAll() []*api.Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []*api.Verdict
	for k, v := range b.verdicts {
		list = append(list, message(k, v))
	}
	clear(b.news)
	return sorted(list)
}

func sorted(list []*api.Verdict) []*api.Verdict {
	slices.SortFunc(list, func(a, b *api.Verdict) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Backend, b.Backend))
	})
	return list
}

func message(k backendKey, v verdict) *api.Verdict {
	return &api.Verdict{
		Pool: k.pool, Backend: k.name, Health: words[v.health], Reason: v.reason,
		Since: timestamppb.New(v.since), DetectedAt: timestamppb.New(v.detectedAt),
	}
}

// words are the API's for what is known of a backend.
var words = [...]api.Health{
	probe.Unknown:   api.Health_HEALTH_UNSPECIFIED,
	probe.Up:        api.Health_HEALTH_UP,
	probe.Failing:   api.Health_HEALTH_FAILING,
	probe.Down:      api.Health_HEALTH_DOWN,
	probe.Unchecked: api.Health_HEALTH_UNCHECKED,
}
