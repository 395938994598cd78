package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
)

func TestFloors(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pool := func(name string, backends int) config.Pool {
		p := config.Pool{Name: name, Checks: []config.Check{{}}, Grace: time.Second,
			Floor: config.Floor{Percent: 50, Within: 30 * time.Second}}
		for i := range backends {
			p.Backends = append(p.Backends, config.Backend{Name: fmt.Sprint(i), Enabled: true})
		}
		return p
	}
	tests := []struct {
		name     string
		backends int
		fell     map[int]int // backend: second
		disabled []int
		takenOut []string // those that have open flows yet
		want     string   // its beginning
	}{
		{"nobody", 4, nil, nil, nil, ""},
		{"half is not more than half", 4, map[int]int{0: 0, 1: 10}, nil, nil, ""},
		{"more than half at once", 4, map[int]int{0: 0, 1: 10, 2: 30}, nil, nil,
			"3 of 4 backends fell within 30s, more than 50 %: "},
		{"more than half, one after the other", 5, map[int]int{0: 0, 1: 20, 2: 40}, nil, nil, ""},
		{"the first of them long ago", 5, map[int]int{0: -3600, 1: 0, 2: 20, 3: 25}, nil, nil,
			"3 of 5 backends fell within 30s, more than 50 %: "},
		{"the last one, however slowly", 3, map[int]int{0: -7200, 1: -3600, 2: 0}, nil, nil,
			"none of the 3 backends is up: "},
		{"the only one", 1, map[int]int{0: 0}, nil, nil, "none of the 1 backends is up: "},
		{"who is disabled does not count", 4, map[int]int{0: 0, 1: 10, 2: 20}, []int{0, 1}, nil, ""},
		{"but for those who have open flows yet", 5, map[int]int{0: 0, 1: 10, 2: 20}, []int{0, 1, 2},
			[]string{"0", "1", "2"},
			"3 of 5 backends fell within 30s, more than 50 %: "},
		{"whoever was taken out", 2, map[int]int{0: 0, 1: 10}, nil, []string{"5", "6", "7"},
			"none of the 2 backends is up: "},
		{"all were taken out", 2, map[int]int{0: 0, 1: 10}, []int{0, 1}, []string{"0", "1"},
			"none of the 2 backends is up: "},
	}
	for _, tt := range tests {
		p := pool("web", tt.backends)
		for _, i := range tt.disabled {
			p.Backends[i].Enabled = false
		}
		other := pool("other", 100) // of all backends it is few that fell
		health := make(map[plan.BackendKey]plan.Health)
		verdicts := make(map[plan.BackendKey]Verdict)
		for i, second := range tt.fell {
			key := plan.BackendKey{Pool: "web", Backend: fmt.Sprint(i)}
			health[key] = plan.Down
			verdicts[key] = Verdict{Health: plan.Down, Fell: base.Add(time.Duration(second) * time.Second)}
		}
		intent := &config.Intent{Floor: config.Floor{Percent: 50, Within: 30 * time.Second},
			Pools: []config.Pool{p, other}}
		got := floors(intent, health, verdicts, map[string][]string{"web": tt.takenOut})
		if !strings.HasPrefix(got["web"], tt.want) || (got["web"] == "") != (tt.want == "") || got["other"] != "" {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		intent.Pools[0].Grace = 0 // what broke at once is not said to stay
		if got := floors(intent, health, verdicts, map[string][]string{"web": tt.takenOut})["web"]; got != "" &&
			!strings.HasPrefix(got, "none of") {
			t.Errorf("%s, without a grace: got %q", tt.name, got)
		}
	}
	t.Run("of all pools", func(t *testing.T) {
		intent := &config.Intent{Floor: config.Floor{Percent: 30, Within: time.Second}}
		health := make(map[plan.BackendKey]plan.Health)
		verdicts := make(map[plan.BackendKey]Verdict)
		for i := range 4 {
			p := pool(fmt.Sprint(i), 2)
			intent.Pools = append(intent.Pools, p)
			if key := (plan.BackendKey{Pool: p.Name, Backend: "0"}); i < 3 {
				health[key] = plan.Down
				verdicts[key] = Verdict{Fell: base}
			}
		}
		const why = "3 of 8 backends of all pools fell within 1s, more than 30 %: " + whatToDo
		if diff := cmp.Diff(map[string]string{"0": why, "1": why, "2": why},
			floors(intent, health, verdicts, nil)); diff != "" {
			t.Errorf("floors (-want +got):\n%s", diff)
		}
	})
}

func TestSuspect(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	is := func(s bool, lost, back int) *view {
		v := &view{status: Switch{Connected: s, Connects: 1}, lost: ago(lost)}
		if v.behind = back < 0; !v.behind {
			v.back = ago(back)
		}
		return v
	}
	met := func(v *view, s int) *view { v.met = ago(s); return v }
	empty := func(v *view) *view { v.empty = true; return v }
	unmet := func(taken int) *view { return &view{lost: ago(taken), behind: true} }
	fine := &view{status: Switch{Connected: true, Connects: 1}}
	tests := []struct {
		name  string
		views map[string]*view
		want  string // since, until and text
	}{
		{"never lost", map[string]*view{"a": fine}, ""},
		{"away for long, the only one", map[string]*view{"a": is(false, 3600, -1)}, "-3600, no end: switch a is away"},
		{"back, and empty yet", map[string]*view{"a": met(is(true, 60, -1), 2)},
			"-60, 68: switch a was away, and does not hold all rows yet"},
		{"back, and stuck", map[string]*view{"a": met(is(true, 600, -1), 70)}, ""},
		{"not met yet, the only one", map[string]*view{"a": unmet(3600)}, "-3600, no end: switch a is not met yet"},
		{"not met yet, one of two", map[string]*view{"a": unmet(3), "b": fine}, "-3, 7: switch a is not met yet"},
		{"not met for long, one of two", map[string]*view{"a": unmet(60), "b": fine}, ""},
		{"found empty", map[string]*view{"a": empty(met(is(true, 4, -1), 2))},
			"-4, 68: switch a came empty, and does not hold all rows yet"},
		{"empty a moment ago", map[string]*view{"a": empty(is(true, 4, 2))}, "-4, 8: switch a came empty"},
		{"back for a moment", map[string]*view{"a": is(true, 60, 2)}, "-60, 8: switch a was away"},
		{"back for a while", map[string]*view{"a": is(true, 60, 10)}, ""},
		{"one of two, just now", map[string]*view{"a": is(false, 3, -1), "b": fine}, "-3, 7: switch a is away"},
		{"one of two, for long", map[string]*view{"a": is(false, 3600, -1), "b": fine}, ""},
		{"both, one after the other", map[string]*view{"a": is(false, 3600, -1), "b": is(false, 3, -1)},
			"-3600, no end: switch b is away"},
	}
	for _, tt := range tests {
		got := ""
		if s := suspect(tt.views, 10*time.Second, now); s != nil {
			until := "no end"
			if !s.until.IsZero() {
				until = fmt.Sprint(s.until.Sub(now).Seconds())
			}
			got = fmt.Sprintf("%v, %s: %s", s.since.Sub(now).Seconds(), until, s.text)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Two healthds of one name void each other's word, and somebody has to know.
func TestTwoOfOneName(t *testing.T) {
	a := make(authors)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		session string
		want    []string
	}{
		{"a", nil}, {"a", nil}, {"b", nil}, {"b", nil}, // it was started anew
		{"c", nil}, {"b", []string{"h1"}}, {"c", []string{"h1"}},
	} {
		a.hear("h1", tt.session, now)
		if got := a.shared(now); !slices.Equal(got, tt.want) {
			t.Errorf("session %s: %v, want %v", tt.session, got, tt.want)
		}
	}
	if got := a.shared(now.Add(sharedTold)); got != nil {
		t.Errorf("later: %v, want nothing", got)
	}
}

// The names that callers choose take no more than so much room.
func TestAuthorsAreBounded(t *testing.T) {
	a := make(authors)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1000 {
		a.hear(fmt.Sprint("h", i), "", now.Add(time.Duration(i)))
	}
	if len(a) != authorsKept || a["h999"] == nil || a["h0"] != nil {
		t.Errorf("%d authors, h999 %v, h0 %v", len(a), a["h999"], a["h0"])
	}
}
