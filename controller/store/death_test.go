package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// What etcd logs as fatal stops the store, not the process: Save says so at once, and Close does not hang.
func TestDeath(t *testing.T) {
	for _, test := range []struct {
		name string
		log  func(*zap.Logger)
	}{
		{"fatal", func(l *zap.Logger) { l.Fatal("failed to commit tx", zap.Error(unix.ENOSPC)) }},
		{"panic", func(l *zap.Logger) { l.Panic("failed to commit tx", zap.Error(unix.ENOSPC)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := open(t, Config{Dir: t.TempDir()})
			etcd := s.embedded.etcd // nobody closes a store that is dead
			t.Cleanup(etcd.Stop)
			go test.log(s.embedded.etcd.Logger()) // never returns
			select {
			case <-s.embedded.alive.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the store lives on")
			}
			err := s.Save(t.Context(), sample())
			want := "the embedded store has stopped until a restart: the store does not answer: failed to commit tx: " +
				"no space left on device"
			if !errors.Is(err, ErrUnavailable) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			s.Close()
		})
	}
}

// A disk that is full to the last byte: the store says so, lives on, and writes when there is room again.
func TestFullDisk(t *testing.T) {
	dir, err := os.MkdirTemp("", "full")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=200m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	s, _ := open(t, Config{Dir: dir})
	if err := s.Save(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	saved := s.SavedAt()
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	f.Close()
	st := sample()
	st.Intent.YAML = strings.Repeat("x", 1<<20)
	for range 300 {
		st.Intent.Revision++
		err := s.Save(t.Context(), st)
		want := "writing the store: the store refuses the change: no space left on device: " + dir +
			" has 0 MiB left, the store needs 32 MiB"
		if !errors.Is(err, ErrRefused) || !errors.Is(err, unix.ENOSPC) || err.Error() != want {
			t.Fatalf("on a full disk: %v, want %s", err, want)
		}
	}
	if !s.SavedAt().Equal(saved) {
		t.Errorf("saved at %v, the last save was at %v", s.SavedAt(), saved)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), st); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
	if !s.SavedAt().After(saved) {
		t.Errorf("saved at %v again, want a later time", s.SavedAt())
	}
	s.Close()
	s, got := open(t, Config{Dir: dir})
	if diff := cmp.Diff(st, got); diff != "" {
		t.Errorf("reopened (-want +got):\n%s", diff)
	}
	s.Close()
	// To start on a full disk would kill etcd for good.
	if err := os.WriteFile(filler, make([]byte, 170<<20), 0o600); err != nil && !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_, _, err = Open(t.Context(), Config{Dir: dir})
	if !errors.Is(err, ErrRefused) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("opening on a full disk: %v, want %v", err, unix.ENOSPC)
	}
}
