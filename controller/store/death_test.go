package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
			t.Cleanup(etcd.Close)
			go test.log(s.embedded.etcd.Server.Logger()) // never returns
			select {
			case <-s.embedded.alive.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the store lives on")
			}
			err := s.Save(t.Context(), sample())
			want := "the embedded store has stopped until a restart: the store does not answer: failed to commit tx: no space left on device"
			if !errors.Is(err, ErrUnavailable) || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			s.Close()
		})
	}
}

// A disk that is full to the last byte.
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
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	f.Close()
	st := sample()
	for range 300 {
		st.Intent.Revision++
		st.Intent.YAML = strings.Repeat("x", 1<<20)
		start := time.Now()
		err = s.Save(t.Context(), st)
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("a Save took %v", took)
		}
		if err != nil {
			break
		}
	}
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("got %v, want %v and why", err, ErrUnavailable)
	}
	if err := s.Save(t.Context(), st); !errors.Is(err, ErrUnavailable) {
		t.Errorf("again: got %v, want %v", err, ErrUnavailable)
	}
	s.Close()
}
