// Package strict reads YAML into structs and lets nothing pass that the structs do not know: unknown
// and duplicate keys, wrong types and values without meaning are problems, each with its line and
// path, all of them at once. It knows no schema; every role's config package brings its own.
package strict

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Problem is one fault of a file.
type Problem struct {
	File    string
	Line    int    // 0: the file as a whole
	Path    string // pools[2].backends[0].weight; empty: the file as a whole
	Message string
	More    int // 0, or how many problems it stands for that are not told
}

// More is a problem that stands for n that are not told.
func More(file string, n int) *Problem {
	return &Problem{File: file, Message: fmt.Sprintf("and %d more", n), More: n}
}

// Unreadable is the problem of a file that cannot be read, as err says.
func Unreadable(file string, err error) *Problem {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // the problem names the file
	}
	return &Problem{File: file, Message: fmt.Sprintf("cannot be read: %v", err)}
}

// Count returns how many problems there are, with those that are not told.
func Count(problems []*Problem) int {
	n := 0
	for _, p := range problems {
		n += max(p.More, 1)
	}
	return n
}

// Error returns "sluice.yaml:12: pools[2].backends[0].weight: must be 1..1000, is 0".
func (p *Problem) Error() string {
	if p.More > 0 {
		return p.Message
	}
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems returns the Problems that err joins.
func Problems(err error) []*Problem {
	switch e := err.(type) {
	case *Problem:
		return []*Problem{e}
	case interface{ Unwrap() []error }:
		var all []*Problem
		for _, err := range e.Unwrap() {
			all = append(all, Problems(err)...)
		}
		return all
	case interface{ Unwrap() error }:
		return Problems(e.Unwrap())
	}
	return nil
}
