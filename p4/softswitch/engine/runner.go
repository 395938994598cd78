package engine

import "time"

// Digest is what the program reports with digest(): the name of the learn list, and its fields,
// each big endian in ceil(bits/8) bytes.
type Digest struct {
	Name    string
	Members [][]byte
}

// Output takes what Process produces. Frames and digests are valid during the call only.
type Output interface {
	Emit(port uint16, frame []byte)
	Digest(d *Digest)
}

// Runner runs packets through a program. It is the scratch of one goroutine; any number of Runners
// may run the same program at the same time.
type Runner struct{}

// NewRunner returns a Runner that gives what it produces to out.
func (p *Program) NewRunner(out Output) *Runner { return &Runner{} }

// Process takes one frame from ingressPort through the program, and calls the Runner's Output for
// every frame that leaves and every digest before it returns. It does not change or keep frame. now
// is the caller's clock, from an origin of its choice, and never goes back; idle times and the
// program's timestamps are on it.
func (r *Runner) Process(ingressPort uint16, frame []byte, now time.Duration) {}
