package gslb

import (
	"context"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/keepalive"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/watch"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// keepaliveVerdict is what a keepalive says, as compose takes it. Of an answer that a load reporter has lost from
// sight, what it said before stands for hold; then it counts as what a controller says that has lost a VIP from sight.
// age is how long ago, of the time in which this process ran, something was.
func keepaliveVerdict(r keepalive.Result, now time.Time, age func(time.Time) time.Duration,
	hold time.Duration,
) verdict {
	if r.Health != probe.Unknown && !r.Blind.IsZero() {
		if over := age(r.Blind) - hold; over >= 0 {
			return verdict{health: selection.Down, load: -1, reason: r.Reason, since: now.Add(-over), unseen: true}
		}
	}
	return verdict{health: healthOf(r.Health), load: r.Load, reason: r.Reason, since: r.Since, unseen: r.Unseen}
}

func healthOf(h probe.Health) selection.Health {
	switch h {
	case probe.Up:
		return selection.Up
	case probe.Down:
		return selection.Down
	}
	return selection.Unknown
}

// loadReports asks controllers and other reporters for loads.
type loadReports struct{ client *loadreport.Client }

// Ask asks one reporter once, by tag if there is one.
func (l loadReports) Ask(ctx context.Context, to netip.AddrPort, secret []byte, tag string,
	vip netip.AddrPort,
) (loadreport.Report, error) {
	key, err := loadreport.NewKey(secret)
	if err != nil {
		return loadreport.Report{}, err
	}
	item := loadreport.VIP(vip, 0)
	if tag != "" {
		item = loadreport.Tag(tag)
	}
	reports, err := l.client.Ask(ctx, to, key, []loadreport.Item{item})
	if err != nil {
		return loadreport.Report{}, err
	}
	return reports[0], nil
}

// firstWord is how long the first word of a controller is waited for, where keepalives have theirs.
const firstWord = time.Second

// controllerVerdict is what a controller says of a VIP, as compose takes it; hold is how long its word stands. One
// that says nothing of the VIP counts for nothing. Where nothing else vouches for the answer, a verdict is waited for
// as long as a word would stand, since the controller was first watched: age ago, of the time in which this process
// ran. Then it counts as down: who lost a data center from sight for so long does not send clients there while it can
// send them elsewhere.
func controllerVerdict(v watch.VIP, now time.Time, age, hold time.Duration) verdict {
	switch {
	case !v.Heard && !v.Refused && age < firstWord:
		return verdict{load: -1}
	case !v.Known() && age < hold:
		return verdict{load: -1, reason: v.Reason, unseen: true}
	case !v.Heard:
		return verdict{health: selection.Down, load: -1, reason: v.Reason, since: now.Add(hold - age), unseen: true}
	case !v.Known():
		return verdict{health: selection.Down, load: -1, reason: v.Reason, since: v.Since, unseen: true}
	case v.Live:
		return verdict{health: selection.Up, load: v.Load, reason: v.Reason, since: v.Since}
	}
	return verdict{health: selection.Down, load: -1, reason: v.Reason, since: v.Since}
}
