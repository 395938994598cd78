package controller_test

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/store"
)

// A switch remembers the highest election id for as long as it lives. A controller whose data directory was
// lost becomes its primary all the same.
func TestDataDirectoryLost(t *testing.T) {
	tg := newTarget(t)
	files := t.TempDir()
	o := options{dir: t.TempDir(), file: writeFile(t, files, intent(tg.Target()))}
	for range 4 {
		d := startController(t, o)
		d.synced()
		d.kill()
	}
	if err := os.RemoveAll(o.dir); err != nil {
		t.Fatal(err)
	}
	d := startController(t, o)
	d.synced()
	if s := d.status().Switches[0]; s.RowsReadBack == 0 {
		t.Errorf("the switch lost its rows: %v", s)
	}
}

// Epochs are never below the clock, for a switch may keep those of a store that was lost, or those that were given
// since a backup was made.
func TestEpochsAreAboveTheClock(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))}
	stored := func() plan.State {
		t.Helper()
		db, st, err := store.Open(t.Context(), store.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		return st.Plan
	}
	before := uint32(time.Now().Unix())
	d := startController(t, o)
	d.synced()
	d.kill()
	after := uint32(time.Now().Unix())
	first := stored().NextEpoch
	if first < before || first > after+1000 {
		t.Errorf("the first epoch is %d, want one of about %d to %d", first, before, after)
	}
	for _, tt := range []struct {
		name         string
		stored, want uint32 // want: at least
	}{
		{"a backup", 7, before},
		{"more moves than seconds", math.MaxInt32, math.MaxInt32},
	} {
		save(t, dir, func(st *core.Stored) { st.Plan.NextEpoch = tt.stored })
		d = startController(t, o)
		d.synced()
		d.kill()
		if got := stored().NextEpoch; got < tt.want || got > tt.want+1000 {
			t.Errorf("%s: the next epoch after a restart is %d, want %d or a little more", tt.name, got, tt.want)
		}
	}
}

// The secret of flows' hashes is drawn when a store is new, and stays.
func TestSecretIsDrawn(t *testing.T) {
	tg := newTarget(t)
	secret := func(dir string) rows.Secret {
		t.Helper()
		o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))}
		d := startController(t, o)
		d.synced()
		d.kill()
		db, st, err := store.Open(t.Context(), store.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if st.Plan.Pools["web"].Secret.IsZero() || st.Plan.Secret.IsZero() {
			t.Errorf("no secret: %+v", st.Plan)
		}
		return st.Plan.Secret
	}
	dir, other := t.TempDir(), t.TempDir()
	first, second, third := secret(dir), secret(dir), secret(other)
	if second != first || third == first {
		t.Errorf("of one store %x and %x, of another %x", first, second, third)
	}
}

// save changes what the store in dir holds.
func save(t *testing.T, dir string, change func(*core.Stored)) {
	t.Helper()
	db, st, err := store.Open(t.Context(), store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	change(&st)
	if err := db.Save(t.Context(), st); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedPlan(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))}
	d := startController(t, o)
	d.synced()
	d.kill()
	save(t, dir, func(st *core.Stored) {
		web := *st.Plan.Pools["web"]
		web.Slots = append([]rows.Slot{{Backend: 99}}, web.Slots[1:]...)
		st.Plan.Pools["web"] = &web
	})
	_, err := tryController(t, o)
	if want := "the stored plan is damaged: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
}

// Without its --config file a controller runs the stored intent; a reload reads the file when it is back.
func TestConfigFileMissing(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))}
	d := startController(t, o)
	d.synced()
	d.kill()
	if err := os.Remove(o.file); err != nil {
		t.Fatal(err)
	}
	var log buffer
	o.log = slog.New(slog.NewTextHandler(&log, nil))
	d = startController(t, o)
	d.synced()
	if n := d.status().IntentRevision; n != 1 {
		t.Errorf("revision %d runs, want 1", n)
	}
	want := `level=ERROR msg="the intent's file cannot be read, the stored intent stays" revision=1 err="open ` +
		o.file + `: no such file or directory"`
	if !strings.Contains(log.String(), want) {
		t.Errorf("got log\n%s\nwant %s", log.String(), want)
	}
	writeFile(t, dir, strings.Replace(intent(tg.Target()), "port: 80, pool", "port: 81, pool", 1))
	d.Reload()
	d.wait("the file is applied", func(e *api.Event) bool { return e.GetIntentApplied().GetRevision() == 2 })
	d.kill()

	err := controller.New(controller.Config{File: "/does/not/exist", Store: store.Config{Dir: t.TempDir()},
		Listen: []string{"127.0.0.1:0"}}).Run(t.Context())
	if want := "reading the intent: open /does/not/exist: no such file or directory"; err == nil ||
		err.Error() != want {
		t.Errorf("nothing stored: got %v, want %s", err, want)
	}
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
