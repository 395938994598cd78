package p4rt_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// ballot is one call of Elect, which runs until the test decides or its context ends.
type ballot struct {
	ctx  context.Context
	seen p4rt.Rivals
	id   chan p4rt.ElectionID
	err  chan error
}

// electing starts a session whose ids the test makes.
func electing(t *testing.T) (*harness, chan ballot) {
	ballots := make(chan ballot, 16)
	h := start(t, func(c *p4rt.Config) {
		c.Election = nil
		c.Elect = func(ctx context.Context, seen p4rt.Rivals) (p4rt.ElectionID, error) {
			b := ballot{ctx, seen, make(chan p4rt.ElectionID), make(chan error)}
			ballots <- b
			select {
			case id := <-b.id:
				return id, nil
			case err := <-b.err:
				return p4rt.ElectionID{}, err
			case <-ctx.Done():
				return p4rt.ElectionID{}, ctx.Err()
			}
		}
	})
	return h, ballots
}

func wantSeen(t *testing.T, got, want p4rt.Rivals) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what Elect is asked with (-want +got):\n%s", diff)
	}
}

func wantBid(t *testing.T, s *fakeStream, want *v1.Uint128) {
	t.Helper()
	m := (<-s.requests).GetArbitration()
	if diff := cmp.Diff(&v1.MasterArbitrationUpdate{DeviceId: deviceID, ElectionId: want}, m,
		protocmp.Transform()); diff != "" {
		t.Errorf("arbitration request (-want +got):\n%s", diff)
	}
}

// The session looks first, then comes with the id that it is given, and asks again when it was outbid.
func TestElect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ballots := electing(t)
		s, m := h.accept(t)
		if m.ElectionId != nil {
			t.Errorf("the first arbitration has id %v, want none", m.ElectionId)
		}
		s.arbitrate(t, codes.OK, &v1.Uint128{}) // bmv2, where nobody else is
		b := <-ballots
		wantSeen(t, b.seen, p4rt.Rivals{Highest: &p4rt.ElectionID{}})
		h.wantStatus(t, p4rt.Backup, "not primary: has not asked to be")
		b.id <- *ours
		wantBid(t, s, ourID)
		s.arbitrate(t, codes.OK, ourID)
		first := <-h.turns
		if err := first.p.Write(first.ctx, []*v1.Update{{}}); err != nil {
			t.Fatal(err)
		}

		s.arbitrate(t, codes.AlreadyExists, higher)
		<-first.ctx.Done()
		b = <-ballots
		wantSeen(t, b.seen, p4rt.Rivals{Primary: true, Highest: &p4rt.ElectionID{High: 2}})
		b.err <- errors.New("it lives")
		h.wantStatus(t, p4rt.Backup, "not primary: it lives")

		s.arbitrate(t, codes.NotFound, higher)
		b = <-ballots
		wantSeen(t, b.seen, p4rt.Rivals{Highest: &p4rt.ElectionID{High: 2}})
		b.id <- p4rt.ElectionID{High: 2, Low: 1}
		wantBid(t, s, &v1.Uint128{High: 2, Low: 1})
		s.arbitrate(t, codes.OK, &v1.Uint128{High: 2, Low: 1})
		second := <-h.turns
		if err := second.p.Write(second.ctx, []*v1.Update{{}}); err != nil {
			t.Fatal(err)
		}
		h.wantStatus(t, p4rt.Active, "")
		h.set(func() {
			var got []*v1.Uint128
			for _, w := range h.writes {
				got = append(got, w.ElectionId)
			}
			if diff := cmp.Diff([]*v1.Uint128{ourID, {High: 2, Low: 1}}, got, protocmp.Transform()); diff != "" {
				t.Errorf("election ids of the writes (-want +got):\n%s", diff)
			}
		})
	})
}

// News ends the question that was asked on older ones, and what comes of it does not count.
func TestElectIsAskedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ballots := electing(t)
		s, _ := h.accept(t)
		s.arbitrate(t, codes.NotFound, nil)
		b := <-ballots
		wantSeen(t, b.seen, p4rt.Rivals{})
		s.arbitrate(t, codes.AlreadyExists, higher)
		<-b.ctx.Done()
		b = <-ballots
		wantSeen(t, b.seen, p4rt.Rivals{Primary: true, Highest: &p4rt.ElectionID{High: 2}})
		time.Sleep(time.Hour)
		if len(s.requests) > 0 || len(h.turns) > 0 {
			t.Error("the session asked for primacy, or has it")
		}
		s.end <- status.Error(codes.Unavailable, "reset")
		<-b.ctx.Done()
		s, m := h.accept(t)
		if m.ElectionId != nil {
			t.Errorf("the new connection begins with id %v, want none", m.ElectionId)
		}
		s.arbitrate(t, codes.NotFound, nil)
		(<-ballots).id <- *ours
		wantBid(t, s, ourID)
	})
}

// What a target said before it had the id is not its answer.
func TestAnswersToAnEarlierID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ballots := electing(t)
		s, _ := h.accept(t)
		s.arbitrate(t, codes.NotFound, nil)
		(<-ballots).id <- *ours
		wantBid(t, s, ourID)
		s.arbitrate(t, codes.NotFound, nil)
		s.arbitrate(t, codes.AlreadyExists, &v1.Uint128{Low: 9})
		s.arbitrate(t, codes.NotFound, &v1.Uint128{Low: 9})
		synctest.Wait()
		if len(ballots) > 0 {
			t.Error("Elect was asked about news that are older than its id")
		}
		s.arbitrate(t, codes.OK, ourID)
		<-h.turns
	})
}

func TestElectedIDRefusedOrUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, ballots := electing(t)
		s, _ := h.accept(t)
		s.arbitrate(t, codes.NotFound, nil)
		(<-ballots).id <- *ours
		wantBid(t, s, ourID)
		s.end <- status.Error(codes.InvalidArgument, "exists")
		h.wantStatus(t, p4rt.Disconnected, "the election id is in use by another live client: 1:5")

		s, _ = h.accept(t)
		s.arbitrate(t, codes.NotFound, nil)
		(<-ballots).id <- *ours
		wantBid(t, s, ourID)
		time.Sleep(5 * time.Second)
		h.wantStatus(t, p4rt.Disconnected, "no answer to the arbitration request within 5s")
	})
}
