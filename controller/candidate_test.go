package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// ballotBox is the store of a candidate.
type ballotBox struct {
	err     error // of Bid
	bids    []string
	bidders []string
}

func (b *ballotBox) Bid(_ context.Context, target, id string) error {
	if b.err == nil {
		b.bids = append(b.bids, target+" "+id)
	}
	return b.err
}

func (b *ballotBox) Bidders(context.Context, string) ([]string, error) { return b.bidders, nil }

func TestNextElection(t *testing.T) {
	now := time.UnixMicro(1000)
	const most = math.MaxUint64
	for _, test := range []struct {
		name    string
		high    uint64
		highest *p4rt.ElectionID
		want    p4rt.ElectionID
	}{
		{"nobody was there", 0, nil, p4rt.ElectionID{Low: 1000}},
		{"the clock is above", 0, &p4rt.ElectionID{Low: 999}, p4rt.ElectionID{Low: 1000}},
		{"the same", 0, &p4rt.ElectionID{Low: 1000}, p4rt.ElectionID{Low: 1001}},
		{"somebody's clock is ahead", 0, &p4rt.ElectionID{Low: 5000}, p4rt.ElectionID{Low: 5001}},
		{"a higher half above", 1, &p4rt.ElectionID{High: 2, Low: 7}, p4rt.ElectionID{High: 2, Low: 8}},
		{"a higher half below", 3, &p4rt.ElectionID{High: 2, Low: most}, p4rt.ElectionID{High: 3, Low: 1000}},
		{"the low half is full", 0, &p4rt.ElectionID{High: 2, Low: most}, p4rt.ElectionID{High: 3}},
		{"there is none above", 0, &p4rt.ElectionID{High: most, Low: most}, p4rt.ElectionID{High: most, Low: most}},
	} {
		if got := nextElection(test.high, now, test.highest); got != test.want {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestCandidate(t *testing.T) {
	foreign := &p4rt.ElectionID{Low: 77}
	ahead := &p4rt.ElectionID{High: 9}
	unavailable := fmt.Errorf("making sure of the store: %w", store.ErrUnavailable)
	for _, test := range []struct {
		name     string
		box      ballotBox
		before   []p4rt.Rivals // what the switch told before
		seen     p4rt.Rivals
		min, max time.Duration // how long it takes
		want     string        // the error; otherwise there must be an id above what was seen
	}{
		{name: "nobody ever came", seen: p4rt.Rivals{}},
		{name: "somebody was there before this controller came", seen: p4rt.Rivals{Highest: foreign}},
		{name: "another controller has the switch", seen: p4rt.Rivals{Primary: true, Highest: foreign},
			want: "switch leaf1 is controlled by another controller, election id 0:77; this one waits until that " +
				"has left"},
		{name: "another has it with a higher id", seen: p4rt.Rivals{Primary: true, Highest: ahead},
			want: "switch leaf1 is controlled by another controller, election id 9:0; this one waits until that " +
				"has left"},
		{name: "it had it and has left", before: []p4rt.Rivals{{Primary: true, Highest: foreign}},
			seen: p4rt.Rivals{Highest: foreign},
			min:  outbidPause, max: 2 * outbidPause},
		{name: "its clock was ahead", seen: p4rt.Rivals{Highest: ahead}, min: outbidPause, max: 2 * outbidPause},
		{name: "the leader before has it", box: ballotBox{bidders: []string{"0:5", "0:77"}},
			seen: p4rt.Rivals{Primary: true, Highest: foreign}},
		{name: "the leader before had it, its clock ahead", box: ballotBox{bidders: []string{"9:0"}},
			seen: p4rt.Rivals{Highest: ahead}},
		{name: "the store is another's", box: ballotBox{err: store.ErrConflict}, seen: p4rt.Rivals{},
			want: "another controller has taken over the store"},
		{name: "the store does not answer", box: ballotBox{err: unavailable}, seen: p4rt.Rivals{}, min: unsurePause,
			max: unsurePause + storeRetry},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box := test.box
				c := &candidate{switchName: "leaf1", target: "leaf1:9559", store: &box,
					log: slog.New(slog.DiscardHandler)}
				for _, seen := range test.before {
					if id, err := c.elect(t.Context(), seen); err == nil {
						t.Errorf("before: id %v", id)
					}
				}
				began := time.Now()
				id, err := c.elect(t.Context(), test.seen)
				took := time.Since(began)
				if test.want != "" {
					if err == nil || err.Error() != test.want || len(box.bids) > 0 {
						t.Errorf("got %v, %v, bids %v, want %s", id, err, box.bids, test.want)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if took < test.min || took > test.max {
					t.Errorf("it took %v, want %v to %v", took, test.min, test.max)
				}
				if clock := (p4rt.ElectionID{Low: uint64(began.UnixMicro())}); id.Compare(clock) < 0 ||
					test.seen.Highest != nil && id.Compare(*test.seen.Highest) <= 0 {
					t.Errorf("id %v, want one above %v and not below the clock", id, test.seen.Highest)
				}
				if want := "leaf1:9559 " + id.String(); test.box.err == nil &&
					(len(box.bids) != 1 || box.bids[0] != want) {
					t.Errorf("the store was asked about %v, want %s", box.bids, want)
				}
			})
		})
	}
}

// A controller that has lost the connection finds its own id at a switch that has not noticed yet: that is no rival.
func TestOwnGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &candidate{switchName: "leaf1", store: &ballotBox{}, log: slog.New(slog.DiscardHandler)}
		first, err := c.elect(t.Context(), p4rt.Rivals{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		second, err := c.elect(t.Context(), p4rt.Rivals{Primary: true, Highest: &first})
		if err != nil || second.Compare(first) <= 0 || time.Since(began) > 0 {
			t.Errorf("got %v, %v after %v, want an id above %v at once", second, err, time.Since(began), first)
		}
	})
}

// News of the switch ends the pause before an outbidding.
func TestPauseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := &ballotBox{}
		c := &candidate{switchName: "leaf1", store: box, log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithTimeout(t.Context(), outbidPause/2)
		defer cancel()
		if id, err := c.elect(ctx, p4rt.Rivals{Highest: &p4rt.ElectionID{High: 9}}); !errors.Is(err,
			context.DeadlineExceeded) || len(box.bids) > 0 {
			t.Errorf("got %v, %v, bids %v", id, err, box.bids)
		}
	})
}
