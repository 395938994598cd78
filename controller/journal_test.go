package controller

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/store"
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
	l := newLoop(log, db, store.State{})
	l.start = startNothing
	if err := l.begin("test.yaml", []byte(testIntent)); err != nil {
		t.Fatal(err)
	}
	say := func(backend, reason string, h api.Health) {
		t.Helper()
		list := []*api.Verdict{{Pool: "web", Backend: backend, Health: h, Reason: reason}}
		for range 2 { // the second changes nothing
			if _, err := l.verdicts(t.Context(), &api.ReportVerdictsRequest{Verdicts: list}); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("web1", "connect: connection refused", api.Health_HEALTH_DOWN)
	say("web2", "timeout", api.Health_HEALTH_DOWN)
	say("web2", "", api.Health_HEALTH_UP)
	say("web1", "", api.Health_HEALTH_UP)
	web := l.st.Plan.Pools["web"]
	for _, epoch := range web.Epochs() {
		l.settle(t.Context(), web.Moving(epoch), time.Now(), silent)
	}
	key := plan.BackendKey{Pool: "web", Backend: "web2"}
	for _, admin := range []plan.Admin{plan.Drain, plan.Active} {
		if err := l.setAdmin(t.Context(), key, admin); err != nil {
			t.Fatal(err)
		}
	}
	l.setFrozen(errors.New("no space left on device"))
	l.setFrozen(nil)
	logEvent(log, drainDone(key, 0))
	want := `level=INFO msg="slots moved" cause="intent revision 1" slots=64 moves="32 slots of web: nobody -> web1, 32 slots of web: nobody -> web2"
level=INFO msg="intent applied" revision=1
level=INFO msg=verdict backend=web/web1 health=down reason="connect: connection refused"
level=INFO msg="slots moved" cause="verdict on web/web1" slots=32 moves="32 slots of web: web1 -> web2 (open connections have a grace)"
level=INFO msg=verdict backend=web/web2 health=down reason=timeout
level=WARN msg="pool has no live backend" pool=web cause="verdict on web/web2"
level=INFO msg="slots moved" cause="verdict on web/web2" slots=32 moves="32 slots of web: web2 -> nobody (open connections have a grace)"
level=INFO msg=verdict backend=web/web2 health=up reason=""
level=INFO msg="slots moved" cause="verdict on web/web2" slots=32 moves="32 slots of web: nobody -> web2"
level=INFO msg=verdict backend=web/web1 health=up reason=""
level=INFO msg="slots moved" cause="verdict on web/web1" slots=32 moves="32 slots of web: web2 -> web1 (gradually)"
level=INFO msg="slots moved" cause="drain of web/web2" slots=32 moves="32 slots of web: web2 -> web1 (gradually)"
level=INFO msg=drain backend=web/web2
level=INFO msg="slots moved" cause="end of the drain of web/web2" slots=32 moves="32 slots of web: web1 -> web2 (gradually)"
level=INFO msg=undrain backend=web/web2
level=ERROR msg="the store takes no changes: the configuration is frozen, verdicts go on" err="no space left on device"
level=INFO msg="the store answers again"
level=INFO msg="drain done" backend=web/web2 forced=0
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}
