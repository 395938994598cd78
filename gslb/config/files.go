package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicelb/sluice/internal/strict"
)

// File is a file that a configuration was read from, as it was then.
type File struct {
	Path string
	info fs.FileInfo // nil: there was none
	real string      // the path without links
}

// Look returns the file at path as it is now. Links are followed, also those among the directories.
func Look(path string) File {
	info, err := os.Stat(path)
	if err != nil { // what cannot be looked at is as good as not there
		return File{Path: path}
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return File{Path: path}
	}
	return File{path, info, real}
}

// Changed reports whether what is at the path now may read differently: it was written, replaced or removed, its mode
// is another, or a link on the way to it leads elsewhere.
func (f File) Changed() bool {
	now, _ := os.Stat(f.Path)
	return f.differs(now)
}

func (f File) differs(now fs.FileInfo) bool {
	if f.info == nil || now == nil {
		return (f.info == nil) != (now == nil)
	}
	return !os.SameFile(f.info, now) || f.info.Size() != now.Size() || f.info.Mode() != now.Mode() ||
		!f.info.ModTime().Equal(now.ModTime())
}

// Whole reports whether now, which is at the same path, is f still or has taken its place as a whole: it was moved
// there, or a link leads there. What was written where it is, or is gone, may be half of what is to come.
func (f File) Whole(now File) bool {
	switch {
	case !f.differs(now.info):
		return true
	case f.info == nil || now.info == nil || os.SameFile(f.info, now.info):
		return false
	}
	return f.real != now.real || changedAfterWritten(now.info)
}

// access is who may read a file.
type access uint8

const (
	public access = iota
	secret        // not for everybody on the machine
)

// reader returns what a file holds. With a root, which is a directory above it, that is all that may be read: a link
// that leads out of it is not followed.
type reader func(file string, access access, root string) ([]byte, error)

// readFile reads a regular file of a sane size.
func readFile(file string, access access, root string) ([]byte, error) {
	stat, open, name := os.Stat, os.Open, file
	if root != "" {
		r, err := os.OpenRoot(root)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if name, err = filepath.Rel(root, file); err != nil {
			return nil, err
		}
		stat, open = r.Stat, r.Open
	}
	// A path that is not a regular file may block the open, or never end.
	info, err := stat(name)
	if err != nil {
		if _, elsewhere := os.Stat(file); root != "" && elsewhere == nil {
			err = errLink
		}
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", file)
	case info.Size() > maxFileSize:
		return nil, fmt.Errorf("%s has %d bytes, may have %d", file, info.Size(), maxFileSize)
	case access == secret && info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("%s is a secret that everybody may use, mode %v: chmod o= it", file, info.Mode().Perm())
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize))
}

func problem(at place, format string, args ...any) *strict.Problem {
	return &strict.Problem{File: at.file, Line: at.line, Path: at.path, Message: fmt.Sprintf(format, args...)}
}
