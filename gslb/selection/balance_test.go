package selection

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/gslb/config"
)

// balanced is a rule of one clause with members such as "a*5".
func balanced(t testing.TB, balance config.Balance, members ...string) (*world, *Rules) {
	w := newWorld(t)
	for _, m := range members {
		name, _, _ := strings.Cut(m, "*")
		w.vips(name)
	}
	w.rule(config.Rule{Domains: w.domains("d", "www.example.", "*.example."), Clauses: []config.Clause{{
		Group: w.group("g", members...), Balance: balance,
	}}})
	return w, w.compile()
}

// TestWeightedCycle: over any cycle every answer gets exactly its share, also of those that are left when some are
// down, and at no time is it far from it.
func TestWeightedCycle(t *testing.T) {
	for _, weights := range [][]int{
		{1}, {1000}, {1, 1}, {2, 1}, {0, 1}, {0, 0, 3}, {5, 1, 1}, {1000, 1}, {1, 1000}, {1000, 999, 998},
		{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {10, 20, 30}, {0, 1000, 0, 1}, {100, 100, 100, 1}, {997, 991, 13, 500},
	} {
		t.Run(fmt.Sprint(weights), func(t *testing.T) {
			var members []string
			for i, weight := range weights {
				members = append(members, fmt.Sprintf("a%d*%d", i, weight))
			}
			w, r := balanced(t, config.WeightedRoundRobin, members...)
			q := query(t)
			q.Cursors = make([]uint32, r.Cursors())
			for _, down := range []int{-1, 0} {
				s := w.states()
				left := slices.Clone(weights)
				if down >= 0 {
					s.Answers[down].Health = Down
					left[down] = 0
				}
				sum := 0
				for _, weight := range left {
					sum += weight
				}
				if sum == 0 {
					continue
				}
				for _, begin := range []uint32{0, 12345} {
					got := make([]int, len(weights))
					var out Choice
					for k := range sum {
						q.Cursors[0] = begin + uint32(k)
						r.Select(s, &q, &out)
						got[out.Answers[0]]++
						for i, n := range got {
							if begin > 0 {
								continue
							}
							if off := math.Abs(float64(n) - float64((k+1)*left[i])/float64(sum)); off > 3.5 {
								t.Fatalf("after %d turns answer %d has had %d, which is off its share by %.1f", k+1, i,
									n, off)
							}
						}
					}
					if !slices.Equal(got, left) {
						t.Errorf("from %d, down %d: %v of a cycle, want %v", begin, down, got, left)
					}
				}
			}
		})
	}
}

// TestStride: a cycle of any length has a step through all its turns, and finds it soon.
func TestStride(t *testing.T) {
	for w := uint32(1); w < 5000; w++ {
		s := stride(w)
		if gcd(w, s) != 1 || s == 0 || w > 1 && s >= w {
			t.Fatalf("stride %d of %d", s, w)
		}
		if again := stride(w); again != s {
			t.Fatalf("stride of %d is %d, then %d", w, s, again)
		}
		if w > 10 && largestTerm(s, w) > 5 {
			t.Errorf("stride %d of %d has a term of %d", s, w, largestTerm(s, w))
		}
		if off := math.Abs(float64(s)/float64(w) - 0.618); w > 100 && off > 0.1 {
			t.Errorf("stride %d of %d is far from the golden section", s, w)
		}
	}
}

// TestRoundRobinCycle: everyone once a cycle, whoever is down.
func TestRoundRobinCycle(t *testing.T) {
	w, r := balanced(t, config.RoundRobin, "a", "b", "c", "d", "e")
	q := query(t)
	q.Cursors = make([]uint32, r.Cursors())
	for up := 1; up < 32; up++ {
		s := w.states()
		n := 0
		for i := range s.Answers {
			if up>>i&1 == 0 {
				s.Answers[i].Health = Down
			} else {
				n++
			}
		}
		seen := 0
		var out Choice
		for range n {
			r.Select(s, &q, &out)
			seen |= 1 << out.Answers[0]
			out.Advance(q.Cursors)
		}
		if seen != up {
			t.Errorf("up are %05b, %05b had a turn", up, seen)
		}
	}
}

// clients are many different addresses.
func clients(n int) []netip.Addr {
	all := make([]netip.Addr, n)
	for i := range all {
		all[i] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if i%4 == 3 {
			all[i] = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: byte(i >> 16), 5: byte(i >> 8), 6: byte(i)})
		}
	}
	return all
}

// TestHashShares: shares are as the weights, within six standard deviations.
func TestHashShares(t *testing.T) {
	const n = 40000
	for _, weights := range [][]int{{1, 1}, {1, 1, 1, 1, 1}, {5, 1, 1}, {0, 1, 3}, {1000, 1}, {7},
		{1000, 500, 250, 125}} {
		for _, balance := range []config.Balance{config.HashSource, config.HashDomain, config.HashBoth} {
			t.Run(fmt.Sprintf("%s %v", balanceText(balance), weights), func(t *testing.T) {
				var members []string
				sum := 0
				for i, weight := range weights {
					members = append(members, fmt.Sprintf("a%d*%d", i, weight))
					sum += weight
				}
				w, r := balanced(t, balance, members...)
				s, q := w.states(), query(t)
				got := make([]int, len(weights))
				var out Choice
				name := wire(t, "xxxxxx.example.")
				for i, client := range clients(n) {
					if balance != config.HashDomain {
						q.Source = client
					}
					if balance != config.HashSource {
						copy(name[1:], fmt.Sprintf("%06d", i))
						q.Name = name
					}
					r.Select(s, &q, &out)
					got[out.Answers[0]]++
				}
				for i, weight := range weights {
					p := float64(weight) / float64(sum)
					if off := math.Abs(float64(got[i]) - n*p); off > 6*math.Sqrt(n*p*(1-p)) {
						t.Errorf("answer %d got %d of %d, its share is %.0f", i, got[i], n, n*p)
					}
				}
			})
		}
	}
}

// TestHashMovesOnlyShare: when an answer joins or leaves, by configuration or health, or its weight changes, keys move
// only to or from it.
func TestHashMovesOnlyShare(t *testing.T) {
	const n = 20000
	all := clients(n)
	place := func(states string, members ...string) []string {
		w, r := balanced(t, config.HashSource, members...)
		s, q := w.states(strings.Fields(states)...), query(t)
		got := make([]string, n)
		var out Choice
		for i := range all {
			q.Source = all[i]
			r.Select(s, &q, &out)
			got[i] = w.Answers[out.Answers[0]].Name
		}
		return got
	}
	for _, tt := range []struct {
		name          string
		before, after []string
		by            string  // who may gain or lose
		share         float64 // of keys that move
	}{
		{"join", place("", "a", "b", "c"), place("", "a", "b", "c", "d"), "d", 0.25},
		{"join in front", place("", "a", "b", "c"), place("", "d", "a", "b", "c"), "d", 0.25},
		{"leave", place("", "a", "b", "c", "d"), place("", "a", "c", "d"), "b", 0.25},
		{"down", place("", "a", "b", "c", "d"), place("b:down", "a", "b", "c", "d"), "b", 0.25},
		{"join, weighted", place("", "a*5", "b*2", "c*1"), place("", "a*5", "b*2", "c*1", "d*2"), "d", 0.2},
		{"leave, weighted", place("", "a*5", "b*2", "c*1"), place("", "a*5", "c*1"), "b", 0.25},
		{"heavier", place("", "a*1", "b*1", "c*2"), place("", "a*2", "b*1", "c*2"), "a", 0.15},
		{"order does not matter", place("", "a", "b", "c"), place("", "c", "a", "b"), "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			moved := 0
			for i := range all {
				if tt.before[i] == tt.after[i] {
					continue
				}
				moved++
				if tt.before[i] != tt.by && tt.after[i] != tt.by {
					t.Fatalf("%s moved from %s to %s", all[i], tt.before[i], tt.after[i])
				}
			}
			if off := math.Abs(float64(moved) - n*tt.share); off > 6*math.Sqrt(n*tt.share*(1-tt.share)) {
				t.Errorf("%d of %d keys moved, the share is %.0f", moved, n, n*tt.share)
			}
		})
	}
}

// TestHashFamilies: a client gets both families from one answer.
func TestHashFamilies(t *testing.T) {
	w, r := balanced(t, config.HashSource, "a", "b*3", "c")
	s, q := w.states(), query(t)
	var v4, v6 Choice
	for _, client := range clients(200) {
		q.Source = client
		q.Type = 1
		r.Select(s, &q, &v4)
		q.Type = 28
		r.Select(s, &q, &v6)
		if v4.Answers[0] != v6.Answers[0] {
			t.Fatalf("%s gets A of %d and AAAA of %d", client, v4.Answers[0], v6.Answers[0])
		}
	}
}

// TestHashesNeverChange: nodes of different versions give clients the same answers.
func TestHashesNeverChange(t *testing.T) {
	for _, tt := range []struct {
		name      string
		got, want uint64
	}{
		{"string", hashString("www"), 0x8e1866f9b955e434},
		{"IPv4", toAddress(netip.MustParseAddr("192.0.2.1")).hash(), 0x6ce2f6d9e06719c3},
		{"IPv6", toAddress(netip.MustParseAddr("2001:db8::1")).hash(), 0x504b8dce1c938e43},
		{"lot", draw(1, 2), 0x2144d15f9b5359ab},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %#x, want %#x", tt.name, tt.got, tt.want)
		}
	}
}

// TestLargeGroup: members beyond the space on the stack count like the others.
func TestLargeGroup(t *testing.T) {
	var members []string
	for i := range maxLive + 100 {
		members = append(members, fmt.Sprintf("a%d", i))
	}
	w, r := balanced(t, config.RoundRobin, members...)
	s, q := w.states(), query(t)
	q.Cursors = make([]uint32, r.Cursors())
	var out Choice
	for i := range members {
		r.Select(s, &q, &out)
		if int(out.Answers[0]) != i {
			t.Fatalf("turn %d is that of %d", i, out.Answers[0])
		}
		out.Advance(q.Cursors)
	}
}
