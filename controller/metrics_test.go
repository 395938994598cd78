package controller_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/sluicelb/sluice/controller"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/p4/packet"
)

// metricsOf is the page of a controller, by series: `name{labels}` without the prefix sluice_controller_.
func metricsOf(t *testing.T, at net.Addr) map[string]string {
	t.Helper()
	return metricsAt(t, at, "/metrics")
}

func metricsAt(t *testing.T, at net.Addr, path string) map[string]string {
	t.Helper()
	response, err := http.Get("http://" + at.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v\n%s", response.Status, err, text)
	}
	problems, err := promlint.New(strings.NewReader(string(text))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "sluice_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	all := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if series, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok &&
			strings.HasPrefix(series, "sluice_controller_") {
			series = strings.TrimPrefix(series, "sluice_controller_")
			if _, twice := all[series]; twice {
				t.Errorf("%s stands twice on %s", series, path)
			}
			all[series] = value
			// A switch more must not make a page longer by all VIPs and backends; claims are bounded.
			if path == "/metrics" && strings.Contains(series, `switch="`) && !strings.HasPrefix(series, "arp_claims") &&
				(strings.Contains(series, `vip="`) || strings.Contains(series, `backend="`)) {
				t.Errorf("%s is of each switch: its place is /metrics/by-switch", series)
			}
		}
	}
	return all
}

// shown checks some series; "" is one that must not be there.
func shown(t *testing.T, all, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for series := range want {
		got[series] = all[series]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series (-want +got):\n%s", diff)
	}
}

// What a controller shows is what it and its switches are at the scrape: what does not change is there each time, and
// what is gone is not.
func TestMetrics(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	file := writeFile(t, dir, strings.Replace(intent(tg.Target()), "drain_idle: 500ms", "drain_idle: 1h", 1))
	d := startController(t, options{dir: dir, file: file, metrics: "127.0.0.1:0"})
	d.synced()
	d.verdict("web1", api.Health_HEALTH_UP)
	d.verdict("web2", api.Health_HEALTH_DOWN)
	d.atRest()
	still := map[string]string{
		"leader": "1", "intent_revision": "1", "store_frozen": "0", "healthd_connected": "0",
		`switch_state{state="synced",switch="leaf1"}`:                      "1",
		`switch_state{state="disconnected",switch="leaf1"}`:                "0",
		`switch_connects_total{switch="leaf1"}`:                            "1",
		`vip_state{state="active",vip="www"}`:                              "1",
		`pool_slots{pool="web"}`:                                           "256",
		`backend_health{backend="web1",health="up",pool="web"}`:            "1",
		`backend_health{backend="web2",health="down",pool="web"}`:          "1",
		`backend_health{backend="web3",health="unspecified",pool="web"}`:   "1",
		`backend_weight_share{backend="web1",pool="web"}`:                  "0.5",
		`backend_weight_share{backend="web2",pool="web"}`:                  "0",
		`backend_slots{backend="web2",pool="web"}`:                         "0",
		`backend_packets_total{backend="web3",pool="web"}`:                 "0",
		`switch_openings_total{bank="0",switch="leaf1"}`:                   "0",
		`predicted_false_positive_ratio{bank="0",switch="leaf1"}`:          "",
		`vip_packets_total{vip="www"}`:                                     "0",
		`switch_dropped_packets_total{reason="no_service",switch="leaf1"}`: "",
	}
	for range 3 {
		shown(t, metricsOf(t, d.MetricsAddress()), still)
	}

	// Moving slots, and flows that are opened meanwhile.
	d.admin("web3", api.Admin_ADMIN_DRAIN)
	d.quiet()
	first := metricsOf(t, d.MetricsAddress())
	shown(t, first, map[string]string{
		`pool_epochs{pool="web"}`:                             "1",
		`backend_draining{backend="web3",pool="web"}`:         "1",
		`backend_slot_share{backend="web1",pool="web"}`:       "1",
		`backend_moving_out_slots{backend="web3",pool="web"}`: "128",
		`backend_weight_share{backend="web3",pool="web"}`:     "0",
	})
	// All slots of web3 move in one epoch, which has one bank.
	opened := func() (packets, predicted string) {
		all := metricsOf(t, d.MetricsAddress())
		for bank := range 4 {
			of := fmt.Sprintf(`{bank="%d",switch="leaf1"}`, bank)
			if share, ok := all["predicted_false_positive_ratio"+of]; ok {
				return all["switch_openings_total"+of], share
			}
		}
		return "", ""
	}
	if n, share := opened(); n != "0" || share != "0" {
		t.Errorf("before any flow %s openings, predicted %s", n, share)
	}
	d.open(tg, 1000)
	deadline := time.Now().Add(patience)
	for { // the page may be of up to 100ms ago
		n, share := opened()
		packets, _ := strconv.ParseFloat(n, 64)
		predicted, _ := strconv.ParseFloat(share, 64)
		want := math.Pow(1-math.Exp(-packets/65536), 4)
		if packets > 300 && packets < 700 && math.Abs(predicted-want) < want/1000 { // of about half of the slots
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s openings, predicted %s, want %g", n, share, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
	for { // what switches have counted together, and by switch
		sum := metricsOf(t, d.MetricsAddress())
		by := metricsAt(t, d.MetricsAddress(), "/metrics/by-switch")
		packets := sum[`vip_packets_total{vip="www"}`]
		if packets == "1000" && by[`switch_vip_packets_total{switch="leaf1",vip="www"}`] == packets &&
			by[`switch_vip_bytes_total{switch="leaf1",vip="www"}`] == sum[`vip_bytes_total{vip="www"}`] &&
			by[`switch_backend_packets_total{backend="web1",pool="web",switch="leaf1"}`] ==
				sum[`backend_packets_total{backend="web1",pool="web"}`] &&
			by[`switch_backend_bytes_total{backend="web1",pool="web",switch="leaf1"}`] ==
				sum[`backend_bytes_total{backend="web1",pool="web"}`] {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("of 1,000 packets the page tells of %s, and by switch %v", packets, by)
		}
		time.Sleep(5 * time.Millisecond)
	}
	d.admin("web3", api.Admin_ADMIN_ACTIVE)
	d.quiet()

	// Claims that come too fast are held back, and counted where they come in.
	for range 1000 {
		tg.End(2).Inject(packet.NewARPReply(
			packet.MAC{2, 0, 0, 0, 0, 9}, netip.MustParseAddr("10.0.0.100"), packet.Broadcast,
			netip.MustParseAddr("10.0.0.100")))
	}
	for {
		all := metricsOf(t, d.MetricsAddress())
		if n, _ := strconv.Atoi(all[`switch_meter_drops_total{kind="alarm",port="2",switch="leaf1"}`]); n > 0 &&
			n < 1000 {
			shown(t, all, map[string]string{`switch_meter_drops_total{kind="alarm",port="3",switch="leaf1"}`: ""})
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no meter has held back anything: %v", all)
		}
		time.Sleep(5 * time.Millisecond)
	}

	// What a switch that is lost has counted is not known, and what it holds neither.
	tg.StopSwitch()
	d.wait("the switch is lost", isState(api.SwitchStatus_STATE_DISCONNECTED))
	shown(t, metricsOf(t, d.MetricsAddress()), map[string]string{
		`switch_state{state="disconnected",switch="leaf1"}`: "1",
		`vip_packets_total{vip="www"}`:                      "",
		`backend_packets_total{backend="web1",pool="web"}`:  "",
		`switch_rows{switch="leaf1"}`:                       "",
		`switch_openings_total{bank="0",switch="leaf1"}`:    "",
	})
	if all := metricsAt(t, d.MetricsAddress(), "/metrics/by-switch"); len(all) > 0 {
		t.Errorf("by switch, of one that is lost: %v", all)
	}
	tg.start()
	d.quiet()

	// A backend and a VIP that leave the configuration leave the page.
	text := intent(tg.Target())
	text = strings.Replace(text,
		"      - {name: web2, address: 10.0.0.12, mac: \"02:00:00:00:00:12\", switch_port: 3}\n", "", 1)
	text = strings.Replace(text, "name: www", "name: shop", 1)
	if _, err := d.ApplyIntent(t.Context(), &api.ApplyIntentRequest{Yaml: text}); err != nil {
		t.Fatal(err)
	}
	d.quiet()
	shown(t, metricsOf(t, d.MetricsAddress()), map[string]string{
		"intent_revision": "2",
		`backend_health{backend="web2",health="down",pool="web"}`: "",
		`backend_packets_total{backend="web2",pool="web"}`:        "",
		`vip_state{state="active",vip="www"}`:                     "",
		`vip_state{state="active",vip="shop"}`:                    "1",
		`switch_connects_total{switch="leaf1"}`:                   "2",
	})
	for _, name := range []string{`reconcile_seconds_count{switch="leaf1"}`, `write_seconds_count{switch="leaf1"}`,
		"store_save_seconds_count"} {
		if n := metricsOf(t, d.MetricsAddress())[name]; n == "" || n == "0" {
			t.Errorf("%s is %q", name, n)
		}
	}
}

// One that stands by shows that it does.
func TestMetricsOfAStandby(t *testing.T) {
	t.Parallel()
	tg := newTarget(t)
	address, _ := etcd(t)
	file := writeFile(t, t.TempDir(), intent(tg.Target()))
	o := options{endpoints: []string{address}, file: file, metrics: "127.0.0.1:0"}
	first := startController(t, o)
	first.synced()
	second := controller.New(controller.Config{
		File: file, Store: store.Config{Endpoints: o.endpoints}, Listen: []string{"127.0.0.1:0"},
		Metrics: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for second.MetricsAddress() == nil {
		time.Sleep(time.Millisecond)
	}
	shown(t, metricsOf(t, first.MetricsAddress()), map[string]string{"leader": "1", "intent_revision": "1"})
	shown(t, metricsOf(t, second.MetricsAddress()), map[string]string{"leader": "0", "intent_revision": ""})
	first.kill()
	<-second.Ready()
	shown(t, metricsOf(t, second.MetricsAddress()), map[string]string{"leader": "1", "intent_revision": "1"})
}

// An address that is taken keeps the controller from starting, and no store is made for it.
func TestMetricsAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir() + "/store"
	_, err = tryController(t, options{dir: dir, file: writeFile(t, t.TempDir(), intent("127.0.0.1:1")),
		metrics: l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "opening the socket for Prometheus: ") ||
		!strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it has made a store")
	}
}
