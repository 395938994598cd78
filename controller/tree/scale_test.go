package tree

import (
	"context"
	"fmt"
	"testing"
	"time"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/gnmi"
)

// BenchmarkRead is how long it takes to read all of a tree at the limits of a configuration: 4,000 VIPs, 10,000
// backends.
func BenchmarkRead(b *testing.B) {
	m := new(api.GetStatusResponse)
	for v := range 4000 {
		m.Vips = append(m.Vips, &api.VIPStatus{Name: fmt.Sprint("v", v), Address: "10.0.0.1"})
	}
	for p := range 100 {
		pool := &api.PoolStatus{Name: fmt.Sprint("p", p)}
		for i := range 100 {
			pool.Backends = append(pool.Backends, &api.BackendStatus{Name: fmt.Sprint("b", i), Address: "10.0.0.1"})
		}
		m.Pools = append(m.Pools, pool)
	}
	s := gnmi.New(gnmi.Config{Schema: Schema, Source: source{m, nil}, Lowest: time.Nanosecond})
	b.ReportAllocs()
	for b.Loop() {
		request := &pb.GetRequest{Path: []*pb.Path{{Elem: []*pb.PathElem{{Name: "sluice"}, {Name: "controller"}}}}}
		if _, err := s.Get(context.Background(), request); err != nil {
			b.Fatal(err)
		}
	}
}
