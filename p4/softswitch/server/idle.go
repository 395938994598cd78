package server

import (
	"context"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

const (
	idleInterval = 100 * time.Millisecond // between scans; timeouts are that exact
	idleEntries  = 1024                   // in one notification
	// idleSlack is how late a scan may be. One that is later comes after a time in which this process did not run.
	idleSlack = time.Second
)

// ran knows since when the process runs without a break. While it is stopped, as by a machine that is suspended, it
// sees no packet, and so cannot tell who sent none: after that every entry has its whole timeout again.
type ran struct{ since, last time.Duration }

// look notes that the process runs.
func (r *ran) look(now time.Duration) {
	if now-r.last > idleSlack {
		r.since = now
	}
	r.last = now
}

// idleScanner finds entries whose idle timeout has passed. An entry that was notified is notified again
// after another timeout without a packet (section "Table Idle Timeout Notification").
type idleScanner struct {
	pipeline *pipeline
	quiet    map[*engine.Installed]quiet
}

// quiet is an entry that has not been hit for the shortest timeout of its table at least.
type quiet struct {
	timeout  time.Duration
	notified time.Duration // when, on the clock of the data plane; 0 for never
}

// runIdle scans until ctx ends.
func (s *Server) runIdle(ctx context.Context) {
	var scanner idleScanner
	ran := ran{last: s.cfg.Plane.Now()}
	ticker := time.NewTicker(idleInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		ran.look(s.cfg.Plane.Now())
		p := s.running.Load()
		if p == nil || len(s.arbiter.primary()) == 0 {
			continue
		}
		if scanner.pipeline != p || s.idleAgain.Swap(false) {
			scanner = idleScanner{pipeline: p}
		}
		for _, x := range scanner.scan(s, ran) {
			if !s.sendIdle(x) {
				scanner.retract(x)
			}
		}
	}
}

// expired is what one notification carries: entries of one table.
type expired struct {
	table  *table
	rows   []row
	before []time.Duration // when each was notified before
}

// scan returns the entries to be notified now, and takes them for notified.
func (i *idleScanner) scan(s *Server, ran ran) []expired {
	now := ran.last
	s.state.RLock() // for the notes
	defer s.state.RUnlock()
	var out []expired
	still := map[*engine.Installed]quiet{} // forgets what is gone or was hit
	for _, t := range i.pipeline.tables {
		if t.shortest == 0 || t.engine.Len() == 0 {
			continue
		}
		batch := expired{table: t}
		for e := range t.engine.All() {
			hit := max(e.LastHit(), ran.since)
			if now-hit < t.shortest {
				continue
			}
			q, ok := i.quiet[e]
			if !ok {
				q = quiet{timeout: e.Entry().IdleTimeout}
			}
			if q.timeout > 0 && now-max(hit, q.notified) >= q.timeout {
				batch.rows = append(batch.rows, row{e, t.notes[e]})
				batch.before = append(batch.before, q.notified)
				q.notified = now
			}
			still[e] = q
			if len(batch.rows) == idleEntries {
				out, batch = append(out, batch), expired{table: t}
			}
		}
		if len(batch.rows) > 0 {
			out = append(out, batch)
		}
	}
	i.quiet = still
	return out
}

// retract takes back that x was notified: it is due again at the next scan.
func (i *idleScanner) retract(x expired) {
	for k, r := range x.rows {
		q := i.quiet[r.entry]
		q.notified = x.before[k]
		i.quiet[r.entry] = q
	}
}

// expect tells the scanner of a table what timeouts its entries have.
func (t *table) expect(timeout time.Duration) {
	if timeout > 0 && (t.shortest == 0 || timeout < t.shortest) {
		t.shortest = timeout
	}
}

// sendIdle offers a notification to the primaries, and reports whether any has room for it.
func (s *Server) sendIdle(x expired) bool {
	n := &v1.IdleTimeoutNotification{Timestamp: time.Now().UnixNano()}
	for _, r := range x.rows {
		n.TableEntry = append(n.TableEntry, x.table.encode(r))
	}
	return s.offerAll(&v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_IdleTimeoutNotification{
		IdleTimeoutNotification: n}})
}
