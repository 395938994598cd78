package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
)

// slowStore takes its time for a save, keeps all of them, and obeys its context.
type slowStore struct {
	mu    sync.Mutex // guards what follows
	takes time.Duration
	saved []core.Stored
	err   error
	most  int64 // the revision after which all is too large, 0: none
}

func (s *slowStore) Save(ctx context.Context, st core.Stored) error {
	s.mu.Lock()
	takes, failure := s.takes, s.err
	if s.most > 0 && st.Intent.Revision > s.most {
		failure = fmt.Errorf("writing the store: %w: etcdserver: request is too large", store.ErrRefused)
	}
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return fmt.Errorf("writing the store: %w: %w", store.ErrUnavailable, ctx.Err())
	}
	if failure != nil {
		return failure
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = append(s.saved, st)
	return nil
}

func (s *slowStore) set(takes time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes, s.err = takes, err
}

func (s *slowStore) last() core.Stored {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[len(s.saved)-1]
}

// saving runs test over a loop at work.
func saving(t *testing.T, test func(t *testing.T, db *slowStore, s *service, look func(func(*loop)), stop func())) {
	synctest.Test(t, func(t *testing.T) {
		db := &slowStore{}
		l := newTestLoop(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = l.run(ctx, nil) }()
		stop := func() { cancel(); <-ended }
		defer stop()
		db.set(100*time.Millisecond, nil)
		test(t, db, &service{loop: l}, func(f func(*loop)) {
			t.Helper()
			if err := l.do(ctx, func() { f(l) }); err != nil {
				t.Error(err)
			}
		}, stop)
	})
}

const drained = testIntent + "# more\n"

// A caller that leaves in mid-save decides nothing: the save goes on, and its outcome is what happened.
func TestCallerLeaves(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(context.Context, *service)
		is   func(*loop) bool
	}{
		{"a verdict", func(ctx context.Context, s *service) {
			_, _ = s.ReportVerdicts(ctx, &api.ReportVerdictsRequest{Verdicts: down("web2")})
		}, func(l *loop) bool { return l.slotsOf("web2") == 0 }},
		{"an intent", func(ctx context.Context, s *service) {
			_, _ = s.ApplyIntent(ctx, &api.ApplyIntentRequest{Yaml: drained})
		}, func(l *loop) bool {
			return l.core.Stored().Intent.Revision == 2 && l.core.Stored().Intent.YAML == drained
		}},
		{"a drain", func(ctx context.Context, s *service) {
			_, _ = s.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Backend: "web1", Admin: api.Admin_ADMIN_DRAIN})
		}, func(l *loop) bool {
			return l.core.Stored().Admin[plan.BackendKey{Pool: "web", Backend: "web1"}] == plan.Drain
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			saving(t, func(t *testing.T, db *slowStore, s *service, look func(func(*loop)), _ func()) {
				ctx, leave := context.WithCancel(t.Context())
				go test.call(ctx, s)
				time.Sleep(50 * time.Millisecond)
				leave()
				time.Sleep(time.Millisecond)
				look(func(l *loop) {
					if l.core.Frozen() != nil {
						t.Errorf("frozen: %v", l.core.Frozen())
					}
					if !test.is(l) {
						t.Error("what was stored did not come into effect")
					}
					if diff := cmp.Diff(l.core.Stored(), db.last(),
						cmpopts.EquateComparable(rows.VIPKey{})); diff != "" {
						t.Errorf("stored (-decided +stored):\n%s", diff)
					}
				})
			})
		})
	}
}

// What the loop has not taken up when its caller leaves is not done.
func TestCallerLeavesBefore(t *testing.T) {
	saving(t, func(t *testing.T, _ *slowStore, s *service, look func(func(*loop)), _ func()) {
		go func() { _, _ = s.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: down("web2")}) }()
		time.Sleep(50 * time.Millisecond) // the loop saves that one
		ctx, leave := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer leave()
		_, err := s.ApplyIntent(ctx, &api.ApplyIntentRequest{Yaml: drained})
		if want := "unavailable: nothing was done: the caller has left, or the controller is stopping: context " +
			"deadline exceeded"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		time.Sleep(time.Second)
		look(func(l *loop) {
			if l.core.Stored().Intent.Revision != 1 {
				t.Errorf("revision %d runs, want 1", l.core.Stored().Intent.Revision)
			}
		})
	})
}

// A change that was refused because the store did not answer is not what a restart finds, though it reached the
// store after all.
func TestRefusedChangeIsTakenBack(t *testing.T) {
	saving(t, func(t *testing.T, db *slowStore, s *service, look func(func(*loop)), _ func()) {
		db.set(4*time.Second, nil)
		_, err := s.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: drained})
		want := "unavailable: the configuration is frozen: writing the store: the store does not answer for 3s"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		// A verdict does not wait for it.
		began := time.Now()
		if _, err := s.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: down("web2")}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("the verdict waited for %v", took)
		}
		time.Sleep(10 * time.Second)
		look(func(l *loop) {
			if l.core.Frozen() != nil || l.core.Stored().Intent.Revision != 1 || l.slotsOf("web2") != 0 {
				t.Errorf("frozen %v, revision %d, web2 has %d slots", l.core.Frozen(), l.core.Stored().Intent.Revision,
					l.slotsOf("web2"))
			}
			if diff := cmp.Diff(l.core.Stored(), db.last(), cmpopts.EquateComparable(rows.VIPKey{})); diff != "" {
				t.Errorf("stored (-decided +stored):\n%s", diff)
			}
		})
		if n := len(db.saved); n != 3 { // before, the late change, the state as it is
			t.Errorf("%d saves, want 3", n)
		}
	})
}

// What is decided while a save is under way that nobody waits for is stored after it.
func TestForgottenWhileSaving(t *testing.T) {
	saving(t, func(t *testing.T, db *slowStore, s *service, look func(func(*loop)), _ func()) {
		text := strings.Replace(testIntent, "vip_mac: 02:53:4c:00:00:01", "vip_mac: 02:53:4c:00:00:02", 1)
		if _, err := s.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: text}); err != nil {
			t.Fatal(err)
		}
		if n := len(db.last().Retired); n != 1 {
			t.Fatalf("%d MACs are retired, want 1", n)
		}
		time.Sleep(retiredFor - time.Second)
		db.set(4*time.Second, nil)
		if _, err := s.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: down("web2")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		look(func(l *loop) {
			if l.core.Frozen() == nil || len(l.core.Stored().Retired) != 0 {
				t.Errorf("frozen %v, retired %v, want frozen and the MAC forgotten", l.core.Frozen(),
					l.core.Stored().Retired)
			}
		})
		time.Sleep(10 * time.Second)
		look(func(l *loop) {
			if diff := cmp.Diff(l.core.Stored(), db.last(), cmpopts.EquateComparable(rows.VIPKey{})); diff != "" ||
				l.core.Frozen() != nil {
				t.Errorf("frozen %v, stored (-decided +stored):\n%s", l.core.Frozen(), diff)
			}
		})
	})
}

// A refusal is no silence: the caller is told why. The configuration is frozen for it where the store would refuse any
// change, and status says so before a verdict has to be saved.
func TestStoreRefuses(t *testing.T) {
	const refused = "writing the store: the store refuses the change: "
	for _, test := range []struct {
		name   string
		refuse func(*slowStore)
		want   string
		frozen bool
	}{
		{"the change", func(db *slowStore) { db.most = 1 }, refused + "etcdserver: request is too large", false},
		{"all", func(db *slowStore) {
			db.err = fmt.Errorf("writing the store: %w: no space left on device", store.ErrRefused)
		}, refused + "no space left on device", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			saving(t, func(t *testing.T, db *slowStore, s *service, look func(func(*loop)), _ func()) {
				db.mu.Lock()
				test.refuse(db)
				db.mu.Unlock()
				_, err := s.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: drained})
				want := "failed_precondition: " + test.want
				if err == nil || err.Error() != want || connect.CodeOf(err) != connect.CodeFailedPrecondition {
					t.Errorf("got %v, want %s", err, want)
				}
				frozen := ""
				if test.frozen {
					frozen = test.want
				}
				look(func(l *loop) {
					got := ""
					if err := l.core.Frozen(); err != nil {
						got = err.Error()
					}
					if r := l.core.Stored().Intent.Revision; got != frozen || r != 1 {
						t.Errorf("frozen %q, revision %d, want %q and 1", got, r, frozen)
					}
				})
				db.mu.Lock()
				db.most, db.err = 0, nil
				db.mu.Unlock()
				time.Sleep(2 * time.Second)
				look(func(l *loop) {
					if l.core.Frozen() != nil {
						t.Errorf("later: frozen %v, want not", l.core.Frozen())
					}
				})
			})
		})
	}
}

// At the end what the store did not take before is stored, if it takes it then.
func TestLastSave(t *testing.T) {
	saving(t, func(t *testing.T, db *slowStore, s *service, _ func(func(*loop)), stop func()) {
		db.set(0, fmt.Errorf("writing the store: %w: no space left on device", store.ErrRefused))
		if _, err := s.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: down("web2")}); err != nil {
			t.Fatal(err)
		}
		db.set(time.Second, nil)
		stop()
		if v := db.last().Verdicts[plan.BackendKey{Pool: "web", Backend: "web2"}]; v.Health != plan.Down {
			t.Errorf("stored last: %+v, want the verdict", v)
		}
	})
}

// A start that fails after a switch was begun with ends, and so does the work on that switch.
func TestStartFailsInTheMiddle(t *testing.T) {
	text := strings.Replace(testIntent, "vip_mac",
		`  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [3, 1, 2]}
vip_mac`, 1)
	file := t.TempDir() + "/sluice.yaml"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(Config{File: file, Store: store.Config{Dir: t.TempDir()}, Listen: []string{"127.0.0.1:0"}})
	started := 0
	c.startDevice = func(ctx context.Context, wait *sync.WaitGroup, cfg device.Config, w device.Wanted) (*running,
		error) {
		if started++; started == 2 {
			return nil, errors.New("out of order")
		}
		cfg.Log = slog.New(slog.DiscardHandler)
		return startDevice(ctx, wait, cfg, w)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(t.Context()) }()
	select {
	case err := <-ended:
		if want := "switch leaf2: out of order"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("it hangs")
	}
}
