package controller

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/plan"
)

// What a person wants to read about a night: each change once, with its reason.
func TestLog(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	db := &fakeStore{}
	l := newLoop(log, newFigures(), db, core.Stored{})
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(testIntent)); err != nil {
		t.Fatal(err)
	}
	say := func(backend, reason string, h api.Health) {
		t.Helper()
		list := []*api.Verdict{{Pool: "web", Backend: backend, Health: h, Reason: reason}}
		for range 2 { // the second changes nothing
			if _, err := l.verdicts(&api.ReportVerdictsRequest{Verdicts: list}); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("web1", "connect: connection refused", api.Health_HEALTH_DOWN)
	say("web2", "timeout", api.Health_HEALTH_DOWN)
	say("web2", "", api.Health_HEALTH_UP)
	say("web1", "", api.Health_HEALTH_UP)
	keepUp := func() {
		l.status(l.views["leaf1"], "leaf1", &device.Status{State: device.Synced, Connects: 1, ReadBack: 9,
			Applied: l.core.Sequence()})
	}
	keepUp()
	keepUp()
	key := plan.BackendKey{Pool: "web", Backend: "web2"}
	for _, admin := range []plan.Admin{plan.Drain, plan.Active} {
		if err := l.setAdmin(key, admin); err != nil {
			t.Fatal(err)
		}
		keepUp()
	}
	for _, e := range []core.Event{
		core.StoreChanged{Err: errors.New("no space left on device")}, core.StoreChanged{},
		core.DrainDone{Backend: key},
	} {
		if err := l.carryOut(core.Publish{Event: e}); err != nil {
			t.Fatal(err)
		}
	}
	want := `level=INFO msg="slots moved" cause="intent revision 1" slots=64 moves="32 slots of web: nobody -> web1, 32 slots of web: nobody -> web2"
level=INFO msg="intent applied" revision=1
level=INFO msg=verdict backend=web/web1 health=down reason="connect: connection refused"
level=INFO msg="slots moved" cause="verdict on web/web1" slots=32 moves="32 slots of web: web1 -> web2 (open connections have a grace)"
level=INFO msg="a healthd reports" healthd=healthd
level=INFO msg=verdict backend=web/web2 health=down reason=timeout
level=WARN msg="pool has no live backend" pool=web cause="verdict on web/web2"
level=INFO msg="slots moved" cause="verdict on web/web2" slots=32 moves="32 slots of web: web2 -> nobody (open connections have a grace)"
level=ERROR msg="too much fell at once" pool=web reason="none of the 2 backends is up: open connections stay where they are, for it may be the checks that fail and not the servers; disable or remove those that are really dead"
level=INFO msg=verdict backend=web/web2 health=up reason=""
level=INFO msg="slots moved" cause="verdict on web/web2" slots=32 moves="32 slots of web: nobody -> web2"
level=INFO msg="backends that are down keep open connections for their grace and no longer" pool=web
level=INFO msg=verdict backend=web/web1 health=up reason=""
level=INFO msg="slots moved" cause="verdict on web/web1" slots=32 moves="32 slots of web: web2 -> web1 (gradually)"
level=INFO msg=switch name=leaf1 state=synced read_back=9 written=0 err=""
level=INFO msg="slots moved" cause="drain of web/web2" slots=32 moves="32 slots of web: web2 -> web1 (gradually)"
level=INFO msg=drain backend=web/web2
level=INFO msg="switches reprogrammed" cause="drain of web/web2" switches=leaf1 writes=0 ms=0
level=INFO msg="slots moved" cause="end of the drain of web/web2" slots=32 moves="32 slots of web: web1 -> web2 (gradually)"
level=INFO msg=undrain backend=web/web2
level=INFO msg="switches reprogrammed" cause="end of the drain of web/web2" switches=leaf1 writes=0 ms=0
level=ERROR msg="the store takes no changes: the configuration is frozen, verdicts go on" err="no space left on device"
level=INFO msg="the store answers again"
level=INFO msg="drain done" backend=web/web2 forced_connections=0 forced_slots=0
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}
