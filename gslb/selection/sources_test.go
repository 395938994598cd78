package selection

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sluicelb/sluice/gslb/config"
)

// randomPrefix lies in a small part of the space, so that prefixes nest, and often near its ends.
func randomPrefix(rng *rand.Rand) netip.Prefix {
	if rng.IntN(3) == 0 {
		var b [16]byte
		copy(b[:], []byte{0x20, 0x01, byte(rng.IntN(3)) * 255, byte(rng.IntN(256))})
		b[7], b[8], b[15] = byte(rng.IntN(3)), byte(rng.IntN(256)), byte(rng.IntN(4))
		return netip.PrefixFrom(netip.AddrFrom16(b), rng.IntN(129)).Masked()
	}
	b := [4]byte{byte(rng.IntN(3)) * 127, byte(rng.IntN(2) * 255), byte(rng.IntN(4)), byte(rng.IntN(256))}
	return netip.PrefixFrom(netip.AddrFrom4(b), rng.IntN(33)).Masked()
}

func randomPrefixes(rng *rand.Rand, n int) []netip.Prefix {
	var all []netip.Prefix
	for range n {
		if p := randomPrefix(rng); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// within is a random address of a prefix.
func within(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= byte(rng.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestSources compares the table with a search of all prefixes, and its blocks with what they promise.
func TestSources(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		c := &config.Config{SourceLists: []config.SourceList{{Name: config.Anywhere}}}
		lists := []int32{}
		var all []netip.Prefix
		for i := range 1 + rng.IntN(4) {
			prefixes := randomPrefixes(rng, rng.IntN(12))
			c.SourceLists = append(c.SourceLists, config.SourceList{Prefixes: prefixes})
			lists = append(lists, int32(i+1))
			all = append(all, prefixes...)
		}
		table := newSources(c, lists)
		type block struct {
			netip.Prefix
			node int32
		}
		var blocks []block
		for range 60 {
			a := within(rng, randomPrefix(rng))
			if rng.IntN(2) == 0 && len(all) > 0 {
				// At the boundaries.
				p := all[rng.IntN(len(all))]
				a = p.Addr()
				if before := a.Prev(); rng.IntN(2) == 0 && before.IsValid() {
					a = before
				}
			}
			limit := a.BitLen()
			if rng.IntN(3) == 0 {
				limit = rng.IntN(limit + 1)
			}
			node, n := table.find(a, limit)
			want := netip.Prefix{}
			for _, p := range all {
				if p.Contains(a) && p.Bits() <= limit && (!want.IsValid() || p.Bits() > want.Bits()) {
					want = p
				}
			}
			got := netip.Prefix{}
			if node >= 0 {
				got = table.nodes[node].prefix
				for i, list := range lists {
					has := slices.Contains(c.SourceLists[list].Prefixes, got)
					if has != slices.Contains(table.nodes[node].lists, int32(i)) {
						t.Fatalf("round %d: %s of list %d: %t", round, got, i, has)
					}
				}
			}
			if got != want {
				t.Fatalf("round %d: %s of at most %d bits has %s, want %s of %s", round, a, limit, got, want, all)
			}
			whole, _ := table.find(a, a.BitLen())
			b := block{netip.PrefixFrom(a, int(n)).Masked(), whole}
			for _, p := range all {
				if p.Overlaps(b.Prefix) && p.Bits() > b.Bits() {
					t.Fatalf("round %d: block %s has %s inside", round, b, p)
				}
			}
			// No shorter one would do.
			if b.Bits() > 0 {
				shorter := netip.PrefixFrom(a, b.Bits()-1).Masked()
				if want.IsValid() && limit == a.BitLen() && shorter.Bits() < want.Bits() {
					// It would be larger than what decided.
				} else if limit == a.BitLen() && !slices.ContainsFunc(all, func(p netip.Prefix) bool {
					return p.Overlaps(shorter) && p.Bits() > shorter.Bits()
				}) {
					t.Fatalf("round %d: %s got %s, where %s would do", round, a, b, shorter)
				}
			}
			blocks = append(blocks, b)
		}
		slices.SortFunc(blocks, func(a, b block) int {
			return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
		})
		for i := range blocks[1:] {
			if a, b := blocks[i], blocks[i+1]; a != b && a.Overlaps(b.Prefix) {
				t.Fatalf("round %d: blocks %s and %s overlap", round, a, b)
			}
		}
	}
}

// TestScope: every client inside the scope that one of them was told gets the same answer, whatever its subnet's length
// is as long as it has the scope's bits; scopes do not overlap; and where the answers of two clients differ, none is
// told 0.
func TestScope(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	balances := []config.Balance{config.Ordered, config.HashSource, config.HashDomain, config.HashBoth}
	for round := range 200 {
		w := newWorld(t)
		w.vips("a", "b", "c", "d", "e", "f")
		domains := w.domains("d", "www.example.")
		var all []netip.Prefix
		for i := range 1 + rng.IntN(6) {
			list := 0
			if rng.IntN(4) > 0 {
				list = w.sources(fmt.Sprintf("list%d", i))
				prefixes := randomPrefixes(rng, 1+rng.IntN(5))
				w.SourceLists[list].Prefixes = prefixes
				all = append(all, prefixes...)
			}
			first, second := string(rune('a'+rng.IntN(6))), string(rune('a'+rng.IntN(6)))
			w.rule(config.Rule{
				Sources: list, Domains: domains, ClientSubnet: rng.IntN(4) > 0, TTL: uint32(i + 1),
				Prefix4: 1 + rng.IntN(32), Prefix6: 1 + rng.IntN(128),
				Clauses: []config.Clause{{Group: w.group(fmt.Sprint(i), first, second),
					Balance: balances[rng.IntN(len(balances))]}},
			})
		}
		r, s := w.compile(), w.states()
		ask := func(subnet netip.Prefix) (c Choice) {
			q := query(t)
			q.Source = netip.MustParseAddr("127.0.2.9")
			q.Subnet = subnet
			r.Select(s, &q, &c)
			return c
		}
		type told struct {
			scope  netip.Prefix
			choice Choice
		}
		var seen []told
		for range 40 {
			near := randomPrefix(rng)
			if len(all) > 0 && rng.IntN(2) == 0 {
				near = all[rng.IntN(len(all))]
			}
			client := within(rng, near)
			c := ask(netip.PrefixFrom(client, client.BitLen()))
			scope := netip.PrefixFrom(client, int(c.Scope)).Masked()
			if !c.SubnetUsed {
				if c.Scope != 0 {
					t.Fatalf("round %d: scope %d of a subnet that was not used", round, c.Scope)
				}
				scope = netip.PrefixFrom(client, 0).Masked()
			}
			for range 20 {
				other := within(rng, scope)
				bits := max(1, int(c.Scope)) + rng.IntN(other.BitLen()-max(1, int(c.Scope))+1)
				if o := ask(netip.PrefixFrom(other, bits).Masked()); !sameAnswer(&c, &o) || o.Scope != c.Scope {
					t.Fatalf("round %d: %s is told %v of rule %d for %s, and %s/%d %v of rule %d, scope %d", round,
						client, c.Answers[:c.N], c.Rule, scope, other, bits, o.Answers[:o.N], o.Rule, o.Scope)
				}
			}
			for _, x := range seen {
				if x.scope.Overlaps(scope) && x.scope != scope {
					t.Fatalf("round %d: scopes %s and %s overlap", round, x.scope, scope)
				}
				if x.scope.Addr().Is4() == scope.Addr().Is4() && !sameAnswer(&x.choice, &c) &&
					(x.choice.Scope == 0 || c.Scope == 0) {
					t.Fatalf("round %d: answers differ, scopes are %s and %s", round, x.scope, scope)
				}
			}
			seen = append(seen, told{scope, c})
			// A subnet shorter than that says so.
			if c.Scope > 1 {
				short := 1 + rng.IntN(int(c.Scope)-1)
				subnet := netip.PrefixFrom(client, short).Masked()
				if o := ask(subnet); int(o.Scope) <= short && !sameAnswer(&o, &c) {
					t.Fatalf("round %d: %s is told scope %d, but %s has another answer", round, subnet, o.Scope, client)
				}
			}
		}
	}
}

func sameAnswer(a, b *Choice) bool {
	return a.Outcome == b.Outcome && a.Rule == b.Rule && a.TTL == b.TTL && slices.Equal(a.Answers[:a.N],
		b.Answers[:b.N])
}

// TestScopeOfSticky: what clients stick by, the scope must have.
func TestScopeOfSticky(t *testing.T) {
	w := newWorld(t)
	w.vips("a")
	w.rule(config.Rule{
		Domains: w.domains("d", "www.example."), ClientSubnet: true, Prefix4: 20, Prefix6: 48,
		Sticky: config.Sticky{By: config.StickyDomain}, Clauses: []config.Clause{{Group: w.group("g", "a")}},
	})
	r, s, q := w.compile(), w.states(), query(t)
	var out Choice
	for subnet, want := range map[string]uint8{"": 0, "10.0.0.0/24": 20, "10.0.0.0/16": 20, "2001:db8::/56": 48} {
		q.Subnet = netip.Prefix{}
		if subnet != "" {
			q.Subnet = netip.MustParsePrefix(subnet)
		}
		if r.Select(s, &q, &out); out.Scope != want {
			t.Errorf("subnet %q: scope %d, want %d", subnet, out.Scope, want)
		}
	}
}
