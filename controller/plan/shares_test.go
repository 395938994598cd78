package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/rows"
)

func weightedBy(weights ...int) []weighted {
	by := make([]weighted, len(weights))
	for i, w := range weights {
		by[i] = weighted{rows.BackendID(i + 1), w}
	}
	return by
}

func TestShares(t *testing.T) {
	tests := []struct {
		name    string
		m       int
		weights []int
		want    []int
	}{
		{"nobody", 64, nil, nil},
		{"one", 64, []int{3}, []int{64}},
		{"the lower id gets the odd one", 64, []int{100, 100, 100}, []int{22, 21, 21}},
		{"by weight", 4096, []int{100, 200, 100}, []int{1024, 2048, 1024}},
		{"more backends than slots", 2, []int{1, 1, 1}, []int{1, 1, 0}},
		{"the lowest peak", 16, []int{1000, 37, 37, 37, 37, 37}, []int{16, 0, 0, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, shares(tt.m, weightedBy(tt.weights...))); diff != "" {
				t.Errorf("shares (-want +got):\n%s", diff)
			}
		})
	}
}

// randomWeights are those of up to 100 backends, each worth at least one of m slots.
func randomWeights(r *rand.Rand, m int) []int {
	for {
		weights := make([]int, 1+r.IntN(100))
		sum := 0
		for i := range weights {
			weights[i] = 1 + r.IntN([...]int{1, 3, 1000}[r.IntN(3)])
			sum += weights[i]
		}
		if slices.Min(weights)*m >= sum {
			return weights
		}
	}
}

// When somebody leaves, nobody else loses a slot: a death moves the dead backend's slots and no other.
func TestSharesAreMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		by := weightedBy(randomWeights(r, 4096)...)
		before := shares(4096, by)
		i := r.IntN(len(by))
		after := shares(4096, slices.Delete(slices.Clone(by), i, i+1))
		for k, n := range slices.Delete(slices.Clone(before), i, i+1) {
			if len(after) > 0 && after[k] < n {
				t.Fatalf("%v: without %d a share falls from %d to %d", by, i, n, after[k])
			}
		}
		by[i].weight++
		for k, n := range shares(4096, by) {
			if k != i && n > before[k] || k == i && n < before[k] {
				t.Fatalf("%v: when the weight of %d rises the share of %d goes from %d to %d", by, i, k, before[k], n)
			}
		}
	}
}

// No other division has a lower peak of slots per weight, and everybody has the whole part of the exact share.
func TestSharesHaveTheLowestPeak(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		const m = 4096
		by := weightedBy(randomWeights(r, m)...)
		given := shares(m, by)
		sum, most := 0, 0
		for i, w := range by {
			sum += w.weight
			if given[i]*by[most].weight > given[most]*w.weight {
				most = i
			}
		}
		// Below that peak not all slots find a place.
		room := 0
		for i, w := range by {
			room += (given[most]*w.weight - 1) / by[most].weight
			if given[i] < m*w.weight/sum {
				t.Fatalf("%v: %d gets %d slots, its exact share is more than %d", by, i, given[i], m*w.weight/sum)
			}
		}
		if room >= m {
			t.Fatalf("%v: a peak below %d/%d is possible", by, given[most], by[most].weight)
		}
	}
}

// peak returns the greatest ratio of slots to exact share.
func peak(slots []rows.Slot, by []weighted) float64 {
	counts := make(map[rows.BackendID]int)
	for _, s := range slots {
		counts[s.Backend]++
	}
	sum, most := 0, 0.0
	for _, w := range by {
		sum += w.weight
	}
	for _, w := range by {
		most = max(most, float64(counts[w.id])*float64(sum)/float64(w.weight*len(slots)))
	}
	return most
}

// The aim is 1.01 with 4,096 slots and up to 100 backends. Whole slots allow it for most numbers of
// backends, 100 among them, but not for all: of 93 somebody has 45 slots where the mean is 44.04. The
// table has the lowest peak that there is (TestSharesHaveTheLowestPeak), never more than 1 + (n-1)/m.
// With 16,384 slots that keeps 1.01 for every number up to 100 and whatever weights.
func TestPeakOverMean(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	uneven := func(n int) []int {
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 50 + r.IntN(951)
		}
		return weights
	}
	type test struct {
		name    string
		m       int
		weights []int
		most    float64
	}
	tests := []test{
		{"1 to 3", 4096, []int{100, 200, 300}, 1.01},
		{"the aim: 100 backends", 4096, equal(100), 1.01},
		{"41 backends, uneven", 4096, uneven(41), 1.01},
		{"100 backends, uneven", 4096, uneven(100), 1.025},
		{"100 backends, uneven, 16384 slots", 16384, uneven(100), 1.01},
	}
	for n := 1; n <= 100; n++ {
		tests = append(tests,
			test{fmt.Sprintf("%d backends", n), 4096, equal(n), math.Ceil(4096/float64(n)) / (4096 / float64(n))},
			test{fmt.Sprintf("%d backends, 16384 slots", n), 16384, equal(n), 1.01})
	}
	for _, tt := range tests {
		w := newWorld(t, pool(tt.m, tt.weights...))
		w.step()
		by := weightedBy(tt.weights...)
		if got := peak(w.st.Pools["web"].Slots, by); got > min(tt.most, 1+float64(len(by)-1)/float64(tt.m))+1e-12 {
			t.Errorf("%s: peak/mean is %.4f, want at most %.4f", tt.name, got, tt.most)
		}
	}
}

// The slots of a dead backend spread over all who are left.
func TestMaglevSpreads(t *testing.T) {
	w := newWorld(t, pool(4096, equal(10)...))
	w.step()
	progress := w.health("b4", Down).step()
	for _, m := range progress.Moves {
		if m.Slots < 45 || m.Slots > 46 {
			t.Errorf("%d slots go to %s, want 45 or 46 of 409", m.Slots, m.To)
		}
	}
	if len(progress.Moves) != 9 {
		t.Errorf("the slots go to %d backends, want 9", len(progress.Moves))
	}
}

// Every permutation visits every slot.
func TestDealOffersEverySlot(t *testing.T) {
	for _, m := range []int{1, 2, 64, 4096} {
		for s := range uint64(20) {
			seen := make([]int, m)
			deal(m, m, []taker{{seed: seed("p", fmt.Sprint(s)), want: m}}, func(slot, _ int) bool {
				seen[slot]++
				return true
			})
			if slices.Min(seen) != 1 || slices.Max(seen) != 1 {
				t.Fatalf("of %d slots some are offered %d times and some %d", m, slices.Min(seen), slices.Max(seen))
			}
		}
	}
}
