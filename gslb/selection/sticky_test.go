package selection

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// TestSticky follows clients through a round robin that they stick in.
func TestSticky(t *testing.T) {
	type step struct {
		at            time.Duration
		source, qname string
		qtype         uint16
		states        string
		want          string
	}
	for _, tt := range []struct {
		name  string
		by    config.StickyBy
		bits  int
		steps []step
	}{
		{"stays", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{1, "10.0.0.2", "www", dns.TypeA, "", "b"},
			{2, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{3, "10.0.0.2", "www", dns.TypeA, "", "b"},
		}},
		{"inactivity", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{60 * time.Second, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{120 * time.Second, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{181 * time.Second, "10.0.0.1", "www", dns.TypeA, "", "b"},
		}},
		{"down", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{1, "10.0.0.1", "www", dns.TypeA, "a:down", "c"},
			{2, "10.0.0.1", "www", dns.TypeA, "", "c"},
		}},
		{"suspended", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{1, "10.0.0.1", "www", dns.TypeA, "a:suspended", "c"},
		}},
		{"stays in a later clause", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "a:down b:down c:down", "d"},
			{1, "10.0.0.1", "www", dns.TypeA, "", "d"},
		}},
		{"not while all are down", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "a:down b:down c:down d:down", "d"},
			{1, "10.0.0.1", "www", dns.TypeA, "", "a"},
		}},
		{"not while an earlier clause has no verdict yet", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "a:unknown b:unknown c:unknown", "d"},
			{1, "10.0.0.1", "www", dns.TypeA, "", "a"},
		}},
		{"by domain", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{1, "10.0.0.1", "shop", dns.TypeA, "", "b"},
			{2, "10.0.0.1", "www", dns.TypeA, "", "a"},
		}},
		{"by domain list", config.StickyDomainList, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{1, "10.0.0.1", "shop", dns.TypeA, "", "a"},
		}},
		{"by prefix", config.StickyDomain, 24, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "", "a"},
			{1, "10.0.0.200", "www", dns.TypeA, "", "a"},
			{2, "10.0.1.1", "www", dns.TypeA, "", "b"},
		}},
		{"families", config.StickyDomain, 32, []step{
			{0, "10.0.0.9", "www", dns.TypeA, "", "a"}, // takes the turn
			{1, "10.0.0.1", "www", dns.TypeA, "", "b"},
			{2, "10.0.0.1", "www", dns.TypeAAAA, "", "b"},
			{3, "10.0.0.1", "www", dns.TypeA, "", "b"},
		}},
		{"no address of the family", config.StickyDomain, 32, []step{
			{0, "10.0.0.1", "www", dns.TypeA, "a:down b:down", "c"},
			{1, "10.0.0.1", "www", dns.TypeAAAA, "", "a"},
			{2, "10.0.0.1", "www", dns.TypeA, "", "c"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.vips("a", "b")
			w.vip("c", "198.51.100.1")
			w.vips("d")
			w.rule(config.Rule{
				Domains: w.domains("d", "www.example.", "shop.example."), Prefix4: tt.bits,
				Sticky: config.Sticky{By: tt.by, Inactivity: time.Minute},
				Clauses: []config.Clause{
					{Group: w.group("first", "a", "b", "c"), Balance: config.RoundRobin, Count: 3},
					{Group: w.group("second", "d"), AllDown: config.AllAnswers},
				},
			})
			r := w.compile()
			table := NewStickyTable(1000)
			q := query(t)
			q.Cursors = make([]uint32, r.Cursors())
			for i, st := range tt.steps {
				q.Source, q.Type = mustAddr(st.source), st.qtype
				q.Name = wire(t, st.qname+".example.")
				s := w.states(strings.Fields(st.states)...)
				var out Choice
				r.SelectSticky(s, &q, table, int64(st.at), &out)
				got := ""
				for _, a := range out.Answers[:out.N] {
					got += w.Answers[a].Name
				}
				if got != st.want {
					t.Fatalf("step %d: %s, want %s", i, got, st.want)
				}
				out.Advance(q.Cursors)
			}
		})
	}
}

// TestStickyUnknownAnswer: an answer that the rule does not have any more is no answer.
func TestStickyUnknownAnswer(t *testing.T) {
	w, _ := balanced(t, config.Ordered, "a")
	w.Rules[0].Sticky = config.Sticky{By: config.StickyDomain, Inactivity: time.Minute}
	r := w.compile()
	q := query(t)
	q.Stuck = newAnswerID("gone")
	var out Choice
	r.Select(w.states(), &q, &out)
	if out.Stuck || !out.Stick || out.StickTo != newAnswerID("a") || out.Inactivity != time.Minute {
		t.Errorf("stuck %t, stick %t to %x", out.Stuck, out.Stick, out.StickTo)
	}
}

func TestStickyTable(t *testing.T) {
	key := func(i int) StickyKey {
		return StickyKey{Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
			32), By: 1}
	}
	t.Run("expiry", func(t *testing.T) {
		table := NewStickyTable(10)
		table.Put(key(1), 7, 100)
		for now, want := range map[int64]AnswerID{0: 7, 100: 7, 101: 0} {
			if got := table.Get(key(1), now); got != want {
				t.Errorf("at %d: %d, want %d", now, got, want)
			}
		}
		table.Put(key(1), 8, 200)
		if got := table.Get(key(1), 150); got != 8 {
			t.Errorf("after it was put again: %d, want 8", got)
		}
		if got := table.Get(StickyKey{Client: key(1).Client, By: 2}, 0); got != 0 {
			t.Errorf("another name's: %d, want 0", got)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		const size = 640
		table := NewStickyTable(size)
		for i := range 10 * size {
			table.Put(key(i), AnswerID(i+1), 100)
			table.Put(key(0), 1, 100) // asks all the time
		}
		if n := table.Len(); n > size {
			t.Errorf("%d clients, want at most %d", n, size)
		}
		if got := table.Get(key(0), 0); got != 1 {
			t.Errorf("who asks all the time is forgotten")
		}
		if got := table.Get(key(10*size-1), 0); got != 10*size {
			t.Errorf("the newest is forgotten")
		}
		if got := table.Get(key(1), 0); got != 0 {
			t.Errorf("the oldest is not forgotten")
		}
	})
	t.Run("concurrent", func(t *testing.T) {
		table := NewStickyTable(100)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 2000 {
					k := i*7 + g
					table.Put(key(k%300), AnswerID(k%300+1), 100)
					if got := table.Get(key(i%300), 50); got != 0 && got != AnswerID(i%300+1) {
						t.Errorf("client %d has answer %d", i%300, got)
					}
				}
			})
		}
		wg.Wait()
	})
	t.Run("no allocation", func(t *testing.T) {
		table := NewStickyTable(100)
		k := key(1)
		table.Put(k, 1, 100)
		if allocs := testing.AllocsPerRun(100, func() {
			table.Get(k, 50)
			table.Put(k, 1, 100)
		}); allocs > 0 {
			t.Errorf("%.0f allocations", allocs)
		}
	})
}

// TestStickyKeysNeverChange: nodes that share what clients stick to must agree on keys.
func TestStickyKeysNeverChange(t *testing.T) {
	w, _ := balanced(t, config.Ordered, "a")
	w.Rules[0].Sticky = config.Sticky{By: config.StickyDomain, Inactivity: time.Minute}
	q := query(t)
	var out Choice
	w.compile().Select(w.states(), &q, &out)
	want := "{192.0.2.1/32 1289197551212299822}"
	if got := fmt.Sprint(out.StickyKey); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
}
