package p4_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/limits"
)

// TestBuildBelongsToSources fails when a source was edited and not compiled, or an artefact edited
// by hand: build/SHA256SUMS, written at compile time, must list exactly today's files.
func TestBuildBelongsToSources(t *testing.T) {
	sources, err := filepath.Glob("include/*.p4")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, name := range append(sources, "sluice.p4", "build/sluice.json", "build/sluice.p4info.txt") {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		want[strings.TrimPrefix(name, "build/")] = hex.EncodeToString(sum[:])
	}

	recorded, err := os.ReadFile("build/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(recorded)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			t.Fatalf("build/SHA256SUMS: line %q is not `sum name`", line)
		}
		got[fields[1]] = fields[0]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("p4/build was not made from these sources; run `make p4` (-files +recorded):\n%s", diff)
	}
}

// TestRecompile compiles the sources again and compares, where p4c is installed.
func TestRecompile(t *testing.T) {
	if _, err := exec.LookPath("p4c-bm2-ss"); err != nil {
		t.Skip("p4c-bm2-ss is not on PATH; TestBuildBelongsToSources still ties the artefacts to the sources")
	}
	dir := t.TempDir()
	if out, err := exec.Command("sh", "build.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build.sh: %v\n%s", err, out)
	}
	for _, name := range []string{"sluice.json", "sluice.p4info.txt", "SHA256SUMS"} {
		want, err := os.ReadFile(filepath.Join("build", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(withoutCompilerVersion(want), withoutCompilerVersion(got)); diff != "" {
			t.Errorf("%s: compiled now differs from committed (-committed +now):\n%s", name, diff)
		}
	}
}

// withoutCompilerVersion drops what another build of the same compiler may say of itself.
func withoutCompilerVersion(data []byte) []string {
	return slices.DeleteFunc(strings.Split(string(data), "\n"), func(line string) bool {
		return strings.Contains(line, `"compiler" :`)
	})
}

// TestConstants holds the numbers that Go and P4 must share against the P4 source.
func TestConstants(t *testing.T) {
	source, err := os.ReadFile("include/headers.p4")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"CPU_PORT":         limits.CPUPort,
		"FLOOD_GROUP":      limits.FloodGroup,
		"REASON_ARP_CLAIM": limits.ReasonARPClaim,
		"REASON_SPOOF":     limits.ReasonSpoof,
		"REASON_ARP_SPOOF": limits.ReasonARPSpoof,
		"PINNED_SIZE":      limits.PinnedSize,
		"METER_SIZE":       limits.MeterSize,
		"VIP_SIZE":         limits.VIPSize,
		"SLOT_SIZE":        limits.SlotSize,
		"PIN_SIZE":         limits.PinSize,
		"BANKS":            limits.Banks,
		"MARKS":            limits.Banks * limits.BankCells,
		"BACKEND_SIZE":     limits.BackendSize,
		"STATION_SIZE":     limits.StationSize,
		"DROP_NO_SERVICE":  int(limits.DropNoService),
		"DROP_FRAGMENT":    int(limits.DropFragment),
		"DROP_NO_SLOT":     int(limits.DropNoSlot),
		"DROP_NO_BACKEND":  int(limits.DropNoBackend),
		"DROP_ARP_CLAIM":   int(limits.DropARPClaim),
		"ARP_DISOWNED":     int(limits.ARPDisowned),
		"DROP_HAIRPIN":     int(limits.DropHairpin),
		"DROP_TAGS":        int(limits.DropTags),
		"DROP_PACKET_OUT":  int(limits.DropPacketOut),
		"DROP_SPOOF":       int(limits.DropSpoof),
		"DROP_VIP_MAC":     int(limits.DropVIPMAC),
		"DROP_RUNT":        int(limits.DropRunt),
		"DROP_SOURCE":      int(limits.DropSource),
		"DROP_RESERVED":    int(limits.DropReserved),
		"DROP_LAND":        int(limits.DropLAND),
		"DROP_ARP_SPOOF":   int(limits.DropARPSpoof),
	} {
		m := regexp.MustCompile(`const bit<\d+>\s+` + name + `\s*=\s*(\d+);`).FindSubmatch(source)
		if m == nil {
			t.Errorf("include/headers.p4 has no constant %s", name)
			continue
		}
		if got, _ := strconv.Atoi(string(m[1])); got != want {
			t.Errorf("%s is %d in include/headers.p4, %d in Go", name, got, want)
		}
	}
}

// TestTableSizes holds them against what was compiled.
func TestTableSizes(t *testing.T) {
	want := map[string]int64{
		"vip": limits.VIPSize, "vip_address": limits.VIPSize, "arp_guard": limits.VIPSize,
		"arp_responder": limits.VIPSize,
		"slot":          limits.SlotSize, "pin": limits.PinSize, "backend": limits.BackendSize,
		"station": limits.StationSize, "l2": limits.StationSize,
		"pinned_station": limits.PinnedSize, "pinned_l2": limits.PinnedSize, "pinned_arp": limits.PinnedSize,
	}
	got := make(map[string]int64)
	for _, table := range p4.P4Info().GetTables() {
		got[table.GetPreamble().GetAlias()] = table.GetSize()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows of each table (-want +got):\n%s", diff)
	}
	if limits.MaxPort != limits.CPUPort-1 || limits.NoPort != limits.CPUPort+1 {
		t.Errorf("ports end at %d, the CPU's is %d, none is %d", limits.MaxPort, limits.CPUPort, limits.NoPort)
	}
}

func TestEmbedded(t *testing.T) {
	tables := map[string]bool{}
	for _, table := range p4.P4Info().GetTables() {
		tables[table.GetPreamble().GetName()] = true
	}
	for _, name := range []string{"arp_guard", "arp_responder", "vip", "vip_address", "pin", "slot", "backend",
		"pinned_station", "station", "pinned_l2", "pinned_arp", "l2"} {
		if !tables[name] {
			t.Errorf("the P4Info has no table %s", name)
		}
	}
	if p4.Cookie() == 0 {
		t.Error("Cookie() is 0, which targets take for `none`")
	}
}
