package gslb

import (
	"context"
	"slices"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
)

const (
	// look is how often the files of the configuration are looked at. That they are, and no notices of the kernel are
	// waited for, sees every change: links among their directories, directories that were away, network file systems.
	look = time.Second
	// settle is how long they must be left alone before they are read: editors and deployment tools write in steps.
	settle = 250 * time.Millisecond
)

// watchAlso has the files of the configuration watched from now on.
func (d *Daemon) watchAlso(files []config.File) {
	select {
	case <-d.files: // not taken yet, and outdated
	default:
	}
	d.files <- files
}

// watchFiles asks for a reload when one of the files is no more what was read.
func (d *Daemon) watchFiles(ctx context.Context) error {
	var read []config.File // as they were read; none while a reload that was asked for is under way
	var seen []config.File // as they were when looked at last, once they are others than those
	for {
		pause := look
		if seen != nil {
			pause = settle
		}
		select {
		case <-ctx.Done():
			return nil
		case read = <-d.files:
			seen = nil
		case <-time.After(pause):
			switch {
			case !changed(read):
				seen = nil
			case seen == nil || changed(seen):
				seen = lookAt(read)
			default:
				read, seen = nil, nil
				d.Reload()
			}
		}
	}
}

func changed(files []config.File) bool { return slices.ContainsFunc(files, config.File.Changed) }

func lookAt(files []config.File) []config.File {
	now := make([]config.File, len(files))
	for i, f := range files {
		now[i] = config.Look(f.Path)
	}
	return now
}
