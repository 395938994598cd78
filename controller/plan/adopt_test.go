package plan

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// way is what a switch does with the flows of one slot, by servers.
type way struct {
	New, Old packet.MAC // Old: of those that were there before the move; zero: all flows are New's
	Epoch    uint32
	Bank     uint8
	Back     bool
}

// ways reads a switch's slots as packets do, by VIP and slot.
func ways(have rows.Tables) map[string]way {
	m := make(map[string]way)
	for key, to := range have.VIP {
		slots := have.Slots[to.Table()]
		for i, row := range slots[:min(len(slots), int(to.SlotMask)+1)] {
			w := way{New: have.Backend[row.Backend].MAC}
			if old := have.Backend[row.Old].MAC; row.Epoch != 0 && !old.IsZero() {
				w = way{w.New, old, row.Epoch, row.Bank, row.Back}
			}
			m[fmt.Sprintf("%v slot %d", key.Address, i)] = w
		}
	}
	return m
}

// adopts adopts have in a world whose state is older, and makes sure that no flow is elsewhere afterwards, nor on the
// way.
func (w *world) adopts(stored State, have rows.Tables) Adoption {
	w.t.Helper()
	st, found := Adopt(w.st, stored, w.in.Intent, "leaf1", have)
	if err := st.Check(); err != nil {
		w.t.Fatalf("Adopt made a state that cannot be: %v", err)
	}
	if maps.Equal(st.Pools, w.st.Pools) {
		w.st = st // it follows from what the switch has
		return found
	}
	before := ways(have)
	for _, batch := range rows.Diff(have, build(w.in.Intent, st)) {
		for _, c := range batch {
			have = apply(have, c)
			after := ways(have)
			for slot, is := range before {
				if after[slot] != is {
					w.t.Fatalf("after %v: %s: was %+v, is %+v", c, slot, is, after[slot])
				}
			}
		}
	}
	w.st = st
	return found
}

// restored is a world with the state of before and the intent of now.
func (w *world) restored(stored State) *world {
	w.t.Helper()
	return &world{t: w.t, in: Input{Intent: w.in.Intent, Health: w.in.Health, Admin: maps.Clone(w.in.Admin)},
		st: stored}
}

func TestAdopt(t *testing.T) {
	drained := func(w *world) { w.admin("b1", Drain).step(); w.settle(); w.step() }
	undrained := func(w *world) { w.admin("b1", Active).step(); w.settle(); w.step() }
	pools := func(p ...config.Pool) func(*world) {
		return func(w *world) { w.in.Intent = intent(p...); w.step() }
	}
	key := func(names ...string) (keys []BackendKey) {
		for _, n := range names {
			keys = append(keys, BackendKey{"web", n})
		}
		return keys
	}
	both := func(f ...func(*world)) func(*world) {
		return func(w *world) {
			for _, f := range f {
				f(w)
			}
		}
	}
	named := func(names ...int) config.Pool {
		p := pool(16)
		for _, n := range names {
			p.Backends = append(p.Backends, backend(n, 100))
		}
		return p
	}
	tests := []struct {
		name   string
		before func(*world) // what the store has
		since  func(*world) // and what the switch has seen since
		start  func(*world) // what the controller is started with besides; nil: nothing
		want   Adoption
		slots  map[string]int // right after
	}{
		{"nothing was missed", drained, func(*world) {}, nil, Adoption{Slots: 16},
			map[string]int{"b1": 0, "b2": 8, "b3": 8}},
		{"a drain that was taken back", drained, undrained, func(w *world) { w.admin("b1", Drain) },
			Adoption{Slots: 16, Astray: 6, Serving: key("b1", "b2", "b3")},
			map[string]int{"b1": 6, "b2": 5, "b3": 5}},
		{"a drain that was not written to the switch", undrained, func(*world) {},
			nil, Adoption{Slots: 16}, map[string]int{"b1": 6, "b2": 5, "b3": 5}},
		{"a move under way", func(*world) {}, func(w *world) { w.admin("b1", Drain).step() }, nil,
			Adoption{Slots: 16, Astray: 6, Serving: key("b1", "b2", "b3")},
			map[string]int{"b1": 0, "-b1": 6, "b2": 8, "b3": 8}},
		{"a move that was over", func(w *world) { w.admin("b1", Drain).step() },
			func(w *world) { w.settle(); w.step() }, nil,
			Adoption{Slots: 16, Astray: 6, Serving: key("b2", "b3")},
			map[string]int{"b1": 0, "b2": 8, "b3": 8}},
		{"a dead one in its grace", func(*world) {}, func(w *world) { w.health("b1", Down).step() }, nil,
			Adoption{Slots: 16, Astray: 6, Serving: key("b1", "b2", "b3")},
			map[string]int{"b1": 0, "-b1": 6, "b2": 8, "b3": 8}},
		{"all dead in their grace", func(*world) {},
			func(w *world) { w.health("b1", Down).health("b2", Down).health("b3", Down).step() },
			func(w *world) { w.in.Health = nil },
			Adoption{Slots: 16, Astray: 16, Serving: key("b1", "b2", "b3")},
			map[string]int{"": 16, "b1": 0, "-b1": 6, "b2": 0, "-b2": 5, "b3": 0, "-b3": 5}},
		{"one that lives after all", func(*world) {},
			func(w *world) { w.health("b1", Down).step(); w.health("b1", Up).step() }, nil,
			Adoption{Slots: 16, Astray: 6, Serving: key("b1", "b2", "b3")},
			map[string]int{"b1": 6, "b2": 5, "-b2": 3, "b3": 5, "-b3": 3}},
		{"a backend that was added, and whom the intent has", func(*world) {},
			both(pools(named(1, 2, 3, 4)), func(w *world) { w.settle(); w.step() }),
			nil, Adoption{Slots: 16, Astray: 4, Serving: key("b1", "b2", "b3", "b4")},
			map[string]int{"b1": 4, "b2": 4, "b3": 4, "b4": 4}},
		{"its id was given to another one", func(*world) {}, both(pools(named(1, 2, 3, 4)), func(w *world) {
			w.settle()
			w.step()
		}),
			pools(named(1, 2, 3, 5, 4)), Adoption{Slots: 16, Astray: 4, Serving: key("b1", "b2", "b3", "b4")},
			map[string]int{"b1": 4, "b2": 4, "b3": 4, "b4": 4, "b5": 0}},
		{"a backend that was added, and whom the intent has not", func(*world) {},
			both(pools(named(1, 2, 3, 4)), func(w *world) { w.settle(); w.step() }),
			pools(named(1, 2, 3)),
			Adoption{Slots: 16, Astray: 4, Unknown: 1, Serving: key("02:00:00:00:00:04", "b1", "b2", "b3")},
			map[string]int{"b1": 4, "b2": 4, "b3": 4, "02:00:00:00:00:04": 4}},
		{"a backend that was removed", func(*world) {}, both(pools(named(2, 3)), func(w *world) {
			w.settle()
			w.step()
		}),
			pools(named(1, 2, 3)), Adoption{Slots: 16, Astray: 6, Serving: key("b2", "b3")},
			map[string]int{"b1": 0, "b2": 8, "b3": 8}},
		{"another number of slots", func(*world) {}, pools(pool(32, equal(3)...)), nil,
			Adoption{Slots: 32, Astray: 32, Serving: key("b1", "b2", "b3")},
			map[string]int{"b1": 11, "-b1": 1, "b2": 11, "b3": 10}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, graceful(16, equal(3)...))
			w.step()
			tt.before(w)
			stored := w.st
			tt.since(w)
			have := build(w.in.Intent, w.st)
			w = w.restored(stored)
			if tt.start != nil {
				tt.start(w)
			}
			w.step()
			if diff := cmp.Diff(tt.want, w.adopts(stored, have)); diff != "" {
				t.Errorf("adoption (-want +got):\n%s", diff)
			}
			w.want(tt.slots)
			// What has to change from there moves gradually.
			w.in.Health = nil
			for _, m := range w.step().Moves {
				if !m.Gradual && m.From != "" {
					t.Errorf("flows are moved: %+v", m)
				}
			}
		})
	}
}

// What no State can have is settled on who has the new flows, and what no row can be is nobody's.
func TestAdoptWhatCannotBe(t *testing.T) {
	tests := []struct {
		name string
		row  rows.Slot
		want rows.Slot
	}{
		{"no row", rows.Slot{}, rows.Slot{Backend: 1}},
		{"a move from a backend without a row", rows.Slot{Backend: 2, Old: 99, Epoch: 7}, rows.Slot{Backend: 2}},
		{"a move to a backend without a row", rows.Slot{Backend: 99, Old: 2, Epoch: 7}, rows.Slot{Backend: 2}},
		{"a move to itself", rows.Slot{Backend: 2, Old: 2, Epoch: 7}, rows.Slot{Backend: 2}},
		{"a move to nobody", rows.Slot{Old: 3, Epoch: 7, Bank: 1}, rows.Slot{Old: 3, Epoch: 7, Bank: 1}},
		{"back", rows.Slot{Backend: 2, Old: 3, Epoch: 7, Bank: 1, Back: true},
			rows.Slot{Backend: 2, Old: 3, Epoch: 7, Bank: 1, Back: true}},
		{"all backends without a row", rows.Slot{Backend: 98, Old: 99, Epoch: 7}, rows.Slot{Backend: 1}},
		{"an epoch that leaves none", rows.Slot{Backend: 2, Old: 3, Epoch: math.MaxUint32}, rows.Slot{Backend: 2}},
		{"a bank that does not exist", rows.Slot{Backend: 2, Old: 3, Epoch: 7, Bank: banks}, rows.Slot{Backend: 2}},
		{"an older epoch in the bank of another", rows.Slot{Backend: 2, Old: 3, Epoch: 7, Bank: 2},
			rows.Slot{Backend: 2}},
		{"a younger one", rows.Slot{Backend: 2, Old: 3, Epoch: 9, Bank: 2},
			rows.Slot{Backend: 2, Old: 3, Epoch: 9, Bank: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, graceful(4, equal(3)...))
			w.step()
			p := *w.st.Pools["web"]
			p.Slots = slices.Repeat([]rows.Slot{{Backend: 1}}, 4)
			w.st.Pools = map[string]*Pool{"web": &p}
			have := build(w.in.Intent, w.st)
			slots := slices.Clone(p.Slots)
			slots[1], slots[2] = tt.row, rows.Slot{Backend: 1, Old: 2, Epoch: 8, Bank: 2}
			have.Slots[rows.SlotTable{Pool: 1, Generation: 0}] = slots
			st, _ := Adopt(w.st, w.st, w.in.Intent, "leaf1", have)
			if err := st.Check(); err != nil {
				t.Fatal(err)
			}
			if got := st.Pools["web"].Slots[1]; got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Who is not asked: another pool's slots, and those that no VIP leads to.
func TestAdoptLeavesOthersAlone(t *testing.T) {
	w := newWorld(t, graceful(16, equal(3)...))
	w.step()
	have := build(w.in.Intent, w.st)
	t.Run("an empty switch", func(t *testing.T) {
		st, found := Adopt(w.st, w.st, w.in.Intent, "leaf1", rows.Tables{})
		if diff := cmp.Diff(w.st, st); diff != "" || found.Slots != 0 {
			t.Errorf("%+v, state (-want +got):\n%s", found, diff)
		}
	})
	t.Run("no VIP leads there", func(t *testing.T) {
		have := have
		have.VIP = nil
		if _, found := Adopt(w.st, w.st, w.in.Intent, "leaf1", have); found.Slots != 0 {
			t.Errorf("%+v", found)
		}
	})
	t.Run("the VIP was given to another pool", func(t *testing.T) {
		w := *w
		w.t = t
		stored := w.st
		other := pool(16, 100)
		other.Name, other.Backends[0] = "other", backend(9, 100)
		w.in.Intent = intent(graceful(16, equal(3)...), other)
		w.in.Intent.VIPs = w.in.Intent.VIPs[:1]
		w.in.Intent.VIPs[0].Pool = "other"
		w.step()
		if _, found := Adopt(w.st, stored, w.in.Intent, "leaf1", have); found.Slots != 0 {
			t.Errorf("%+v", found)
		}
	})
	t.Run("the intent gave a backend another MAC", func(t *testing.T) {
		w := *w
		w.t = t
		stored := w.st
		p := graceful(16, equal(3)...)
		p.Backends[0].MAC = packet.MAC{2, 9, 9, 9, 9, 9}
		w.in.Intent = intent(p)
		w.step()
		st, found := Adopt(w.st, stored, w.in.Intent, "leaf1", have)
		if diff := cmp.Diff(w.st, st); diff != "" || found.Astray != 0 {
			t.Errorf("%+v, state (-want +got):\n%s", found, diff)
		}
	})
}

// Pools that were made since, in another order, have the ids that the switch knows, and no epoch is used twice.
func TestAdoptPoolsOfOtherIDs(t *testing.T) {
	named := func(name string, first int) config.Pool {
		p := graceful(16)
		p.Name, p.Backends = name, []config.Backend{backend(first, 100), backend(first+1, 100)}
		return p
	}
	web, api, mail := named("web", 1), named("api", 3), named("mail", 5)
	w := newWorld(t, web)
	w.step()
	stored := w.st
	w.in.Intent = intent(web, api, mail)
	w.step()
	w.in.Admin[BackendKey{"mail", "b5"}] = Drain
	w.step()
	have := build(w.in.Intent, w.st)
	epoch := w.st.NextEpoch
	// The same VIPs, but the pools are made in another order.
	in := intent(web, api, mail)
	in.Pools = []config.Pool{web, mail, api}
	n := &world{t: t, in: Input{Intent: in, Health: w.in.Health, Admin: w.in.Admin}, st: stored}
	n.step()
	found := n.adopts(stored, have)
	if found.Slots != 48 || found.Unknown != 0 || n.st.NextEpoch < epoch {
		t.Errorf("%+v, next epoch %d, want %d at least", found, n.st.NextEpoch, epoch)
	}
	for _, name := range []string{"web", "api", "mail"} {
		if diff := cmp.Diff(w.st.Pools[name].Slots, n.st.Pools[name].Slots); diff != "" ||
			w.st.Pools[name].ID != n.st.Pools[name].ID {
			t.Errorf("%s: id %d, want %d, slots (-want +got):\n%s", name, n.st.Pools[name].ID, w.st.Pools[name].ID,
				diff)
		}
	}
}

// Whatever has happened since the store was written, and in the intent since: no flow is elsewhere after Adopt, and
// what follows moves gradually.
func TestAdoptRandomLives(t *testing.T) {
	lives := 400
	if testing.Short() {
		lives = 100
	}
	for seed := range uint64(lives) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			w := newWorld(t, graceful(32, equal(3)...))
			w.step()
			live := func(steps int) {
				for range steps {
					name := fmt.Sprintf("b%d", 1+r.IntN(6))
					switch r.IntN(6) {
					case 0:
						w.health(name, []Health{Up, Down}[r.IntN(2)])
					case 1:
						w.admin(name, []Admin{Active, Drain}[r.IntN(2)])
					case 2:
						p := graceful([]int{16, 32, 64}[r.IntN(3)])
						for _, n := range r.Perm(6)[:1+r.IntN(6)] {
							p.Backends = append(p.Backends, backend(n+1, 100*(1+r.IntN(3))))
						}
						w.in.Intent = intent(p)
					case 3:
						w.settle()
					case 4: // graces end
						for _, m := range w.st.Pools["web"].Members {
							w.st, _ = Settle(w.st, w.st.Pools["web"].Kept(m.ID))
						}
					}
					w.step()
				}
			}
			live(r.IntN(12))
			stored := w.st
			live(r.IntN(12))
			have := build(w.in.Intent, w.st)
			if r.IntN(2) == 0 {
				w.in.Intent = intent(graceful(32, equal(1+r.IntN(6))...))
			}
			w = w.restored(stored)
			w.step()
			w.adopts(stored, have)
			w.in.Health, w.in.Hold = nil, hold("web")
			if moves := w.step().Moves; slices.ContainsFunc(moves,
				func(m Move) bool { return !m.Gradual && m.From != "" && !m.Grace }) {
				t.Errorf("flows are moved: %+v", moves)
			}
		})
	}
}

// A store that was lost draws another secret, and plans the same slots for the same intent. The flows are where the
// switch's secret has them.
func TestSecretIsAdopted(t *testing.T) {
	of := func(secret rows.Secret) State {
		st, _, err := Step(State{Secret: secret}, Input{Intent: intent(pool(64, 100, 100))})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	in := intent(pool(64, 100, 100))
	old, fresh := of(rows.Secret{1, 2}), of(rows.Secret{3, 4})
	have := build(in, old)
	got, found := Adopt(fresh, State{}, in, "leaf1", have)
	if found.Astray != 64 {
		t.Errorf("found %+v, want all slots astray", found)
	}
	if diff := cmp.Diff(have.VIP, build(in, got).VIP); diff != "" {
		t.Errorf("rows of VIPs (-have +want):\n%s", diff)
	}
	// It stays, and a pool to come has that of the store.
	in.Pools = append(in.Pools, config.Pool{Name: "other", Slots: 64, Backends: pool(64, 1).Backends})
	next, _, err := Step(got, Input{Intent: in})
	if err != nil {
		t.Fatal(err)
	}
	web, other := next.Pools["web"].Secret, next.Pools["other"].Secret
	if web != (rows.Secret{1, 2}) || other != (rows.Secret{3, 4}) {
		t.Errorf("the secrets are %v and %v", web, other)
	}
}

// Slots that are alike by another secret hold other flows: the switch does not have what is stored.
func TestSecretOfAnotherStore(t *testing.T) {
	ours, theirs := rows.Secret{1, 2}, rows.Secret{3, 4}
	of := func(secret rows.Secret, names ...string) (*config.Intent, State) {
		var pools []config.Pool
		for _, name := range names {
			n := int(name[0])
			p := config.Pool{Name: name, Slots: 16, Backends: []config.Backend{backend(n, 1), backend(n+1, 1)}}
			pools = append(pools, p)
		}
		in := intent(pools...)
		for i := range in.VIPs { // and servers, and addresses, are the same in any order
			in.VIPs[i].Address = netip.AddrFrom4([4]byte{192, 0, 2, in.VIPs[i].Pool[0]})
		}
		st, _, err := Step(State{Secret: secret}, Input{Intent: in})
		if err != nil {
			t.Fatal(err)
		}
		return in, st
	}
	in, stored := of(ours, "web", "api")
	second := in.VIPs[0]
	second.Address = netip.MustParseAddr("192.0.2.1")
	_, another := of(theirs, "web", "api")
	swappedIn, swapped := of(theirs, "api", "web")

	tests := []struct {
		name   string
		have   func() rows.Tables
		astray int
		kept   []netip.Addr // VIPs whose rows stay
	}{
		{"as stored", func() rows.Tables { return build(in, stored) }, 0,
			[]netip.Addr{in.VIPs[0].Address, in.VIPs[1].Address}},
		{"the same slots of another store", func() rows.Tables { return build(in, another) }, 32,
			[]netip.Addr{in.VIPs[0].Address, in.VIPs[1].Address}},
		{"another store, where pools have each other's ids",
			func() rows.Tables { return build(swappedIn, swapped) }, 32,
			[]netip.Addr{in.VIPs[0].Address, in.VIPs[1].Address}},
		{"one VIP of two was not written yet", func() rows.Tables {
			have := build(in, stored)
			key := rows.VIPKey{Address: in.VIPs[0].Address, Protocol: in.VIPs[0].Protocol, Port: 80}
			to := have.VIP[key]
			to.Secret = theirs
			have.VIP[rows.VIPKey{Address: second.Address, Protocol: second.Protocol, Port: 80}] = to
			return have
		}, 0, []netip.Addr{in.VIPs[0].Address, in.VIPs[1].Address}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with := *in
			with.VIPs = append(slices.Clone(in.VIPs), second)
			have := tt.have()
			got, found := Adopt(stored, stored, &with, "leaf1", have)
			if found.Astray != tt.astray {
				t.Errorf("%d slots are astray, want %d", found.Astray, tt.astray)
			}
			if err := got.Check(); err != nil {
				t.Errorf("the state cannot be: %v", err)
			}
			want := build(&with, got).VIP
			for _, address := range tt.kept {
				key := rows.VIPKey{Address: address, Protocol: config.TCP, Port: 80}
				if diff := cmp.Diff(have.VIP[key], want[key]); diff != "" {
					t.Errorf("%v (-have +want):\n%s", address, diff)
				}
			}
		})
	}
}
