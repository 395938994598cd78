package gslb

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/controller/api/loadreport"
	"github.com/sluicelb/sluice/gslb/keepalive"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/watch"
	"github.com/sluicelb/sluice/healthd/probe"
)

// keepaliveVerdict is what a keepalive says, as compose takes it.
func keepaliveVerdict(r keepalive.Result) verdict {
	return verdict{health: healthOf(r.Health), load: r.Load, reason: r.Reason, since: r.Since}
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
func (l loadReports) Ask(ctx context.Context, to netip.AddrPort, secret []byte, tag string, vip netip.AddrPort) (uint8, error) {
	key, err := loadreport.NewKey(secret)
	if err != nil {
		return 0, err
	}
	item := loadreport.VIP(vip, 0)
	if tag != "" {
		item = loadreport.Tag(tag)
	}
	reports, err := l.client.Ask(ctx, to, key, []loadreport.Item{item})
	if err != nil {
		return 0, err
	}
	if !reports[0].Known {
		return 0, fmt.Errorf("it knows of no %v", item)
	}
	return reports[0].Load, nil
}

// controllerVerdict is what a controller says of a VIP, as compose takes it. One that has said nothing for as long as
// the word of another stands, since it was first watched, is as lost as that.
func controllerVerdict(v watch.VIP, watched, now time.Time) verdict {
	switch {
	case !v.Heard && now.Sub(watched) < watch.DefaultHold:
		return verdict{load: -1}
	case !v.Heard:
		return verdict{health: selection.Down, load: -1, reason: "no word from the controller yet", since: watched.Add(watch.DefaultHold), lost: true}
	case v.Live:
		return verdict{health: selection.Up, load: v.Load, reason: v.Reason, since: v.Since, lost: v.Lost}
	}
	return verdict{health: selection.Down, load: -1, reason: v.Reason, since: v.Since, lost: v.Lost}
}
