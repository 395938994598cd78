package controller

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// Two pools on two switches: web has three backends of unequal weight, db one.
const vipsIntent = `switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [1, 2, 3]}
  - {name: leaf2, address: "127.0.0.1:9560", device_id: 1, ports: [1, 2, 3]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    slots: 64
    grace: 0s
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 1, weight: 200}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2, weight: 100}
      - {name: web3, address: 10.0.0.13, mac: "02:00:00:00:00:13", switch_port: 3, weight: 100}
  - name: db
    slots: 64
    checks: [{type: tcp, port: 80}]
    backends:
      - {name: db1, address: 10.0.0.21, mac: "02:00:00:00:00:21", switch_port: 1}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web, tags: [shop, all]}
  - {name: tls, address: 10.0.0.100, port: 443, pool: web, tags: [shop, all], capacity: 1000}
  - {name: db, address: 10.0.0.101, port: 5432, pool: db, tags: [all]}
  - {name: off, address: 10.0.0.102, port: 80, pool: web, tags: [spare], enabled: false}
`

// told prints the VIPs as "www active 3/3 400/400 load 0".
func told(l *loop) string {
	l.tellVIPs()
	states, _ := l.vips.get()
	var b strings.Builder
	for _, v := range states.message.Vips {
		state := strings.ToLower(strings.TrimPrefix(v.State.String(), "STATE_"))
		fmt.Fprintf(&b, "%s %s %d/%d %d/%d load %d", v.Name, state, v.LiveBackends, v.TotalBackends, v.LiveWeight,
			v.TotalWeight, v.Load)
		if v.Unseen {
			b.WriteString(" unseen")
		}
		if v.Reason != "" {
			b.WriteString(": " + v.Reason)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func newVIPsLoop(t *testing.T) *loop {
	t.Helper()
	l := newLoop(slog.New(slog.DiscardHandler), newFigures(), &fakeStore{}, core.Stored{})
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(vipsIntent)); err != nil {
		t.Fatal(err)
	}
	return l
}

// switchIs tells the loop of a switch's state, and of the VIPs that it does not take.
func (l *loop) switchIs(t *testing.T, name string, s device.State, leftOut ...rows.VIPKey) {
	lacks := l.allHeld()
	for _, key := range leftOut {
		lacks[key] = rows.Lack{Row: "vip", Dead: true}
	}
	l.switchLacks(t, name, s, lacks)
}

// switchLacks tells the loop of a switch's state, and of what it lacks; nil: that is not known.
func (l *loop) switchLacks(t *testing.T, name string, s device.State, lacks map[rows.VIPKey]rows.Lack) {
	l.status(l.views[name], name, &device.Status{State: s, Connects: 1, Applied: l.core.Sequence(), Lacks: lacks})
}

// allHeld is what a switch says that holds what is wanted.
func (l *loop) allHeld() map[rows.VIPKey]rows.Lack {
	lacks := make(map[rows.VIPKey]rows.Lack)
	for key := range wantedOf(l.core).VIP {
		lacks[key] = rows.Lack{}
	}
	return lacks
}

// What a VIP is told to be follows from the intent, the verdicts, the operator and the switches.
func TestVIPStates(t *testing.T) {
	l := newVIPsLoop(t)
	www := rows.VIPKey{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 80}
	now := time.Now()
	judge := func(pool, backend string, h api.Health) {
		t.Helper()
		now = now.Add(time.Millisecond)
		list := detected(backend, h, now)
		list[0].Pool = pool
		if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: list}); err != nil {
			t.Fatal(err)
		}
	}
	admin := func(backend string, a plan.Admin) {
		t.Helper()
		if err := l.setAdmin(plan.BackendKey{Pool: "web", Backend: backend}, a); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"no switch yet", func() {}, `www unprogrammed 3/3 400/400 load 255 unseen: no switch is connected
tls unprogrammed 3/3 400/400 load 255 unseen: no switch is connected
db unprogrammed 1/1 100/100 load 255 unseen: no switch is connected
off disabled 3/3 400/400 load 255
`},
		{"one switch", func() { l.switchIs(t, "leaf1", device.Synced) }, `www active 3/3 400/400 load 0
tls active 3/3 400/400 load 0
db active 1/1 100/100 load 0
off disabled 3/3 400/400 load 255
`},
		{"half the weight dies", func() { judge("web", "web1", api.Health_HEALTH_DOWN) },
			`www active 2/3 200/400 load 127
tls active 2/3 200/400 load 127
db active 1/1 100/100 load 0
off disabled 2/3 200/400 load 255
`},
		{"half the capacity is half used", func() {
			l.rates = map[rows.VIPKey]float64{{Address: www.Address, Protocol: 6, Port: 443}: 250}
		}, `www active 2/3 200/400 load 127
tls active 2/3 200/400 load 127
db active 1/1 100/100 load 0
off disabled 2/3 200/400 load 255
`},
		{"it returns: a quarter is used", func() {
			judge("web", "web1", api.Health_HEALTH_UP)
			l.switchIs(t, "leaf1", device.Synced)
		}, `www active 3/3 400/400 load 0
tls active 3/3 400/400 load 64
db active 1/1 100/100 load 0
off disabled 3/3 400/400 load 255
`},
		{"the last one dies", func() { judge("db", "db1", api.Health_HEALTH_DOWN) }, `www active 3/3 400/400 load 0
tls active 3/3 400/400 load 64
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 3/3 400/400 load 255
`},
		{"the only one in sight does not take one", func() { l.switchIs(t, "leaf1", device.Degraded, www) },
			`www degraded 3/3 400/400 load 255 unseen: switch leaf1 does not take its rows
tls active 3/3 400/400 load 64
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 3/3 400/400 load 255
`},
		{"another one does", func() { l.switchIs(t, "leaf2", device.Synced) },
			`www degraded 3/3 400/400 load 0: switch leaf1 does not take its rows
tls active 3/3 400/400 load 64
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 3/3 400/400 load 255
`},
		{"and goes out of sight", func() { l.switchIs(t, "leaf2", device.Disconnected) },
			`www degraded 3/3 400/400 load 255 unseen: switch leaf1 does not take its rows
tls active 3/3 400/400 load 64
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 3/3 400/400 load 255
`},
		{"and comes back without its rows", func() { l.switchIs(t, "leaf2", device.Reconciling, www) },
			`www degraded 3/3 400/400 load 255: switch leaf1 does not take its rows; and 1 more
tls active 3/3 400/400 load 64
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 3/3 400/400 load 255
`},
		{"it is repaired", func() {
			l.switchIs(t, "leaf1", device.Synced)
			l.switchIs(t, "leaf2", device.Synced)
		}, `www active 3/3 400/400 load 0
tls active 3/3 400/400 load 64
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 3/3 400/400 load 255
`},
		{"one drains", func() { admin("web3", plan.Drain) }, `www active 2/3 300/400 load 64
tls active 2/3 300/400 load 85
db no_backend 0/1 0/100 load 255: no backend of the pool may receive traffic
off disabled 2/3 300/400 load 255
`},
		{"both switches are gone", func() {
			l.switchIs(t, "leaf1", device.Disconnected)
			l.switchIs(t, "leaf2", device.Disconnected)
		}, `www unprogrammed 2/3 300/400 load 255 unseen: no switch is connected
tls unprogrammed 2/3 300/400 load 255 unseen: no switch is connected
db unprogrammed 0/1 0/100 load 255: no switch is connected
off disabled 2/3 300/400 load 255
`},
	} {
		step.do()
		if diff := cmp.Diff(step.want, told(l)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		for i, v := range l.moment().statusMessage().Vips {
			states, _ := l.vips.get()
			if got := states.message.Vips[i]; got.State != v.State || got.Reason != v.Reason {
				t.Errorf("%s: %s is %v (%s), the status says %v (%s)", step.name, v.Name, got.State, got.Reason,
					v.State, v.Reason)
			}
		}
	}
}

// Every row that a VIP needs counts for it, and none counts before it is there.
func TestVIPsFollowTheirRows(t *testing.T) {
	l := newVIPsLoop(t)
	www := rows.VIPKey{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 80}
	tls := rows.VIPKey{Address: www.Address, Protocol: 6, Port: 443}
	list := detected("web2", api.Health_HEALTH_DOWN, time.Now())
	if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: list}); err != nil {
		t.Fatal(err)
	}
	// leaf2 is out of sight throughout. Both VIPs of the pool lack the same.
	pool := func(a rows.Astray) map[rows.VIPKey]rows.Lack {
		lacks := l.allHeld()
		lacks[www], lacks[tls] = rows.Lack{Slots: &a}, rows.Lack{Slots: &a}
		return lacks
	}
	row := func(lack rows.Lack) map[rows.VIPKey]rows.Lack {
		lacks := l.allHeld()
		lacks[www] = lack
		return lacks
	}
	type to = map[rows.BackendID]int
	const ok = "active 2/3 300/400 load 64"
	for _, step := range []struct {
		name  string
		state device.State
		lacks map[rows.VIPKey]rows.Lack
		www   string
		tls   string // the same unless given
	}{
		{"connected, and not read back", device.Reconciling, nil,
			"unprogrammed 2/3 300/400 load 255 unseen: switch leaf1 is being read back", ""},
		{"read back: it is empty", device.Reconciling, map[rows.VIPKey]rows.Lack{www: {Row: "vip", Dead: true},
			tls: {Row: "vip", Dead: true}},
			"degraded 2/3 300/400 load 255 unseen: its rows are not on switch leaf1 yet", ""},
		{"read back: it holds the vip row alone", device.Reconciling, pool(rows.Astray{Slots: 64, New: to{0: 64}}),
			"degraded 2/3 300/400 load 255 unseen: its rows are not on switch leaf1 yet", ""},
		{"read back: it holds what was decided before", device.Reconciling,
			pool(rows.Astray{Slots: 64, New: to{2: 16}}), ok, ""},
		{"all is written", device.Synced, l.allHeld(), ok, ""},
		{"slots of the dead one are refused", device.Degraded, pool(rows.Astray{Slots: 64, New: to{2: 16}}),
			"degraded 2/3 300/400 load 255 unseen: switch leaf1 does not take its rows: new flows of 16 of 64 slots " +
				"go to web/web2, which is not up", ""},
		{"slots of another are", device.Degraded, pool(rows.Astray{Slots: 64, New: to{3: 5}}),
			"degraded 2/3 300/400 load 64: switch leaf1 does not take its rows: new flows of 5 of 64 slots go to " +
				"web/web3", ""},
		{"a backend's row is", device.Degraded, pool(rows.Astray{Slots: 64, New: to{0: 16}, Old: 3}),
			"degraded 2/3 300/400 load 255 unseen: switch leaf1 does not take its rows: new flows of 16 of 64 slots " +
				"go nowhere, open flows of 3 of 64 slots may break", ""},
		{"slots of one that was removed are", device.Degraded, pool(rows.Astray{Slots: 64, New: to{99: 16}}),
			"degraded 2/3 300/400 load 255 unseen: switch leaf1 does not take its rows: new flows of 16 of 64 slots " +
				"go to a backend that was removed", ""},
		{"old paths are", device.Degraded, pool(rows.Astray{Slots: 64, New: to{}, Old: 3}),
			"degraded 2/3 300/400 load 64: switch leaf1 does not take its rows: open flows of 3 of 64 slots may break",
			""},
		{"its ARP guard is", device.Degraded, row(rows.Lack{Row: "arp_guard"}),
			"degraded 2/3 300/400 load 64: switch leaf1 does not take its rows: arp_guard", ok},
		{"its ARP responder is", device.Degraded, row(rows.Lack{Row: "arp_responder", Dead: true}),
			"degraded 2/3 300/400 load 255 unseen: switch leaf1 does not take its rows", ok},
		{"somebody else's rows are", device.Degraded, l.allHeld(), ok, ""},
	} {
		l.switchLacks(t, "leaf1", step.state, step.lacks)
		if step.tls == "" {
			step.tls = step.www
		}
		want := []string{"www " + step.www, "tls " + step.tls}
		if diff := cmp.Diff(want, strings.Split(told(l), "\n")[:2]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		got, load := l.moment().statusMessage().Vips[0], told(l)
		if !strings.Contains(load, fmt.Sprintf("load %d", got.Load)) {
			t.Errorf("%s: the status says load %d, gslb is told\n%s", step.name, got.Load, load)
		}
	}
	// One that comes with a new intent has no rows before it is written.
	l.switchIs(t, "leaf1", device.Synced)
	more := vipsIntent + "  - {name: new, address: 10.0.0.103, port: 80, pool: web}\n"
	if _, err := l.apply(parse("test.yaml", more)); err != nil {
		t.Fatal(err)
	}
	want := "new degraded 2/3 300/400 load 255 unseen: its rows are not on switch leaf1 yet"
	if got := strings.Split(told(l), "\n")[4]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	l.switchIs(t, "leaf1", device.Synced)
	if got, want := strings.Split(told(l), "\n")[4], "new "+ok; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// What a refused row leads to may die later.
	l.switchLacks(t, "leaf1", device.Degraded, pool(rows.Astray{Slots: 64, New: to{3: 5}}))
	told(l)
	if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: detected("web3", api.Health_HEALTH_DOWN,
		time.Now())}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Split(told(l), "\n")[0], "which is not up"; !strings.Contains(got, want) ||
		!strings.Contains(got, "load 255") {
		t.Errorf("got %s, want load 255 and %s", got, want)
	}
}

// Watchers are woken by what changes, and by nothing else.
func TestVIPsAreToldWhenTheyChange(t *testing.T) {
	l := newVIPsLoop(t)
	l.switchIs(t, "leaf1", device.Synced)
	l.tellVIPs()
	woken := func(do func()) bool {
		before, next := l.vips.get()
		do()
		l.tellVIPs()
		after, _ := l.vips.get()
		select {
		case <-next:
			if before == after {
				t.Error("woken for nothing")
			}
			return true
		default:
			return false
		}
	}
	rate := func(pps float64) {
		l.rates = map[rows.VIPKey]float64{{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 443}: pps}
	}
	for _, step := range []struct {
		name string
		do   func()
		want bool
	}{
		{"nothing", func() {}, false},
		{"the same state", func() { l.switchIs(t, "leaf1", device.Synced) }, false},
		{"a second switch", func() { l.switchIs(t, "leaf2", device.Synced) }, false},
		{"a load", func() { rate(500) }, true},
		{"the same load", func() { rate(501) }, false},
		{"another load", func() { rate(600) }, true},
		{"another intent", func() {
			if _, err := l.apply(parse("test.yaml", vipsIntent+"# more\n")); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		if got := woken(step.do); got != step.want {
			t.Errorf("%s: woken %v, want %v", step.name, got, step.want)
		}
	}
}

func TestReportsOfItems(t *testing.T) {
	l := newVIPsLoop(t)
	l.switchIs(t, "leaf1", device.Synced)
	list := detected("web1", api.Health_HEALTH_DOWN, time.Now())
	if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: list}); err != nil {
		t.Fatal(err)
	}
	l.rates = map[rows.VIPKey]float64{{Address: netip.MustParseAddr("10.0.0.100"), Protocol: 6, Port: 443}: 400}
	l.tellVIPs()
	vip := func(at string, protocol uint8) loadreport.Item {
		return loadreport.VIP(netip.MustParseAddrPort(at), protocol)
	}
	report := func(load uint8, live, total uint16) loadreport.Report {
		return loadreport.Report{Known: true, Load: load, Live: live, Total: total}
	}
	var none loadreport.Report
	for _, test := range []struct {
		name string
		item loadreport.Item
		want loadreport.Report
	}{
		{"a VIP", vip("10.0.0.100:80", 6), report(127, 2, 3)},
		{"one with a capacity", vip("10.0.0.100:443", 6), report(203, 2, 3)},
		{"any protocol", vip("10.0.0.100:80", 0), report(127, 2, 3)},
		{"any port: the most loaded, the pool once", vip("10.0.0.100:0", 6), report(203, 2, 3)},
		{"any at all", vip("10.0.0.101:0", 0), report(0, 1, 1)},
		{"another protocol", vip("10.0.0.100:80", 17), none},
		{"another port", vip("10.0.0.100:81", 6), none},
		{"another address", vip("10.0.0.99:80", 6), none},
		{"the other family", vip("[2001:db8::1]:80", 6), none},
		{"disabled", vip("10.0.0.102:80", 6), report(255, 2, 3)},
		{"a tag", loadreport.Tag("shop"), report(203, 2, 3)},
		{"a tag of two pools", loadreport.Tag("all"), report(203, 3, 4)},
		{"a tag of a disabled VIP", loadreport.Tag("spare"), report(255, 2, 3)},
		{"a tag that nobody has", loadreport.Tag("www"), none},
	} {
		if diff := cmp.Diff(test.want, l.answerLoadReport(test.item)); diff != "" {
			t.Errorf("%s, %v (-want +got):\n%s", test.name, test.item, diff)
		}
	}
	// The switch is cut off: what is served is out of sight, what is disabled is not.
	unseen := report(255, 2, 3)
	unseen.Unseen = true
	l.switchIs(t, "leaf1", device.Disconnected)
	l.tellVIPs()
	for _, test := range []struct {
		name string
		item loadreport.Item
		want loadreport.Report
	}{
		{"a VIP out of sight", vip("10.0.0.100:80", 6), unseen},
		{"a tag out of sight", loadreport.Tag("shop"), unseen},
		{"a disabled VIP", vip("10.0.0.102:80", 6), report(255, 2, 3)},
	} {
		if diff := cmp.Diff(test.want, l.answerLoadReport(test.item)); diff != "" {
			t.Errorf("%s, %v (-want +got):\n%s", test.name, test.item, diff)
		}
	}
	// A tag is offline when one of its VIPs is.
	l = newVIPsLoop(t) // whose switch was never away
	l.switchIs(t, "leaf1", device.Synced)
	db := detected("db1", api.Health_HEALTH_DOWN, time.Now())
	db[0].Pool = "db"
	if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: append(list, db...)}); err != nil {
		t.Fatal(err)
	}
	l.tellVIPs()
	if diff := cmp.Diff(report(255, 2, 4), l.answerLoadReport(loadreport.Tag("all"))); diff != "" {
		t.Errorf("a tag of a VIP that died (-want +got):\n%s", diff)
	}
	// Of the dead one that needs no switch to be seen.
	l.switchIs(t, "leaf1", device.Disconnected)
	l.tellVIPs()
	if diff := cmp.Diff(report(255, 2, 4), l.answerLoadReport(loadreport.Tag("all"))); diff != "" {
		t.Errorf("a tag of one that died and one out of sight (-want +got):\n%s", diff)
	}
}

func TestLoadOf(t *testing.T) {
	for _, test := range []struct {
		name        string
		capacity    int
		rate        float64
		known       bool
		live, total int
		want        uint32
	}{
		{"idle", 0, 0, false, 400, 400, 0},
		{"a quarter of the weight is gone", 0, 0, false, 300, 400, 64},
		{"all but a thousandth", 0, 0, false, 1, 1000, 254},
		{"without capacity the rate says nothing", 0, 1e9, true, 400, 400, 0},
		{"no traffic", 1000, 0, true, 400, 400, 0},
		{"half", 1000, 500, true, 400, 400, 127},
		{"half of what is left", 1000, 250, true, 200, 400, 127},
		{"all of it", 1000, 1000, true, 400, 400, 254},
		{"more than that", 1000, 1e12, true, 1, 400, 254},
		{"the rate is not known yet", 1000, 0, false, 300, 400, 64},
		{"only servers that left the intent serve", 1000, 1, true, 0, 400, 254},
		{"a pool of nobody", 0, 0, false, 0, 0, 254},
	} {
		if got := loadOf(test.capacity, test.rate, test.known, test.live, test.total); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
}
