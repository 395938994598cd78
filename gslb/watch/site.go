package watch

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/gslb/awake"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/text"
)

// site is what is known of one data center.
//
//	not heard --first word--> heard <--a word-- lost
//	                            |                ^
//	                            +--no word for the hold--+
//
// A lost stream alone changes nothing but controller.
type site struct {
	name       string
	hold       time.Duration
	clock      *awake.Clock // by which the hold goes by
	link       *link        // its words count; those of links before it are late
	controller Controller
	heard      bool
	lost       bool
	word       time.Time // when the last word came
	lostSince  time.Time
	named      time.Time // since when there are these VIPs and no others
	vips       map[string]entry
	timer      *time.Timer // ends the hold; nil while there is nothing to end
}

// entry is what is known of one VIP.
type entry struct {
	VIP
	// blind is since when the controller has had no switch to know it by; zero: it has one.
	blind time.Time
}

func (s *site) vip(name string) VIP {
	if !s.heard {
		v := VIP{Refused: s.controller.Error != "", Reason: "its controller has not been heard yet"}
		if s.controller.Error != "" {
			v.Reason += ": " + s.controller.Error
		}
		return v
	}
	e, ok := s.vips[name]
	if !ok {
		e.VIP = VIP{Heard: true, Load: loadreport.Offline, Reason: fmt.Sprintf("the controller has no VIP %q", name),
			Since: s.named}
	}
	if s.lost {
		e.Lost, e.Since = true, s.lostSince
		e.Reason = fmt.Sprintf("the controller was heard last at %s", s.word.UTC().Format(time.RFC3339))
		if s.controller.Error != "" {
			e.Reason += ": " + s.controller.Error
		}
	}
	return e.VIP
}

// take brings the site in line with the controller's word and says whether anything is different now.
func (s *site) take(m *api.VIPs) bool {
	now := s.clock.Now()
	next := make(map[string]entry, len(m.Vips))
	for _, v := range m.Vips {
		old, known := s.vips[v.Name]
		next[v.Name] = s.takeVIP(v, old, known && !s.lost, now)
	}
	if !s.heard || !sameNames(s.vips, next) {
		s.named = now
	}
	different := !s.heard || s.lost || !s.controller.Connected || s.controller.Revision != m.IntentRevision ||
		!maps.Equal(s.vips, next)
	if !s.controller.Connected {
		s.controller = Controller{Connected: true, Since: now}
	}
	s.controller.Revision = m.IntentRevision
	s.heard, s.lost, s.word, s.vips = true, false, now, next
	return different
}

// takeVIP makes an entry of what is said of a VIP. Of one that the controller sees nothing of, what it said before
// stands for the hold, if that counts; then the VIP is lost from sight.
func (s *site) takeVIP(m *api.VIP, old entry, counts bool, now time.Time) entry {
	e := entry{VIP: VIP{
		Heard: true, Live: m.Load < loadreport.Offline, Load: int(min(m.Load, loadreport.Offline)),
		LiveBackends: int(m.LiveBackends), TotalBackends: int(m.TotalBackends), Since: now,
	}}
	if !e.Live {
		e.Reason = reasonOf(m)
	}
	if m.Unseen {
		e.blind = now
		if !old.blind.IsZero() {
			e.blind = old.blind
		}
		if e.Lost = !counts || old.Lost || s.clock.Since(e.blind) >= s.hold; !e.Lost {
			e.Live, e.Load, e.Reason = old.Live, old.Load, old.Reason
		}
	}
	if counts && old.Live == e.Live && old.Lost == e.Lost {
		e.Since = old.Since
	}
	return e
}

func reasonOf(m *api.VIP) string {
	switch {
	case m.Reason != "":
		return text.Cut(m.Reason)
	case m.State == api.VIPStatus_STATE_DISABLED:
		return "disabled by the intent"
	}
	return "offline"
}

func sameNames(a, b map[string]entry) bool {
	return len(a) == len(b) && !slices.ContainsFunc(slices.Collect(maps.Keys(a)), func(name string) bool {
		_, ok := b[name]
		return !ok
	})
}

// lose notes that the stream is gone and says whether it was there, or this is the first that is heard of it.
func (s *site) lose(err error, now time.Time) (first, different bool) {
	first = s.controller.Connected || s.controller.Since.IsZero()
	if first {
		s.controller.Since = now
	}
	told := text.Cut(err.Error())
	different = first || s.controller.Error != told
	s.controller.Connected, s.controller.Error = false, told
	return first, different
}

// left returns how much of the hold is left, and false when nothing is held.
func (s *site) left() (time.Duration, bool) {
	if !s.heard || s.lost || s.controller.Connected {
		return 0, false
	}
	return max(s.hold-s.clock.Since(s.word), 0), true
}

func (s *site) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}
