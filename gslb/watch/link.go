package watch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
)

// link is the way to one controller.
type link struct {
	site    *site
	address string
	cancel  context.CancelFunc
}

// keepTalking keeps a stream open until ctx ends.
func (w *Watcher) keepTalking(ctx context.Context, l *link) {
	pause := firstPause
	for {
		heard, err := w.talk(ctx, l)
		if ctx.Err() != nil {
			return
		}
		w.linkLost(l, err)
		if heard {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, lastPause)
	}
}

var errSilent = fmt.Errorf("the controller has said nothing for %v", silence)

// talk listens to one stream until it ends or is silent for too long. heard says whether it said anything.
func (w *Watcher) talk(ctx context.Context, l *link) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alarm := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer alarm.Stop()
	stream, err := w.open(ctx, l.address)
	if err == nil {
		defer stream.Close()
		for stream.Receive() {
			if n := len(stream.Msg().Vips); n > api.MaxVIPs {
				return heard, fmt.Errorf("the controller tells of %d VIPs: must be at most %d", n, api.MaxVIPs)
			}
			alarm.Reset(silence)
			heard = true
			w.word(l, stream.Msg())
		}
		if err = stream.Err(); err == nil {
			err = errors.New("the controller ended the stream")
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return heard, err
}

// dial opens a stream through a connection of its own: one that hangs is not met again.
func dial(ctx context.Context, address string, sec rpc.Security) (feed, error) {
	client, err := api.Dial(address, sec)
	if err != nil {
		return nil, err
	}
	stream, err := client.WatchVIPs(ctx, &api.WatchVIPsRequest{})
	if err != nil {
		client.Close()
		return nil, err
	}
	return dialled{stream, client}, nil
}

type dialled struct {
	stream interface {
		Receive() bool
		Msg() *api.VIPs
		Err() error
		Close() error
	}
	client *api.Client
}

func (d dialled) Receive() bool  { return d.stream.Receive() }
func (d dialled) Msg() *api.VIPs { return d.stream.Msg() }
func (d dialled) Err() error     { return d.stream.Err() }

func (d dialled) Close() error {
	err := d.stream.Close()
	d.client.Close()
	return err
}

// word takes what a controller says.
func (w *Watcher) word(l *link, m *api.VIPs) {
	w.mu.Lock()
	s := l.site
	if s.link != l || w.sites[s.name] != s {
		w.mu.Unlock()
		return
	}
	connected := !s.controller.Connected
	different := s.take(m)
	s.stopTimer()
	w.mu.Unlock()
	if connected {
		w.log.Info("controller connected", "data_center", s.name, "controller", l.address, "vips", len(m.Vips))
	}
	if different {
		w.onChange()
	}
}

// linkLost notes the end of a stream, or that none came about.
func (w *Watcher) linkLost(l *link, err error) {
	w.mu.Lock()
	s := l.site
	different := s.link == l && w.sites[s.name] == s && w.lost(s, err, w.clock.Now())
	w.mu.Unlock()
	if different {
		w.onChange()
	}
}

// lost is linkLost with w.mu held. It starts the hold.
func (w *Watcher) lost(s *site, err error, now time.Time) bool {
	first, different := s.lose(err, now)
	switch {
	case first && s.heard && !s.lost:
		w.log.Warn("no controller: what it said last stands for a while", "data_center", s.name, "controller",
			s.link.address, "hold", w.hold, "err", err)
	case first:
		w.log.Warn("no controller: nothing is known of its VIPs", "data_center", s.name, "controller", s.link.address,
			"err", err)
	}
	if left, holds := s.left(); holds && s.timer == nil {
		s.timer = time.AfterFunc(left, func() { w.expire(s) })
	}
	return different
}

// expire ends a hold, unless the controller has come back, or there is time left: that in which the process did not
// run.
func (w *Watcher) expire(s *site) {
	w.mu.Lock()
	left, holds := s.left()
	holds = holds && w.sites[s.name] == s
	due := holds && left == 0
	switch {
	case due:
		s.lost, s.lostSince, s.timer = true, w.clock.Now(), nil
	case holds:
		s.timer = time.AfterFunc(left, func() { w.expire(s) })
	}
	w.mu.Unlock()
	if due {
		w.log.Warn("the controller has been away for too long: what it said last counts no more", "data_center", s.name,
			"hold", w.hold)
		w.onChange()
	}
}
