package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/p4/packet"
)

const someSecret, otherSecret = "a secret for this test", "another one after that"

// setupReports is setup with load reports, and VIPs with tags and a capacity.
func setupReports(t *testing.T, interval time.Duration, log *slog.Logger) (*target, *daemon, options) {
	t.Helper()
	tg := newTarget(t)
	dir := t.TempDir()
	text := strings.Replace(intent(tg.Target()), "pool: web}", "pool: web, tags: [shop], capacity: 1}", 1) +
		"  - {name: alt, address: 10.0.0.101, port: 443, pool: web, tags: [shop]}\n"
	o := options{dir: dir, file: writeFile(t, dir, text), reports: "127.0.0.1:0", keys: filepath.Join(dir, "keys"),
		interval: interval, log: log}
	writeKeys(t, o.keys, someSecret)
	d := startController(t, o)
	d.synced()
	return tg, d, o
}

func writeKeys(t *testing.T, file string, secrets ...string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(secrets, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask asks as gslb's keepalives do: datagrams may be lost, so it asks again.
func (d *daemon) ask(secret string, items ...loadreport.Item) []loadreport.Report {
	d.t.Helper()
	key, err := loadreport.NewKey([]byte(secret))
	if err != nil {
		d.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(d.t.Context(), 2*time.Second)
		reports, err := new(loadreport.Client).Ask(ctx, d.LoadReportAddress(), key, items)
		cancel()
		if err == nil {
			return reports
		}
		if time.Now().After(deadline) {
			d.t.Fatal(err)
		}
	}
}

// askUntil asks until one answer is as wanted.
func (d *daemon) askUntil(what string, item loadreport.Item, is func(loadreport.Report) bool) {
	d.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r := d.ask(someSecret, item)[0]
		if is(r) {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("waiting until %s: %+v", what, r)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func is(want loadreport.Report) func(loadreport.Report) bool {
	return func(r loadreport.Report) bool { return r == want }
}

// What the controller decides shows in its load reports, by VIP and by tag.
func TestLoadReports(t *testing.T) {
	_, d, _ := setupReports(t, time.Hour, nil)
	www, alt := loadreport.VIP(netip.MustParseAddrPort("10.0.0.100:80"), 6),
		loadreport.VIP(netip.MustParseAddrPort("10.0.0.101:443"), 6)
	idle := loadreport.Report{Known: true, Load: 0, Live: 3, Total: 3}
	unknown := loadreport.Report{Load: loadreport.Offline}
	// The switch is synced; that its VIPs are active is told with the same turn of the loop.
	d.askUntil("the switch is there", alt, is(idle))
	got := d.ask(someSecret, www, alt, loadreport.Tag("shop"), loadreport.Tag("none"),
		loadreport.VIP(netip.MustParseAddrPort("[2001:db8::1]:80"), 6))
	if diff := cmp.Diff([]loadreport.Report{idle, idle, idle, unknown, unknown}, got); diff != "" {
		t.Errorf("idle (-want +got):\n%s", diff)
	}
	d.verdict("web2", api.Health_HEALTH_DOWN)
	d.askUntil("web2's death shows", alt, is(loadreport.Report{Known: true, Load: 85, Live: 2, Total: 3}))
	d.verdict("web1", api.Health_HEALTH_DOWN)
	d.verdict("web3", api.Health_HEALTH_DOWN)
	d.askUntil("everybody's death shows", loadreport.Tag("shop"),
		is(loadreport.Report{Known: true, Load: loadreport.Offline, Live: 0, Total: 3}))
}

// With a capacity the load is the packets' that the switch counts.
func TestLoadFollowsTheRate(t *testing.T) {
	tg, d, _ := setupReports(t, 20*time.Millisecond, nil)
	www := loadreport.VIP(netip.MustParseAddrPort("10.0.0.100:80"), 6)
	full, idle := loadreport.Report{Known: true, Load: 254, Live: 3, Total: 3},
		loadreport.Report{Known: true, Load: 0, Live: 3, Total: 3}
	n := 0
	// Packets come far faster than one a second.
	d.askUntil("the VIP is busy", www, func(r loadreport.Report) bool {
		n++
		tg.End(1).Inject(packet.NewTCP(packet.Segment{
			SrcMAC: packet.MAC{2, 0, 0, 0, 0, 0xc}, DstMAC: packet.MAC{2, 0x53, 0x4c, 0, 0, 1},
			Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(1000+n)),
			Dst: netip.MustParseAddrPort("10.0.0.100:80"), Flags: packet.SYN,
		}))
		return r == full
	})
	if got := d.ask(someSecret, loadreport.VIP(netip.MustParseAddrPort("10.0.0.101:443"), 6))[0]; got != idle {
		t.Errorf("the other VIP: %+v", got)
	}
	d.askUntil("it is idle again", www, is(idle))
}

// Keys change without a moment in which nobody can ask.
func TestKeysOfLoadReportsChange(t *testing.T) {
	refused := make(chan struct{}, 1)
	read := make(chan struct{}, 10)
	log := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		switch text := string(p); {
		case strings.Contains(text, "the load report keys were read"):
			read <- struct{}{}
		case strings.Contains(text, "the load report keys are refused, those before stay") &&
			strings.Contains(text, "has 5"):
			refused <- struct{}{}
		}
		return len(p), nil
	}), nil))
	_, d, o := setupReports(t, time.Hour, log)
	wait := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(patience):
			t.Fatalf("waiting until %s", what)
		}
	}
	item := loadreport.Tag("shop")
	d.ask(someSecret, item)
	writeKeys(t, o.keys, someSecret, otherSecret)
	d.Reload()
	wait("both are read", read)
	d.ask(someSecret, item)
	d.ask(otherSecret, item)
	writeKeys(t, o.keys, otherSecret)
	d.Reload()
	wait("the new one is read", read)
	d.ask(otherSecret, item)
	writeKeys(t, o.keys, "short")
	d.Reload()
	wait("the short one is refused", refused)
	d.ask(otherSecret, item)
}

func TestLoadReportsCannotStart(t *testing.T) {
	tg, dir := newTarget(t), t.TempDir()
	o := options{dir: dir, file: writeFile(t, dir, intent(tg.Target())), reports: "127.0.0.1:0",
		keys: filepath.Join(dir, "keys")}
	_, err := tryController(t, o)
	if want := fmt.Sprintf("reading the keys: stat %s: no such file or directory", o.keys); fmt.Sprint(err) != want {
		t.Errorf("without keys: got %v, want %s", err, want)
	}
	writeKeys(t, o.keys, someSecret)
	o.reports = "192.0.2.1:0"
	_, err = tryController(t, o)
	if want := "opening the load report socket: listen udp 192.0.2.1:0: bind: "; !strings.HasPrefix(fmt.Sprint(err),
		want) {
		t.Errorf("at another's address: got %v, want %s..", err, want)
	}
	o.reports = ""
	d := startController(t, o)
	if at := d.LoadReportAddress(); at.IsValid() {
		t.Errorf("nobody asked for it, and it listens at %v", at)
	}
}

func TestWatchVIPs(t *testing.T) {
	tg, d, _ := setupReports(t, time.Hour, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	stream, err := d.WatchVIPs(ctx, &api.WatchVIPsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	// until reads on until the VIPs are as wanted: some moves take two turns of the loop.
	until := func(what string, want *api.VIPs) {
		t.Helper()
		var last *api.VIPs
		for stream.Receive() {
			last = stream.Msg()
			if cmp.Equal(want, last, protocmp.Transform()) {
				return
			}
		}
		t.Fatalf("waiting until %s: %v (-want +got):\n%s", what, stream.Err(),
			cmp.Diff(want, last, protocmp.Transform()))
	}
	www := func() *api.VIP {
		return &api.VIP{Name: "www", Address: "10.0.0.100", Protocol: "tcp", Port: 80, Tags: []string{"shop"},
			State:        api.VIPStatus_STATE_ACTIVE,
			LiveBackends: 3, TotalBackends: 3, LiveWeight: 300, TotalWeight: 300}
	}
	alt := www()
	alt.Name, alt.Address, alt.Port = "alt", "10.0.0.101", 443
	first := &api.VIPs{IntentRevision: 1, Vips: []*api.VIP{www(), alt}}
	until("the first word", first)
	// Nothing happens, and it is said again, and again.
	for range 2 {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
		if diff := cmp.Diff(first, stream.Msg(), protocmp.Transform()); diff != "" {
			t.Errorf("while nothing happens (-want +got):\n%s", diff)
		}
	}
	d.verdict("web3", api.Health_HEALTH_DOWN)
	for _, v := range first.Vips {
		v.LiveBackends, v.LiveWeight, v.Load = 2, 200, 85
	}
	until("a death shows", first)

	if _, err := d.ApplyIntent(t.Context(),
		&api.ApplyIntentRequest{Yaml: strings.Replace(intent(tg.Target()), "pool: web}", "pool: web, enabled: false}",
			1)}); err != nil {
		t.Fatal(err)
	}
	off := www()
	off.Tags, off.State = nil, api.VIPStatus_STATE_DISABLED
	off.LiveBackends, off.LiveWeight, off.Load = 2, 200, loadreport.Offline
	until("another intent shows", &api.VIPs{IntentRevision: 2, Vips: []*api.VIP{off}})

	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: intent(tg.Target())}); err != nil {
		t.Fatal(err)
	}
	tg.StopSwitch()
	gone := www()
	gone.Tags, gone.State, gone.Reason = nil, api.VIPStatus_STATE_UNPROGRAMMED, "no switch is connected"
	gone.LiveBackends, gone.LiveWeight, gone.Load, gone.Unseen = 2, 200, loadreport.Offline, true
	until("the switch is gone", &api.VIPs{IntentRevision: 3, Vips: []*api.VIP{gone}})
	d.askUntil("load reports say so, too", loadreport.VIP(netip.MustParseAddrPort("10.0.0.100:80"), 6),
		is(loadreport.Report{Known: true, Load: loadreport.Offline, Unseen: true, Live: 2, Total: 3}))
	tg.start()
	back := www()
	back.Tags, back.LiveBackends, back.LiveWeight, back.Load = nil, 2, 200, 85
	until("the switch is back", &api.VIPs{IntentRevision: 3, Vips: []*api.VIP{back}})
}

// A watcher that does not read holds up nobody: states that it missed are not sent later, the last one is.
func TestSlowWatcherOfVIPs(t *testing.T) {
	tg, d, _ := setupReports(t, time.Hour, nil)
	client, err := api.Dial(d.Controller.Address(), rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	defer cancel()
	stream, err := client.WatchVIPs(ctx, &api.WatchVIPsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	// Each state is some 300 kB when compressed, and HTTP/2 lets 4 MB wait.
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString(intent(tg.Target()))
	for i := range 400 {
		tags := make([]string, 16)
		for j := range tags {
			tag := make([]byte, loadreport.MaxTag)
			for k := range tag {
				tag[k] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[random.IntN(62)]
			}
			tags[j] = `"` + string(tag) + `"`
		}
		fmt.Fprintf(&text, "  - {name: v%d, address: 10.1.%d.%d, port: 80, pool: web, enabled: false, tags: [%s]}\n", i,
			i/250, i%250+1, strings.Join(tags, ", "))
	}
	const changes = 18
	for i := range changes {
		r, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: fmt.Sprintf("%s# %d\n", text.String(), i)})
		if err != nil {
			t.Fatal(err)
		}
		if r.Revision != int64(i+2) {
			t.Fatalf("revision %d", r.Revision)
		}
	}
	read := 0
	for stream.Receive() {
		read++
		if stream.Msg().IntentRevision == changes+1 {
			if read > changes {
				t.Errorf("%d states were kept for a watcher that did not read", read)
			}
			return
		}
	}
	t.Fatalf("%d states read: %v (code %v)", read, stream.Err(), connect.CodeOf(stream.Err()))
}
