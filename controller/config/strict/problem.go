// Package strict reads YAML into structs and lets nothing pass that the structs do not know: unknown
// and duplicate keys, wrong types and values without meaning are problems, each with its line and
// path, all of them at once. It knows no schema; every role's config package brings its own.
package strict

import (
	"fmt"
	"strings"
)

// Problem is one fault of a file.
type Problem struct {
	File    string
	Line    int    // 0: the file as a whole
	Path    string // pools[2].backends[0].weight; empty: the file as a whole
	Message string
}

// Error returns "sluice.yaml:12: pools[2].backends[0].weight: must be 1..1000, is 0".
func (p *Problem) Error() string {
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
