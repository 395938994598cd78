package store

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
)

func databaseSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "etcd/member/snap/db"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// However often verdicts change, the database stays about as large as what it holds. Kept for ever, these
// changes are 20 times the quota.
func TestHistoryIsForgotten(t *testing.T) {
	changes := 5500
	if testing.Short() {
		changes = 500
	}
	const quota = 8 << 20
	dir := t.TempDir()
	var log strings.Builder
	cfg := Config{Dir: dir, quota: quota,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	s, _ := open(t, cfg)
	st := sample()
	st.Verdicts = make(map[plan.BackendKey]core.Verdict)
	written := 0
	for i := range changes {
		st.Verdicts = maps.Clone(st.Verdicts)
		for pool := range 2 { // documents of as many bytes as 100 backends give, and quicker to encode
			key := plan.BackendKey{Pool: fmt.Sprintf("pool%d", pool), Backend: fmt.Sprintf("backend%d", i%10)}
			st.Verdicts[key] = core.Verdict{
				Health: plan.Down, Reason: fmt.Sprintf("change %d %s", i, strings.Repeat("x", 1500)), Since: when,
				DetectedAt: when,
			}
		}
		if err := s.Save(t.Context(), st); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		for pool := range 2 {
			written += len(s.verdicts[fmt.Sprintf("pool%d", pool)].doc)
		}
	}
	if !testing.Short() && written < 20*quota {
		t.Errorf("%d bytes were written: too few to tell", written)
	}
	s.Close()
	if got := log.String(); got != "" {
		t.Errorf("the database was full in between:\n%s", got)
	}
	s, got := open(t, cfg)
	defer s.Close()
	if diff := cmp.Diff(st, got); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	if n := databaseSize(t, dir); n > 2<<20 {
		t.Errorf("the database has %d bytes after reopening, want at most 2 MiB", n)
	}
}

// A store that reached its quota makes room by itself, while it runs and when it is opened.
func TestFullDatabase(t *testing.T) {
	const quota = 4 << 20
	dir := t.TempDir()
	s, _ := open(t, Config{Dir: dir})
	fill := func() {
		t.Helper()
		var err error
		for range 100 {
			if _, err = s.client.Put(t.Context(), partKey(docPart{docText, 0, 1, 1}),
				strings.Repeat("x", 1<<20)); err != nil {
				break
			}
		}
		if !errors.Is(err, rpctypes.ErrNoSpace) {
			t.Fatalf("filling the store: got %v, want %v", err, rpctypes.ErrNoSpace)
		}
	}
	s.Close()
	cfg := Config{Dir: dir, quota: quota}
	s, _ = open(t, cfg)
	fill()
	s.Close()

	s, _ = open(t, cfg)
	if err := s.Save(t.Context(), sample()); err != nil {
		t.Errorf("writing after opening a full store: %v", err)
	}
	fill()
	if err := s.Save(t.Context(), core.Stored{}); err != nil {
		t.Errorf("writing to a full store: %v", err)
	}
	if err := s.Save(t.Context(), sample()); err != nil {
		t.Error(err)
	}
	s.Close()
	s, got := open(t, cfg)
	defer s.Close()
	if got.Intent.Revision != sample().Intent.Revision {
		t.Errorf("the intent's revision is %d, want %d", got.Intent.Revision, sample().Intent.Revision)
	}
}
