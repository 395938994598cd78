package core

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

const (
	// lapse is how long the verdicts of a healthd that is silent stand while another reports.
	lapse = 30 * time.Second
	// stale is the age at which a status remarks that nobody repeats a verdict: three full reports of healthd.
	stale = 15 * time.Second
	// sharedTold is for how long a status says that two healthds have one name.
	sharedTold = 5 * time.Minute
	// authorsKept bounds the healthds that are remembered: callers choose their names.
	authorsKept = 64
)

// author is one healthd, of one start.
//
//	             reports again within lapse
//	                +-----------+
//	reports -----> present -----+--> silent for lapse: gone. What it said stands until another healthd
//	                |                speaks of the same backend
//	                +--> another session of its name reports: void, the same as gone
type author struct {
	session string
	former  string    // the session that this one took the place of
	shared  time.Time // when two sessions that both live took turns last: two healthds report by one name
	last    time.Time // when it reported last
	// verdicts are what it says of the backends that are checked; Unknown: it cannot ask, or no longer. They are
	// replaced and never modified, so that a Look shares them.
	verdicts map[plan.BackendKey]*Verdict
}

// said is what it says of a backend; false: nothing.
func (a *author) said(key plan.BackendKey) (Verdict, bool) {
	if v := a.verdicts[key]; v != nil {
		return *v, true
	}
	return Verdict{}, false
}

// authors are the healthds that have reported to this controller, by name. For one goroutine.
type authors map[string]*author

// hear takes note of a report, and returns its author.
func (a authors) hear(name, session string, now time.Time) *author {
	one := a[name]
	if one == nil || one.session != session {
		next := &author{session: session, verdicts: make(map[plan.BackendKey]*Verdict)}
		if one != nil {
			if next.former, next.shared = one.session, one.shared; one.former == session {
				next.shared = now
			}
		} else if len(a) >= authorsKept {
			a.forgetOldest()
		}
		one = next
		a[name] = one
	}
	one.last = now
	return one
}

// changed returns who has come since it was called last, and who has been silent for so long that it counts as gone.
func (a authors) changed(before map[string]bool, now time.Time) (came, left []string) {
	for name, one := range a {
		switch is := now.Sub(one.last) <= lapse; {
		case is && !before[name]:
			came = append(came, name)
		case !is && before[name]:
			left = append(left, name)
		}
	}
	for name := range before {
		if a[name] == nil {
			left = append(left, name)
		}
	}
	slices.Sort(came)
	slices.Sort(left)
	return came, left
}

func (a authors) forgetOldest() {
	oldest := ""
	for name, one := range a {
		if oldest == "" || one.last.Before(a[oldest].last) {
			oldest = name
		}
	}
	delete(a, oldest)
}

// heard says whether anybody who reported to this controller has judged the backend.
func (a authors) heard(key plan.BackendKey) bool {
	for _, one := range a {
		if v, ok := one.said(key); ok && v.Health != plan.Unknown {
			return true
		}
	}
	return false
}

// present says whether the author of v may still be asked, and has not taken back what it said of key. started is when
// this controller did: who reported to the one before has not had the time to be heard.
func (a authors) present(key plan.BackendKey, v Verdict, started, now time.Time) bool {
	one := a[v.Author]
	if one == nil {
		return now.Sub(started) <= lapse
	}
	word, ok := one.said(key)
	return one.session == v.Session && now.Sub(one.last) <= lapse && (!ok || word.Health != plan.Unknown)
}

// forget drops what was said of backends that are no longer checked: another may come by the same name.
func (a authors) forget(checked func(plan.BackendKey) bool) {
	for _, one := range a {
		maps.DeleteFunc(one.verdicts, func(key plan.BackendKey, _ *Verdict) bool { return !checked(key) })
	}
}

// standing is the verdict on a backend that counts: of those by healthds that are present and can ask, the one that was
// detected last; where nobody present says anything, the one that stood before. A verdict from before `since` comes
// from other checks, and one from the future from a clock that was set back later.
func (a authors) standing(key plan.BackendKey, before Verdict, since, started, now time.Time) Verdict {
	var best Verdict
	if before.Health != plan.Unknown && a.present(key, before, started, now) &&
		!before.DetectedAt.Before(since) && !before.DetectedAt.After(now) {
		best = before
	}
	name := ""
	for n, one := range a {
		v, ok := one.said(key)
		if !ok || v.Health == plan.Unknown || now.Sub(one.last) > lapse {
			continue
		}
		if c := v.DetectedAt.Compare(best.DetectedAt); best.Health == plan.Unknown || c > 0 ||
			c == 0 && cmp.Less(name, n) {
			best, name = v, n
		}
	}
	if best.Health == plan.Unknown {
		return before
	}
	return best
}

// dissent is the first healthd by name that finds a backend up though v, which stands, says otherwise, and until when
// it is present; "" when there is none.
func (a authors) dissent(key plan.BackendKey, v Verdict, since, now time.Time) (name string, until time.Time) {
	if v.Health != plan.Down && v.Health != plan.Failing {
		return "", time.Time{}
	}
	for n, one := range a {
		said, _ := one.said(key)
		if said.Health != plan.Up || said.DetectedAt.Before(since) || now.Sub(one.last) > lapse {
			continue
		}
		if name == "" || n < name {
			name, until = n, one.last.Add(lapse)
		}
	}
	return name, until
}

// shared are the names by which two healthds have reported lately.
func (a authors) shared(now time.Time) (names []string) {
	for name, one := range a {
		if !one.shared.IsZero() && now.Sub(one.shared) < sharedTold {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// doubt is why a backend cannot be asked, by the word of a healthd.
type doubt struct {
	author, reason string
}

// Unchecked says why nothing new is known of a backend, empty when it is being checked. watched: a healthd is
// connected.
func (c *Core) Unchecked(key plan.BackendKey, watched bool, now time.Time) string {
	c = c.seen()
	d, ok := c.doubts[key]
	v := c.stored.Verdicts[key]
	switch {
	case ok && v.Health != plan.Unknown && v.Author != d.author && c.authors.present(key, v, c.started, now):
		return "" // by another
	case ok && c.authors[d.author] != nil && now.Sub(c.authors[d.author].last) <= lapse:
		return d.reason
	case v.Health == plan.Unknown && !watched:
		return "no healthd is connected"
	case v.Health == plan.Unknown:
		return "healthd has not judged it yet"
	}
	return ""
}

// Authorship is who gave a verdict, and whether others agree.
type Authorship struct {
	Heard  time.Time // when its author said it last; zero: it has none
	Stale  bool      // nobody has repeated it for a while
	Differ string    // a healthd that finds the backend up; empty: none does
	Counts bool      // as up, for Differ finds it so and most of the pool fell
}

// Authorship tells who gave the verdict on a backend.
func (c *Core) Authorship(key plan.BackendKey, now time.Time) Authorship {
	c = c.seen()
	v := c.stored.Verdicts[key]
	heard := v.Heard
	if one := c.authors[v.Author]; one != nil && one.session == v.Session {
		heard = one.last
	}
	differ, _ := c.authors.dissent(key, v, c.rechecked[key.Pool], now)
	return Authorship{heard, v.Health != plan.Unknown && now.Sub(heard) > stale, differ, c.doubtful[key]}
}

// Shared are the names by which two healthds have reported lately.
func (c *Core) Shared(now time.Time) []string { return c.authors.shared(now) }
