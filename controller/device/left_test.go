package device

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// leftTarget counts reports that it held back, by bank.
type leftTarget struct {
	fakeTarget
	unsent  [limits.Banks]int64
	err     error
	dropped uint64
}

func (l *leftTarget) Dropped(backlog.Kind) uint64 { return l.dropped }

func (l *leftTarget) Read(context.Context, ...*v1.Entity) iter.Seq2[*v1.Entity, error] {
	return func(yield func(*v1.Entity, error) bool) {
		if l.err != nil {
			yield(nil, l.err)
			return
		}
		for i, n := range l.unsent {
			e := &v1.CounterEntry{Index: &v1.Index{Index: int64(i)}, Data: &v1.CounterData{PacketCount: n}}
			if !yield(&v1.Entity{Entity: &v1.Entity_CounterEntry{CounterEntry: e}}, nil) {
				return
			}
		}
	}
}

// What a switch says of the flows that moving slots leave behind is told together, and what it may not have said.
func TestLeftFlowsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := &leftTarget{fakeTarget: fakeTarget{Backlog: backlog.New(backlog.DefaultRooms, nil)}}
		target.unsent[2] = 7 // of before
		var got []Left
		d, err := New(Config{Name: "leaf1", Log: slog.New(slog.DiscardHandler),
			Observe: func(_ context.Context, r Observation) { got = append(got, *r.Left) }}, Wanted{})
		if err != nil {
			t.Fatal(err)
		}
		r := newReconciler(d, target, new(Status))
		r.held = newHeld()
		r.held.apply(rows.Change{Op: rows.Insert, Row: rows.SlotRow{SlotTable: slots1,
			Slot: rows.Slot{Backend: 2, Old: 1, Epoch: 1}}})
		e, err := d.codec.info.DigestEntity(left, digests)
		if err != nil {
			t.Fatal(err)
		}
		value := func(b ...byte) *v1.P4Data { return &v1.P4Data{Data: &v1.P4Data_Bitstring{Bitstring: b}} }
		flow := func(last byte) {
			err := r.digest(&v1.DigestList{DigestId: e.GetDigestEntry().GetDigestId(),
				Data: []*v1.P4Data{{Data: &v1.P4Data_Struct{Struct: &v1.P4StructLike{
					Members: []*v1.P4Data{value(0xff, 0, 0, 0, 0, 0, 0, last), value(1)},
				}}}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		next := func(what string, want ...Left) {
			t.Helper()
			got = nil
			for range 20 {
				r.reportLeft(t.Context())
				time.Sleep(leftInterval)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		all := [limits.Banks]bool{true, true, true, true}
		next("nothing")
		flow(1)
		flow(2)
		flow(1)
		next("two flows", Left{Flows: map[rows.Flow]rows.BackendID{0xff<<56 | 1: 1, 0xff<<56 | 2: 1}})
		target.unsent[1]++
		next("held back", Left{Lost: [limits.Banks]bool{1: true}})
		next("and no more")
		target.dropped++
		next("no room here", Left{Lost: all})
		target.err = errors.New("no answer")
		next("who does not answer may hold anything back", Left{Lost: all}, Left{Lost: all})
		target.err = nil
		r.leavers = leavers{known: true, unsent: [limits.Banks]uint64{1: 1, 2: 7}, lost: 1}
		for i := range mostLeft + 1 {
			r.leavers.add(rows.Flow(i), 1)
		}
		got = nil
		r.reportLeft(t.Context())
		if len(got) != 1 || len(got[0].Flows) != mostLeft || got[0].Lost != all {
			t.Errorf("more than can be pinned: %d reports", len(got))
		}
		r.held.apply(rows.Change{Op: rows.Modify, Row: rows.SlotRow{SlotTable: slots1, Slot: rows.Slot{Backend: 2}}})
		target.unsent[1]++
		next("when nothing moves nobody is asked")
	})
}

var _ target = (*p4rt.Primary)(nil)
