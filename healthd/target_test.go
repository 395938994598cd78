package healthd

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/healthd/probe"
)

func onePool(address string, checks ...*api.Check) *api.Checks {
	return &api.Checks{Pools: []*api.PoolChecks{{
		Pool:     "web",
		Backends: []*api.CheckedBackend{{Name: "web1", Address: address}},
		Checks:   checks,
	}}}
}

func TestExpand(t *testing.T) {
	backends, targets := expand(&api.Checks{Pools: []*api.PoolChecks{
		{
			Pool:     "web",
			Backends: []*api.CheckedBackend{{Name: "web1", Address: "10.0.0.11"}, {Name: "web2", Address: "10.0.0.12"}},
			Checks:   []*api.Check{{Type: "tcp", Port: 80}, {Type: "icmp"}, {Type: "tcp", Port: 80}},
		},
		{Pool: "idle", Backends: []*api.CheckedBackend{{Name: "web1", Address: "10.0.0.11"}}},
		{Pool: "empty", Checks: []*api.Check{{Type: "tcp", Port: 80}}},
	}}, check.Kernel{})
	if diff := cmp.Diff("[web/web1 web/web2 idle/web1]", fmt.Sprint(backends)); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
	var got []string
	for _, target := range targets {
		got = append(got, fmt.Sprintf("%s %s %s:%d %d %T", target.question.backend, target.kind, target.address, target.port, target.nth, target.check))
	}
	want := []string{
		"web/web1 tcp 10.0.0.11:80 1 check.TCP",
		"web/web1 icmp 10.0.0.11:0 1 check.ICMP",
		"web/web1 tcp 10.0.0.11:80 2 check.TCP",
		"web/web2 tcp 10.0.0.12:80 1 check.TCP",
		"web/web2 icmp 10.0.0.12:0 1 check.ICMP",
		"web/web2 tcp 10.0.0.12:80 2 check.TCP",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

// What this healthd cannot ask is told, and fails nobody.
func TestImpossibleChecks(t *testing.T) {
	for _, tt := range []struct {
		address string
		check   *api.Check
		want    string
	}{
		{"10.0.0.11", &api.Check{Type: "snmp"}, `snmp check of web/web1: not asked: type: must be tcp, http, https or icmp, is "snmp"`},
		{"web1.example.org", &api.Check{Type: "tcp", Port: 80}, `tcp check of web/web1: not asked: address of the backend: ParseAddr("web1.example.org"): unexpected character (at "web1.example.org")`},
		{"10.0.0.11", &api.Check{Type: "tcp", Port: 65536}, "tcp check of web/web1: not asked: port: must be 1..65535, is 65536"},
		{"10.0.0.11", &api.Check{Type: "http", Port: 80, Path: "healthz"}, `http check of web/web1: not asked: path: must be the path of a URL, such as /healthz, is "healthz"`},
		{"10.0.0.11", &api.Check{Type: "http", Port: 80, Path: "/", Host: "a b"}, `http check of web/web1: not asked: host: must be a host name, such as www.example.com, is "a b"`},
	} {
		_, targets := expand(onePool(tt.address, tt.check), check.Kernel{})
		err := targets[0].check.Run(t.Context())
		if err == nil || err.Error() != tt.want || !errors.Is(err, check.ErrNotAsked) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
	}
}

func TestTiming(t *testing.T) {
	s := time.Second
	for _, tt := range []struct {
		name string
		c    *api.Check
		want probe.Schedule
	}{
		{"all left out", &api.Check{}, probe.Schedule{Interval: 2 * s, Fast: 2 * s, Timeout: 2 * s, Jitter: s / 5, Spread: 2 * s, Rise: 1, Fall: 1}},
		{"all given", &api.Check{
			Interval: durationpb.New(4 * s), FastInterval: durationpb.New(s), Timeout: durationpb.New(2 * s),
			Jitter: durationpb.New(s / 2), Rise: 2, Fall: 3,
		}, probe.Schedule{Interval: 4 * s, Fast: s, Timeout: 2 * s, Jitter: s / 2, Spread: s, Rise: 2, Fall: 3}},
		{"no jitter", &api.Check{Jitter: durationpb.New(0)}, probe.Schedule{Interval: 2 * s, Fast: 2 * s, Timeout: 2 * s, Jitter: 0, Spread: 2 * s, Rise: 1, Fall: 1}},
		{"longer than the interval", &api.Check{FastInterval: durationpb.New(9 * s), Jitter: durationpb.New(9 * s)}, probe.Schedule{Interval: 2 * s, Fast: 2 * s, Timeout: 2 * s, Jitter: 2 * s, Spread: 2 * s, Rise: 1, Fall: 1}},
	} {
		if got := newSchedule(tt.c); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPathIsEscaped(t *testing.T) {
	_, targets := expand(onePool("127.0.0.1", &api.Check{Type: "http", Port: 1, Path: "/is it/ä?q=1"}), blackhole{})
	ctx, cancel := timeoutContext(t, time.Millisecond)
	defer cancel()
	err := targets[0].check.Run(ctx)
	if want := "HTTP GET http://127.0.0.1:1/is%20it/%C3%A4?q=1: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
