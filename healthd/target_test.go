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
	backends, targets, err := expand(&api.Checks{Pools: []*api.PoolChecks{
		{
			Pool: "web",
			Backends: []*api.CheckedBackend{{Name: "web1", Address: "10.0.0.11"},
				{Name: "web2", Address: "10.0.0.12", Urgent: true}},
			Checks: []*api.Check{{Type: "tcp", Port: 80}, {Type: "icmp"}, {Type: "tcp", Port: 80}},
		},
		{Pool: "idle", Backends: []*api.CheckedBackend{{Name: "web1", Address: "10.0.0.11"}}},
		{Pool: "empty", Checks: []*api.Check{{Type: "tcp", Port: 80}}},
		// again
		{Pool: "web", Backends: []*api.CheckedBackend{{Name: "web2", Address: "10.0.0.99"}},
			Checks: []*api.Check{{Type: "icmp"}}},
	}}, check.Kernel{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("[web/web1 web/web2 idle/web1]", fmt.Sprint(backends)); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
	var got []string
	for _, target := range targets {
		got = append(got, fmt.Sprintf("%s %s %s:%d %d %T %v", target.question.backend, target.kind, target.address,
			target.port,
			target.nth, target.check, target.urgent))
	}
	want := []string{
		"web/web1 tcp 10.0.0.11:80 1 check.TCP false",
		"web/web1 icmp 10.0.0.11:0 1 check.ICMP false",
		"web/web1 tcp 10.0.0.11:80 2 check.TCP false",
		"web/web2 tcp 10.0.0.12:80 1 check.TCP true",
		"web/web2 icmp 10.0.0.12:0 1 check.ICMP true",
		"web/web2 tcp 10.0.0.12:80 2 check.TCP true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

// What this healthd cannot ask is told, and fails nobody.
func TestImpossibleChecks(t *testing.T) {
	web := func(path, host string) *api.Check { return &api.Check{Type: "http", Port: 80, Path: path, Host: host} }
	many := make([]*api.Check, 33)
	for i := range many {
		many[i] = &api.Check{Type: "tcp", Port: 80}
	}
	for _, tt := range []struct {
		address string
		checks  []*api.Check
		want    string
	}{
		{"10.0.0.11", []*api.Check{{Type: "snmp", Port: 161}},
			`snmp check of web/web1: not asked: type: must be tcp, http, https or icmp, is "snmp"`},
		{"web1.example.org", []*api.Check{{Type: "tcp", Port: 80}},
			`tcp check of web/web1: not asked: address of the backend: must be the address of a host, is ` +
				`"web1.example.org"`},
		{"0.0.0.0", []*api.Check{{Type: "tcp", Port: 80}},
			`tcp check of web/web1: not asked: address of the backend: must be the address of a host, is "0.0.0.0"`},
		{"224.0.0.1", []*api.Check{{Type: "icmp"}},
			`icmp check of web/web1: not asked: address of the backend: must be the address of a host, is "224.0.0.1"`},
		{"255.255.255.255", []*api.Check{{Type: "icmp"}},
			`icmp check of web/web1: not asked: address of the backend: must be the address of a host, is ` +
				`"255.255.255.255"`},
		{"10.0.0.11", []*api.Check{{Type: "tcp", Port: 65536}},
			"tcp check of web/web1: not asked: port: must be 1..65535, is 65536"},
		{"10.0.0.11", []*api.Check{{Type: "tcp"}}, "tcp check of web/web1: not asked: port: must be 1..65535, is 0"},
		{"10.0.0.11", []*api.Check{web("healthz", "")},
			`http check of web/web1: not asked: path: must be the path of a URL, such as /healthz, is "healthz"`},
		{"10.0.0.11", []*api.Check{web("/", "a b")},
			`http check of web/web1: not asked: host: must be a host name, such as www.example.com, is "a b"`},
		{"10.0.0.11", []*api.Check{web("/health z?x=ä", "ä")},
			`http check of web/web1: not asked: path: must have a query of printable ASCII without spaces, such as ` +
				`?site=a%20b, is "/health z?x=ä"; host: must be a host name in ASCII, such as www.example.com or ` +
				`xn--bcher-kva.example, is "ä"`},
		{"10.0.0.11", []*api.Check{{Type: "http", Port: 80, ExpectStatus: []uint32{200, 600}}},
			`http check of web/web1: not asked: expect_status[1]: must be 200..599, is 600`},
		{"10.0.0.11", []*api.Check{{Type: "http", Port: 80, ExpectStatus: make([]uint32, 501)}},
			`http check of web/web1: not asked: expect_status: must have at most 400 statuses, has 501`},
		{"10.0.0.11", []*api.Check{{Type: "icmp", Interval: durationpb.New(1)}},
			`icmp check of web/web1: not asked: interval: must be 10ms..1h0m0s, is 1ns`},
		{"10.0.0.11", []*api.Check{{Type: "icmp", FastInterval: durationpb.New(1), Timeout: durationpb.New(-1),
			Rise: 101,
			Fall: 1 << 31}},
			`icmp check of web/web1: not asked: rise: must be 1..100, is 101; fall: must be 1..100, is ` +
				`2147483648; fast_interval: must be 10ms..1h0m0s, is 1ns; timeout: must be 10ms..1h0m0s, is -1ns`},
		{"10.0.0.11", []*api.Check{{Type: "icmp", Interval: &durationpb.Duration{Seconds: 1 << 62}}},
			`icmp check of web/web1: not asked: interval: must be 10ms..1h0m0s, is 2562047h47m16.854775807s`},
		{"10.0.0.11", many, "checks of web/web1: not asked: must be at most 32, are 33"},
	} {
		_, targets, err := expand(onePool(tt.address, tt.checks...), check.Kernel{})
		if err != nil || len(targets) != 1 {
			t.Fatalf("%d targets, %v, want one that says %s", len(targets), err, tt.want)
		}
		err = targets[0].check.Run(t.Context())
		if err == nil || err.Error() != tt.want || !errors.Is(err, check.ErrNotAsked) {
			t.Errorf("got  %v\nwant %s", err, tt.want)
		}
		if when := targets[0].schedule; when != unhurried {
			t.Errorf("%s: it is tried by %+v", tt.want, when)
		}
	}
}

// A message that would have healthd do more than any intent wants is refused as a whole, before it costs anything.
func TestTooMuchToCheck(t *testing.T) {
	pools := func(n, backends, checks int) *api.Checks {
		m := new(api.Checks)
		for i := range n {
			p := &api.PoolChecks{Pool: fmt.Sprint("pool", i)}
			for j := range backends {
				p.Backends = append(p.Backends, &api.CheckedBackend{Name: fmt.Sprint("web", j), Address: "10.0.0.11"})
			}
			for range checks {
				p.Checks = append(p.Checks, &api.Check{Type: "icmp"})
			}
			m.Pools = append(m.Pools, p)
		}
		return m
	}
	for _, tt := range []struct {
		name              string
		m                 *api.Checks
		backends, targets int
		want              string
	}{
		{"all that there may be", pools(4, 1<<14, 4), 1 << 16, 1 << 18, ""},
		{"one backend more", pools(1, 1<<16+1, 0), 0, 0, "checks of more than 65536 backends"},
		{"one pool more", pools(5, 1<<14, 1), 0, 0, "checks of more than 65536 backends"},
		{"more checks", pools(5, 1<<13, 7), 0, 0, "more than 262144 checks of backends"},
		{"too many pools", pools(1<<16+1, 0, 1), 0, 0, "checks of more than 65536 pools"},
		{"a long name", &api.Checks{Pools: []*api.PoolChecks{{Pool: "web",
			Backends: []*api.CheckedBackend{{Name: strings.Repeat("x", 64)}}}}}, 0, 0,
			`a name of more than 63 bytes: "` + strings.Repeat("x", 60) + `"... of pool "web"`},
		{"too many checks of each", pools(1, 1<<16, 1000), 1 << 16, 1 << 16, ""},
	} {
		backends, targets, err := expand(tt.m, check.Kernel{})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if len(backends) != tt.backends || len(targets) != tt.targets || got != tt.want {
			t.Errorf("%s: %d backends, %d checks, %q; want %d, %d, %q", tt.name, len(backends), len(targets), got,
				tt.backends,
				tt.targets, tt.want)
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
		{"all left out", &api.Check{}, probe.Schedule{Interval: 2 * s, Fast: 2 * s, Timeout: 2 * s, Jitter: s / 5,
			Spread: 2 * s, Rise: 1, Fall: 1}},
		{"all given", &api.Check{
			Interval: durationpb.New(4 * s), FastInterval: durationpb.New(s), Timeout: durationpb.New(2 * s),
			Jitter: durationpb.New(s / 2), Rise: 2, Fall: 3,
		}, probe.Schedule{Interval: 4 * s, Fast: s, Timeout: 2 * s, Jitter: s / 2, Spread: s, Rise: 2, Fall: 3}},
		{"no jitter", &api.Check{Jitter: durationpb.New(0)},
			probe.Schedule{Interval: 2 * s, Fast: 2 * s, Timeout: 2 * s,
				Jitter: 0, Spread: 2 * s, Rise: 1, Fall: 1}},
		{"longer than the interval", &api.Check{FastInterval: durationpb.New(9 * s), Jitter: durationpb.New(9 * s)},
			probe.Schedule{Interval: 2 * s, Fast: 2 * s, Timeout: 2 * s, Jitter: 2 * s, Spread: 2 * s, Rise: 1,
				Fall: 1}},
		{"the shortest", &api.Check{Interval: durationpb.New(s / 100), FastInterval: durationpb.New(s / 100),
			Timeout: durationpb.New(s / 100), Rise: 100, Fall: 100},
			probe.Schedule{Interval: s / 100, Fast: s / 100, Timeout: s / 100, Jitter: s / 1000, Spread: s / 100,
				Rise: 100,
				Fall: 100}},
	} {
		if got, err := newSchedule(tt.c); got != tt.want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestPathIsEscaped(t *testing.T) {
	_, targets, err := expand(onePool("127.0.0.1", &api.Check{Type: "http", Port: 1, Path: "/is it/ä?q=1"}),
		blackhole{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := timeoutContext(t, time.Millisecond)
	defer cancel()
	err = targets[0].check.Run(ctx)
	if want := "HTTP GET http://127.0.0.1:1/is%20it/%C3%A4?q=1: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
