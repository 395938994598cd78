package softswitch

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

func quiet(listen ...string) RoleConfig {
	return RoleConfig{Config: Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}, Listen: listen}
}

// A role answers at all its addresses until it ends, and lets go of them: another one may take its place.
func TestRole(t *testing.T) {
	first, second := "unix:"+filepath.Join(t.TempDir(), "a.sock"), "unix:"+filepath.Join(t.TempDir(), "b.sock")
	for range 2 {
		r, err := NewRole(quiet(first, second))
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithTimeout(t.Context(), 30*time.Second)
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		<-r.Ready()
		for _, address := range []string{first, second} {
			c, err := p4rt.Dial(ctx, address, 1)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// What a role has opened it closes when something else cannot be opened.
func TestRoleCannotStart(t *testing.T) {
	address := "unix:" + filepath.Join(t.TempDir(), "a.sock")
	if _, err := NewRole(quiet(address, address)); err == nil {
		t.Fatal("one socket is open twice")
	}
	missing := quiet(address)
	missing.Interfaces = []Interface{{Port: 1, Name: "nowhere0"}}
	if _, err := NewRole(missing); !errors.Is(err, port.ErrNoInterface) {
		t.Errorf("a port on an interface that is not there: %v, want %v", err, port.ErrNoInterface)
	}
	r, err := NewRole(quiet(address))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.closeAll(); err != nil {
		t.Error(err)
	}
}
