package controller_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/controller/api"
)

// slotWrites are the writes to slot, as a switch gets them.
type slotWrites struct {
	t     testing.TB
	mu    sync.Mutex // guards what follows
	lines []string
}

// recordSlots begins to record what is written to slots.
func (tg *target) recordSlots() *slotWrites {
	w := &slotWrites{t: tg.t}
	info := pipelineInfo(tg.t)
	tg.refuseIf(func(u *v1.Update) error {
		if e := u.GetEntity().GetTableEntry(); e != nil {
			line := u.Type.String()
			if entry, err := info.DecodeEntry(e); err == nil {
				line += " " + entry.String()
			}
			if strings.Contains(line, " slot{") {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.lines = append(w.lines, line)
			}
		}
		return nil
	})
	return w
}

func (w *slotWrites) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.lines...)
}

var (
	settledRow = regexp.MustCompile(`slot{(.*)} -> to_backend\(backend_id=(\d+)\)`)
	writtenRow = regexp.MustCompile(`^(\w+) slot{(.*?)} -> (\w+)\(backend_id=(\d+)(?:, old_id=(\d+))?`)
)

// gradual makes sure that the first thing written to every slot of rows, all settled, keeps its flows where they are: a
// move from the backend of before. It returns how many slots move.
func (w *slotWrites) gradual(rows string) int {
	w.t.Helper()
	where := make(map[string]string)
	for _, m := range settledRow.FindAllStringSubmatch(rows, -1) {
		where[m[1]] = m[2]
	}
	if len(where) != 256 {
		w.t.Fatalf("%d settled slots, want 256", len(where))
	}
	moved := make(map[string]bool)
	for _, line := range w.all() {
		m := writtenRow.FindStringSubmatch(line)
		switch {
		case m == nil: // a row that is deleted
		case moved[m[2]]:
		case m[3] == "move" && m[5] == where[m[2]]:
			moved[m[2]] = true
		default:
			w.t.Fatalf("open connections of backend %s are moved: %s", where[m[2]], line)
		}
	}
	return len(moved)
}

const olderThan = "the store is older than switch leaf1, or was not written to it: 86 of 256 slots differ there. " +
	"Open connections stay where the switch has them, and what has to change moves gradually"

// toldOlder makes sure that status, event and log tell of a store that is older than the switch.
func (d *daemon) toldOlder(log *buffer) {
	d.t.Helper()
	d.wait("the event", func(e *api.Event) bool { return e.GetSlotsAdopted() != nil && e.Text == olderThan })
	told := false
	for _, c := range d.status().Concerns {
		told = told || c.Text == olderThan && c.Severity == api.Concern_SEVERITY_WARNING
	}
	if !told {
		d.t.Errorf("the status does not tell: %v", d.status().Concerns)
	}
	const want = `level=WARN msg="the store is older than a switch, or was not written to it: open connections stay ` +
		`where the switch has them" ` +
		`switch=leaf1 slots=86 of=256 unknown_backends=0`
	if !strings.Contains(log.String(), want) {
		d.t.Errorf("got log\n%s\nwant %s", log.String(), want)
	}
}

// A data directory that is put back from a backup is older than the switch. Nobody's open connections are moved for it,
// and what the operator had decided then is done gradually.
func TestRestoredBackup(t *testing.T) {
	tg, d, o := setup(t)
	d.admin("web1", api.Admin_ADMIN_DRAIN)
	d.until("web1 is drained", func(m *api.GetStatusResponse) bool { return m.Pools[0].Backends[0].Drained })
	d.kill()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	d = startController(t, o)
	d.synced()
	d.admin("web1", api.Admin_ADMIN_ACTIVE)
	d.until("web1 has its slots again", func(m *api.GetStatusResponse) bool {
		return m.Pools[0].Backends[0].Slots == 86 && m.Pools[0].Moving == 0 && synced(m)
	})
	d.kill()
	rows := tg.dump("slot")

	var log buffer
	o.dir, o.log = backup, slog.New(slog.NewTextHandler(&log, nil))
	writes := tg.recordSlots()
	d = startController(t, o)
	d.synced()
	d.until("web1 is drained again", func(m *api.GetStatusResponse) bool { return m.Pools[0].Backends[0].Drained })
	if n := writes.gradual(rows); n != 86 {
		t.Errorf("%d slots move, want the 86 of web1, that the backup wants drained", n)
	}
	d.toldOlder(&log)
	d.kill()
}

// A new store knows nothing of the slots that the switch has: they stay, and what the intent wants is done gradually.
func TestOpenConnectionsWhenTheDataDirectoryIsLost(t *testing.T) {
	tg, d, o := setup(t)
	d.admin("web1", api.Admin_ADMIN_DRAIN)
	d.until("web1 is drained", func(m *api.GetStatusResponse) bool { return m.Pools[0].Backends[0].Drained })
	d.kill()
	rows := tg.dump("slot")
	o.dir = t.TempDir()
	writes := tg.recordSlots()
	d = startController(t, o)
	d.synced()
	d.until("web1 has slots again", func(m *api.GetStatusResponse) bool {
		return m.Pools[0].Backends[0].Slots == 86 && m.Pools[0].Moving == 0 && synced(m)
	})
	if n := writes.gradual(rows); n != 86 {
		t.Errorf("%d slots move, want the 86 that web1 gets", n)
	}
	d.kill()
}

// The disk was full when a server came back: the store has it as dead, and the switch has its connections. After the
// next start they are where they were, and nothing is written to the slots.
func TestKilledWhileTheStoreWasFull(t *testing.T) {
	dir, err := os.MkdirTemp("", "full")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=200m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	tg := newTarget(t)
	o := options{dir: dir, file: writeFile(t, t.TempDir(), intent(tg.Target()))}
	d := startController(t, o)
	d.synced()
	d.verdict("web2", api.Health_HEALTH_UP)
	d.verdict("web3", api.Health_HEALTH_UP)
	d.verdict("web1", api.Health_HEALTH_DOWN)
	d.until("web1's grace is over", func(m *api.GetStatusResponse) bool {
		b := m.Pools[0].Backends[0]
		return b.Slots+b.MovingOut == 0 && synced(m)
	})
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, bytes.Repeat([]byte{1}, 200<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	d.verdict("web1", api.Health_HEALTH_UP)
	d.until("web1 has its slots again", func(m *api.GetStatusResponse) bool {
		return m.Pools[0].Backends[0].Slots == 86 && m.Pools[0].Moving == 0 && m.Frozen != "" && synced(m)
	})
	d.kill()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	rows := tg.dump("slot", "pin")

	var log buffer
	o.log = slog.New(slog.NewTextHandler(&log, nil))
	writes := tg.recordSlots()
	d = startController(t, o)
	d.synced()
	d.atRest()
	if diff := cmp.Diff(rows, tg.dump("slot", "pin")); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	if lines := writes.all(); len(lines) > 0 {
		t.Errorf("written to slots: %d, the first: %s", len(lines), lines[0])
	}
	// The stored verdict is older than what the switch says of web1.
	if b := d.status().Pools[0].Backends[0]; b.Health != api.Health_HEALTH_UNSPECIFIED || b.Slots != 86 {
		t.Errorf("web1: %v", b)
	}
	d.toldOlder(&log)
	// A verdict that is given again counts as ever.
	d.verdict("web1", api.Health_HEALTH_DOWN)
	d.until("web1's grace is over", func(m *api.GetStatusResponse) bool {
		b := m.Pools[0].Backends[0]
		return b.Slots+b.MovingOut == 0 && synced(m)
	})
	d.kill()
	// What was told once is stored.
	d = startController(t, o)
	d.synced()
	for _, c := range d.status().Concerns {
		if strings.Contains(c.Text, "older than") {
			t.Errorf("it is told again: %v", c)
		}
	}
	d.kill()
}
