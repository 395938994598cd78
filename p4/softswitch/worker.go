package softswitch

import (
	"math/bits"
	"time"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// worker runs the frames of one ingress port through whatever program is committed. It is the scratch
// of one goroutine.
type worker struct {
	s       *Switch
	ingress uint16
	program *engine.Program
	runner  *engine.Runner
	unsent  [(MaxPort + 64) / 64]uint64 // ports that have frames to flush, one bit each
}

// receive takes the frames that arrived.
func (w *worker) receive(frames [][]byte) {
	program := w.s.program.Load()
	if program == nil {
		w.s.unprogrammed.Add(uint64(len(frames)))
		return
	}
	if program != w.program {
		w.program, w.runner = program, program.NewRunner(w)
	}
	now := plane{w.s}.Now()
	w.runner.Hold()
	for _, frame := range frames {
		w.runner.Process(w.ingress, frame, now)
		if a := w.runner.Failed(); a != nil && a.Tell() {
			w.s.cfg.Log.Error("an assertion of the P4 program does not hold; such packets are dropped",
				"assertion", a.Where, "ingress_port", w.ingress)
		}
	}
	w.runner.Release()
	w.flush()
}

// Emit implements engine.Output.
func (w *worker) Emit(port uint16, frame []byte) {
	if port == w.s.cfg.CPUPort {
		w.s.server.PacketIn(frame)
		return
	}
	if port > MaxPort {
		w.s.unconnected.Add(1)
		return
	}
	a := w.s.ports[port].Load()
	if a == nil {
		w.s.unconnected.Add(1)
		return
	}
	a.port.Send(frame)
	w.unsent[port/64] |= 1 << (port % 64)
}

// Digest implements engine.Output.
func (w *worker) Digest(d *engine.Digest) { w.s.server.Digest(d) }

// flush flushes the ports that Emit sent to.
func (w *worker) flush() {
	for i, set := range w.unsent {
		for ; set != 0; set &= set - 1 {
			w.s.ports[i*64+bits.TrailingZeros64(set)].Load().flush()
		}
		w.unsent[i] = 0
	}
}

// flush sends what the port has gathered, and logs why frames were dropped when that changes.
func (a *attached) flush() {
	err := a.port.Flush()
	if err == nil {
		return
	}
	now := failure{err.Error(), time.Now()}
	if last := a.failed.Swap(&now); last == nil || last.text != now.text {
		a.log.Warn("frames are dropped", "error", err)
	}
}
