package controller

import (
	"context"
	"net/netip"
	"testing"
	"time"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/metrics"
)

// While a decision waits for a store that is silent, all who only read are answered at once, and see nothing of it: it
// may be refused yet.
func TestReadsDoNotWaitForTheStore(t *testing.T) {
	decisions := []struct {
		name string
		call func(context.Context, *service)
	}{
		{"a verdict", func(ctx context.Context, s *service) {
			_, _ = s.ReportVerdicts(ctx, &api.ReportVerdictsRequest{Verdicts: down("web2")})
		}},
		{"an intent", func(ctx context.Context, s *service) {
			_, _ = s.ApplyIntent(ctx, &api.ApplyIntentRequest{Yaml: drained})
		}},
		{"a drain", func(ctx context.Context, s *service) {
			_, _ = s.SetBackendAdmin(ctx, &api.SetBackendAdminRequest{Backend: "web2", Admin: api.Admin_ADMIN_DRAIN})
		}},
	}
	reads := []struct {
		name string
		read func(*testing.T, context.Context, *service)
	}{
		{"the status", func(t *testing.T, ctx context.Context, s *service) {
			m, err := s.GetStatus(ctx, nil)
			if err != nil {
				t.Fatal(err)
			}
			b := m.Pools[0].Backends[1]
			if m.IntentRevision != 1 || b.Slots != 32 ||
				b.Health != api.Health_HEALTH_UNSPECIFIED || b.Admin != api.Admin_ADMIN_ACTIVE {
				t.Errorf("revision %d, %v, want all as before", m.IntentRevision, b)
			}
		}},
		{"the backends", func(t *testing.T, ctx context.Context, s *service) {
			m, err := s.ListBackends(ctx, &api.ListBackendsRequest{Pool: "web"})
			if err != nil || len(m.Backends) != 2 {
				t.Errorf("got %v, %v", m, err)
			}
		}},
		{"the intent", func(t *testing.T, ctx context.Context, s *service) {
			m, err := s.GetIntent(ctx, nil)
			if err != nil || m.Yaml != testIntent || m.Revision != 1 {
				t.Errorf("got %v, %v, want the one before", m, err)
			}
		}},
		{"gNMI, which tells both events and samples", func(t *testing.T, ctx context.Context, s *service) {
			r := &pb.GetRequest{Path: []*pb.Path{{}}, Encoding: pb.Encoding_JSON_IETF}
			if _, err := s.loop.gnmiServer(s.telemetry).Get(ctx, r); err != nil {
				t.Error(err)
			}
		}},
		{"metrics", func(t *testing.T, _ context.Context, s *service) {
			s.loop.figures.leads.Store(s)
			gatherer := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
				return metrics.Gather(s.loop.figures)
			})
			if n, err := testutil.GatherAndCount(gatherer, "sluice_controller_pool_slots"); err != nil || n != 1 {
				t.Errorf("%d figures of the slots of the one pool, %v", n, err)
			}
		}},
		{"a load report", func(t *testing.T, _ context.Context, s *service) {
			if r := s.loop.answerLoadReport(loadreport.Item{Address: netip.MustParseAddr("10.0.0.100")}); !r.Known {
				t.Errorf("got %+v", r)
			}
		}},
	}
	for _, decision := range decisions {
		for _, read := range reads {
			t.Run(decision.name+", "+read.name, func(t *testing.T) {
				saving(t, func(t *testing.T, db *slowStore, s *service, _ func(func(*loop)), _ func()) {
					s.telemetry = s.loop.sampler(time.Second)
					db.set(time.Hour, nil)
					go decision.call(t.Context(), s)
					time.Sleep(time.Millisecond) // the save is under way
					began := time.Now()
					read.read(t, t.Context(), s)
					if took := time.Since(began); took > 0 {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}
