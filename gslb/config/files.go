package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sluicelb/sluice/controller/config/strict"
)

// access is who may read a file.
type access uint8

const (
	public access = iota
	secret        // not for everybody on the machine
)

// reader returns what a file holds.
type reader func(file string, access access) ([]byte, error)

// readFile reads a regular file of a sane size.
func readFile(file string, access access) ([]byte, error) {
	// A path that is not a regular file may block the open, or never end.
	info, err := os.Stat(file)
	if err != nil {
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
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFileSize))
}

func unreadable(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the problem names the file
	}
	return fmt.Sprintf("cannot be read: %v", err)
}

func problem(at place, format string, args ...any) *strict.Problem {
	return &strict.Problem{File: at.file, Line: at.line, Path: at.path, Message: fmt.Sprintf(format, args...)}
}
