package controller

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/prometheus/common/expfmt"

	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/ports"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/telemetry"
	"github.com/sluicelb/sluice/internal/metrics"
)

// still is a switch that counts nothing new.
type still struct{ counters device.Counters }

func (s *still) Counters(context.Context) (device.Counters, error) { return s.counters, nil }

func (*still) Ports() ports.View {
	return ports.View{Ports: []ports.Port{{ID: 1, Name: "eth1", State: "up", Received: 5}}}
}

// shown are the series of a page.
func shown(t *testing.T, s metrics.Source) (all []string) {
	t.Helper()
	families, err := metrics.Gather(s)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	return all
}

// After an hour in which nothing changes Prometheus and gNMI are told all that they were told before. What a switch
// that is lost has counted is gone from the next page.
func TestAnHour(t *testing.T) {
	saving(t, func(t *testing.T, _ *slowStore, s *service, look func(func(*loop)), _ func()) {
		leaf1 := &still{device.Counters{
			VIP:     make(map[rows.VIPKey]device.Count),
			Backend: map[rows.BackendID]device.Count{1: {Packets: 3, Bytes: 300}},
			Tally:   map[string]device.Count{"drop_no_service": {Packets: 2, Bytes: 200}},
		}}
		look(func(l *loop) {
			l.views["leaf1"].status = device.Status{State: device.Synced, Applied: l.core.Sequence()}
			leaf1.counters.VIP[vipKey(l.core.Intent().VIPs[0])] = device.Count{Packets: 7, Bytes: 700}
		})
		s.telemetry = telemetry.New(telemetry.Config{
			Sources: func(context.Context) (map[string]telemetry.Source, error) {
				return map[string]telemetry.Source{"leaf1": leaf1}, nil
			},
		})
		s.loop.figures.leads.Store(s)
		server := s.loop.gnmiServer(s.telemetry)
		tree := func() string {
			r, err := server.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{{}}, Encoding: pb.Encoding_JSON_IETF})
			if err != nil {
				t.Fatal(err)
			}
			return string(r.Notification[0].Update[0].Val.GetJsonIetfVal())
		}
		page, by, leaves := shown(t, s.loop.figures), shown(t, bySwitch{s.loop.figures}), tree()
		if diff := cmp.Diff([]string{
			`sluice_controller_switch_backend_bytes_total{backend="web1",pool="web",switch="leaf1"} 300`,
			`sluice_controller_switch_backend_packets_total{backend="web1",pool="web",switch="leaf1"} 3`,
			`sluice_controller_switch_vip_bytes_total{switch="leaf1",vip="www"} 700`,
			`sluice_controller_switch_vip_packets_total{switch="leaf1",vip="www"} 7`,
		}, by); diff != "" {
			t.Errorf("by switch (-want +got):\n%s", diff)
		}
		time.Sleep(time.Hour)
		if diff := cmp.Diff(page, shown(t, s.loop.figures)); diff != "" {
			t.Errorf("page (-before +after an hour):\n%s", diff)
		}
		if diff := cmp.Diff(by, shown(t, bySwitch{s.loop.figures})); diff != "" {
			t.Errorf("by switch (-before +after an hour):\n%s", diff)
		}
		if diff := cmp.Diff(leaves, tree()); diff != "" {
			t.Errorf("tree (-before +after an hour):\n%s", diff)
		}
		look(func(l *loop) { l.views["leaf1"].status.State = device.Disconnected })
		for _, line := range append(shown(t, s.loop.figures), shown(t, bySwitch{s.loop.figures})...) {
			for _, name := range []string{"vip_packets_total", "backend_packets_total", "switch_rows",
				"switch_port_up", "dropped_packets_total"} {
				if strings.Contains(line, name) {
					t.Errorf("of a switch that is lost: %s", line)
				}
			}
		}
	})
}
