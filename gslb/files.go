package gslb

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files must be left alone before they are read: editors and deployment tools write in steps.
const settle = 250 * time.Millisecond

// watchAlso has the files of the configuration watched from now on.
func (d *Daemon) watchAlso(files []string) {
	select {
	case <-d.files: // not taken yet, and outdated
	default:
	}
	d.files <- files
}

// watchFiles asks for a reload when one of the files changes. It watches their directories: files are replaced by
// renaming, and links (as Kubernetes makes them) change their targets.
func (d *Daemon) watchFiles(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		d.log.Warn("files are not watched: changes take a SIGHUP", "error", err)
		<-ctx.Done()
		return nil
	}
	defer w.Close()
	watched := map[string]bool{} // directories
	var files []string
	timer := time.NewTimer(0)
	defer timer.Stop()
	if !timer.Stop() {
		<-timer.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case files = <-d.files:
			wanted := map[string]bool{}
			for _, f := range files {
				wanted[filepath.Dir(f)] = true
			}
			for dir := range watched {
				if !wanted[dir] {
					_ = w.Remove(dir) // it is gone, or was not watched
					delete(watched, dir)
				}
			}
			for dir := range wanted {
				if watched[dir] {
					continue
				}
				if err := w.Add(dir); err != nil {
					d.log.Warn("directory is not watched: changes in it take a SIGHUP", "directory", dir, "error", err)
					continue
				}
				watched[dir] = true
			}
		case e := <-w.Events:
			if e.Op != fsnotify.Chmod && concerns(files, e.Name) {
				timer.Reset(settle)
			}
		case err := <-w.Errors:
			d.log.Warn("watching files", "error", err)
			timer.Reset(settle) // something may have been missed
		case <-timer.C:
			d.Reload()
		}
	}
}

// concerns reports whether a change of name is one of the files: itself, or the link "..data" by which Kubernetes switches
// all files of a volume at once.
func concerns(files []string, name string) bool {
	return slices.ContainsFunc(files, func(f string) bool {
		return filepath.Clean(f) == filepath.Clean(name) || filepath.Join(filepath.Dir(f), "..data") == filepath.Clean(name)
	})
}
