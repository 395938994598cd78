package gnmi

import (
	"context"
	"slices"
	"strings"
	"time"

	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Get answers with a notification for each path (section 3.3). In JSON and JSON_IETF it has an update for each node
// that the path names, in PROTO one for each leaf.
//
// Errors, by section 3.3.4: InvalidArgument for a path that cannot be one; Unimplemented for one that the schema does
// not have, and for other encodings; NotFound where what it names is not there now; a list may have no entries.
func (s *Server) Get(ctx context.Context, r *pb.GetRequest) (*pb.GetResponse, error) {
	leave, err := s.gets.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := checkEncoding(r.GetEncoding()); err != nil {
		return nil, err
	}
	if n := len(r.GetPath()); n == 0 || n > mostPaths {
		return nil, status.Errorf(codes.InvalidArgument, "%d paths: must be 1..%d; / is all there is", n, mostPaths)
	}
	wanted, err := s.models(r.GetUseModels())
	if err != nil {
		return nil, err
	}
	var queries []*query
	for _, path := range r.GetPath() {
		q, err := s.cfg.Schema.query(r.GetPrefix(), path, wanted)
		if err != nil {
			return nil, err
		}
		if !q.found {
			return nil, status.Errorf(codes.Unimplemented, "path %s: %s", q.path, q.near)
		}
		queries = append(queries, q)
	}
	var states [classes]*state // those that are asked for
	for c, cache := range s.trees {
		if !slices.ContainsFunc(queries, func(q *query) bool { return q.asks(class(c)) }) {
			continue
		}
		if states[c], err = cache.get(ctx); err != nil {
			return nil, unavailable(err)
		}
	}
	m := new(pb.GetResponse)
	for _, q := range queries {
		n, err := q.answer(states, r)
		if err != nil {
			return nil, err
		}
		m.Notification = append(m.Notification, n)
	}
	return m, nil
}

// unavailable gives the error of a source a code, unless it has one.
func unavailable(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.FromContextError(err).Err()
}

// answer is the notification of Get for one path.
func (q *query) answer(states [classes]*state, r *pb.GetRequest) (*pb.Notification, error) {
	nodes := make(map[string][]item)
	var order []string
	found, at := false, time.Now()
	for c, s := range states {
		if s == nil {
			continue
		}
		for i := range q.all(s, class(c)) {
			found, at = true, s.at
			if !typed(i.leaf, r.GetType()) {
				continue
			}
			id := i.node(r.GetEncoding())
			if nodes[id] == nil {
				order = append(order, id)
			}
			nodes[id] = append(nodes[id], i)
		}
	}
	if !found && !q.open() {
		return nil, status.Errorf(codes.NotFound, "path %s: there is nothing now", q.path)
	}
	slices.Sort(order)
	n := &pb.Notification{Timestamp: at.UnixNano()}
	prefix := ""
	for _, id := range order {
		items := nodes[id]
		end := items[0].pick.way(items[0].entry.keys).node
		val := document(subtree(items, end, "", r.GetEncoding()), r.GetEncoding())
		if r.GetEncoding() == pb.Encoding_PROTO {
			end, val = len(items[0].leaf.elems), items[0].typed(r.GetEncoding())
		}
		u := &pb.Update{Path: &pb.Path{Elem: items[0].leaf.elements(items[0].entry.keys, 0, end)}, Val: val}
		n.Update = append(n.Update, u)
		switch p := pathText(u.Path.Elem[:min(q.prefix, end)]); {
		case prefix == "":
			prefix = p
		case prefix != p:
			q.prefix = 0 // what the prefix of the request left open differs: paths are told whole
		}
	}
	for i, u := range n.Update {
		if i == 0 {
			n.Prefix = responsePrefix(r.GetPrefix().GetTarget(), q.origin, u.Path.Elem[:q.prefix])
		}
		u.Path.Elem = u.Path.Elem[q.prefix:]
	}
	return n, nil
}

// open says whether a path asks for whatever entries a list has, none being an answer.
func (q *query) open() bool {
	for _, picks := range q.lists {
		for _, p := range picks {
			for _, w := range p.ways {
				if len(w.keys) > 0 && !slices.ContainsFunc(w.keys, func(k string) bool { return k != any1 }) {
					return true
				}
			}
		}
	}
	return false
}

// responsePrefix is the prefix of what is sent: target and origin as they were asked for (sections 2.2.2.1, 2.7), and
// the elements that the paths leave out; nil when there is none of it.
func responsePrefix(target, origin string, elems []*pb.PathElem) *pb.Path {
	if target == "" && origin == "" && len(elems) == 0 {
		return nil
	}
	return &pb.Path{Target: target, Origin: origin, Elem: elems}
}

// typed says whether leaves of a type (section 3.3.1) have this one.
func typed(l *Leaf, t pb.GetRequest_DataType) bool {
	switch t {
	case pb.GetRequest_CONFIG:
		return l.config()
	case pb.GetRequest_STATE, pb.GetRequest_OPERATIONAL:
		return !l.config()
	}
	return true
}

// node tells the nodes apart that Get has an update for.
func (i item) node(e pb.Encoding) string {
	end := len(i.leaf.elems)
	if e != pb.Encoding_PROTO {
		end = i.pick.way(i.entry.keys).node
	}
	var b strings.Builder
	keys := i.entry.keys
	for _, e := range i.leaf.elems[:end] {
		b.WriteString("\x00" + e.name)
		for range e.keys {
			b.WriteString("\x01" + keys[0])
			keys = keys[1:]
		}
	}
	return b.String()
}
