package core

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/plan"
)

// report takes the verdicts of a healthd. One that it repeats changes nothing, and one that is older than what it said
// last does not count: a healthd that was stopped for a while goes on with what it knew then.
func (c *Core) report(in Report) error {
	name := in.Healthd
	shared := len(c.authors.shared(c.now))
	by := c.authors.hear(name, in.Session, c.now)
	if len(c.authors.shared(c.now)) > shared {
		c.log(slog.LevelWarn, "two healthds report by one name: give one of them another with --name", "healthd", name)
	}
	next := c.stored
	next.Verdicts = maps.Clone(c.stored.Verdicts)
	if next.Verdicts == nil {
		next.Verdicts = make(map[plan.BackendKey]Verdict)
	}
	changed := cause{}
	judged := make(map[plan.BackendKey]bool)
	for _, said := range in.Verdicts {
		key := said.Backend
		if !c.Knows(key) {
			continue
		}
		if said.Health == plan.Unknown {
			c.doubts[key] = doubt{name, said.Reason}
			by.verdicts[key] = new(Verdict) // what others say counts from their next report on
			continue
		}
		if c.doubts[key].author == name {
			delete(c.doubts, key)
		}
		v := Verdict{
			Health: said.Health, Reason: said.Reason, Since: c.notToCome(said.Since),
			DetectedAt: c.notToCome(said.Detected),
			Author:     name, Session: in.Session,
		}
		if old, ok := by.said(key); !ok || !outdated(v, old, c.now) ||
			old.DetectedAt.Before(c.rechecked[key.Pool]) {
			by.verdicts[key] = &v
		}
		judged[key] = true
		c.judge(next.Verdicts, key, v, &changed)
	}
	if in.Full { // what others said who are gone lapses
		for _, key := range backends(by.verdicts) {
			if v, _ := by.said(key); v.Health != plan.Unknown && !judged[key] {
				c.judge(next.Verdicts, key, v, &changed)
			}
		}
	}
	if len(changed.backends) == 0 {
		c.stored, c.newer = next, c.saving // times and reasons are stored with the next change
		return nil
	}
	word := "verdict on "
	if len(changed.backends) > 1 {
		word = "verdicts on "
	}
	changed.text = word + joinKeys(changed.backends)
	if err := c.step(next, changed, false); err != nil {
		return err
	}
	c.save = true
	return nil
}

// tellAuthors logs which healthds have come and left.
func (c *Core) tellAuthors() {
	came, left := c.authors.changed(c.present, c.now)
	for _, name := range came {
		c.present[name] = true
		c.log(slog.LevelInfo, "a healthd reports", "healthd", name)
	}
	for _, name := range left {
		delete(c.present, name)
		c.log(slog.LevelWarn, "a healthd is silent: what it said no longer counts where others report",
			"healthd", name, "for", lapse)
	}
	for name := range c.present {
		c.wakeAt(c.authors[name].last.Add(lapse + 1))
	}
}

// judge finds the verdict that stands after v has been said, and adds to changed what is new.
func (c *Core) judge(verdicts map[plan.BackendKey]Verdict, key plan.BackendKey, v Verdict, changed *cause) {
	before := verdicts[key]
	is := c.authors.standing(key, before, c.rechecked[key.Pool], c.started, c.now)
	if v.DetectedAt.Before(is.DetectedAt) {
		c.log(slog.LevelDebug, "a verdict is older than the one that stands", "backend", key, "healthd", v.Author,
			"health", v.Health, "detected_at", v.DetectedAt, "stands", is.DetectedAt)
	}
	is.Fell = before.Fell
	bad := func(h plan.Health) bool { return h == plan.Down || h == plan.Failing }
	if bad(is.Health) && !bad(before.Health) {
		is.Fell = c.now
	}
	if is.Heard.IsZero() {
		is.Heard = c.now
	}
	verdicts[key] = is
	if is.Health == before.Health {
		return
	}
	c.publish(VerdictChanged{key, is})
	changed.backends = append(changed.backends, key)
	if changed.detected.IsZero() || is.DetectedAt.Before(changed.detected) {
		changed.detected = is.DetectedAt
	}
}

// outdated says whether before was detected later than v. A live healthd repeats its verdicts with their
// times, so an equal time counts. A time that is still to come is from before the clock was set back.
func outdated(v, before Verdict, now time.Time) bool {
	return v.DetectedAt.Before(before.DetectedAt) && !before.DetectedAt.After(now)
}

// notToCome is t, or now where t is missing or in the future: the clock of another machine may be ahead.
func (c *Core) notToCome(t time.Time) time.Time {
	if t.IsZero() || t.After(c.now) {
		return c.now
	}
	return t
}

// Knows says whether a backend is checked.
func (c *Core) Knows(key plan.BackendKey) bool {
	c = c.seen()
	if c.known[key] {
		return true
	}
	p := c.stored.Plan.Pools[key.Pool]
	return p != nil && slices.ContainsFunc(c.leavers, func(m plan.Member) bool {
		return m.Name == key.Backend && slices.ContainsFunc(p.Members, m.Equal)
	})
}
