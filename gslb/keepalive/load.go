package keepalive

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
)

// Asker asks one load reporter for one load, by tag if there is one and else by VIP: 0 to 254, or 255 for what must
// get no traffic. Its error is ctx's when the reporter did not answer, and check.ErrNotAsked when the question
// never left.
type Asker interface {
	Ask(ctx context.Context, to netip.AddrPort, key []byte, tag string, vip netip.AddrPort) (load uint8, err error)
}

// offline is the load of what must get no traffic.
const offline = 255

// loadReport passes when a reporter says that traffic may come.
type loadReport struct {
	asker Asker
	config.Keepalive
	heard func(load uint8)
}

// Run asks the primary, and the secondary as well when the primary has given no load by half the time.
func (c loadReport) Run(ctx context.Context) error {
	if !c.Secondary.IsValid() {
		return c.ask(ctx, c.Address)
	}
	first, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		first, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	primary := c.ask(first, c.Address)
	cancel()
	if primary == nil || errors.Is(primary, errOffline) || ctx.Err() != nil {
		return primary
	}
	secondary := c.ask(ctx, c.Secondary)
	switch {
	case secondary == nil, errors.Is(secondary, errOffline):
		return secondary
	case errors.Is(primary, check.ErrNotAsked):
		return fmt.Errorf("%w; %v", secondary, primary) // who was asked counts
	case errors.Is(secondary, check.ErrNotAsked):
		return fmt.Errorf("%w; %v", primary, secondary)
	}
	return fmt.Errorf("%w; %w", primary, secondary)
}

var errOffline = errors.New("it must get no traffic")

func (c loadReport) ask(ctx context.Context, to netip.AddrPort) error {
	start := time.Now()
	load, err := c.asker.Ask(ctx, to, c.Key, c.Tag, c.VIP)
	if deadline, ok := ctx.Deadline(); ok && errors.Is(err, context.DeadlineExceeded) {
		err = check.NoAnswer(deadline.Sub(start).Round(time.Millisecond))
	}
	if err == nil && load == offline {
		err = errOffline
	}
	if err != nil {
		return fmt.Errorf("load of %s from %s: %w", loadOf(c.Tag, c.VIP), to, err)
	}
	c.heard(load)
	return nil
}

// loadOf says whose load is meant.
func loadOf(tag string, vip netip.AddrPort) string {
	if tag != "" {
		return "tag " + tag
	}
	return fmt.Sprint("VIP ", vip)
}
