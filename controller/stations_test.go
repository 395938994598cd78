package controller_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

var (
	routerMAC = packet.MAC{2, 0, 0, 0, 0, 0x01}
	web1MAC   = packet.MAC{2, 0, 0, 0, 0, 0x11}
)

// sentBy is a frame of a station to another, which no VIP takes.
func sentBy(src, dst packet.MAC) []byte {
	return packet.NewTCP(packet.Segment{
		SrcMAC: src, DstMAC: dst, Flags: packet.SYN,
		Src: netip.MustParseAddrPort("10.0.0.1:1000"), Dst: netip.MustParseAddrPort("10.0.0.11:80"),
	})
}

// A real server that sends under another's MAC, or under the router's, gets none of its traffic: healthd's
// probes reach who they are for. The controller says who it was.
//
//	router --1-- switch --2-- web1
//	               |--3-- web2, which sends as the others
func TestRealServerTakesNoTrafficOfOthers(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	text := strings.Replace(intent(tg.Target()), "pools:",
		"stations: [{name: router1, mac: \"02:00:00:00:00:01\", switch_port: 1}]\npools:", 1)
	d := startController(t, options{dir: dir, file: writeFile(t, dir, text)})
	d.synced()
	at := map[uint16]<-chan []byte{1: tg.receive(1), 2: tg.receive(2), 3: tg.receive(3)}

	const spoofed = 500
	for range spoofed {
		tg.End(3).Inject(sentBy(web1MAC, routerMAC))
		tg.End(3).Inject(sentBy(routerMAC, web1MAC))
	}
	// One event for the port, about either.
	const want = "somebody on port 3 of leaf1 sends as 02:00:00:00:00:11, the MAC of web/web1: dropped; " +
		"its switch_port is 2, and if it has moved the configuration must say so"
	const or = "somebody on port 3 of leaf1 sends as 02:00:00:00:00:01, the MAC of router1: dropped; " +
		"its switch_port is 1, and if it has moved the configuration must say so"
	if e := d.wait("the spoof is told", func(e *api.Event) bool { return e.GetSpoof() != nil }); e.Text != want &&
		e.Text != or {
		t.Errorf("got event %q, want %q or %q", e.Text, want, or)
	}
	// All are counted, and none was learned: what is for the two goes to them alone.
	d.until("all are counted", func(m *api.GetStatusResponse) bool {
		return m.Switches[0].Tallies["drop_spoof"].GetPackets() == 2*spoofed && len(m.Spoofs) == 2
	})
	for i, want := range []struct{ mac, station string }{{"02:00:00:00:00:01", "router1"},
		{"02:00:00:00:00:11", "web/web1"}} {
		if s := d.status().Spoofs[i]; s.Switch != "leaf1" || s.Port != 3 || s.Mac != want.mac ||
			s.Station != want.station {
			t.Errorf("spoof %d: %v", i, s)
		}
	}
	tg.End(1).Inject(sentBy(routerMAC, web1MAC))
	tg.End(2).Inject(sentBy(web1MAC, routerMAC))
	for port, from := range map[uint16]packet.MAC{2: routerMAC, 1: web1MAC} {
		select {
		case f := <-at[port]:
			if got := packet.Ethernet(f).Src(); got != from {
				t.Errorf("port %d got a frame of %v, want %v's", port, got, from)
			}
		case <-time.After(patience):
			t.Fatalf("nothing came out of port %d", port)
		}
	}
	for port, c := range at {
		if len(c) != 0 {
			t.Errorf("%d frames too many came out of port %d", len(c), port)
		}
	}
	if got := tg.dump("station", "l2"); got != "" {
		t.Errorf("learned:\n%s", got)
	}
}

// Every port has its rates from the connect on. A flood of claims comes up as often as they allow, and is
// counted whole.
func TestSwitchMetersWhatItSendsUp(t *testing.T) {
	tg, d, _ := setup(t)
	client, err := p4rt.Dial(t.Context(), tg.Target(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	rates, bursts := make(map[string]int64), make(map[string]int64)
	for _, name := range []string{"learn_meter", "alarm_meter"} {
		m, err := pipelineInfo(t).Meter(name)
		if err != nil {
			t.Fatal(err)
		}
		cells := 0
		for e, err := range client.Read(t.Context(), m.Query()) {
			if err != nil {
				t.Fatal(err)
			}
			cells++
			c := e.GetMeterEntry().GetConfig()
			rates[name], bursts[name] = c.GetCir(), c.GetCburst()
			if c.GetCir() == 0 || c.GetPir() != c.GetCir() || c.GetCburst() == 0 || c.GetPburst() != c.GetCburst() {
				t.Fatalf("%s[%d] is %v", name, e.GetMeterEntry().GetIndex().GetIndex(), c)
			}
		}
		if cells != limits.MeterSize {
			t.Errorf("%s has %d cells, want %d", name, cells, limits.MeterSize)
		}
	}
	if m := d.status().Switches[0]; m.Unmetered != "" {
		t.Errorf("unmetered: %s", m.Unmetered)
	}

	const claims = 1000
	began := time.Now()
	vip := netip.MustParseAddr("10.0.0.100")
	for i := range claims {
		tg.End(4).Inject(packet.NewARPReply(packet.MAC{2, 9, 0, 0, byte(i >> 8), byte(i)}, vip, packet.Broadcast, vip))
	}
	var told uint64
	d.until("all are counted, and as many told as may be at once", func(m *api.GetStatusResponse) bool {
		told = 0
		for _, c := range m.ArpClaims {
			told += c.Count
		}
		return m.Switches[0].Tallies["drop_arp_claim"].GetPackets() == claims && told >= uint64(bursts["alarm_meter"])
	})
	most := bursts["alarm_meter"] + int64(float64(rates["alarm_meter"])*time.Since(began).Seconds()) + 1
	if int64(told) > most {
		t.Errorf("%d of %d claims came up, want %d at most", told, claims, most)
	}
}

// A target without meters is worked with, and says so.
func TestTargetWithoutMeters(t *testing.T) {
	tg := newTarget(t)
	refuse := func(u *v1.Update) error {
		if u.GetEntity().GetMeterEntry() != nil {
			return status.Error(codes.Unimplemented, "no meters")
		}
		return nil
	}
	tg.refuse.Store(&refuse)
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir, intent(tg.Target()))})
	d.synced()
	const want = "learn_meter: writing the meter: 512 of 512 updates refused: "
	if m := d.status().Switches[0]; !strings.HasPrefix(m.Unmetered, want) {
		t.Errorf("unmetered: %q, want %q...", m.Unmetered, want)
	}
}
