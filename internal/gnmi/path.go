package gnmi

import (
	"fmt"
	"slices"
	"strings"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/text"
)

// Bounds of what is asked for.
const (
	mostPaths    = 64 // in a request
	mostElems    = 32 // of a path, with its prefix
	mostDescents = 4  // ... in a path: each doubles the ways in which a leaf may match
)

// The wildcards (gNMI path conventions, "Wildcards in paths").
const (
	any1    = "*"   // one element, or the value of a key
	descent = "..." // any number of elements
)

// query is what one path of a request asks for.
type query struct {
	lists  [][]*pick // by List.index
	found  bool      // the schema has leaves there
	prefix int       // how many elements of a leaf's path are told in the prefix
	origin string    // as it was asked for
	path   string    // for messages
	near   string    // where nothing was found: why
}

// pick is a leaf that is asked for.
type pick struct {
	leaf  *Leaf
	ways  []way
	query *query
}

// way is one way in which a path matches a leaf's.
type way struct {
	keys []string // the value of each key, any1 for all
	node int      // how many elements of the leaf's path the path has taken: which node it names
}

// matches says whether the leaf is asked for in an entry with those keys.
func (p *pick) matches(keys []string) bool { return p.way(keys) != nil }

// way returns the way in which an entry with those keys is asked for, nil when it is not: where there are several, the
// one with the shortest node.
func (p *pick) way(keys []string) *way {
	for i := range p.ways {
		if w := &p.ways[i]; !slices.ContainsFunc(w.keys, func(k string) bool { return k != any1 }) || w.matches(keys) {
			return w
		}
	}
	return nil
}

func (w *way) matches(keys []string) bool {
	for i, k := range w.keys {
		if k != any1 && k != keys[i] {
			return false
		}
	}
	return true
}

// invalid is the error for a path that cannot be one.
func invalid(path, format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, "path %s: %s", path, fmt.Sprintf(format, args...))
}

// query reads a path of a request. wanted says which leaves count; those that it leaves out are as if they had no
// value. An error has the code InvalidArgument: the path cannot be one. That nothing is there is none, and shows in
// found.
func (s *Schema) query(prefix, path *pb.Path, wanted func(*Leaf) bool) (*query, error) {
	elems := slices.Concat(prefix.GetElem(), path.GetElem())
	q := &query{lists: make([][]*pick, len(s.lists)), prefix: len(prefix.GetElem()), path: pathText(elems)}
	origin, err := s.origin(prefix, path, q.path)
	if err != nil {
		return nil, err
	}
	q.origin = origin
	if err := s.check(elems, q.path); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(prefix.GetElem(), func(e *pb.PathElem) bool { return e.GetName() == descent }) {
		q.prefix = 0 // how much of a leaf's path that takes differs from leaf to leaf
	}
	for _, l := range s.leaves {
		if origin != "" && l.origin() != origin {
			continue
		}
		ways := l.match(elems)
		if len(ways) == 0 {
			continue
		}
		q.found = true
		if wanted(l) {
			q.lists[l.list.index] = append(q.lists[l.list.index], &pick{l, ways, q})
		}
	}
	if !q.found {
		q.near = s.near(elems, origin)
	}
	return q, nil
}

// asks says whether leaves of a class are asked for.
func (q *query) asks(c class) bool {
	for _, picks := range q.lists {
		if slices.ContainsFunc(picks, func(p *pick) bool { return p.leaf.class == c }) {
			return true
		}
	}
	return false
}

// origin returns that of a path, which may be in the prefix; "" is whichever tree has the path, openconfig among them.
func (s *Schema) origin(prefix, path *pb.Path, shown string) (string, error) {
	before, own := prefix.GetOrigin(), path.GetOrigin()
	switch origin := before + own; {
	case before != "" && own != "":
		return "", invalid(shown, "origin %q in the prefix and %q in the path: must be in one of the two",
			text.Cut(before), text.Cut(own))
	case own != "" && len(prefix.GetElem()) > 0:
		return "", invalid(shown, "origin %q in the path: must be in the prefix, as that has elements", text.Cut(own))
	case origin != "" && !slices.Contains(s.origins(), origin):
		return "", invalid(shown, "origin %q: must be %s, or empty for whatever has the path",
			text.Cut(origin), strings.Join(s.origins(), " or "))
	case path.GetTarget() != "":
		return "", invalid(shown, "target %q in the path: must be in the prefix", text.Cut(path.GetTarget()))
	case hasElement(prefix) || hasElement(path):
		return "", invalid(shown, "it has the field element: must be elem, with names and keys apart")
	default:
		return origin, nil
	}
}

// hasElement says whether a path is written as before version 0.4 of gNMI alone: some clients write it both ways.
func hasElement(p *pb.Path) bool {
	//lint:ignore SA1019 clients that use it are told so
	return len(p.GetElement()) > 0 && len(p.GetElem()) == 0
}

// check says what is wrong with the elements of a path, whatever the schema has.
func (s *Schema) check(elems []*pb.PathElem, shown string) error {
	if len(elems) > mostElems {
		return invalid(shown, "%d elements: must be at most %d", len(elems), mostElems)
	}
	descents := 0
	for i, e := range elems {
		switch {
		case e.GetName() == "":
			return invalid(shown, "element %d has no name: must be the name of a node, %s or %s", i+1, any1, descent)
		case e.GetName() == descent && len(e.GetKey()) > 0:
			return invalid(shown, "%s has keys: must have none", descent)
		case e.GetName() == descent:
			descents++
		}
		if has, known := s.keys(elems[:i+1]); known && len(has) == 0 {
			return invalid(shown, "%s has keys: must have none, as it is no list", text.Cut(e.GetName()))
		} else if known {
			return invalid(shown, "the keys of %s are %s: must be %s", text.Cut(e.GetName()),
				text.Cut(strings.Join(sortedKeys(e.GetKey()), ", ")), strings.Join(has, ", "))
		}
	}
	if descents > mostDescents {
		return invalid(shown, "%s stands there %d times: must be at most %d", descent, descents, mostDescents)
	}
	return nil
}

// keys returns which keys the last element of a path may have, where those that it has are others. known is false where
// they are not, and where the schema has no such element.
func (s *Schema) keys(path []*pb.PathElem) (has []string, known bool) {
	end := len(path) - 1
	if len(path[end].GetKey()) == 0 {
		return nil, false
	}
	bare := append(slices.Clone(path[:end]), &pb.PathElem{Name: path[end].GetName()})
	for _, l := range s.leaves {
		if len(l.match(path)) > 0 {
			return nil, false
		}
		for _, w := range l.match(bare) {
			known = true
			for _, k := range l.elems[w.node-1].keys {
				if !slices.Contains(has, k) {
					has = append(has, k)
				}
			}
		}
	}
	return has, known
}

// match returns the ways in which a path matches the leaf's: the node that it names is the leaf, or above it. Ways
// whose keys are the same are one, with the shortest node.
func (l *Leaf) match(path []*pb.PathElem) []way {
	var ways []way
	var walk func(path []*pb.PathElem, at int, keys []string)
	walk = func(path []*pb.PathElem, at int, keys []string) {
		if len(path) == 0 {
			for len(keys) < len(l.list.keys) {
				keys = append(keys, any1)
			}
			if i := slices.IndexFunc(ways, func(w way) bool { return slices.Equal(w.keys, keys) }); i >= 0 {
				ways[i].node = min(ways[i].node, at)
				return
			}
			ways = append(ways, way{slices.Clone(keys), at})
			return
		}
		name := path[0].GetName()
		if name == descent {
			walk(path[1:], at, keys)
		}
		if at == len(l.elems) {
			return
		}
		e := l.elems[at]
		if name != descent && name != any1 && name != e.name {
			return
		}
		for k := range path[0].GetKey() {
			if !slices.Contains(e.keys, k) {
				return
			}
		}
		keys = slices.Clip(keys)
		for _, k := range e.keys {
			value, ok := path[0].GetKey()[k]
			if !ok {
				value = any1
			}
			keys = append(keys, value)
		}
		if name == descent {
			walk(path, at+1, keys)
			return
		}
		walk(path[1:], at+1, keys)
	}
	walk(path, 0, nil)
	slices.SortStableFunc(ways, func(a, b way) int { return a.node - b.node })
	return ways
}

// near says where a path leaves the schema, and what is there instead.
func (s *Schema) near(path []*pb.PathElem, origin string) string {
	for n := range path {
		next := make(map[string]bool)
		for _, l := range s.leaves {
			if origin != "" && l.origin() != origin {
				continue
			}
			for _, w := range l.match(path[:n]) {
				if w.node < len(l.elems) {
					next[l.elems[w.node].name] = true
				}
			}
		}
		reaches := slices.ContainsFunc(s.leaves, func(l *Leaf) bool {
			return (origin == "" || l.origin() == origin) && len(l.match(path[:n+1])) > 0
		})
		if reaches {
			continue
		}
		if len(next) == 0 {
			return fmt.Sprintf("%s is a leaf: nothing is below it", pathText(path[:n]))
		}
		var names []string
		for name := range next {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Sprintf("there is no %s in %s, but %s",
			text.Cut(path[n].GetName()), pathText(path[:n]), text.List(names, 8))
	}
	return "there is nothing"
}

// pathText writes a path as people do, as in /interfaces/interface[name=eth1]/state.
func pathText(elems []*pb.PathElem) string {
	if len(elems) == 0 {
		return "/"
	}
	var b strings.Builder
	for _, e := range elems {
		b.WriteString("/" + e.GetName())
		for _, k := range sortedKeys(e.GetKey()) {
			fmt.Fprintf(&b, "[%s=%s]", k, e.GetKey()[k])
		}
		if b.Len() > text.Most {
			break
		}
	}
	return text.Line(text.Cut(b.String()))
}

func sortedKeys(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// elements returns the path of a leaf in an entry with those keys, from the element from on to the one before to.
func (l *Leaf) elements(keys []string, from, to int) []*pb.PathElem {
	elems := make([]*pb.PathElem, 0, to-from)
	for i, e := range l.elems[:to] {
		var p *pb.PathElem
		if i >= from {
			p = &pb.PathElem{Name: e.name}
			elems = append(elems, p)
		}
		for _, k := range e.keys {
			if p != nil {
				if p.Key == nil {
					p.Key = make(map[string]string, len(e.keys))
				}
				p.Key[k] = keys[0]
			}
			keys = keys[1:]
		}
	}
	return elems
}
