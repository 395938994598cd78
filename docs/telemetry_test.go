package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/tree"
	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/gnmi/yangtest"
	"github.com/sluicelb/sluice/p4/softswitch"
)

// told is how a leaf is told of.
func told(l *gnmi.Leaf) string {
	if l.Sampled() {
		return "sampled"
	}
	return "on change"
}

// telemetry.md lists every leaf of the controller's tree, with what its module says of it.
func TestControllerTreeIsDocumented(t *testing.T) {
	what := yangtest.Descriptions(t, "../controller/tree/sluice.yang")
	var b strings.Builder
	b.WriteString("| path | type | told | what |\n|---|---|---|---|\n")
	for _, l := range tree.Schema.Leaves() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", l.Path(), l.Type(), told(l), what[l.Path()])
	}
	heldTable(t, "tree", "TestControllerTreeIsDocumented", b.String())
}

// Every path that the switch serves is in telemetry.md, with its type and how it is told; and nothing else is.
func TestTelemetryPaths(t *testing.T) {
	page, err := os.ReadFile("telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	const chapter = "The embedded switch's tree"
	_, text, ok := strings.Cut(string(page), "\n### "+chapter+"\n")
	if !ok {
		t.Errorf("there is no chapter %q", chapter)
	}
	text, _, _ = strings.Cut(text, "\n##")
	want, got := make(map[string]string), make(map[string]string)
	for _, l := range softswitch.Telemetry.Leaves() {
		want["`"+l.Path()+"`"] = l.Type().String() + ", " + told(l)
	}
	for line := range strings.Lines(text) {
		cells := strings.Split(line, " | ")
		if path, ok := strings.CutPrefix(cells[0], "| "); ok && len(cells) == 4 && path != "path" {
			if got[path] = cells[1] + ", " + cells[2]; cells[3] == "" {
				t.Errorf("%s: nothing says what it is", path)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("%s (-served +written):\n%s", chapter, diff)
	}
}

// apart are the metrics of a controller whose like is not in its tree: the times that things take, as gNMI has no
// histograms, and concerns, which are made of a whole status and not of a sample.
var apart = map[string]bool{
	"reconcile_seconds": true, "write_seconds": true, "store_save_seconds": true, "store_save_failures_total": true,
	"concerns": true,
}

// leafOf is where the controller's tree has what each other metric of its page says.
var leafOf = map[string]string{
	"leader": "controller/leader", "store_frozen": "controller/frozen",
	"healthd_connected":                 "controller/health-connected",
	"intent_revision":                   "controller/intent-revision",
	"intent_applied_timestamp_seconds":  "controller/intent-applied",
	"health_reported_timestamp_seconds": "controller/health-reported",

	"switch_state": "switches/switch[name]/state", "switch_connects_total": "switches/switch[name]/connects",
	"switch_entries_written_total":   "switches/switch[name]/entries-written",
	"switch_rows":                    "switches/switch[name]/rows-held",
	"switch_refused_updates":         "switches/switch[name]/rows-failed",
	"switch_stations":                "switches/switch[name]/stations",
	"switch_stations_full":           "switches/switch[name]/stations-full",
	"switch_unmetered":               "switches/switch[name]/unmetered",
	"switch_table_rows":              "switches/switch[name]/tables/table[name]/rows",
	"switch_table_size":              "switches/switch[name]/tables/table[name]/size",
	"switch_dropped_packets_total":   "switches/switch[name]/tallies/tally[name]/packets",
	"switch_mended_packets_total":    "switches/switch[name]/tallies/tally[name]/packets",
	"switch_meter_drops_total":       "switches/switch[name]/meter-drops/meter-drop[kind][port]/packets",
	"switch_openings_total":          "switches/switch[name]/banks/bank[id]/openings",
	"predicted_false_positive_ratio": "switches/switch[name]/banks/bank[id]/false-positives",
	"arp_claims_total":               "switches/switch[name]/claims/claim[vip-address][port]/claims",
	"spoofed_frames_total":           "switches/switch[name]/spoofs/spoof[station][port]/frames",

	"switch_ports_told":                          "switches/switch[name]/ports-untold",
	"switch_port_up":                             "switches/switch[name]/ports/port[id]/state",
	"switch_port_stale":                          "switches/switch[name]/ports/port[id]/stale",
	"switch_port_configured":                     "switches/switch[name]/ports/port[id]/configured",
	"switch_port_backends":                       "pools/pool[name]/backends/backend[name]/switch-port",
	"switch_port_received_packets_total":         "switches/switch[name]/ports/port[id]/in-pkts",
	"switch_port_received_dropped_packets_total": "switches/switch[name]/ports/port[id]/in-discards",
	"switch_port_sent_packets_total":             "switches/switch[name]/ports/port[id]/out-pkts",
	"switch_port_sent_dropped_packets_total":     "switches/switch[name]/ports/port[id]/out-discards",

	"vip_state": "vips/vip[name]/state", "vip_load": "vips/vip[name]/load",
	"vip_packets_total": "switches/switch[name]/vips/vip[name]/packets",
	"vip_bytes_total":   "switches/switch[name]/vips/vip[name]/bytes",

	"pool_slots": "pools/pool[name]/slots", "pool_moving_slots": "pools/pool[name]/moving",
	"pool_waiting_slots": "pools/pool[name]/waiting", "pool_unowned_slots": "pools/pool[name]/unowned",
	"pool_epochs": "pools/pool[name]/epochs", "pool_grace_held": "pools/pool[name]/held",

	"backend_health":             "pools/pool[name]/backends/backend[name]/health",
	"backend_unchecked":          "pools/pool[name]/backends/backend[name]/unchecked-reason",
	"backend_weight":             "pools/pool[name]/backends/backend[name]/weight",
	"backend_weight_share":       "pools/pool[name]/backends/backend[name]/weight",
	"backend_slots":              "pools/pool[name]/backends/backend[name]/slots",
	"backend_slot_share":         "pools/pool[name]/backends/backend[name]/slots",
	"backend_moving_out_slots":   "pools/pool[name]/backends/backend[name]/moving-out",
	"backend_pinned_connections": "pools/pool[name]/backends/backend[name]/pinned",
	"backend_draining":           "pools/pool[name]/backends/backend[name]/admin",
	"backend_packets_total":      "switches/switch[name]/backends/backend[pool][name]/packets",
	"backend_bytes_total":        "switches/switch[name]/backends/backend[pool][name]/bytes",

	"switch_vip_packets_total":     "switches/switch[name]/vips/vip[name]/packets",
	"switch_vip_bytes_total":       "switches/switch[name]/vips/vip[name]/bytes",
	"switch_backend_packets_total": "switches/switch[name]/backends/backend[pool][name]/packets",
	"switch_backend_bytes_total":   "switches/switch[name]/backends/backend[pool][name]/bytes",
}

// What Prometheus sees of a controller, gNMI tells too.
func TestMetricsHaveLeaves(t *testing.T) {
	leaves := make(map[string]bool)
	for _, l := range tree.Schema.Leaves() {
		leaves[l.Path()] = true
	}
	seen := 0
	for _, m := range allMetrics(t) {
		name, ok := strings.CutPrefix(m.name, "sluice_controller_")
		if !ok || apart[name] {
			continue
		}
		seen++
		if path := "/sluice/" + leafOf[name]; !leaves[path] {
			t.Errorf("%s is %q, which is no leaf of the controller's tree", m.name, path)
		}
	}
	if seen != len(leafOf) {
		t.Errorf("%d metrics, and %d in the list", seen, len(leafOf))
	}
}
