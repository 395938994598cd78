package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/device"
	"github.com/sluicelb/sluice/controller/rows"
)

// writtenTimeout bounds how long a caller waits for the switches: then it is told which of them it was not written to.
const writtenTimeout = time.Second

// writer is somebody who waits until the connected switches have what was decided.
type writer struct {
	sequence uint64
	done     chan struct{} // closed then
}

// written waits, not for long, until the connected switches have what is decided now. Not for the loop's goroutine.
func (l *loop) written(ctx context.Context) {
	w := writer{done: make(chan struct{})}
	if l.do(ctx, func() { w.sequence = l.sequence; l.writers = append(l.writers, w) }) != nil {
		return
	}
	late := time.NewTimer(writtenTimeout)
	defer late.Stop()
	select {
	case <-w.done:
	case <-late.C:
	case <-ctx.Done():
	}
}

// tellWriters lets those go whose decision is written; the others leave by themselves.
func (l *loop) tellWriters() {
	if len(l.writers) == 0 {
		return
	}
	least := l.sequence
	for _, v := range l.views {
		if v.connected() {
			least = min(least, v.status.Applied)
		}
	}
	l.writers = slices.DeleteFunc(l.writers, func(w writer) bool {
		if w.sequence > least {
			return false
		}
		close(w.done)
		return true
	})
}

// unwritten says why what was decided on a backend is not in the switches yet, a line for each.
func (l *loop) unwritten(pool config.Pool, id rows.BackendID) (lines []string) {
	if !l.connected() {
		return []string{"no switch is connected"}
	}
	for _, name := range slices.Sorted(maps.Keys(l.views)) {
		v := l.views[name]
		switch {
		case !v.connected(): // what waits for it says so
		case v.status.Applied < l.sequence:
			lines = append(lines, fmt.Sprintf("being written to switch %s", name))
		case v.status.State == device.Degraded:
			if a := l.astrayOf(pool, v); a != nil && a.New[id] > 0 {
				lines = append(lines,
					fmt.Sprintf("switch %s does not take it: new flows of %d slots still come here", name, a.New[id]))
			}
		}
	}
	return lines
}

// astrayOf returns the slots of a pool whose rows a switch does not hold as wanted; nil: none.
func (l *loop) astrayOf(pool config.Pool, v *view) *device.Astray {
	for _, vip := range l.intent.VIPs {
		if vip.Pool == pool.Name {
			if a := v.status.Lacks[vipKey(vip)].Slots; a != nil {
				return a
			}
		}
	}
	return nil
}
