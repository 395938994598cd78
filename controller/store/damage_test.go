package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/core"
)

// directory is the data directory of a store that was closed, with what it held.
func directory(t *testing.T, st core.Stored) (string, core.Stored) {
	t.Helper()
	dir := t.TempDir()
	s, _ := open(t, Config{Dir: dir})
	for range 3 {
		st.Intent.Revision++
		if err := s.Save(t.Context(), st); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	return dir, st
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A log that was cut is told from one that ends there, at once, wherever it was cut.
func TestLogCutShort(t *testing.T) {
	from, want := directory(t, wide(20, 200<<10))
	file := "etcd/member/wal/0000000000000000-0000000000000000.wal"
	for _, size := range []int64{0, 7, 100, 1000, 50_000, 200_000} {
		dir := copyDir(t, from)
		if err := os.Truncate(filepath.Join(dir, file), size); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s, _, err := Open(t.Context(), Config{Dir: dir})
		if err == nil {
			s.Close()
			t.Errorf("cut to %d bytes: opened", size)
			continue
		}
		for _, part := range []string{
			"opening the store: the log in " + filepath.Join(dir, "etcd/member/wal") + " is corrupt or unreadable: ",
			"; restore the directory from a backup, or move it away and start with --config, which goes on from the " +
				"slots of the first switch",
		} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("cut to %d bytes: got %v, want %s", size, err, part)
			}
		}
		if took := time.Since(start); took > startTimeout/2 {
			t.Errorf("cut to %d bytes: it took %v to say so", size, took)
		}
	}
	s, got := open(t, Config{Dir: from})
	defer s.Close()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("uncut (-want +got):\n%s", diff)
	}
}

// Whatever page of the database is overwritten, with whatever: what does not open says where the fault is, and
// nothing ends the process.
func TestDatabasePagesOverwritten(t *testing.T) {
	from, _ := directory(t, wide(40, 64<<10))
	file := "etcd/member/snap/db"
	whole, err := os.ReadFile(filepath.Join(from, file))
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	fills := map[string]func([]byte){
		"garbage": func(b []byte) { copy(b, strings.Repeat("garbage!", len(b)/8)) },
		"zeros":   func(b []byte) { clear(b) },
		"ones": func(b []byte) {
			for i := range b {
				b[i] = 0xff
			}
		},
		"half garbage": func(b []byte) { copy(b[len(b)/2:], strings.Repeat("garbage!", len(b)/16)) },
		"another page": func(b []byte) { copy(b, whole[2*page:3*page]) },
	}
	refused, opened := 0, 0
	for name, fill := range fills {
		for at := 0; at+page <= min(len(whole), 48*page); at += page { // those behind are free
			broken := append([]byte(nil), whole...)
			fill(broken[at : at+page])
			if err := os.WriteFile(filepath.Join(from, file), broken, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := checkFiles(filepath.Join(from, "etcd")); err != nil {
				refused++
				if !strings.HasPrefix(err.Error(), filepath.Join(from, file)+" is corrupt or unreadable: ") &&
					!strings.HasPrefix(err.Error(), "the log in ") {
					t.Errorf("page %d with %s: %v", at/page, name, err)
				}
				continue
			}
			if opened++; opened%20 != 1 {
				continue // most of these are free pages, and a start takes its time
			}
			dir := copyDir(t, from)
			if s, _, err := Open(t.Context(), Config{Dir: dir}); err != nil {
				t.Logf("page %d with %s: %v", at/page, name, err)
			} else {
				s.Close()
			}
			if err := os.RemoveAll(dir); err != nil { // it is large, and there are many
				t.Fatal(err)
			}
		}
	}
	if refused < 5*len(fills) || opened < len(fills) {
		t.Errorf("%d broken databases were refused, %d were not: too few to tell", refused, opened)
	}
}
