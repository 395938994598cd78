package controller_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
)

var killSeed = flag.Uint64("seed", 0, "of TestKilledAnywhere; 0: the clock's")

// Whenever the controller is killed, in the middle of writing too, the next one brings the switch in
// line with what was decided, and the one after that finds nothing to write.
func TestKilledAnywhere(t *testing.T) {
	// Nothing ends by itself here, so that the first restart which has nothing to do does nothing.
	t.Run("and no time passes", func(t *testing.T) {
		killAnywhere(t, "drain_idle: 1h\n    grace: 1h\n    floor_within: 1h", 1)
	})
	// Old paths fall silent, graces end and floors are forgotten while controllers come and go. What ends between two
	// of them is written, and then there is a next one.
	t.Run("and slots settle", func(t *testing.T) { killAnywhere(t, "drain_idle: 500ms\n    grace: 200ms", 5) })
}

// killAnywhere takes a pool with some times through kills; after each there are so many restarts at most until one has
// nothing to write.
func killAnywhere(t *testing.T, times string, restarts int) {
	rounds := 3
	if testing.Short() {
		rounds = 2
	}
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("to repeat: go test ./controller -run TestKilledAnywhere -seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	tg := newTarget(t)
	dir := t.TempDir()
	// Many slots, so that there is a middle.
	text := strings.Replace(intent(tg.Target()), "slots: 256", "slots: 4096", 1)
	// The time of a few checks is for how long a switch is the suspect that was empty.
	text = strings.Replace(text, "port: 80}", "port: 80, interval: 100ms}", 1)
	text = strings.Replace(text, "drain_idle: 500ms\n    grace: 200ms", times, 1)
	o := options{dir: dir, file: writeFile(t, dir, text)}
	for round := range rounds {
		// The switch may have lost everything meanwhile.
		if random.IntN(4) == 0 {
			tg.StopSwitch()
			tg.start()
		}
		d := startController(t, o)
		// The kill comes with one of the next writes, or at a change that needs none.
		kill := make(chan struct{})
		var once sync.Once
		left := random.IntN(8)
		var mu sync.Mutex
		count := func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left < 0 {
				once.Do(func() { close(kill) })
			}
		}
		tg.before.Store(&count)
		for range 4 {
			someChange(t, d, random)
		}
		select {
		case <-kill:
		case <-time.After(time.Duration(random.IntN(50)) * time.Millisecond):
		}
		d.kill()
		none := func() {}
		tg.before.Store(&none)

		d = startController(t, o)
		d.trusting()
		got := strings.Count(tg.dump("slot"), "\n")
		shares := d.shares()
		if got != 4096 { // with nobody up they stay where they are
			t.Errorf("round %d: %d slots, want 4096", round, got)
		}
		d.kill()

		for left := restarts; ; left-- {
			rows := tg.dump(allTables...)
			sent := tg.updates.Load()
			d = startController(t, o)
			d.trusting()
			n := tg.updates.Load() - sent
			diff := cmp.Diff(rows, tg.dump(allTables...))
			d.kill()
			if n == 0 && diff == "" {
				break
			}
			if left == 1 {
				t.Fatalf("round %d: the last restart wrote %d entries, want 0; rows (-want +got):\n%s\nafter shares %s",
					round, n, diff, shares)
			}
		}
		if t.Failed() {
			t.Fatalf("after shares %s", shares)
		}
	}
}

// someChange asks for something; that the controller is being killed is no fault.
func someChange(t *testing.T, d *daemon, random *rand.Rand) {
	t.Helper()
	backend := fmt.Sprintf("web%d", 1+random.IntN(3))
	now := timestamppb.Now()
	health := api.Health_HEALTH_UP
	if random.IntN(2) == 0 {
		health = api.Health_HEALTH_DOWN
	}
	admin := api.Admin_ADMIN_ACTIVE
	if random.IntN(2) == 0 {
		admin = api.Admin_ADMIN_DRAIN
	}
	if random.IntN(2) == 0 {
		_, _ = d.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: []*api.Verdict{
			{Pool: "web", Backend: backend, Health: health, Since: now, DetectedAt: now},
		}})
		return
	}
	_, _ = d.SetBackendAdmin(t.Context(), &api.SetBackendAdminRequest{Backend: backend, Admin: admin})
}

// Slots that moved from a draining backend to one that then died, with nobody else alive, stay as they are while old
// flows live. When those are gone, its new flows are dropped; nobody has to tell anything for that.
func TestSettledOntoTheDead(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))})
	d.synced()
	d.admin("web1", api.Admin_ADMIN_DRAIN)
	d.until("web1's slots move", func(m *api.GetStatusResponse) bool { return m.Pools[0].Moving > 0 })
	d.verdict("web3", api.Health_HEALTH_DOWN)
	d.verdict("web2", api.Health_HEALTH_DOWN)
	d.verdict("web1", api.Health_HEALTH_DOWN)
	d.atRest()
	d.until("nobody takes new flows, and the VIP says so", func(m *api.GetStatusResponse) bool {
		return m.Pools[0].Held != "" && m.Vips[0].State == api.VIPStatus_STATE_NO_BACKEND
	})
	d.kill()
}
