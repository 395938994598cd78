package fastpath

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/zone"
)

// What is the same for everybody is remembered, and nothing else is.
func TestRemembered(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name, domain string
		qtype        uint16
		want         bool
	}{
		{"ordered", "www.example.com.", dns.TypeA, true},
		{"ordered, IPv6", "www.example.com.", dns.TypeAAAA, true},
		{"round robin of one", "four.example.com.", dns.TypeA, true},
		{"by domain", "domain.example.com.", dns.TypeA, true},
		{"wildcard", "x.many.example.com.", dns.TypeA, true},
		{"policy that gives one", "anyway.example.com.", dns.TypeA, true},
		{"longest that there is room for",
			strings.Repeat("a", 40) + "." + strings.Repeat("b", 40) + ".many.example.com.", dns.TypeA, true},
		{"longer", strings.Repeat("a", 41) + "." + strings.Repeat("b", 40) + ".many.example.com.", dns.TypeA, false},
		{"round robin", "turns.example.com.", dns.TypeA, false},
		{"by source", "source.example.com.", dns.TypeA, false},
		{"by source and domain", "both.example.com.", dns.TypeA, false},
		{"by source list", "inside.example.com.", dns.TypeA, false},
		{"by client subnet", "subnet.example.com.", dns.TypeA, false},
		{"by expressions, one of them for some", "img17.example.com.", dns.TypeA, false},
		{"sticky", "stays.example.com.", dns.TypeA, false},
		{"CNAME", "cdn.example.com.", dns.TypeA, false},
		{"waiting", "waiting.example.com.", dns.TypeA, false},
		{"no data", "dead.example.com.", dns.TypeA, false},
		{"no address of the family", "four.example.com.", dns.TypeAAAA, false},
		{"record", "multi.example.com.", dns.TypeA, false},
		{"no such name", "nothing.example.com.", dns.TypeA, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := w.side(0)
			name, err := zone.Name(tt.domain)
			if err != nil {
				t.Fatal(err)
			}
			s.fast(ask(tt.domain, tt.qtype), clients[1])
			if _, has := s.scratch.recent.find(name, tt.qtype); has != tt.want {
				t.Errorf("remembered: %v, want %v", has, tt.want)
			}
			w.check(t, ask(tt.domain, tt.qtype), clients[0], 0)
		})
	}
}

// More names than there is room for, each of them twice, get what the full path says.
func TestMoreThanRecent(t *testing.T) {
	w := newWorld(t)
	full, fast := w.side(0), w.side(0)
	for i := range 2 * maxRecent {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeA} {
			req := ask(fmt.Sprintf("n%d.many.example.com.", i%(3*maxRecent/2)), qtype)
			want := full.slow(req, clients[0])
			if got, _ := fast.fast(req, clients[0]); string(got.Wire) != string(want.Wire) {
				t.Fatalf("got %s\nwant %s", unpack(got.Wire), unpack(want.Wire))
			}
		}
	}
}

// What was remembered of one view is nothing in the next.
func TestRecentFollowsTheView(t *testing.T) {
	w := newWorld(t)
	s := w.side(0)
	req := ask("www.example.com.", dns.TypeA)
	for i, view := range []int{0, 1, 0, 1, 0} {
		v := *w.views[view]
		if i == 3 { // ages come round
			s.scratch.recent.age = math.MaxUint32
			for j := range s.scratch.recent.entries {
				s.scratch.recent.entries[j].age = 1
			}
		}
		for range 2 {
			r, fast := Answer(&v, s.scratch, req, clients[0], 0, s.out[:])
			if !fast {
				t.Fatal("left to the full path")
			}
			if got, want := len(r.Wire) > len(req)+sizeA, view == 1; got != want { // an SOA is longer than an A record
				t.Errorf("query %d, of view %d, got %s", i, view, unpack(r.Wire))
			}
		}
	}
}

// However views come and go, and whatever was asked before by whomever, the fast path says what the full one says.
func TestFastEqualsFullThroughViews(t *testing.T) {
	w := newWorld(t)
	rows := rows()
	random := rand.New(rand.NewPCG(7, 7))
	full, fast := w.side(0), w.side(0)
	view := &fast.view
	for i := range 2000 {
		if random.IntN(40) == 0 {
			next := *w.views[random.IntN(len(w.views))]
			next.Sticky = full.view.Sticky
			full.view = next
			view = new(next)
			view.Sticky = fast.view.Sticky
		}
		row, from := rows[random.IntN(len(rows))], clients[random.IntN(len(clients))]
		want := full.slow(row.query, from)
		got, ok := Answer(view, fast.scratch, row.query, from, now.UnixNano(), fast.out[:])
		if !ok {
			client := responder.Client{Addr: from, Core: &fast.core, Now: now.UnixNano()}
			got = new(responder.Respond(view, &client, row.query))
		}
		if d := cmp.Diff(want, *got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
			t.Fatalf("query %d, %s, fast path %v (-full +fast):\n%s", i, row.name, ok, d)
		}
		if d := cmp.Diff(full.core.Cursors(full.view.Rules), fast.core.Cursors(view.Rules)); d != "" {
			t.Fatalf("query %d, %s, fast path %v, round robins (-full +fast):\n%s", i, row.name, ok, d)
		}
	}
}
