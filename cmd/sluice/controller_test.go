package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

const controllerIntent = `switches:
  - {name: leaf1, address: %q, device_id: 1, ports: [1, 2, 3]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    drain_idle: 500ms
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 2}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 3}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`

// The controller role and the commands that talk to it, over a unix socket, with a real switch.
func TestControllerCommands(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	for id := range uint16(3) {
		cable, _ := port.NewLink()
		if err := sw.AddPort(id+1, cable); err != nil {
			t.Fatal(err)
		}
	}
	switchDone := make(chan error, 1)
	switchLives, endSwitch := context.WithCancel(ctx)
	defer endSwitch()
	go func() { switchDone <- sw.RunAndServe(switchLives, l) }()

	// The path of a unix socket must be short.
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, socket := filepath.Join(dir, "sluice.yaml"), "unix:"+filepath.Join(dir, "api")
	text := fmt.Sprintf(controllerIntent, address)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	logs := &watcher{want: "controller started", then: func() {
		select {
		case <-started:
		default:
			close(started)
		}
	}}
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sluice", "controller", "--config", file, "--data-dir", filepath.Join(dir, "data"),
			"--listen", socket}, logs, logs)
	}()
	defer func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("the controller's exit code is %d:\n%s", code, logs.text.String())
		}
		if err := <-switchDone; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-started:
	case code := <-done:
		done <- code
		t.Fatal("the controller has ended")
	}
	check := func(wantCode int, wantOut, wantErr string, args ...string) {
		t.Helper()
		code, stdout, stderr := sluice(t, append(args, "--controller", socket)...)
		if code != wantCode {
			t.Errorf("%v: exit code %d, want %d", args, code, wantCode)
		}
		if diff := cmp.Diff(wantOut, stdout); diff != "" {
			t.Errorf("%v: stdout (-want +got):\n%s", args, diff)
		}
		if diff := cmp.Diff(wantErr, stderr); diff != "" {
			t.Errorf("%v: stderr (-want +got):\n%s", args, diff)
		}
	}
	waitSynced(t, socket)
	check(0, `POOL  BACKEND  ADDRESS    PORT  WEIGHT  ADMIN   HEALTH   SLOTS  IN  OUT  PINNED  PACKETS  REASON
web   web1     10.0.0.11     2     100  active  unknown     32   0    0       0        0  -
web   web2     10.0.0.12     3     100  active  unknown     32   0    0       0        0  -
`, "", "backend", "list")
	code, stdout, stderr := sluice(t, "backend", "drain", "--wait", "web2", "--controller", socket)
	const drained = "web/web2 is drained: no slot leads there any more, and no open connection sent a packet " +
		"for 500ms " +
		"(drain_idle)\n"
	if want := drained; code != 0 || stdout != want {
		t.Errorf("drain --wait: exit code %d, stdout %q", code, stdout)
	}
	const first = "web/web2 drains: 0 slots left, 32 more still move, 0 old connections are pinned\n"
	if !strings.HasPrefix(stderr, first) {
		t.Errorf("drain --wait: stderr %q, want it to begin with %q", stderr, first)
	}
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if slices.Sort(lines); len(slices.Compact(lines)) != strings.Count(stderr, "\n") {
		t.Errorf("drain --wait tells the same twice:\n%s", stderr)
	}
	check(0, drained, "", "backend", "drain", "--pool", "web", "web2")
	check(0, "web/web2 takes new connections when it is up\n", "", "backend", "undrain", "web2")
	// Without the other one its slots have nowhere to go. An interrupt ends the wait, not the drain.
	if code, stdout, stderr = sluice(t, "backend", "drain", "--wait", "web1", "--controller", socket); code != 0 {
		t.Errorf("drain --wait web1: exit code %d, %s%s", code, stdout, stderr)
	}
	waiting, interrupt := context.WithCancel(t.Context())
	progress := &watcher{want: "no backend may take them", then: interrupt}
	code = run(waiting, []string{"sluice", "backend", "drain", "--wait", "web2", "--controller", socket}, progress,
		progress)
	want := "web/web2 drains: 64 slots left, 0 more still move, 0 old connections are pinned; 64 slots wait: " +
		"no backend may take them\n" +
		"sluice: interrupted: the drain of web/web2 goes on, `sluice backend undrain web2` takes it back\n"
	if got := progress.text.String(); code != exitFailure || got != want {
		t.Errorf("an interrupted drain --wait: exit code %d, want %d\n got %q\nwant %q", code, exitFailure, got, want)
	}
	interrupt()
	check(0, "web/web1 takes new connections when it is up\n", "", "backend", "undrain", "web1")
	check(0, "web/web2 takes new connections when it is up\n", "", "backend", "undrain", "web2")
	check(2, "", "sluice: no backend \"web9\" in any pool; did you mean web1?\n", "backend", "drain", "web9")
	check(2, "", "sluice: no pool \"db\"\n", "backend", "list", "--pool", "db")
	check(2, "", "sluice: which BACKEND? `sluice backend drain --help` tells the usage\n", "backend", "drain")

	check(0, "revision 1 is running already\n", "", "config", "apply", file)
	faulty := filepath.Join(dir, "faulty.yaml")
	if err := os.WriteFile(faulty, []byte(strings.Replace(text, "slots: 64", "slots: 63", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	check(2, "", "sluice: the configuration is refused, what runs stays:\n"+faulty+
		":6: pools[0].slots: must be a power of two, 64..65536, is 63\n", "config", "apply", faulty)
	check(1, "", "sluice: revision 1 is running, not 5\n", "config", "apply", file, "--if-revision", "5")
	more := filepath.Join(dir, "more.yaml")
	if err := os.WriteFile(more, []byte(text+"  - {name: alt, address: 10.0.0.101, port: 80, pool: web}\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	check(0, "{\n  \"revision\": 2,\n  \"changed\": true\n}\n", "", "config", "apply", "--json", more)

	code, stdout, stderr = sluice(t, "status", "--controller", socket, "--json", "--exit-zero")
	var status struct {
		IntentRevision int `json:"intent_revision"`
		Switches       []struct{ Name, Address string }
		Vips           []struct{ Name string }
		Pools          []struct{ Backends []struct{ Slots int } }
		Reprogrammed   []struct {
			SurplusMoves int `json:"surplus_moves"`
		}
	}
	if err := json.Unmarshal([]byte(stdout), &status); err != nil || code != 0 {
		t.Fatalf("status --json: %v, exit code %d, %s", err, code, stderr)
	}
	if status.IntentRevision != 2 || status.Switches[0].Address != address || len(status.Vips) != 2 ||
		len(status.Pools[0].Backends) != 2 || len(status.Reprogrammed) == 0 {
		t.Errorf("status --json: %s", stdout)
	}
	if code, stdout, _ := sluice(t, "status", "--controller", socket, "--exit-zero"); code != 0 ||
		!strings.Contains(stdout, "revision 2, applied") {
		t.Errorf("status: exit code %d\n%s", code, stdout)
	}
	// Sooner or later the new VIP is in the switch, and all is well.
	ends := func(want int, line string) {
		t.Helper()
		var code int
		var stdout string
		for range 2000 {
			if code, stdout, _ = sluice(t, "status", "--controller", socket); code == want &&
				strings.HasPrefix(stdout, line) {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("status: exit code %d, want %d; want it to begin with %q:\n%s", code, want, line, stdout)
	}
	ends(0, "OK             all is well\n")
	// The switch dies.
	endSwitch()
	ends(exitCritical, "CRITICAL       it is not known whether VIP www takes traffic: no switch is connected\n"+
		"CRITICAL       it is not known whether VIP alt takes traffic: no switch is connected\nCRITICAL       switch "+
		"leaf1 is disconnected: ")
	if code, _, stderr := sluice(t, "status", "--controller", socket, "--exit-zero"); code != 0 || stderr != "" {
		t.Errorf("status --exit-zero: exit code %d, stderr %q", code, stderr)
	}
}

func waitSynced(t *testing.T, address string) {
	t.Helper()
	client, err := api.Dial(address, rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	events, err := client.WatchEvents(t.Context(), &api.WatchEventsRequest{Recent: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	for events.Receive() {
		if events.Msg().GetSwitch().GetState() == api.SwitchStatus_STATE_SYNCED {
			return
		}
	}
	t.Fatal(events.Err())
}

func TestControllerRefuses(t *testing.T) {
	dir := t.TempDir()
	faulty, valid := filepath.Join(dir, "faulty.yaml"), filepath.Join(dir, "valid.yaml")
	for name, text := range map[string]string{
		faulty: "vip_mac: 02:53:4c:00:00:01\nswitches: []\nports: 1\n",
		valid:  fmt.Sprintf(controllerIntent, "127.0.0.1:9559"),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := "unix:" + filepath.Join(dir, "none")
	const noTLS = `plain text stays on this machine: must be https://host:port, a unix socket or a loopback address`
	const noFiles = `needs --tls-ca, and --tls-cert with --tls-key: without them nobody is known there`
	unreachable := "sluice: no controller answers at " + none + " (dial unix " + strings.TrimPrefix(none, "unix:") +
		": connect: no such file or directory); " +
		"--controller names another, `sluice controller --config FILE --data-dir DIR` starts one\n"
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"controller"}, exitUsage,
			"sluice: one of --data-dir and --etcd is needed, to say where the store is\n"},
		{[]string{"controller", "--data-dir", dir, "--etcd", "127.0.0.1:2379"}, exitUsage,
			"sluice: --data-dir and --etcd: must be one of the two, the store is in one place\n"},
		{[]string{"controller", "--data-dir", dir, "--listen", "0.0.0.0:1"}, exitUsage,
			`sluice: --listen: address "0.0.0.0:1": ` + noTLS + "\n"},
		{[]string{"controller", "--etcd", "127.0.0.1:2379", "--etcd", "192.0.2.1:2379"}, exitUsage,
			`sluice: --etcd: address "192.0.2.1:2379": ` + noTLS +
				"; whoever is on the way reads and changes the configuration; --insecure-plaintext allows it\n"},
		{[]string{"controller", "--etcd", "https://127.0.0.1:2379"}, exitUsage,
			`sluice: --etcd: address "https://127.0.0.1:2379": ` + noFiles + "\n"},
		{[]string{"controller", "--etcd", "192.0.2.1:2379", "--insecure-plaintext", "--listen", "0.0.0.0:1"}, exitUsage,
			`sluice: --listen: address "0.0.0.0:1": ` + noTLS + "\n"},
		{[]string{"controller", "--data-dir", dir, "--listen", "https://:1"}, exitUsage,
			`sluice: --listen: address "https://:1": ` + noFiles + "\n"},
		{[]string{"controller", "--data-dir", dir, "--etcd-tls-key", "x"}, exitUsage,
			"sluice: --etcd-tls-cert and --etcd-tls-key: must be given both, or none\n"},
		{[]string{"healthd", "--controller", "https://127.0.0.1:1"}, exitUsage,
			`sluice: --controller: address "https://127.0.0.1:1": ` + noFiles + "\n"},
		{[]string{"status", "--controller", "https://127.0.0.1:1"}, exitUsage,
			`sluice: --controller: address "https://127.0.0.1:1": ` + noFiles + "\n"},
		{[]string{"table", "list", "--target", "https://127.0.0.1:1"}, exitUsage,
			`sluice: --target: address "https://127.0.0.1:1": ` + noFiles + "\n"},
		{[]string{"table", "list", "--target", "192.0.2.1:1"}, exitUsage, `sluice: --target: address "192.0.2.1:1": ` +
			noTLS + "; --insecure-plaintext allows it\n"},
		{[]string{"gslb", "status", "--socket", "https://127.0.0.1:1"}, exitUsage,
			`sluice: --socket: address "https://127.0.0.1:1": ` + noFiles + "\n"},
		{[]string{"controller", "--data-dir", dir, "--allow", "boss=alice"}, exitUsage,
			"sluice: --allow: must be ROLE=USER or ROLE=%GROUP with one of the roles [operator viewer healthd " +
				"gslb], is " +
				"\"boss=alice\"\n"},
		{[]string{"controller", "--data-dir", dir, "--allow", "viewer=%"}, exitUsage,
			"sluice: --allow: must be ROLE=USER or ROLE=%GROUP with one of the roles [operator viewer healthd " +
				"gslb], is " +
				"\"viewer=%\"\n"},
		{[]string{"controller", "--data-dir", dir, "--log-level", "loud"}, exitUsage,
			"sluice: --log-level: must be debug, info, warn or error, is \"loud\"\n"},
		{[]string{"controller", "--data-dir", dir, "--load-report", ":0"}, exitUsage,
			"sluice: --load-report: needs --load-report-key-file: load reports are for those who have a key\n"},
		{[]string{"controller", "--data-dir", dir, "--load-report-key-file", valid}, exitUsage,
			"sluice: --load-report-key-file: needs --load-report, to say where load reports are answered\n"},
		{[]string{"controller", "--data-dir", dir, "--load-report", "here", "--load-report-key-file", valid}, exitUsage,
			"sluice: --load-report: address here: missing port in address\n"},
		{[]string{"controller", "--data-dir", dir, "--load-report", ":0", "--load-report-key-file", dir + "/no.key"},
			exitUsage,
			"sluice: --load-report-key-file: reading the keys: stat " + dir + "/no.key: no such file or directory\n"},
		{[]string{"status", "--controller", none}, exitUnreachable, unreachable},
		{[]string{"backend", "list", "--controller", none}, exitUnreachable, unreachable},
		{[]string{"backend", "drain", "--wait", "web1", "--controller", none}, exitUnreachable, unreachable},
		{[]string{"config", "apply", valid, "--controller", none}, exitUnreachable, unreachable},
		{[]string{"config", "apply", faulty, "--controller", none}, exitUsage,
			"sluice: the configuration is refused, what runs stays:\n" +
				faulty + ":2: switches: must name at least one switch\n" + faulty +
				":3: ports: is not a known key: did you mean pools?\n"},
		{[]string{"controller", "--data-dir", filepath.Join(dir, "new"), "--config", dir + "/no.yaml", "--listen",
			none},
			exitUsage,
			"sluice: --config: reading the intent: open " + dir + "/no.yaml: no such file or directory\n"},
		{[]string{"config", "apply", dir + "/no.yaml"}, exitUsage,
			"sluice: open " + dir + "/no.yaml: no such file or directory\n"},
		{[]string{"status", "--controller", "192.0.2.1:9680"}, exitUsage,
			`sluice: --controller: address "192.0.2.1:9680": ` +
				noTLS + "\n"},
		{[]string{"status", "extra"}, exitUsage,
			"sluice: unexpected argument \"extra\"; `sluice status --help` tells the usage\n"},
	} {
		code, stdout, stderr := sluice(t, test.args...)
		if code != test.code || stderr != test.want || stdout != "" {
			t.Errorf("%v: exit code %d, want %d; stdout %q; stderr:\n got %q\nwant %q", test.args, code, test.code,
				stdout,
				stderr, test.want)
		}
	}
	code, _, stderr := sluice(t, "controller", "--config", faulty, "--data-dir", filepath.Join(dir, "data"), "--listen",
		"unix:"+filepath.Join(dir, "api"))
	if code != exitUsage || !strings.Contains(stderr, faulty+":3: ports: ") {
		t.Errorf("a faulty file: exit code %d, want %d: %s", code, exitUsage, stderr)
	}
}

// A controller that refuses to tell leaves things unknown: the code of a warning would say that they work.
func TestStatusRefused(t *testing.T) {
	l, err := rpc.Listen("unix:"+filepath.Join(t.TempDir(), "api"), nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	type refuses struct {
		api.UnimplementedControllerServiceHandler
		api.UnimplementedHealthServiceHandler
	}
	go func() { done <- api.Serve(ctx, l, refuses{}, refuses{}) }()
	for command, want := range map[string]int{"status": exitUnreachable, "status --exit-zero": exitUnreachable,
		"backend list": exitFailure} {
		code, _, stderr := sluice(t, append(strings.Fields(command), "--controller", l.Address())...)
		if code != want || !strings.HasSuffix(stderr, " is not implemented\n") {
			t.Errorf("%s: exit code %d, want %d; stderr %q", command, code, want, stderr)
		}
	}
}

func TestStatusText(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	m := &api.GetStatusResponse{
		Time: timestamppb.New(now), IntentRevision: 7, IntentAppliedAt: ago(90 * time.Second),
		HealthReportedAt: ago(5 * time.Second),
		Frozen:           "writing the store: the store does not answer",
		Concerns: []*api.Concern{
			{Severity: api.Concern_SEVERITY_CRITICAL,
				Text: "VIP www takes no traffic: no backend\nof the pool \x1b[2J"},
			{Severity: api.Concern_SEVERITY_WARNING, Text: "switch leaf2 is disconnected: connection refused"},
		},
		Switches: []*api.SwitchStatus{
			{Name: "leaf1", Address: "127.0.0.1:9559", State: api.SwitchStatus_STATE_DEGRADED, Since: ago(time.Minute),
				RowsHeld: 4104, Stations: 4, EntriesWritten: 4200,
				FailedTotal: 12, Failed: []*api.FailedUpdate{{Update: "insert vip{10.0.0.101 6 80}",
					Code:    "ResourceExhausted",
					Message: "table vip is\nfull", Attempts: 3}},
				Tallies: map[string]*api.PacketCount{"drop_no_slot": {Packets: 9}, "drop_arp_claim": {Packets: 2}},
				Mended:  map[string]*api.PacketCount{"arp_disowned": {Packets: 5}},
				Ports: []*api.PortStatus{
					{Id: 1, Name: "eth1", State: "up", Received: 100, Sent: 90, SentDropped: 4,
						Reason:   "frame is longer than the MTU",
						ReasonAt: ago(3 * time.Second)},
					{Id: 2, Name: "eth2", State: "not_present", Reason: "the interface is gone", Stale: true,
						Heard: ago(9 * time.Second)},
				}, PortsWay: "gNMI, polled every 2s",
				PortsNote:   "streamed every 10s is refused: InvalidArgument: no\nSTREAM",
				PortsUntold: "Unavailable: restarting"},
			{Name: "leaf2", Address: "127.0.0.1:9560", State: api.SwitchStatus_STATE_DISCONNECTED,
				Error:       "connection refused",
				Unmetered:   "alarm_meter: no\nmeters",
				PortsUntold: "the target has no gNMI"},
		},
		Vips: []*api.VIPStatus{{Name: "www", Address: "10.0.0.100", Port: 80, Protocol: "tcp", Pool: "web",
			State: api.VIPStatus_STATE_NO_BACKEND,
			Load:  255, Reason: "no backend of the pool may receive traffic", Packets: &api.PacketCount{Packets: 77}}},
		Pools: []*api.PoolStatus{{Name: "web", Slots: 4096, Moving: 10, Epochs: 1, Waiting: 31,
			WaitingReason: "all 4 epochs are in use", Held: "half of it fell at once", Vips: []string{"www", "alt"},
			Backends: []*api.BackendStatus{
				{Pool: "web", Name: "web1", Address: "10.0.0.11", SwitchPort: 3, Weight: 100, Enabled: true,
					Health: api.Health_HEALTH_DOWN, Slots: 0, MovingOut: 10, Reason: "connect:\nrefused",
					HealthStale: true, Healthd: "manager", Reported: ago(time.Minute), GraceSlots: 1365,
					GraceUntil: ago(-6 * time.Second), Contradictions: []string{"its MAC is on port 2"},
					Ports: []string{"port 3 of leaf1 is down"}},
				{Pool: "web", Name: "web2", Address: "10.0.0.12", SwitchPort: 4, Weight: 100, Enabled: true,
					Health: api.Health_HEALTH_UP, Slots: 4096, MovingIn: 10,
					Reason: "all checks pass", Healthd: "spare", Reported: ago(2 * time.Second),
					Admin: api.Admin_ADMIN_DRAIN, Waiting: 31, WaitingReason: "all 4 epochs are in use",
					Packets: &api.PacketCount{Packets: 77}},
			}}},
		ArpClaims: []*api.ARPClaim{{VipAddress: "10.0.0.100", Mac: "02:00:00:00:00:12", Backend: "web/web2",
			Switch: "leaf1",
			Port:   4, Count: 8, Last: ago(time.Hour)}},
		Spoofs: []*api.Spoof{
			{Switch: "leaf1", Port: 4, Mac: "02:00:00:00:00:11", Station: "web/web1", StationPort: 3, Frames: 64,
				Last: ago(time.Second)},
			{Switch: "leaf1", Port: 4, Mac: "02:53:4c:00:00:01", Station: "the VIPs", Frames: 1,
				Last: ago(time.Minute)},
			{Switch: "leaf1", Port: 4, Mac: "02:00:00:00:00:12", Sender: "web/web2", Address: "10.0.0.11",
				Station:     "web/web1",
				StationPort: 3, Frames: 2, Last: ago(time.Minute)},
			{Switch: "leaf1", Port: 4, Mac: "02:00:00:00:00:99", Address: "10.0.0.1", Station: "router1",
				StationPort: 1,
				Frames:      3, Last: ago(time.Minute)},
		},
		Reprogrammed: []*api.Reprogrammed{{Time: ago(2 * time.Second), Cause: "verdict on web/web1",
			Moves: []*api.SlotMoves{{Slots: 9}, {Slots: 1}}, SlotsTotal: 10, Writes: 10, ReprogramMs: 3.25,
			Switches: []string{"leaf1"}}},
	}
	want := `CRITICAL       VIP www takes no traffic: no backend of the pool \u001b[2J
WARNING        switch leaf2 is disconnected: connection refused
configuration  revision 7, applied 1m30s ago
healthd        not connected: its verdicts of 5s ago stand
FROZEN         writing the store: the store does not answer

SWITCH  ADDRESS         STATE         SINCE     ROWS  STATIONS  WRITTEN  REFUSED  NOT FORWARDED
leaf1   127.0.0.1:9559  degraded      1m0s ago  4104         4     4200       12  drop_arp_claim 2, drop_no_slot 9
leaf2   127.0.0.1:9560  disconnected  -            0         0        0        0  -
leaf1: arp_disowned 5: forwarded, but changed
leaf1: nothing more is heard of its ports: Unavailable: restarting
leaf1: its ports, by gNMI, polled every 2s: streamed every 10s is refused: InvalidArgument: no STREAM
leaf2: connection refused
leaf2: does not meter what it sends up, a host can flood the controller: alarm_meter: no meters
leaf2: its ports are not known: the target has no gNMI

VIP  ADDRESS     PORT    POOL  STATE       LOAD  PACKETS  REASON
www  10.0.0.100  80/tcp  web   no backend   255       77  no backend of the pool may receive traffic

POOL  SLOTS  MOVING  UNOWNED  EPOCHS  GENERATION  VIPS
web    4096      10        0       1           0  www, alt
web: HELD: half of it fell at once
web: 31 slots wait: all 4 epochs are in use

POOL  BACKEND  ADDRESS    PORT  WEIGHT  ADMIN     HEALTH  SLOTS  IN  OUT  PINNED  PACKETS  REASON
web   web1     10.0.0.11     3     100  active    down        0   0   10       0        -  connect: refused; port 3 of leaf1 is down; last said by manager 1m0s ago; grace 6s, 1365 slots
web   web2     10.0.0.12     4     100  draining  up       4096  10    0       0       77  all checks pass; said by spare 2s ago; 31 slots wait: all 4 epochs are in use
web/web1: its MAC is on port 2

SWITCH  PORT  INTERFACE  STATE                      RECEIVED  DROPPED  SENT  DROPPED  REASON
leaf1      1  eth1       up                              100        0    90        4  frame is longer than the MTU, 3s ago
leaf1      2  eth2       not present, heard 9s ago         0        0     0        0  the interface is gone

SWITCH  REFUSED UPDATE               CODE               ATTEMPTS  MESSAGE
leaf1   insert vip{10.0.0.101 6 80}  ResourceExhausted         3  table vip is full
leaf1   and 11 more                  -                         -  -

VIP CLAIMED  BY                 HOW    BACKEND   SWITCH  PORT  TIMES  LAST
10.0.0.100   02:00:00:00:00:12  reply  web/web2  leaf1      4      8  1h0m0s ago

SPOOFED            STATION   ITS PORT  BY                 SWITCH  FROM PORT  TIMES  LAST
02:00:00:00:00:11  web/web1  3         -                  leaf1           4     64  1s ago
02:53:4c:00:00:01  the VIPs  none      -                  leaf1           4      1  1m0s ago
10.0.0.11          web/web1  3         web/web2           leaf1           4      2  1m0s ago
10.0.0.1           router1   1         02:00:00:00:00:99  leaf1           4      3  1m0s ago

REPROGRAMMED  CAUSE                MOVED  SURPLUS  WRITES  MS   SWITCHES
2s ago        verdict on web/web1     10        0      10  3.2  leaf1
`
	var b bytes.Buffer
	if err := writeStatus(&b, m); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
