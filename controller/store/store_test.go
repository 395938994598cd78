package store

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	web1 = plan.BackendKey{Pool: "web", Backend: "web1"}
	web2 = plan.BackendKey{Pool: "web", Backend: "web2"}
	when = time.Date(2026, 11, 22, 12, 0, 0, 123456789, time.UTC)
)

// sample is a core.Stored with something in every field.
func sample() core.Stored {
	p := &plan.Pool{
		ID: 3, Generation: 200, Secret: rows.Secret{1 << 63, 5},
		Members: []plan.Member{
			{ID: 7, Name: "web1", MAC: packet.MAC{2, 0, 0, 0, 0, 1}, Port: 3, Weight: 100},
			{ID: 300, Name: "web2", Weight: 1, Removed: true},
		},
		Home: []rows.BackendID{7, 300, 7, 0},
		Slots: []rows.Slot{{Backend: 7}, {Backend: 300, Old: 7, Epoch: 1 << 31, Bank: 3},
			{Backend: 7, Old: 300, Epoch: 5, Back: true}, {}},
		Entered: []uint32{0, 1 << 31, 5, 0},
	}
	return core.Stored{
		Intent: core.Intent{YAML: "pools: []\n", File: "sluice.yaml", Revision: 12, AppliedAt: when, Loaded: "x"},
		Plan: plan.State{NextPool: 4, NextBackend: 301, NextEpoch: 1<<31 + 1, Secret: rows.Secret{2, 1<<64 - 1},
			Pools: map[string]*plan.Pool{"web": p, "empty": {ID: 2}},
			Pins:  plan.NewPins(map[rows.Flow]rows.BackendID{0: 7, 1: 300, 1<<58 - 1: 7, 1 << 58: 7, 1<<64 - 1: 7})},
		Admin: map[plan.BackendKey]plan.Admin{web2: plan.Drain},
		Verdicts: map[plan.BackendKey]core.Verdict{web1: {
			Health: plan.Down, Reason: "refused", Since: when, DetectedAt: when,
			Author: "rack1", Session: "a1", Heard: when.Add(time.Second), Fell: when.Add(time.Minute),
		}},
		VIPAge:  map[rows.VIPKey]int64{{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 80}: 12},
		PortIDs: config.PortIDs{"leaf1": {"eth1": 3}},
		Suspect: when,
		Retired: map[packet.MAC]time.Time{{2, 0x53, 0x4c, 0, 0, 9}: when},
	}
}

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, cfg Config) (*Store, core.Stored) {
	t.Helper()
	s, st, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

func TestSurvivesReopening(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s, st := open(t, cfg)
	empty := core.Stored{Admin: map[plan.BackendKey]plan.Admin{}, Verdicts: map[plan.BackendKey]core.Verdict{},
		VIPAge: map[rows.VIPKey]int64{}}
	if diff := cmp.Diff(empty, st); diff != "" {
		t.Errorf("new store (-want +got):\n%s", diff)
	}
	first := s.kv.head.Writer
	if err := s.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s, st = open(t, cfg)
	if diff := cmp.Diff(sample(), st); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	if s.kv.head.Writer <= first {
		t.Errorf("the second writer is %d, the first was %d", s.kv.head.Writer, first)
	}
	less := sample()
	delete(less.Plan.Pools, "empty")
	less.Admin = map[plan.BackendKey]plan.Admin{}
	if err := s.Save(t.Context(), less); err != nil {
		t.Fatal(err)
	}
	s.Close()

	s, st = open(t, cfg)
	defer s.Close()
	if diff := cmp.Diff(less, st); diff != "" {
		t.Errorf("after a deletion (-want +got):\n%s", diff)
	}
}

// Whatever was opened before, here or in a store that is lost, the writer that opens now outranks it.
func TestWritersRise(t *testing.T) {
	var last uint64
	for range 3 {
		cfg := Config{Dir: t.TempDir()}
		for range 3 {
			s, _ := open(t, cfg)
			if s.kv.head.Writer <= last {
				t.Errorf("writer %d after %d", s.kv.head.Writer, last)
			}
			last = s.kv.head.Writer
			s.Close()
		}
	}
}

// An unchanged state makes no transaction; a change writes only the documents that differ.
func TestWritesOnlyWhatDiffers(t *testing.T) {
	s, _ := open(t, Config{Dir: t.TempDir()})
	defer s.Close()
	revision := func() int64 {
		r, err := s.client.Get(t.Context(), keyHead)
		if err != nil {
			t.Fatal(err)
		}
		return r.Header.Revision
	}
	modified := func() (keys []string) {
		r, err := s.client.Get(t.Context(), prefixDocs, clientv3.WithPrefix(), clientv3.WithMinModRev(revision()))
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range r.Kvs {
			p, _ := parsePart(string(item.Key))
			keys = append(keys, p.name)
		}
		return keys
	}
	st := sample()
	save := func() {
		t.Helper()
		if err := s.Save(t.Context(), st); err != nil {
			t.Fatal(err)
		}
	}
	save()
	before := revision()
	save()
	if revision() != before {
		t.Error("saving the same again wrote something")
	}
	web := *st.Plan.Pools["web"]
	web.Slots = append([]rows.Slot{{Backend: 300}}, web.Slots[1:]...)
	st.Plan.Pools = map[string]*plan.Pool{"web": &web, "empty": st.Plan.Pools["empty"]}
	st.Verdicts = map[plan.BackendKey]core.Verdict{
		web1: st.Verdicts[web1], {Pool: "empty", Backend: "e1"}: {Health: plan.Up, Since: when, DetectedAt: when},
	}
	save()
	if revision() != before+1 {
		t.Errorf("a change took %d transactions, want 1", revision()-before)
	}
	if diff := cmp.Diff([]string{"pool/web", "verdicts/empty"}, modified()); diff != "" {
		t.Errorf("documents written (-want +got):\n%s", diff)
	}
}

func TestTakeover(t *testing.T) {
	s, _ := open(t, Config{Dir: t.TempDir()})
	defer s.Close()
	second := kv{client: s.client, timeout: time.Second}
	if err := second.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := s.Save(t.Context(), sample())
		if !errors.Is(err, ErrConflict) {
			t.Errorf("the first writer got %v, want %v", err, ErrConflict)
		}
	}
	if err := second.save(t.Context(), map[string][]byte{"admin": []byte("null")}); err != nil {
		t.Errorf("the second writer: %v", err)
	}
}

// lossy is a KV that loses answers, or requests, or answers so many requests that write and is gone.
type lossy struct {
	clientv3.KV
	loseAnswer, loseRequest bool
	answer                  int // counts down; below zero it answers no more
}

type lossyTxn struct {
	clientv3.Txn
	kv *lossy
}

func (l *lossy) Txn(ctx context.Context) clientv3.Txn { return &lossyTxn{l.KV.Txn(ctx), l} }

func (t *lossyTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *lossyTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *lossyTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.kv.answer--; t.kv.loseRequest || t.kv.answer < 0 {
		return nil, context.DeadlineExceeded
	}
	r, err := t.Txn.Commit()
	if t.kv.loseAnswer {
		return nil, context.DeadlineExceeded
	}
	return r, err
}

func TestLostAnswers(t *testing.T) {
	for _, test := range []struct {
		name string
		lose func(*lossy)
	}{
		{"the request is lost", func(l *lossy) { l.loseRequest = true }},
		{"the answer is lost", func(l *lossy) { l.loseAnswer = true }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir()}
			s, _ := open(t, cfg)
			l := &lossy{KV: s.client.KV, answer: 1000}
			s.client.KV = l
			test.lose(l)
			st := sample()
			if err := s.Save(t.Context(), st); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want %v", err, ErrUnavailable)
			}
			// More happens meanwhile; the next Save brings it all.
			st.Intent.Revision++
			l.loseRequest, l.loseAnswer = false, false
			if err := s.Save(t.Context(), st); err != nil {
				t.Fatal(err)
			}
			s.Close()
			s, got := open(t, cfg)
			defer s.Close()
			if diff := cmp.Diff(st, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	put := func(key, value string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			s, _ := open(t, Config{Dir: dir})
			defer s.Close()
			if _, err := s.client.Put(t.Context(), key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The first change is the second one's base; what is put for it replaces a whole document.
	document := func(name, value string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			s, _ := open(t, Config{Dir: dir})
			if err := s.Save(t.Context(), sample()); err != nil {
				t.Fatal(err)
			}
			s.Close()
			put(partKey(docPart{name, 1, 1, 1}), value)(t, dir)
		}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		want    string
		is      error
	}{
		{"a layout of the future", put(keyVersion, "9"),
			`opening the store: store of an unknown version: layout version "9", this program knows "3"; start with ` +
				`an empty data directory and --config`, ErrVersion},
		{"a foreign key", put(prefix+"what", ""),
			"opening the store: store is corrupt: key /sluice/what is not of this program", ErrCorrupt},
		{"a key of no change", put(prefixDocs+"7/"+docAdmin, ""),
			"opening the store: store is corrupt: key /sluice/docs/7/admin is not of this program", ErrCorrupt},
		{"a part is missing", put(partKey(docPart{docAdmin, 0, 2, 2}), "x"),
			"opening the store: store is corrupt: admin: part 1 of 2 is missing", ErrCorrupt},
		{"a broken document", document(docAdmin, "{"),
			"opening the store: store is corrupt: admin: unexpected end of JSON input", ErrCorrupt},
		{"an unknown document", document("more", ""),
			"opening the store: store is corrupt: more: unknown document", ErrCorrupt},
		{"a broken pool", document(docPool+"web", "nonsense"),
			"opening the store: store is corrupt: pool/web: flate: corrupt input before offset 1", ErrCorrupt},
		{"a broken head", put(keyHead, "x"),
			"opening the store: store is corrupt: /sluice/head: invalid character 'x' looking for beginning of value",
			ErrCorrupt},
		{"the database is garbage", func(t *testing.T, dir string) {
			s, _ := open(t, Config{Dir: dir})
			s.Close()
			overwrite(t, filepath.Join(dir, "etcd/member/snap/db"))
		}, "db is corrupt or unreadable: invalid database", nil},
		{"the log is garbage", func(t *testing.T, dir string) {
			s, _ := open(t, Config{Dir: dir})
			s.Close()
			logs, _ := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
			for _, f := range logs {
				overwrite(t, f)
			}
		}, "etcd/member/wal is corrupt or unreadable: it is cut short: it ends at change 0, the database has change ",
			nil},
		{"another process has it", func(t *testing.T, dir string) {
			s, _ := open(t, Config{Dir: dir})
			t.Cleanup(s.Close)
		}, ": in use by another process (process ", ErrLocked},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.prepare(t, dir)
			s, _, err := Open(t.Context(), Config{Dir: dir})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %q, want %q", err, test.want)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%q is not %q", err, test.is)
			}
		})
	}
	_, _, err := Open(t.Context(), Config{})
	if want := "the store needs a data directory or etcd endpoints, one of the two"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func overwrite(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Repeat([]byte("garbage!"), int(info.Size()/8)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnreachableCluster(t *testing.T) {
	_, _, err := Open(t.Context(), Config{Endpoints: []string{"127.0.0.1:1"}, Timeout: 200 * time.Millisecond})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want %v", err, ErrUnavailable)
	}
}

// A pool document that was cut anywhere is an error, never a panic or a smaller pool.
func TestPoolCutShort(t *testing.T) {
	doc, err := encodePool(sample().Plan.Pools["web"])
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc {
		if p, err := decodePool(doc[:n]); err == nil {
			t.Errorf("%d of %d bytes decode to %+v", n, len(doc), p)
		}
	}
}

func BenchmarkSaveAfterOneSlotMoved(b *testing.B) {
	s, _, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	st := sample()
	web := *st.Plan.Pools["web"]
	web.Slots = make([]rows.Slot, 4096)
	for i := range web.Slots {
		web.Slots[i].Backend = rows.BackendID(1 + i*7919%10)
	}
	for i := 0; b.Loop(); i++ {
		next := web
		next.Slots = append([]rows.Slot{{Backend: rows.BackendID(i + 1)}}, web.Slots[1:]...)
		st.Plan.Pools = map[string]*plan.Pool{"web": &next}
		if err := s.Save(b.Context(), st); err != nil {
			b.Fatal(err)
		}
	}
}
