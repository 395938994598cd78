package server_test

import (
	"sync"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// Writers, readers, arbitration, commits and packets at the same time: for the race detector, and no
// frame of a link may get stuck.
func TestAllAtOnce(t *testing.T) {
	r := newRig(t)
	s := r.configured(kinds(t))
	go func() { // the primary reads its packet-ins; ends with the stream
		for {
			if _, err := s.rpc.Recv(); err != nil {
				return
			}
		}
	}()
	host, _ := r.link(1)
	r.link(7)
	const rounds = 50
	var all sync.WaitGroup
	all.Go(func() {
		for range rounds * 20 {
			host.Send(append([]byte{0, 0, 0, 0, 0, 1}, make([]byte, 54)...))
		}
	})
	all.Go(func() {
		for range rounds {
			// A commit may empty the table in between: only the RPC itself must go well.
			_ = r.write(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+` idle_timeout_ns:1 metadata:"m"}`))
			_ = r.write(modify(t, `table_entry:{table_id:$small`+smallKey+counted4+` counter_data:{}}`))
			_ = r.write(remove(t, `table_entry:{table_id:$small`+smallKey+`}`))
		}
	})
	all.Go(func() {
		for range rounds {
			r.mustRead(entry(t, `table_entry:{}`), entry(t, `counter_entry:{}`), entry(t, `register_entry:{}`))
		}
	})
	all.Go(func() {
		for range rounds / 10 {
			if err := r.setConfig(commit, kinds(t)); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for range rounds {
			backup := r.stream()
			backup.arbitrate(arbitration(nil))
			backup.next()
			backup.cancel()
		}
	})
	all.Go(func() {
		for range rounds {
			s.send(&v1.StreamMessageRequest{
				Update: &v1.StreamMessageRequest_Packet{Packet: &v1.PacketOut{Payload: []byte("x")}}})
		}
	})
	all.Wait()
}
