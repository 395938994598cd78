package keepalive

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/internal/loadreport"
)

// Asker asks one load reporter for one load, by tag if there is one and else by VIP. Its error is ctx's when the
// reporter did not answer, and check.ErrNotAsked when the question never left.
type Asker interface {
	Ask(ctx context.Context, to netip.AddrPort, key []byte, tag string, vip netip.AddrPort) (loadreport.Report, error)
}

// loadReport passes when a reporter says that traffic may come. It fails, by a wrong answer, when one says that none
// may. That a reporter sees nothing of what it was asked for tells nothing of it.
type loadReport struct {
	asker Asker
	config.Keepalive
	heard func(load uint8)
	blind func(bool) // whether the reporters see nothing
}

// Run asks the primary, and the secondary as well when the primary has given no load by half the time.
func (c loadReport) Run(ctx context.Context) error {
	err := c.run(ctx)
	c.blind(errors.Is(err, errUnseen))
	return err
}

func (c loadReport) run(ctx context.Context) error {
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
	case errors.Is(primary, errUnseen):
		return fmt.Errorf("%w; %v", primary, secondary) // it is there, at least
	case errors.Is(secondary, errUnseen):
		return fmt.Errorf("%w; %v", secondary, primary)
	case errors.Is(primary, check.ErrNotAsked):
		return fmt.Errorf("%w; %v", secondary, primary) // who was asked counts
	case errors.Is(secondary, check.ErrNotAsked):
		return fmt.Errorf("%w; %v", primary, secondary)
	}
	return fmt.Errorf("%w; %w", primary, secondary)
}

// What reporters say of what gets no load.
var (
	errOffline = said{"it must get no traffic", check.ErrWrongAnswer}
	errNone    = said{"it has no such", check.ErrWrongAnswer}
	errUnseen  = said{"it sees nothing of it, as it has no switch", check.ErrNotAsked}
)

// said is an answer, and what that is to who asked.
type said struct {
	text string
	kind error
}

func (e said) Error() string        { return e.text }
func (e said) Is(target error) bool { return target == e.kind }

func (c loadReport) ask(ctx context.Context, to netip.AddrPort) error {
	start := time.Now()
	report, err := c.asker.Ask(ctx, to, c.Key, c.Tag, c.VIP)
	if deadline, ok := ctx.Deadline(); ok && errors.Is(err, context.DeadlineExceeded) {
		err = check.NoAnswer(deadline.Sub(start).Round(time.Millisecond))
	}
	switch {
	case err != nil:
	case !report.Known:
		err = errNone
	case report.Unseen:
		err = errUnseen
	case !report.Online():
		err = errOffline
	}
	if err != nil {
		return fmt.Errorf("load of %s from %s: %w", loadOf(c.Tag, c.VIP), to, err)
	}
	c.heard(report.Load)
	return nil
}

// loadOf says whose load is meant.
func loadOf(tag string, vip netip.AddrPort) string {
	if tag != "" {
		return "tag " + tag
	}
	return fmt.Sprint("VIP ", vip)
}
