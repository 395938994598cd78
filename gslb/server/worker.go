package server

import "net/netip"

// maxUDP is the largest UDP response that is ever sent (config allows no larger UDPSize) and so the size of the buffers
// that handle is given. Requests may be longer: they get their FORMERR; a buffer of maxUDP+1 bytes shows that
// one was.
const maxUDP = 4096

// local is where a datagram came in, for its answer to leave from there: its destination address, and the
// interface for link-local ones. The zero value: as the socket is bound.
type local struct {
	addr  netip.Addr
	index int32
}

// worker answers the datagrams of one UDP loop. All of its methods are of the loop's goroutine.
//
//	for { read a batch; w.begin(); for each { n := w.handle(request, from, at, out); queue out[:n] if n > 0 }; write the batch }
type worker struct {
	s    *Server
	send func(wire []byte, to netip.AddrPort, at local)
}

// newWorker makes the worker of one loop. send is for answers that come later, from other goroutines, until run
// has returned; it does not keep wire, and an error is nobody's business.
func (s *Server) newWorker(send func(wire []byte, to netip.AddrPort, at local)) *worker {
	return &worker{s: s, send: send}
}

// begin is called before each batch: it takes the newest view and reads the clock.
func (w *worker) begin() {}

// handle answers one datagram into out, which has maxUDP bytes, and returns how many are to be sent back to from; 0: none, or
// none yet. It keeps neither request nor out.
func (w *worker) handle(request []byte, from netip.AddrPort, at local, out []byte) int { return 0 }
