package gslb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
)

const (
	// look is how often the files of the configuration are looked at. That they are, and no notices of the kernel are
	// waited for, sees every change: links among their directories, directories that were away, network file systems.
	look = time.Second
	// settle is how long files that others took the place of must be left alone before they are read: tools replace
	// several.
	settle = 250 * time.Millisecond
	// restless is for how long files that are not left alone may go unread before that is told, and restlessTimes for
	// how many times as long as they must be left alone.
	restless      = 10 * time.Second
	restlessTimes = 3
)

// reading is what the configuration was read from.
type reading struct {
	files []config.File
	since time.Time // when they were first seen to be others; zero: they are not
}

// watchAlso has the files of the configuration watched from now on.
func (d *Daemon) watchAlso(r reading) {
	select {
	case <-d.files: // not taken yet, and outdated
	default:
	}
	d.files <- r
}

// watchFiles asks for a reload when one of the files is no more what was read, once all of them seem to be complete.
// Of files that go unread for long, as they are never left alone, it tells once.
func (d *Daemon) watchFiles(ctx context.Context) error {
	var read reading       // no files while a reload that was asked for is under way
	var seen []config.File // as they were when looked at last, once they are others than those
	var since time.Time    // when they were first seen so
	var told string        // of what goes unread
	tell := func(text string) {
		if text == told {
			return
		}
		select {
		case <-d.unreads: // not taken yet, and outdated
		default:
		}
		d.unreads <- text
		told = text
	}
	pause := look
	take := func(r reading) {
		read, seen, pause = r, nil, look
		if read.since.IsZero() {
			tell("") // it was read, and may be written all the same since
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.files:
			take(r)
			continue
		case <-time.After(pause):
		}
		if read.files == nil {
			continue
		}
		rules := d.view().Config.Server.Reload
		if !rules.Watch || !changed(read.files) {
			seen, pause, read.since = nil, look, time.Time{}
			tell("")
			continue
		}
		if seen == nil || changed(seen) {
			seen, since = lookAt(read.files), time.Now()
		}
		if read.since.IsZero() {
			read.since = since
		}
		alone := patience(read.files, seen, rules.Settle)
		if pause = min(alone-time.Since(since), look); pause > 0 {
			if told == "" && time.Since(read.since) >= max(restless, restlessTimes*alone) {
				tell(unreadText(read, alone))
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.files: // somebody asked for it meanwhile
			take(r)
		case d.settled <- read:
			read, seen, pause = reading{}, nil, look
		}
	}
}

// unreadText says which files go unread, and what to do about it. alone is for how long they must be left alone.
func unreadText(read reading, alone time.Duration) string {
	var names []string
	for _, f := range read.files {
		if f.Changed() {
			names = append(names, f.Path)
		}
	}
	return fmt.Sprintf("waits to be left alone for %v (server.reload.settle) since %s, and is written again before: "+
		"%s; write "+
		"another file and move it into its place, or have it read as it is by SIGHUP or `sluice gslb reload`",
		alone, read.since.UTC().Format(time.RFC3339), few(names))
}

// patience is how long files must stay as they were seen before they are read in place of those that were.
func patience(read, seen []config.File, written time.Duration) time.Duration {
	for i := range read {
		if !read[i].Whole(seen[i]) {
			return written
		}
	}
	return settle
}

func changed(files []config.File) bool { return slices.ContainsFunc(files, config.File.Changed) }

func lookAt(files []config.File) []config.File {
	now := make([]config.File, len(files))
	for i, f := range files {
		now[i] = config.Look(f.Path)
	}
	return now
}

// tooMuchLost says why a configuration that nobody asked for does not take the place of the running one: it drops so
// much that it may be part of one, or a mistake. nil if it does not. Zones and rules count for themselves: most zones
// may have few names, and rules have theirs in common.
func tooMuchLost(running, next *compiled) error {
	most := running.config.Server.Reload.MaxLoss
	names, all := running.zones.Lost(next.zones)
	had, has := expressions(running.config), expressions(next.config)
	all += len(had)
	for e := range had {
		if !has[e] {
			names = append(names, e)
		}
	}
	c, n := running.config, next.config
	for _, x := range []struct {
		kind string
		lost []string
		all  int
	}{
		{"names", names, all},
		{"answers", gone(c.Answers, n.Answers, func(a config.Answer) string { return a.Name }), len(c.Answers)},
		{"zones", gone(c.Zones, n.Zones, func(z config.Zone) string { return z.Name }), len(c.Zones)},
		{"rules", gone(c.Rules, n.Rules, func(r config.Rule) string { return r.Name }), len(c.Rules)},
	} {
		if 100*len(x.lost) > most*x.all {
			return fmt.Errorf("waits for SIGHUP or `sluice gslb reload`: it drops %d of %d %s (%s), "+
				"and server.reload.max_loss lets %d %% go by a change of the file alone",
				len(x.lost), x.all, x.kind, few(x.lost), most)
		}
	}
	return nil
}

// gone are the names of what there is no more.
func gone[T any](have, want []T, name func(T) string) []string {
	left := make(map[string]bool, len(want))
	for _, x := range want {
		left[name(x)] = true
	}
	var names []string
	for _, x := range have {
		if !left[name(x)] {
			names = append(names, name(x))
		}
	}
	return names
}

// expressions are those that rules go by: they stand for names, too.
func expressions(c *config.Config) map[string]bool {
	all := make(map[string]bool)
	for _, r := range c.Rules {
		for _, d := range c.DomainLists[r.Domains].Domains {
			if d.Regexp != nil {
				all[d.Regexp.String()] = true
			}
		}
	}
	return all
}

// few lists the first names.
func few(names []string) string {
	const most = 3
	slices.SortFunc(names, cmp.Compare[string])
	text := ""
	for i, name := range names[:min(most, len(names))] {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	if len(names) > most {
		text += ", ..."
	}
	return text
}
