package device

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// meterTarget has meters alone.
type meterTarget struct {
	cells               map[string]*v1.MeterConfig // by meter and index
	written             int
	readError, writeErr error
}

func cellName(e *v1.MeterEntry) string {
	return fmt.Sprintf("%d[%d]", e.GetMeterId(), e.GetIndex().GetIndex())
}

func (m *meterTarget) Read(_ context.Context, ask ...*v1.Entity) iter.Seq2[*v1.Entity, error] {
	return func(yield func(*v1.Entity, error) bool) {
		if m.readError != nil {
			yield(nil, m.readError)
			return
		}
		for i := range int64(limits.MeterSize) {
			e := &v1.MeterEntry{MeterId: ask[0].GetMeterEntry().GetMeterId(), Index: &v1.Index{Index: i}}
			e.Config = m.cells[cellName(e)]
			if !yield(&v1.Entity{Entity: &v1.Entity_MeterEntry{MeterEntry: e}}, nil) {
				return
			}
		}
	}
}

func (m *meterTarget) Write(_ context.Context, updates []*v1.Update) error {
	if m.writeErr != nil {
		return m.writeErr
	}
	for _, u := range updates {
		if u.GetType() != v1.Update_MODIFY {
			return status.Error(codes.InvalidArgument, "not MODIFY")
		}
		m.cells[cellName(u.GetEntity().GetMeterEntry())] = u.GetEntity().GetMeterEntry().GetConfig()
		m.written++
	}
	return nil
}

func (*meterTarget) Waiting() <-chan struct{}        { return nil }
func (*meterTarget) Next() *v1.StreamMessageResponse { return nil }
func (*meterTarget) AckDigest(*v1.DigestList) error  { return nil }
func (*meterTarget) Dropped(backlog.Kind) uint64     { return 0 }

func meterReconciler(t *testing.T, m *meterTarget, log *strings.Builder) *reconciler {
	t.Helper()
	d, err := New(Config{Name: "leaf1", Log: slog.New(slog.NewTextHandler(log, nil))}, Wanted{})
	if err != nil {
		t.Fatal(err)
	}
	return newReconciler(d, m, new(Status))
}

// Every port gets its rates, once.
func TestConfigureMeters(t *testing.T) {
	m := &meterTarget{cells: make(map[string]*v1.MeterConfig)}
	var log strings.Builder
	r := meterReconciler(t, m, &log)
	for _, want := range []int{len(meterRates) * limits.MeterSize, 0} {
		m.written = 0
		if err := r.configureMeters(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m.written != want {
			t.Errorf("%d cells were written, want %d", m.written, want)
		}
	}
	for _, want := range meterRates {
		meter, err := r.codec.info.Meter(want.meter)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(limits.MeterSize) {
			c := m.cells[cellName(meter.Cell(i, nil).GetMeterEntry())]
			if c.GetCir() != want.rate || c.GetPir() != want.rate || c.GetCburst() != want.burst ||
				c.GetPburst() != want.burst {
				t.Fatalf("%s[%d] is %v", want.meter, i, c)
			}
		}
	}
	// One that somebody else has changed.
	meter, err := r.codec.info.Meter("alarm_meter")
	if err != nil {
		t.Fatal(err)
	}
	m.cells[cellName(meter.Cell(3, nil).GetMeterEntry())], m.written = nil, 0
	if err := r.configureMeters(t.Context()); err != nil || m.written != 1 {
		t.Errorf("%d cells were written, %v, want 1", m.written, err)
	}
	if r.status.Unmetered != "" || log.String() != "" {
		t.Errorf("unmetered %q, log %q", r.status.Unmetered, log.String())
	}
}

// A target without meters is named, and used; a session that broke is not blamed on them.
func TestConfigureMetersFails(t *testing.T) {
	refused := &p4rt.BatchError{Updates: 512,
		Failed: []p4rt.UpdateError{{Code: codes.Unimplemented, Message: "meters", Update: p4rt.Modify(&v1.Entity{})}}}
	for _, tt := range []struct {
		name        string
		read, write error
		unmetered   string
		err         string
	}{
		{"no meters", status.Error(codes.Unimplemented, "meters"), nil,
			"learn_meter: reading the meter: rpc error: code = Unimplemented desc = meters", ""},
		{"cells refused", nil, refused, "learn_meter: writing the meter: " + refused.Error(), ""},
		{"connection lost", nil, status.Error(codes.Unavailable, "gone"), "",
			"configuring learn_meter: writing the meter: rpc error: code = Unavailable desc = gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			m := &meterTarget{cells: make(map[string]*v1.MeterConfig), readError: tt.read, writeErr: tt.write}
			r := meterReconciler(t, m, &log)
			text := ""
			if err := r.configureMeters(t.Context()); err != nil {
				text = err.Error()
			}
			if text != tt.err || r.status.Unmetered != tt.unmetered {
				t.Errorf("error %q, unmetered %q; want %q, %q", text, r.status.Unmetered, tt.err, tt.unmetered)
			}
			if said := strings.Contains(log.String(),
				"the switch does not meter what it sends up"); said != (tt.unmetered != "") {
				t.Errorf("log %q", log.String())
			}
			m.readError, m.writeErr = nil, nil
			if err := r.configureMeters(t.Context()); err != nil || r.status.Unmetered != "" {
				t.Errorf("later: %v, unmetered %q", err, r.status.Unmetered)
			}
		})
	}
}
