package device

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// meterRates bound what each port makes the switch send up, in messages a second: what a host can send at
// line rate must not queue in front of what the controller needs. A new station is learned within
// milliseconds, and of claims and spoofs a sample is enough: the switch counts them all.
var meterRates = []struct {
	meter       string
	rate, burst int64
}{
	{"learn_meter", 512, 1024},
	{"alarm_meter", 64, 64},
	{"pin_meter", 1024, 4096},
}

// configureMeters sets the rates of every port, where the switch has others. A target that cannot meter
// is told of, and works without.
func (r *reconciler) configureMeters(ctx context.Context) error {
	r.status.Unmetered = ""
	for _, want := range meterRates {
		m, err := r.codec.info.Meter(want.meter)
		if err != nil {
			return err
		}
		rates := &v1.MeterConfig{Cir: want.rate, Cburst: want.burst, Pir: want.rate, Pburst: want.burst}
		if err := r.configureMeter(ctx, m, rates); err != nil {
			if broken(err) {
				return fmt.Errorf("configuring %s: %w", want.meter, err)
			}
			r.status.Unmetered = fmt.Sprintf("%s: %v", want.meter, err)
			r.cfg.Log.Warn("the switch does not meter what it sends up: a host can flood the controller with it",
				"switch", r.cfg.Name, "meter", want.meter, "err", err)
			return nil
		}
	}
	return nil
}

func (r *reconciler) configureMeter(ctx context.Context, m *p4rt.MeterArray, rates *v1.MeterConfig) error {
	right := make([]bool, m.Size)
	for e, err := range r.target.Read(ctx, m.Query()) {
		if err != nil {
			return fmt.Errorf("reading the meter: %w", err)
		}
		cell := e.GetMeterEntry()
		if i := cell.GetIndex().GetIndex(); i >= 0 && i < m.Size {
			right[i] = sameRates(cell.GetConfig(), rates)
		}
	}
	var updates []*v1.Update
	for i, ok := range right {
		if !ok {
			updates = append(updates, p4rt.Modify(m.Cell(int64(i), rates)))
		}
	}
	for part := range slices.Chunk(updates, chunk) {
		if err := r.target.Write(ctx, part); err != nil {
			return fmt.Errorf("writing the meter: %w", err)
		}
	}
	return nil
}

func sameRates(a, b *v1.MeterConfig) bool {
	return a.GetCir() == b.GetCir() && a.GetCburst() == b.GetCburst() &&
		a.GetPir() == b.GetPir() && a.GetPburst() == b.GetPburst()
}

// broken says whether err is the session's end, and not the target's word on the request.
func broken(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.PermissionDenied, codes.FailedPrecondition:
		return true
	}
	return false
}
