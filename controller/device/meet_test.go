package device

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/backlog"
)

// Nothing of the plan is written to a switch before whoever decides knows what it holds, and what is wanted by then is
// what is written. A session that ends meanwhile ends in time, and the next one asks again; who has been answered does
// not.
func TestMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inserted := 0
		target := &fakeTarget{Backlog: backlog.New(backlog.DefaultRooms, nil), refuse: func(u *v1.Update) codes.Code {
			if u.GetEntity().GetTableEntry() != nil {
				inserted++
			}
			return codes.OK
		}}
		asked, answer := 0, make(chan struct{})
		var d *Device
		wanted := func(ids ...rows.BackendID) Wanted {
			w := Wanted{Tables: rows.Tables{Backend: make(map[rows.BackendID]rows.Forward)}}
			for _, id := range ids {
				w.Tables.Backend[id] = rows.Forward{Port: uint16(id)}
			}
			return w
		}
		d, err := New(Config{
			Log:     slog.New(slog.DiscardHandler),
			Observe: func(context.Context, Observation) {},
			Meet: func(ctx context.Context, have rows.Tables) {
				asked++
				select {
				case <-answer:
					d.Set(wanted(1, 2, 3))
				case <-ctx.Done():
				}
			},
		}, wanted(1))
		if err != nil {
			t.Fatal(err)
		}
		session := func() (end func()) {
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() { done <- newReconciler(d, target, new(Status)).run(ctx) }()
			return func() {
				t.Helper()
				cancel(errStopped)
				if err := <-done; !errors.Is(err, errStopped) {
					t.Errorf("the session ended: %v", err)
				}
			}
		}
		want := func(when string, asks, written int) {
			t.Helper()
			if asked != asks || inserted != written {
				t.Errorf("%s: asked %d times and %d rows written, want %d and %d", when, asked, inserted, asks, written)
			}
		}
		end := session()
		pause(time.Hour)
		want("without an answer", 1, 0)
		end()
		end = session()
		synctest.Wait()
		want("in the next session", 2, 0)
		close(answer)
		synctest.Wait()
		want("answered", 2, 3)
		end()
		end = session()
		synctest.Wait()
		want("in the session after", 2, 6) // the target holds nothing
		end()
	})
}
