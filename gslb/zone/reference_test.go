package zone

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// world is what Build is given, and looks things up in the way the RFCs tell it: label by label from the apex down,
// over plain lists. Names are presentations, all in lower case and without escapes.
type world struct {
	zones    []config.Zone
	balanced []Balanced
}

func (w *world) String() string {
	var b strings.Builder
	for _, z := range w.zones {
		fmt.Fprintf(&b, "zone %s SOAFrom %v NoMatch %d\n", z.Name, z.SOAFrom, z.NoMatch)
		for _, rr := range z.Records {
			fmt.Fprintf(&b, "  %v\n", rr)
		}
	}
	for _, x := range w.balanced {
		fmt.Fprintf(&b, "%+v\n", x)
	}
	return b.String()
}

// outcome is a Result that compares.
type outcome struct {
	Kind        Kind
	Wild, Miss  bool
	Owner, Zone string
	Set         int32
	RRset       string // owner and type
}

func within(name, ancestor string) bool { return dns.IsSubDomain(ancestor, name) }

func above(name string) string {
	if _, rest, _ := strings.Cut(name, "."); rest != "" {
		return rest
	}
	return "."
}

// zoneOf is the zone with the longest name that the name is in.
func (w *world) zoneOf(name string) *config.Zone {
	var best *config.Zone
	for i, z := range w.zones {
		if within(name, z.Name) && (best == nil || dns.CountLabel(z.Name) > dns.CountLabel(best.Name)) {
			best = &w.zones[i]
		}
	}
	return best
}

// exists reports whether anything of ours is at or below the name (RFC 4592, section 2.2.3). What a zone says of names
// in another one is not ours.
func (w *world) exists(name string) bool {
	for i, z := range w.zones {
		if within(z.Name, name) || slices.ContainsFunc(z.Records, func(rr dns.RR) bool {
			return within(rr.Header().Name, name) && w.zoneOf(rr.Header().Name) == &w.zones[i]
		}) {
			return true
		}
	}
	return slices.ContainsFunc(w.balanced, func(x Balanced) bool { return within(x.Name, name) })
}

func rrset(z *config.Zone, name string, rrtype uint16) []dns.RR {
	var set []dns.RR
	if z != nil {
		for _, rr := range z.Records {
			if rr.Header().Name == name && rr.Header().Rrtype == rrtype {
				set = append(set, rr)
			}
		}
	}
	return set
}

func label(set []dns.RR) string {
	if len(set) == 0 {
		return ""
	}
	return set[0].Header().Name + " " + dns.Type(set[0].Header().Rrtype).String()
}

func (w *world) lookup(name string, qtype uint16) outcome {
	z := w.zoneOf(name)
	if z != nil && qtype == dns.TypeDS && name == z.Name && name != "." {
		if up := w.zoneOf(above(name)); up != nil && up.SOAFrom == nil {
			if o := w.walk(up, name, qtype, true); o.Owner == name {
				return o
			}
		}
	}
	return w.walk(z, name, qtype, false)
}

// walk is RFC 1034, section 4.3.2, step 3, in the zone. With parent the question is that for the DS of another zone's
// apex.
func (w *world) walk(z *config.Zone, name string, qtype uint16, parent bool) outcome {
	at := "."
	o := outcome{Set: -1}
	if z != nil {
		at, o.Zone = z.Name, z.Name
	}
	path := []string{name}
	for path[0] != at {
		path = slices.Insert(path, 0, above(path[0]))
	}
	for i, at := range path {
		o.Owner = at
		if ns := rrset(z, at, dns.TypeNS); len(ns) > 0 && at != z.Name && (at != name || qtype != dns.TypeDS) {
			o.Kind, o.RRset = Delegation, label(ns)
			return o
		}
		if at == name {
			if parent {
				o.Kind, o.RRset = NoData, label(rrset(z, name, dns.TypeDS))
				if o.RRset != "" {
					o.Kind = Positive
				}
				return o
			}
			return w.data(z, o, at, qtype)
		}
		if dname := rrset(z, at, dns.TypeDNAME); len(dname) > 0 {
			o.Kind, o.RRset = DNAME, label(dname)
			return o
		}
		if w.exists(path[i+1]) {
			continue
		}
		if wild := "*." + strings.TrimPrefix(at, "."); w.exists(wild) {
			o.Wild = true
			return w.data(z, o, wild, qtype)
		}
		o.Miss = true
		if z != nil && (z.NoMatch == config.NoMatchNXDomain || z.NoMatch == config.NoMatchDefault && z.SOAFrom == nil) {
			o.Kind = NXDomain
		}
		return o
	}
	panic("not reached")
}

// data is what the node has.
func (w *world) data(z *config.Zone, o outcome, node string, qtype uint16) outcome {
	var all []dns.RR
	if z != nil {
		for _, rr := range z.Records {
			h := rr.Header()
			cut := node != z.Name && len(rrset(z, node, dns.TypeNS)) > 0
			if h.Name == node && (!cut || h.Rrtype == dns.TypeNS || h.Rrtype == dns.TypeDS) {
				all = append(all, rr)
			}
		}
	}
	every := false
	for _, x := range w.balanced {
		if x.Name == node && (z == nil) == (w.zoneOf(node) == nil) {
			o.Set, every = x.Set, x.CNAME
		}
	}
	o.Kind = NoData
	smallest := -1
	for _, rr := range all {
		rrtype := rr.Header().Rrtype
		same := rrset(z, node, rrtype)
		size := 0
		for _, rr := range same {
			size += dns.Len(rr)
		}
		switch {
		case rrtype == qtype:
			o.Kind, o.RRset = Positive, label(same)
		case qtype == dns.TypeANY && (smallest < 0 || size < smallest ||
			size == smallest && same[0].Header().Rrtype < dns.StringToType[strings.Fields(o.RRset)[1]]):
			o.Kind, o.RRset, smallest = Positive, label(same), size
		case rrtype == dns.TypeCNAME && qtype != dns.TypeANY && o.RRset == "":
			o.Kind, o.RRset = CNAME, label(same)
		}
	}
	if o.Set >= 0 && (every || qtype == dns.TypeA || qtype == dns.TypeAAAA || qtype == dns.TypeANY && len(all) == 0) {
		o.Kind = ByRules
	}
	if len(all) == 0 && o.Set < 0 {
		o.Miss = true
		if z == nil || z.SOAFrom != nil && z.NoMatch != config.NoMatchNXDomain {
			o.Kind = NotOurs
		}
	}
	return o
}

// randomName has up to four labels of a few, so that names meet.
func randomName(r *rand.Rand, depth int, labels ...string) string {
	name := ""
	for range r.IntN(depth + 1) {
		name += labels[r.IntN(len(labels))] + "."
	}
	if name == "" {
		return "."
	}
	return name
}

func randomWorld(t *testing.T, r *rand.Rand) *world {
	w := &world{}
	data := []string{"A 192.0.2.1", "A 192.0.2.2", "TXT x", "NS ns.c.", "NS a.", "DNAME c.", "DS 1 13 2 00", "MX 1 a."}
	for range r.IntN(4) {
		name := randomName(r, 3, "a", "b")
		if slices.ContainsFunc(w.zones, func(z config.Zone) bool { return z.Name == name }) {
			continue
		}
		z := whole(t, name, "")
		if r.IntN(4) == 0 {
			z = partial(name, config.NoMatch(r.IntN(4)))
		}
		for range r.IntN(8) {
			owner := randomName(r, 4, "a", "b", "*")
			if owner != "." && name != "." {
				owner += name
			} else if owner == "." {
				owner = name
			}
			d := data[r.IntN(len(data))]
			if r.IntN(6) == 0 {
				d = "CNAME c."
			}
			has := func(cname bool) bool {
				return slices.ContainsFunc(z.Records, func(rr dns.RR) bool {
					return rr.Header().Name == owner && (rr.Header().Rrtype == dns.TypeCNAME) == cname
				})
			}
			if isCNAME := strings.HasPrefix(d, "CNAME"); has(!isCNAME) || isCNAME && has(true) {
				continue // a CNAME is alone
			}
			z.Records = append(z.Records, records(t, owner+" "+d)...)
		}
		w.zones = append(w.zones, z)
	}
	for i := range r.IntN(4) {
		name := randomName(r, 5, "a", "b", "*")
		if !slices.ContainsFunc(w.balanced, func(x Balanced) bool { return x.Name == name }) {
			w.balanced = append(w.balanced, Balanced{Name: name, Set: int32(i), CNAME: r.IntN(3) == 0})
		}
	}
	return w
}

func TestLookupIsAsTheReference(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	types := []uint16{dns.TypeA, dns.TypeTXT, dns.TypeNS, dns.TypeDS, dns.TypeCNAME, dns.TypeDNAME, dns.TypeSOA,
		dns.TypeANY, dns.TypeMX}
	worlds := 1500
	if testing.Short() {
		worlds = 100
	}
	seen := make(map[Kind]int)
	for range worlds {
		w := randomWorld(t, r)
		z, err := Build(w.zones, w.balanced)
		if err != nil {
			t.Fatalf("%v\n%v", err, w)
		}
		for range 200 {
			name, qtype := randomName(r, 6, "a", "b", "*", "c"), types[r.IntN(len(types))]
			wire := wireName(t, name)
			got := z.Lookup(wire, qtype)
			owner, err := presentation(string(wire[got.Owner:]))
			if err != nil {
				t.Fatal(err)
			}
			o := outcome{Kind: got.Kind, Wild: got.Wildcard, Miss: got.Miss, Owner: owner, Set: got.Set}
			if got.Zone != nil {
				o.Zone = got.Zone.Name
			}
			if got.RRset != nil {
				o.RRset = label(got.RRset.RRs)
			}
			if diff := cmp.Diff(w.lookup(name, qtype), o); diff != "" {
				t.Fatalf("%s %s (-want +got)\n%s\n%v", name, dns.Type(qtype), diff, w)
			}
			seen[got.Kind]++
		}
	}
	for kind := NotOurs; kind <= ByRules; kind++ {
		if seen[kind] < worlds/10 {
			t.Errorf("%d results are %v: the worlds are too tame", seen[kind], kind)
		}
	}
}
