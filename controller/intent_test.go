package controller_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
)

// A faulty intent is refused with all that is wrong, and what runs goes on running.
func TestFaultyIntentIsRefused(t *testing.T) {
	tg, d, _ := setup(t)
	before := tg.dump(allTables...)
	faulty := strings.NewReplacer(
		"switch_port: 3", "switch_port: 3, weight: 0",
		"pool: web", "pool: wbe",
		"vip_mac: 02:53:4c:00:00:01", "vip_mac: 03:53:4c:00:00:01",
	).Replace(intent(tg.Target()))
	_, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: faulty, File: "new.yaml"})
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("got %v, want an invalid argument", err)
	}
	var paths []string
	for _, p := range api.Problems(err) {
		paths = append(paths, fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Path))
	}
	want := []string{"new.yaml:3: vip_mac", "new.yaml:13: pools[0].backends[1].weight", "new.yaml:16: vips[0].pool"}
	sortLines(paths)
	sortLines(want)
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("problems (-want +got):\n%s\n%v", diff, err)
	}
	m, err := d.GetIntent(t.Context(), &api.GetIntentRequest{})
	if err != nil || m.Revision != 1 || m.Yaml != intent(tg.Target()) {
		t.Errorf("running: %v, %v", m, err)
	}
	if diff := cmp.Diff(before, tg.dump(allTables...)); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
}

func TestApplyIntent(t *testing.T) {
	tg, d, o := setup(t)
	more := intent(tg.Target()) + "  - {name: alt, address: 10.0.0.101, port: 80, pool: web}\n"
	apply := func(text string, ifRevision int64) (*api.ApplyIntentResponse, error) {
		return d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: text, IfRevision: ifRevision})
	}
	if r, err := apply(intent(tg.Target()), 0); err != nil || r.Changed || r.Revision != 1 {
		t.Errorf("the same again: %v, %v", r, err)
	}
	_, err := apply(more, 7)
	if want := "aborted: revision 1 is running, not 7"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	r, err := apply(more, 1)
	if err != nil || !r.Changed || r.Revision != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	d.wait("the second VIP is there", reprogrammed("intent revision 2"))
	if !strings.Contains(tg.dump("vip"), "10.0.0.101") {
		t.Errorf("vip:\n%s", tg.dump("vip"))
	}

	// The file has not changed since it was read: a restart does not undo what was applied.
	d.kill()
	d = startController(t, o)
	if m := d.status(); m.IntentRevision != 2 || len(m.Vips) != 2 {
		t.Errorf("after a restart: revision %d, %d VIPs; want 2, 2", m.IntentRevision, len(m.Vips))
	}
	// Nor is the file needed.
	d.kill()
	d = startController(t, options{dir: o.dir})
	if m := d.status(); m.IntentRevision != 2 {
		t.Errorf("without a file: revision %d, want 2", m.IntentRevision)
	}
	d.kill()
	// Once it has, it counts.
	writeFile(t, o.dir, intent(tg.Target())+"# changed\n")
	d = startController(t, o)
	if m := d.status(); m.IntentRevision != 3 || len(m.Vips) != 1 {
		t.Errorf("with a changed file: revision %d, %d VIPs; want 3, 1", m.IntentRevision, len(m.Vips))
	}
	d.kill()
	// A faulty one does not stop the service.
	writeFile(t, o.dir, "nonsense: true\n")
	d = startController(t, o)
	if m := d.status(); m.IntentRevision != 3 {
		t.Errorf("with a faulty file: revision %d, want 3", m.IntentRevision)
	}
}

func TestReload(t *testing.T) {
	tg, d, o := setup(t)
	writeFile(t, o.dir, "pools: 3\n")
	d.Reload()
	writeFileAtomically(t, o.file, intent(tg.Target())+"  - {name: alt, address: 10.0.0.101, port: 80, pool: web}\n")
	d.Reload()
	d.wait("the new file runs", reprogrammed("intent revision 2"))
	if n := len(d.status().Vips); n != 2 {
		t.Errorf("%d VIPs, want 2", n)
	}
}

func writeFileAtomically(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// A switch that leaves the intent keeps its tables; one that comes is filled.
func TestSwitchesComeAndGo(t *testing.T) {
	tg, d, _ := setup(t)
	second := newTarget(t)
	rows := tg.dump(allTables...)
	two := strings.Replace(intent(tg.Target()), "vip_mac",
		fmt.Sprintf("  - {name: leaf2, address: %q, device_id: 1, ports: [1, 2, 3, 4]}\nvip_mac", second.Target()), 1)
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: two}); err != nil {
		t.Fatal(err)
	}
	e := d.wait("leaf2 is synced", func(e *api.Event) bool {
		return e.GetSwitch().GetSwitch() == "leaf2" && e.GetSwitch().State == api.SwitchStatus_STATE_SYNCED
	})
	if diff := cmp.Diff(rows, second.dump(allTables...)); diff != "" {
		t.Errorf("leaf2 against leaf1 (-leaf1 +leaf2):\n%s", diff)
	}
	// A drain is over when both say so.
	d.admin("web1", api.Admin_ADMIN_DRAIN)
	r := d.since(e, "the drain is in both", reprogrammed("drain of web/web1")).GetReprogrammed()
	if diff := cmp.Diff([]string{"leaf1", "leaf2"}, r.Switches); diff != "" {
		t.Errorf("switches (-want +got):\n%s", diff)
	}
	d.wait("web1 is drained", func(e *api.Event) bool { return e.GetDrainDone() != nil })
	if tg.dump("slot") != second.dump("slot") || strings.Contains(tg.dump("slot"), "old_id=") {
		t.Error("the switches differ, or keep old paths, after the drain")
	}

	rows = tg.dump(allTables...)
	one := strings.Replace(two, fmt.Sprintf("  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3, 4]}\n",
		tg.Target()), "", 1)
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: one}); err != nil {
		t.Fatal(err)
	}
	if n := len(d.status().Switches); n != 1 {
		t.Errorf("%d switches, want 1", n)
	}
	if diff := cmp.Diff(rows, tg.dump(allTables...)); diff != "" {
		t.Errorf("leaf1 after it was let go (-want +got):\n%s", diff)
	}
}

// Where others are judged, a new backend waits for its first verdict.
func TestNewBackendWaitsForItsVerdict(t *testing.T) {
	tg, d, _ := setup(t)
	for _, b := range []string{"web1", "web2", "web3"} {
		d.verdict(b, api.Health_HEALTH_UP)
	}
	more := strings.Replace(intent(tg.Target()), "vips:",
		`      - {name: web4, address: 10.0.0.14, mac: "02:00:00:00:00:14", switch_port: 4}`+"\nvips:", 1)
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: more}); err != nil {
		t.Fatal(err)
	}
	d.wait("the intent is in the switch", reprogrammed("intent revision 2"))
	if got, want := d.shares(), "web1 86, web2 85, web3 85, web4 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if b := d.status().Pools[0].Backends[3]; b.Reason != "waits for its first verdict" {
		t.Errorf("web4: %v", b)
	}
	d.verdict("web4", api.Health_HEALTH_UP)
	d.wait("web4 has its share", reprogrammed("verdict on web/web4"))
	if got, want := d.shares(),
		"web1 64 in 0 out 22, web2 64 in 0 out 21, web3 64 in 0 out 21, web4 64 in 64 out 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWatchChecks(t *testing.T) {
	tg, d, _ := setup(t)
	stream, err := d.WatchChecks(t.Context(), &api.WatchChecksRequest{})
	if err != nil || !stream.Receive() {
		t.Fatal(err, stream.Err())
	}
	backend := func(n int) *api.CheckedBackend {
		return &api.CheckedBackend{Name: fmt.Sprintf("web%d", n), Address: fmt.Sprintf("10.0.0.1%d", n)}
	}
	want := &api.Checks{IntentRevision: 1, Pools: []*api.PoolChecks{{
		Pool:     "web",
		Backends: []*api.CheckedBackend{backend(1), backend(2), backend(3)},
		Checks: []*api.Check{{
			Type: "tcp", Port: 80, Rise: 2, Fall: 3, Interval: durationpb.New(2 * time.Second),
			FastInterval: durationpb.New(500 * time.Millisecond),
			Timeout:      durationpb.New(time.Second), Jitter: durationpb.New(200 * time.Millisecond),
		}},
	}}}
	if diff := cmp.Diff(want, stream.Msg(), protocmp.Transform()); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	if !d.status().HealthConnected {
		t.Error("the status says that healthd is not connected")
	}
	if _, err := d.ApplyIntent(t.Context(),
		&api.ApplyIntentRequest{Yaml: strings.Replace(intent(tg.Target()), "type: tcp", "type: http", 1)}); err != nil {
		t.Fatal(err)
	}
	if !stream.Receive() || stream.Msg().IntentRevision != 2 || stream.Msg().Pools[0].Checks[0].Type != "http" {
		t.Errorf("after the change: %v, %v", stream.Msg(), stream.Err())
	}
}

// That nobody watches the servers any more is told when it happens.
func TestHealthdComesAndLeaves(t *testing.T) {
	_, d, _ := setup(t)
	left := func(connected bool) func(*api.Event) bool {
		return func(e *api.Event) bool { return e.GetHealthd() != nil && e.GetHealthd().Connected == connected }
	}
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 { // one of two that leaves changes nothing
		stream, err := d.WatchChecks(ctx, &api.WatchChecksRequest{})
		if err != nil || !stream.Receive() {
			t.Fatal(err, stream.Err())
		}
	}
	came := d.wait("healthd has come", left(true))
	if came.Text != "healthd is connected" {
		t.Errorf("got event %q", came.Text)
	}
	cancel()
	e := d.since(came, "healthd has left", left(false))
	if want := "healthd has left: its verdicts stand, and nobody notices a server that dies"; e.Text != want {
		t.Errorf("got event %q, want %q", e.Text, want)
	}
	found := false
	for _, c := range d.status().Concerns {
		found = found || c.Text == "no healthd is connected: nobody notices a server that dies"
	}
	if !found {
		t.Errorf("concerns: %v", d.status().Concerns)
	}
}

func TestVerdictsOfStrangers(t *testing.T) {
	_, d, _ := setup(t)
	r, err := d.ReportVerdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: []*api.Verdict{
		{Pool: "web", Backend: "web9", Health: api.Health_HEALTH_DOWN},
		{Pool: "web", Backend: "web1", Health: api.Health_HEALTH_UP},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"web/web9"}, r.Unknown); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
	_, err = d.ReportVerdicts(t.Context(),
		&api.ReportVerdictsRequest{Verdicts: []*api.Verdict{{Pool: "web", Backend: "web1"}}})
	if want := "invalid_argument: verdicts[0].health: must be HEALTH_UP, HEALTH_DOWN, HEALTH_FAILING or " +
		"HEALTH_UNCHECKED, is HEALTH_UNSPECIFIED"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for _, test := range []struct {
		r    *api.SetBackendAdminRequest
		want string
	}{
		{&api.SetBackendAdminRequest{Backend: "web9", Admin: api.Admin_ADMIN_DRAIN},
			`not_found: no backend "web9" in any pool; did you mean web1?`},
		{&api.SetBackendAdminRequest{Pool: "web", Backend: "wbe2", Admin: api.Admin_ADMIN_DRAIN},
			`not_found: no backend "wbe2" in pool "web"; did you mean web2?`},
		{&api.SetBackendAdminRequest{Backend: "other", Admin: api.Admin_ADMIN_DRAIN},
			`not_found: no backend "other" in any pool`},
		{&api.SetBackendAdminRequest{Pool: "wbe", Backend: "web1", Admin: api.Admin_ADMIN_DRAIN},
			`not_found: no pool "wbe"; did you mean web?`},
		{&api.SetBackendAdminRequest{Pool: "db", Backend: "web1", Admin: api.Admin_ADMIN_DRAIN},
			`not_found: no pool "db"`},
		{&api.SetBackendAdminRequest{Backend: "web1"},
			`invalid_argument: admin: must be ADMIN_ACTIVE or ADMIN_DRAIN, is ADMIN_UNSPECIFIED`},
	} {
		if _, err := d.SetBackendAdmin(t.Context(), test.r); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	if _, err := d.ListBackends(t.Context(), &api.ListBackendsRequest{Pool: "db"}); err == nil ||
		err.Error() != `not_found: no pool "db"` {
		t.Errorf("got %v", err)
	}
}

// A start without an intent says why, and leaves no store behind.
func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	faulty := filepath.Join(dir, "faulty.yaml")
	if err := os.WriteFile(faulty, []byte("vip_mac: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty, stored := filepath.Join(dir, "empty"), filepath.Join(dir, "stored")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	db, _, err := store.Open(t.Context(), store.Config{Dir: stored}) // as a controller leaves it that dies early
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	for _, test := range []struct {
		name, file, listen string
		want               string
	}{
		{"no intent at all", "", "127.0.0.1:0", "no intent: the store is new and no --config file was given"},
		{"a file that is not there", "/does/not/exist", "127.0.0.1:0",
			"reading the intent: open /does/not/exist: no such file or directory"},
		{"a faulty file and nothing stored", faulty, "127.0.0.1:0",
			faulty + `:1: vip_mac: must be a MAC address such as 02:53:4c:00:00:01, is "x"`},
		{"a network to listen on", faulty, "0.0.0.0:9680",
			`address "0.0.0.0:9680": plain text stays on this machine: must be https://host:port, a unix socket or a ` +
				`loopback address`},
	} {
		for _, data := range []string{filepath.Join(dir, "absent"), empty, stored} {
			err := controller.New(controller.Config{File: test.file, Store: store.Config{Dir: data},
				Listen: []string{test.listen}}).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: got %v, want %s", test.name, filepath.Base(data), err, test.want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
	if list, err := os.ReadDir(empty); err != nil || len(list) > 0 {
		t.Errorf("the empty data directory holds %v, %v", list, err)
	}
}
