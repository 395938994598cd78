package server

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/internal/metrics"
)

// times counts how long queries took, from when they were read until their answers were given to the kernel, or over
// TCP to the goroutine that writes. One goroutine at a time adds; anyone may read.
type times struct {
	buckets [bounds + 1]atomic.Uint64 // the last one is of what took longer than all bounds
	sum     atomic.Int64              // of nanoseconds
}

const bounds = 18

// upTo are the upper bounds, in nanoseconds.
var upTo = func() (ns [bounds]int64) {
	for i, s := range metrics.Buckets() {
		ns[i] = int64(math.Round(s * float64(time.Second)))
	}
	return ns
}()

// add counts n queries that took d nanoseconds each.
func (t *times) add(n int, d int64) {
	i := 0
	for i < bounds && d > upTo[i] {
		i++
	}
	t.buckets[i].Add(uint64(n))
	t.sum.Add(int64(n) * d)
}

// Times is how long queries took.
type Times struct {
	// those within each of metrics.Buckets, and not within the one before; the last: the others
	Buckets [bounds + 1]uint64
	Seconds float64 // of all together
}

func (t *Times) add(more *times) {
	for i := range more.buckets {
		t.Buckets[i] += more.buckets[i].Load()
	}
	t.Seconds += time.Duration(more.sum.Load()).Seconds()
}
