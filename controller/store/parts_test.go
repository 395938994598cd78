package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
)

// wide is a core.Stored of more documents than an etcd with default limits takes operations, and with an intent of
// more bytes.
func wide(pools, text int) core.Stored {
	st := sample()
	st.Intent.YAML = strings.Repeat("0123456789abcdef", text/16)
	st.Plan.Pools = make(map[string]*plan.Pool)
	st.Verdicts = make(map[plan.BackendKey]core.Verdict)
	for i := range pools {
		name := fmt.Sprintf("pool%d", i)
		pool := *sample().Plan.Pools["web"]
		pool.ID = rows.PoolID(i + 1)
		st.Plan.Pools[name] = &pool
		st.Verdicts[plan.BackendKey{Pool: name, Backend: "web1"}] = core.Verdict{Health: plan.Down, Reason: "refused",
			Since: when, DetectedAt: when}
	}
	return st
}

// dump is all keys with the size of their values.
func dump(t *testing.T, s *Store) map[string]int {
	t.Helper()
	r, err := s.client.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	sizes := make(map[string]int)
	for _, item := range r.Kvs {
		sizes[string(item.Key)] = len(item.Value)
	}
	return sizes
}

// Neither many documents nor large ones are too much for an etcd with default limits, embedded or not, and what
// they replace does not stay.
func TestDefaultLimits(t *testing.T) {
	for _, test := range []struct {
		name string
		at   func(*testing.T) Config
	}{
		{"external", cluster},
		{"embedded", func(t *testing.T) Config { return Config{Dir: t.TempDir()} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := test.at(t)
			at.Timeout = 20 * time.Second
			s, _ := open(t, at)
			for _, st := range []core.Stored{wide(300, 5<<20), wide(299, 3<<20), wide(2, 100), wide(400, 0), sample()} {
				if err := s.Save(t.Context(), st); err != nil {
					t.Fatal(err)
				}
				s.Close()
				var got core.Stored
				s, got = open(t, at)
				if diff := cmp.Diff(st, got); diff != "" {
					t.Fatalf("reopened (-want +got):\n%s", diff)
				}
			}
			defer s.Close()
			documents := 0
			for key := range dump(t, s) {
				if strings.HasPrefix(key, prefixDocs) {
					documents++
				}
			}
			// Intent, its text, plan, admin, verdicts/web, pool/web, pool/empty, and three of pins.
			if want := 10; documents != want {
				t.Errorf("%d keys of documents are left, want %d: %v", documents, want, dump(t, s))
			}
		})
	}
}

// The intent's text is stored once, also when it came from the controller's file.
func TestIntentIsStoredOnce(t *testing.T) {
	s, _ := open(t, Config{Dir: t.TempDir()})
	defer s.Close()
	st := sample()
	st.Intent.YAML = strings.Repeat("y", 1<<20)
	st.Intent.Loaded = core.Fingerprint(st.Intent.YAML)
	if err := s.Save(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, n := range dump(t, s) {
		sum += n
	}
	if sum < 1<<20 || sum > 1<<20+4096 {
		t.Errorf("an intent of %d bytes takes %d, want it once", 1<<20, sum)
	}
}

// A writer that dies between any two requests leaves the state before or the one after, whole, and nothing of
// what it had begun stays.
func TestWriterDiesInMidSave(t *testing.T) {
	before, after := wide(150, 2<<20), wide(151, 3<<20)
	after.Plan.Pools["pool7"] = &plan.Pool{ID: 999}
	delete(after.Plan.Pools, "pool8")
	for n := 0; ; n++ {
		cfg := Config{Dir: t.TempDir(), Timeout: 20 * time.Second}
		s, _ := open(t, cfg)
		if err := s.Save(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		s.client.KV = &lossy{KV: s.client.KV, answer: n}
		err := s.Save(t.Context(), after)
		s.Close()
		s, got := open(t, cfg)
		want := before
		if err == nil {
			want = after
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("dead after %d requests (-want +got):\n%s", n, diff)
		}
		for key := range dump(t, s) {
			if p, ok := parsePart(key); ok && p.change > s.kv.head.Changes {
				t.Errorf("dead after %d requests: %s is left", n, key)
			}
		}
		// What comes next is not mixed up with what was begun.
		if err := s.Save(t.Context(), before); err != nil {
			t.Error(err)
		}
		s.Close()
		s, got = open(t, cfg)
		if diff := cmp.Diff(before, got); diff != "" {
			t.Errorf("the next change after %d requests (-want +got):\n%s", n, diff)
		}
		s.Close()
		if err == nil {
			if n < 5 {
				t.Errorf("the change took %d requests: too few to tell", n)
			}
			return
		}
	}
}

// late is a KV whose n-th transaction is given up and comes through later.
type late struct {
	clientv3.KV
	n    int
	held clientv3.Txn
}

type lateTxn struct {
	clientv3.Txn
	kv *late
}

func (l *late) Txn(ctx context.Context) clientv3.Txn {
	return &lateTxn{l.KV.Txn(context.WithoutCancel(ctx)), l}
}
func (t *lateTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *lateTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *lateTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.kv.n--; t.kv.n == -1 {
		t.kv.held = t.Txn
		return nil, context.DeadlineExceeded
	}
	return t.Txn.Commit()
}

// A request that was given up comes through after the next change: it changes nothing.
func TestLateRequest(t *testing.T) {
	for n := range 4 {
		cfg := Config{Dir: t.TempDir(), Timeout: 20 * time.Second}
		s, _ := open(t, cfg)
		kv := &late{KV: s.client.KV, n: n}
		s.client.KV = kv
		if err := s.Save(t.Context(), wide(150, 2<<20)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("request %d is given up: got %v, want %v", n, err, ErrUnavailable)
		}
		want := wide(3, 16)
		if err := s.Save(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if r, err := kv.held.Commit(); err != nil || r.Succeeded {
			t.Errorf("request %d came through late: %v, %v", n, r, err)
		}
		s.Close()
		s, got := open(t, cfg)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request %d late (-want +got):\n%s", n, diff)
		}
		s.Close()
	}
}

// An etcd that refuses is not one that does not answer.
func TestRefusedIsNotUnavailable(t *testing.T) {
	for _, test := range []struct {
		err  error
		is   error
		want string
	}{
		{rpctypes.ErrTooManyOps, ErrRefused, "writing: the store refuses the change: etcdserver: too many operations " +
			"in txn request"},
		{rpctypes.ErrRequestTooLarge, ErrRefused,
			"writing: the store refuses the change: etcdserver: request is too large"},
		{rpctypes.ErrNoSpace, ErrRefused, "writing: the store refuses the change: etcdserver: mvcc: database space " +
			"exceeded"},
		{rpctypes.ErrPermissionDenied, ErrRefused,
			"writing: the store refuses the change: etcdserver: permission denied"},
		{rpctypes.ErrNoLeader, ErrUnavailable, "writing: the store does not answer: etcdserver: no leader"},
		{rpctypes.ErrTimeout, ErrUnavailable, "writing: the store does not answer: etcdserver: request timed out"},
		{context.DeadlineExceeded, ErrUnavailable, "writing: the store does not answer: context deadline exceeded"},
	} {
		err := failed("writing", test.err)
		if !errors.Is(err, test.is) || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}
