package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sluicelb/sluice/controller/store"
	"github.com/sluicelb/sluice/internal/task"
	"github.com/sluicelb/sluice/p4/p4rt"
)

const (
	// outbidPause, and up to twice as much, is how long another controller that has left a switch has to come back. A
	// restart takes a second or two, and two controllers that wait for the same switch do not go at once.
	outbidPause = 5 * time.Second
	// unsurePause is how long a switch must have had no primary before a controller that cannot ask its store goes to
	// it. That is time for another controller to come, if one has taken the store over.
	unsurePause = 15 * time.Second
	storeRetry  = time.Second
)

// bidder is what elections need of the store.
type bidder interface {
	Bid(ctx context.Context, target, id string) error
	Bidders(ctx context.Context, target string) ([]string, error)
}

// candidate makes the election ids by which this controller asks one switch to be its primary. It takes no
// switch from a controller that lives, unless that one had this controller's store before.
type candidate struct {
	switchName, target string
	high               uint64 // of the ids, at least
	store              bidder
	log                *slog.Logger

	mu    sync.Mutex // guards what follows
	mine  []p4rt.ElectionID
	rival *p4rt.ElectionID // the primary that the switch told last, while this controller waited
}

// elect is p4rt.Config.Elect.
func (c *candidate) elect(ctx context.Context, seen p4rt.Rivals) (p4rt.ElectionID, error) {
	known, err := c.known(ctx, seen.Highest)
	if err != nil {
		return p4rt.ElectionID{}, err
	}
	c.mu.Lock()
	if seen.Primary && !known {
		c.rival = seen.Highest
	}
	rival := c.rival
	c.mu.Unlock()
	if seen.Primary && !known {
		return p4rt.ElectionID{}, fmt.Errorf("switch %s is controlled by another controller, election id %v; "+
			"this one waits until that has left", c.switchName, seen.Highest)
	}
	outbids := rival != nil && !known ||
		seen.Highest != nil && !known && nextElection(c.high, time.Now(), nil).Compare(*seen.Highest) <= 0
	if outbids {
		pause := outbidPause + rand.N(outbidPause)
		c.log.Warn("another controller has left the switch: this one outbids it", "switch", c.switchName,
			"outbids", cmp.Or(seen.Highest, rival), "in", pause)
		if err := task.Sleep(ctx, pause); err != nil {
			return p4rt.ElectionID{}, err
		}
	}
	id, err := c.bid(ctx, seen.Highest)
	if err != nil {
		return p4rt.ElectionID{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rival = nil
	c.mine = append(c.mine, id)
	c.mine = c.mine[max(0, len(c.mine)-8):]
	return id, nil
}

// known says whether an id is this controller's, from a connection that the switch has not given up yet, or
// that of a leader before it.
func (c *candidate) known(ctx context.Context, id *p4rt.ElectionID) (bool, error) {
	if id == nil {
		return false, nil
	}
	c.mu.Lock()
	mine := slices.Contains(c.mine, *id)
	c.mu.Unlock()
	if mine {
		return true, nil
	}
	for {
		ids, err := c.store.Bidders(ctx, c.target)
		if err == nil {
			return slices.Contains(ids, id.String()), nil
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return false, err
		}
		if err := task.Sleep(ctx, storeRetry); err != nil {
			return false, err
		}
	}
}

// bid makes an id, once the store has confirmed that it is this controller's.
func (c *candidate) bid(ctx context.Context, highest *p4rt.ElectionID) (p4rt.ElectionID, error) {
	began := time.Now()
	for told := false; ; told = true {
		id := nextElection(c.high, time.Now(), highest)
		err := c.store.Bid(ctx, c.target, id.String())
		if err == nil {
			return id, nil
		}
		if ctx.Err() != nil {
			return id, ctx.Err()
		}
		if errors.Is(err, store.ErrConflict) {
			return id, err
		}
		if time.Since(began) >= unsurePause {
			c.log.Warn("nobody controls the switch, and the store does not answer: this controller goes on",
				"switch", c.switchName, "election", id)
			return id, nil
		}
		if !told {
			c.log.Warn("the store does not say whether it is this controller's: the switch waits for a while",
				"switch", c.switchName, "at_most", unsurePause, "err", err)
		}
		if err := task.Sleep(ctx, storeRetry); err != nil {
			return id, err
		}
	}
}

// nextElection is above highest, and never below the clock: that is enough whatever a store has forgotten, and whoever
// else was at the switch with a correct clock. No id is above the highest possible one; that itself is enough for a
// switch that nobody controls.
func nextElection(high uint64, now time.Time, highest *p4rt.ElectionID) p4rt.ElectionID {
	id := p4rt.ElectionID{High: high, Low: uint64(now.UnixMicro())}
	if highest == nil || id.Compare(*highest) > 0 {
		return id
	}
	id = *highest
	if id.Low < math.MaxUint64 {
		id.Low++
	} else if id.High < math.MaxUint64 {
		id = p4rt.ElectionID{High: id.High + 1}
	}
	return id
}
