package fastpath

import (
	"bytes"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/zone"
)

// world is testdata/world.yaml in some states.
type world struct {
	views []*responder.View // without Sticky, which queries change
}

// now is when all queries come.
var now = time.Unix(1767225600, 0)

// clients are where queries come from; the first is in no source list but anywhere.
var clients = []netip.AddrPort{
	netip.MustParseAddrPort("198.51.100.77:4242"),
	netip.MustParseAddrPort("10.1.2.3:5353"),
	netip.MustParseAddrPort("10.9.8.7:53"),
	netip.MustParseAddrPort("[2001:db8:9::7]:4242"),
	netip.MustParseAddrPort("[::ffff:10.1.2.3]:4242"),
}

// fetched is a source of SOA records that has one.
type fetched struct {
	soa    dns.SOA
	packed *zone.Negative
}

func (f *fetched) Packed(name string, now time.Time) (*zone.Negative, uint32) {
	if name != f.soa.Hdr.Name {
		return nil, 0
	}
	return f.packed, f.soa.Hdr.Ttl
}

func (f *fetched) SOA(name string, now time.Time) *dns.SOA {
	if name != f.soa.Hdr.Name {
		return nil
	}
	return &f.soa
}

func newWorld(t testing.TB) *world {
	t.Helper()
	const file = "testdata/world.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	rules := selection.Compile(c)
	zones, err := zone.Build(c.Zones, rules.Balanced())
	if err != nil {
		t.Fatal(err)
	}
	soa, err := dns.NewRR("fetched.test. 100 IN SOA ns1.fetched.test. Hostmaster.Fetched.Test. 1 2 3 4 500")
	if err != nil {
		t.Fatal(err)
	}
	packed, err := zone.NewNegative([]byte("\x07fetched\x04test\x00"), soa.(*dns.SOA))
	if err != nil {
		t.Fatal(err)
	}
	w := new(world)
	for _, set := range []func(*selection.States, map[string]*selection.State){
		func(_ *selection.States, a map[string]*selection.State) {
			a["fallen"].Health = selection.Down
			a["silent"].Health = selection.Unknown
			a["a"].Load, a["a"].HasLoad = 50, true
			a["b"].Load, a["b"].HasLoad = 40, true
		},
		func(s *selection.States, a map[string]*selection.State) {
			for _, s := range a {
				s.Health = selection.Down
			}
			s.RulesSuspended[0] = true
		},
		func(_ *selection.States, a map[string]*selection.State) {
			a["b"].Load, a["b"].HasLoad = 101, true
			a["c"].Suspended = true
		},
	} {
		s, byName := selection.NewStates(c), make(map[string]*selection.State)
		for i := range s.Answers {
			s.Answers[i].Health = selection.Up
			byName[c.Answers[i].Name] = &s.Answers[i]
		}
		set(s, byName)
		w.views = append(w.views, &responder.View{
			Config: c, Zones: zones, Rules: rules, States: s, Negative: &fetched{*soa.(*dns.SOA), packed},
		})
	}
	return w
}

// side answers queries with a memory of its own.
type side struct {
	view    responder.View
	core    responder.Core
	scratch *Scratch
	out     [4096]byte
}

func (w *world) side(view int) *side {
	s := &side{view: *w.views[view]}
	s.view.Sticky = selection.NewStickyTable(64)
	s.scratch = NewScratch(&s.core)
	return s
}

func (s *side) slow(req []byte, from netip.AddrPort) responder.Response {
	return responder.Respond(&s.view, &responder.Client{Addr: from, Core: &s.core, Now: now.UnixNano()}, req)
}

// fast is what package server does: the full path answers what the fast one leaves.
func (s *side) fast(req []byte, from netip.AddrPort) (r responder.Response, ok bool) {
	if r, ok := Answer(&s.view, s.scratch, req, from, now.UnixNano(), s.out[:]); ok {
		return *r, true
	}
	return s.slow(req, from), false
}

// check sends a query several times, so that round robins turn and clients stick, then from all other clients, and
// holds the fast path to the full one. It returns what the first client had last, and whether the fast path said it.
func (w *world) check(t *testing.T, req []byte, from netip.AddrPort, view int) (r responder.Response, fast bool) {
	t.Helper()
	a, b := w.side(view), w.side(view)
	sent := string(req)
	for i, from := range append([]netip.AddrPort{from, from, from, from}, clients...) {
		want := a.slow(req, from)
		got, ok := b.fast(req, from)
		if i < 4 {
			r, fast = got, ok
			r.Wire = bytes.Clone(got.Wire)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.AddrPort) bool {
			return a == b
		})); d != "" {
			t.Fatalf("query %d, fast path %v (-full +fast):\n%s\nfull %s\nfast %s", i+1, ok, d, unpack(want.Wire),
				unpack(got.Wire))
		}
		if d := cmp.Diff(a.core.Cursors(a.view.Rules), b.core.Cursors(b.view.Rules)); d != "" {
			t.Fatalf("query %d, fast path %v, round robins (-full +fast):\n%s", i+1, ok, d)
		}
		if string(req) != sent {
			t.Fatal("the query was changed")
		}
	}
	return r, fast
}

func unpack(wire []byte) string {
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		return err.Error()
	}
	return m.String()
}
