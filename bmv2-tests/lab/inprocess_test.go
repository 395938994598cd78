package lab

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
)

// Whoever still uses a host of a lab that is being closed does no harm: a check, say, that nobody waits for.
func TestCloseInUse(t *testing.T) {
	l, err := InProcess(Topology{Segments: []Segment{{Nodes: []Node{
		{Name: "manager", Port: 1, MAC: packet.MAC{2, 0, 0, 0, 0, 2}, Address: netip.MustParsePrefix("10.0.0.2/24")},
	}}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	manager := l.Sites[0].End(1)
	ctx, cancel := context.WithCancel(t.Context())
	dialed := make(chan struct{})
	var dialing sync.WaitGroup
	dialing.Go(func() {
		for ctx.Err() == nil {
			check, done := context.WithTimeout(ctx, time.Millisecond)
			if _, err := manager.DialContext(check, "tcp", "10.0.0.2:80"); err == nil {
				t.Error("somebody answers at a port without a listener")
			}
			done()
			select {
			case dialed <- struct{}{}:
			default:
			}
		}
	})
	<-dialed
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for range 2 { // one of them began after that
		<-dialed
	}
	cancel()
	dialing.Wait()
}
