package selection

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/sluicelb/sluice/gslb/zone"
)

// parents finds the names that are above names which expressions match. Those exist, if only as empty non-terminals:
// a resolver that hears of none there takes it that there is nothing below either (RFC 8020), and one that asks label
// by label (RFC 9156) never comes to the name below.
type parents struct {
	all   bool                // every name is one, or it is not known which are
	names map[string]struct{} // those that can be listed, in wire format: most expressions have no others
	sizes [256]bool           // that names have, in bytes: few others have these
	*matcher
}

// maxParents bounds the size of what is made of an expression.
const maxParents = 20000

// parentsOf makes an expression of each that matches the names above those that it matches.
func parentsOf(exprs []expression) parents {
	p := parents{names: make(map[string]struct{})}
	var above []expression
	for _, e := range exprs {
		re, err := syntax.Parse(e.String(), syntax.POSIX)
		if err != nil {
			return parents{all: true}
		}
		re = re.Simplify()
		if !endsAtEnd(re) || dots(re)*nodes(re) > maxParents {
			return parents{all: true} // what follows a match may be any name
		}
		var rests []*syntax.Regexp
		for _, rest := range afterDots(re) {
			if !p.list(rest) {
				rests = append(rests, rest)
			}
		}
		if len(rests) == 0 {
			continue
		}
		text := concatOf(beginning, &syntax.Regexp{Op: syntax.OpAlternate, Sub: rests}).String()
		compiled, err := regexp.Compile(text)
		if err != nil {
			return parents{all: true}
		}
		above = append(above, expression{Regexp: compiled})
	}
	p.matcher = newMatcher(above, 0)
	return p
}

var beginning = &syntax.Regexp{Op: syntax.OpBeginText}

// list lists all names that an expression matches from its beginning, if these are few.
func (p *parents) list(re *syntax.Regexp) bool {
	exact, _ := analyse(concatOf(beginning, re))
	for _, text := range exact {
		if !strings.HasPrefix(text, marks) || !strings.HasSuffix(text, markEnd) {
			return false
		}
	}
	for _, text := range exact {
		// else nobody can ask for it
		if name, err := zone.Name(text[len(marks):len(text)-len(markEnd)] + "."); err == nil {
			p.names[string(name)], p.sizes[len(name)] = struct{}{}, true
		}
	}
	return exact != nil
}

// AboveRegexp reports whether a name, in wire format and lower case, may be above one that an expression matches. It
// is meant for names that package zone has no node for and no expression matches.
func (r *Rules) AboveRegexp(name []byte) bool {
	p := &r.parents
	if p.all {
		return true
	}
	if p.sizes[uint8(len(name))] {
		if _, listed := p.names[string(name)]; listed {
			return true
		}
	}
	found, _ := p.match(name)
	return found != nil && len(found.sets) > 0
}

// afterDots returns expressions for all that can come after a dot in what an expression matches. A name that one of
// them matches from its beginning is above a name that the expression matches.
func afterDots(re *syntax.Regexp) (rests []*syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for i, c := range re.Rune {
			if c == '.' {
				rests = append(rests, &syntax.Regexp{Op: syntax.OpLiteral, Flags: re.Flags, Rune: re.Rune[i+1:]})
			}
		}
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		if dots(re) > 0 {
			rests = append(rests, &syntax.Regexp{Op: syntax.OpEmptyMatch})
		}
	case syntax.OpCapture, syntax.OpQuest:
		return afterDots(re.Sub[0])
	case syntax.OpStar, syntax.OpPlus:
		for _, rest := range afterDots(re.Sub[0]) {
			rests = append(rests, concatOf(rest, &syntax.Regexp{Op: syntax.OpStar, Sub: re.Sub}))
		}
	case syntax.OpConcat:
		for i, sub := range re.Sub {
			for _, rest := range afterDots(sub) {
				rests = append(rests, concatOf(append([]*syntax.Regexp{rest}, re.Sub[i+1:]...)...))
			}
		}
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			rests = append(rests, afterDots(sub)...)
		}
	}
	return rests
}

func concatOf(subs ...*syntax.Regexp) *syntax.Regexp {
	return &syntax.Regexp{Op: syntax.OpConcat, Sub: subs}
}

// endsAtEnd reports whether all that an expression matches ends where the text does.
func endsAtEnd(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpEndLine, syntax.OpEndText:
		return true
	case syntax.OpCapture, syntax.OpPlus:
		return endsAtEnd(re.Sub[0])
	case syntax.OpConcat:
		return slices.ContainsFunc(re.Sub, endsAtEnd)
	case syntax.OpAlternate:
		return !slices.ContainsFunc(re.Sub, func(sub *syntax.Regexp) bool { return !endsAtEnd(sub) })
	}
	return false
}

// dots is in how many places of an expression a dot may stand.
func dots(re *syntax.Regexp) (n int) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if c == '.' {
				n++
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		n = 1
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			if re.Rune[i] <= '.' && '.' <= re.Rune[i+1] {
				n = 1
			}
		}
	}
	for _, sub := range re.Sub {
		n += dots(sub)
	}
	return n
}

// nodes is the size of an expression.
func nodes(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += nodes(sub)
	}
	return n
}
