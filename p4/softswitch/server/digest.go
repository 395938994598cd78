package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

// Bounds of what is kept for one digest.
const (
	maxDigestList  = 1024  // messages in a list, also when max_list_size says more or nothing
	maxDigestKnown = 65536 // distinct messages buffered or unacknowledged; more are dropped
)

// digests buffers and deduplicates what a program reports (section "DigestEntry").
type digests struct {
	wake chan<- struct{} // gets a token when something may be due earlier than before

	mu     sync.Mutex // guards what follows; held briefly, the data plane takes it
	byID   map[uint32]*digest
	byName map[string]*digest // by the names of learn lists
	lists  uint64             // the last list id
	key    []byte             // scratch
}

// digest is one kind of report.
//
//	report --> buffer --(full, or max_timeout)--> sent: cache --(ack, or ack_timeout)--> forgotten
//	 ^ dropped while the same is in buffer or cache
type digest struct {
	id     uint32
	name   string
	data   dataType
	config *v1.DigestEntry_Config // nil: not enabled

	known    map[string]struct{} // in the buffer or the cache
	buffer   []message
	buffered time.Time // when the first message of the buffer came
	cache    []sentList
}

// message is a report: its members, and all of them in one string, which tells it from others.
type message struct {
	key  string
	data *v1.P4Data
}

// sentList is a list that waits for its acknowledgement.
type sentList struct {
	id   uint64
	at   time.Time
	keys []string
}

// newDigests matches the digests of P4Info with the learn lists of the device configuration, given by the widths of
// their members. They have the same names, unless the compiler made one up for a digest of an unnamed type.
func newDigests(info *configv1.P4Info, types *types, lists map[string][]int, wake chan<- struct{}) (*digests, error) {
	ds := &digests{wake: wake, byID: map[uint32]*digest{}, byName: map[string]*digest{}}
	unnamed := maps.Clone(lists)
	for _, d := range info.GetDigests() {
		delete(unnamed, d.GetPreamble().GetName())
	}
	var problems []error
	for _, d := range info.GetDigests() {
		out := &digest{id: d.GetPreamble().GetId(), name: d.GetPreamble().GetName()}
		ds.byID[out.id] = out
		widths, ok := lists[out.name]
		candidates := map[string][]int{out.name: widths}
		if !ok {
			candidates = nil
			if d.GetTypeSpec().GetStruct() == nil {
				candidates = unnamed
			}
		}
		var err error
		for _, name := range slices.Sorted(maps.Keys(candidates)) {
			plane := &planeValues{widths: candidates[name]}
			if out.data, err = types.data(d.GetTypeSpec(), plane); err == nil && len(plane.widths) > 0 {
				err = fmt.Errorf("%d values more in p4_device_config than in p4info", len(plane.widths))
			}
			if err == nil {
				ds.byName[name] = out
				delete(unnamed, name)
				break
			}
		}
		if ok && err != nil {
			problems = append(problems, fmt.Errorf("digest %s: %w", out.name, err))
		}
	}
	return ds, errors.Join(problems...)
}

// update is the table of update types in section "DigestEntry".
func (ds *digests) update(kind v1.Update_Type, e *v1.DigestEntry) error {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byID[e.GetDigestId()]
	if d == nil {
		return invalid("digest_id %d is not in the P4Info", e.GetDigestId())
	}
	switch {
	case kind == v1.Update_INSERT && d.config != nil:
		return status.Errorf(codes.AlreadyExists, "digest %s is enabled", d.name)
	case kind != v1.Update_INSERT && d.config == nil:
		return status.Errorf(codes.NotFound, "digest %s is not enabled", d.name)
	case kind == v1.Update_DELETE:
		d.config = nil
		d.forget()
		return nil
	}
	c := e.GetConfig()
	if c == nil {
		return invalid("digest %s: no config", d.name)
	}
	if c.GetMaxTimeoutNs() < 0 || c.GetMaxListSize() < 0 || c.GetAckTimeoutNs() < 0 {
		return invalid("digest %s: max_timeout_ns %d, max_list_size %d, ack_timeout_ns %d: want 0 or more",
			d.name, c.GetMaxTimeoutNs(), c.GetMaxListSize(), c.GetAckTimeoutNs())
	}
	d.config = c
	if d.known == nil {
		d.known = map[string]struct{}{}
	}
	ds.poke()
	return nil
}

func (ds *digests) read(ask *v1.DigestEntry) (result, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if id := ask.GetDigestId(); id != 0 && ds.byID[id] == nil {
		return nil, invalid("digest_id %d is not in the P4Info", id)
	}
	var selected []*v1.Entity
	for _, d := range ds.byID {
		if d.config != nil && (ask.GetDigestId() == 0 || ask.GetDigestId() == d.id) {
			selected = append(selected, &v1.Entity{Entity: &v1.Entity_DigestEntry{
				DigestEntry: &v1.DigestEntry{DigestId: d.id, Config: d.config},
			}})
		}
	}
	return func(yield func(*v1.Entity) bool) {
		for _, e := range selected {
			if !yield(e) {
				return
			}
		}
	}, nil
}

// Digest takes a report from the data plane. It does not keep it, and never waits for a client.
func (s *Server) Digest(d *engine.Digest) {
	if p := s.running.Load(); p != nil && len(s.arbiter.primary()) > 0 {
		p.digests.add(d, time.Now(), s.sendDigests)
	}
}

// sendDigests offers a list to the primaries, and reports whether any has room for it.
func (s *Server) sendDigests(l *v1.DigestList) bool {
	return s.offerAll(&v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Digest{Digest: l}})
}

// offerAll offers a message to the primaries, and reports whether any has room for it.
func (s *Server) offerAll(m *v1.StreamMessageResponse) bool {
	sent := false
	for _, st := range s.arbiter.primary() {
		if st.offer(backlog.ClassOf(m), m) {
			sent = true
		}
	}
	return sent
}

// add buffers a report, unless the same one is buffered or unacknowledged, and sends a full buffer.
func (ds *digests) add(m *engine.Digest, now time.Time, send func(*v1.DigestList) bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byName[m.Name]
	if d == nil || d.config == nil {
		return
	}
	ds.key = ds.key[:0]
	for i, b := range m.Members { // each always has the same length
		ds.key = append(ds.key, b...)
		if m.Valid[i] {
			ds.key = append(ds.key, 1)
		} else {
			ds.key = append(ds.key, 0)
		}
	}
	if _, known := d.known[string(ds.key)]; known || len(d.known) >= maxDigestKnown {
		return
	}
	key := string(ds.key)
	d.known[key] = struct{}{}
	data, _, _ := d.data.encode(m.Members, m.Valid)
	d.buffer = append(d.buffer, message{key: key, data: data})
	if len(d.buffer) == 1 {
		d.buffered = now
		ds.poke()
	}
	limit := maxDigestList
	if n := int(d.config.GetMaxListSize()); n > 0 {
		limit = min(n, limit)
	}
	if len(d.buffer) >= limit || d.config.GetMaxTimeoutNs() == 0 {
		ds.send(d, now, send)
	}
}

// send makes a list of the buffer. What was sent is in the cache until it is acknowledged or too old;
// what nobody could take is forgotten, so that it is reported again.
func (ds *digests) send(d *digest, now time.Time, send func(*v1.DigestList) bool) {
	ds.lists++
	list := &v1.DigestList{DigestId: d.id, ListId: ds.lists, Timestamp: now.UnixNano()}
	keys := make([]string, len(d.buffer))
	for i, m := range d.buffer {
		list.Data = append(list.Data, m.data)
		keys[i] = m.key
	}
	d.buffer = nil
	if sent := send(list); sent && d.config.GetAckTimeoutNs() > 0 {
		d.cache = append(d.cache, sentList{id: list.ListId, at: now, keys: keys})
		ds.poke()
		return
	}
	d.drop(keys)
}

func (d *digest) drop(keys []string) {
	for _, k := range keys {
		delete(d.known, k)
	}
}

// forget empties buffer and cache.
func (d *digest) forget() {
	clear(d.known)
	d.buffer, d.cache = nil, nil
}

// forget empties the caches: a new primary has not seen what the former one was sent.
func (ds *digests) forget() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for _, d := range ds.byID {
		for _, l := range d.cache {
			d.drop(l.keys)
		}
		d.cache = nil
	}
}

// digestAck handles an acknowledgement. One for a list that is no longer cached is no error.
func (s *Server) digestAck(st *stream, a *v1.DigestListAck) error {
	if err := s.requirePrimary(st); err != nil {
		return err
	}
	p := s.running.Load()
	if p == nil {
		return errNoPipeline
	}
	return p.digests.ack(a.GetDigestId(), a.GetListId())
}

func (ds *digests) ack(id uint32, list uint64) error {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byID[id]
	if d == nil {
		return invalid("digest_id %d is not in the P4Info", id)
	}
	for i, l := range d.cache {
		if l.id == list {
			d.drop(l.keys)
			d.cache = append(d.cache[:i], d.cache[i+1:]...)
			break
		}
	}
	return nil
}

// due sends the buffers and forgets the lists whose time has come, and returns when the next is due;
// the zero Time when nothing waits.
func (ds *digests) due(now time.Time, send func(*v1.DigestList) bool) (next time.Time) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, d := range ds.byID {
		if d.config == nil {
			continue
		}
		for ackTimeout := time.Duration(d.config.GetAckTimeoutNs()); len(d.cache) > 0; d.cache = d.cache[1:] {
			if expires := d.cache[0].at.Add(ackTimeout); expires.After(now) {
				soonest(expires)
				break
			}
			d.drop(d.cache[0].keys)
		}
		if len(d.buffer) > 0 {
			if at := d.buffered.Add(time.Duration(d.config.GetMaxTimeoutNs())); at.After(now) {
				soonest(at)
			} else {
				ds.send(d, now, send)
				if n := len(d.cache); n > 0 {
					soonest(d.cache[0].at.Add(time.Duration(d.config.GetAckTimeoutNs())))
				}
			}
		}
	}
	return next
}

func (ds *digests) poke() {
	select {
	case ds.wake <- struct{}{}:
	default:
	}
}

// runDigests sends and forgets on time, for whatever pipeline packets run through, until ctx ends.
func (s *Server) runDigests(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.digestsDue:
		case <-timer.C:
		}
		p := s.running.Load()
		if p == nil {
			continue
		}
		if next := p.digests.due(time.Now(), s.sendDigests); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}
