package ports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/openconfig/gnmi/proto/gnmi"

	"github.com/sluicelb/sluice/internal/text"
)

// table is what a target has said of its interfaces.
type table struct {
	entries map[string]*entry
	left    int       // updates on interfaces that there was no room for
	heard   time.Time // when the target was last there
	unsure  bool      // it has not said that it had told all
	faults  string    // what of it could not be read, the last
}

// entry is one interface.
type entry struct {
	state, configured *uint16 // P4Runtime's id, where it was told
	oper, reason      string
	// Frames; received by kind, where the target does not add them up.
	received, unicast, multicast, broadcast, receiveDropped *uint64
	sent, sentUnicast, sentMulticast, sentBroadcast         *uint64
	sendDropped                                             uint64
	discardAt                                               uint64 // nanoseconds since 1970
	discard                                                 string
	heard                                                   time.Time
	sampled                                                 bool // counters were told: they are again
}

func newTable() *table { return &table{entries: make(map[string]*entry)} }

// leaves are what is read of an interface. A value of nil takes back what was told. signs are those that somebody may
// act on.
var leaves = map[string]struct {
	set   func(*entry, any)
	signs bool
}{
	"state/id":                       {func(e *entry, v any) { e.state = id(v) }, true},
	"config/id":                      {func(e *entry, v any) { e.configured = id(v) }, true},
	"state/oper-status":              {func(e *entry, v any) { e.oper = strings.ToLower(plain(word(v))) }, true},
	"state/oper-status-reason":       {func(e *entry, v any) { e.reason = word(v) }, false},
	"state/last-discard":             {func(e *entry, v any) { e.discardAt, _ = number(v) }, false},
	"state/last-discard-reason":      {func(e *entry, v any) { e.discard = word(v) }, false},
	"state/counters/in-pkts":         {func(e *entry, v any) { e.received = e.count(v) }, false},
	"state/counters/in-unicast-pkts": {func(e *entry, v any) { e.unicast = e.count(v) }, false},
	"state/counters/in-multicast-pkts": {
		func(e *entry, v any) { e.multicast = e.count(v) }, false},
	"state/counters/in-broadcast-pkts": {
		func(e *entry, v any) { e.broadcast = e.count(v) }, false},
	"state/counters/in-discards":      {func(e *entry, v any) { e.receiveDropped = e.count(v) }, false},
	"state/counters/out-pkts":         {func(e *entry, v any) { e.sent = e.count(v) }, false},
	"state/counters/out-unicast-pkts": {func(e *entry, v any) { e.sentUnicast = e.count(v) }, false},
	"state/counters/out-multicast-pkts": {
		func(e *entry, v any) { e.sentMulticast = e.count(v) }, false},
	"state/counters/out-broadcast-pkts": {
		func(e *entry, v any) { e.sentBroadcast = e.count(v) }, false},
	"state/counters/out-discards": {func(e *entry, v any) { e.sendDropped = deref(e.count(v)) }, false},
}

func word(v any) string {
	s, _ := v.(string)
	return text.Cut(s)
}

// id is a port of the pipeline, which has 9 bits for one: P4Runtime's 32 are not for it. 0 is none (P4Runtime
// specification 1.5, section "Translation of port numbers").
func id(v any) *uint16 {
	n, ok := number(v)
	if !ok || n == 0 || n > math.MaxUint16 {
		return nil
	}
	is := uint16(n)
	return &is
}

func (e *entry) count(v any) *uint64 {
	n, ok := number(v)
	if !ok {
		return nil
	}
	e.sampled = true
	return &n
}

func deref(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// sum is all, or where that was not told, the parts of it.
func sum(all *uint64, parts ...*uint64) (n uint64) {
	if all != nil {
		return *all
	}
	for _, p := range parts {
		n += deref(p)
	}
	return n
}

// jsonValue is for how many bytes a document of JSON counts as a value.
const jsonValue = 32

// apply takes a notification, and returns how many values that had and whether one of them is a sign.
func (t *table) apply(n *gnmi.Notification, now time.Time) (values int, signs bool) {
	t.heard = now
	if n.GetAtomic() {
		values, signs = t.remove(n.GetPrefix(), nil)
	}
	for _, path := range n.GetDelete() {
		gone, sign := t.remove(n.GetPrefix(), path)
		values, signs = values+gone+1, signs || sign
	}
	for _, u := range n.GetUpdate() {
		values += 1 + len(u.GetVal().GetJsonIetfVal())/jsonValue + len(u.GetVal().GetJsonVal())/jsonValue
		err := read(n.GetPrefix(), u, func(p place, v any) {
			signs = t.set(p, v, now) || signs
		})
		if err != nil {
			t.faults = text.Cut(text.Line(err.Error()))
		}
	}
	return values, signs
}

// set takes a value, and returns whether it is a sign. One that has not changed is none.
func (t *table) set(p place, v any, now time.Time) bool {
	leaf, ok := leaves[p.leaf]
	if p.list != interfaces || !ok || v == nil {
		return false
	}
	e := t.entries[p.key]
	if e == nil {
		if len(t.entries) >= maxInterfaces || len(p.key) > text.Most {
			t.left++
			return false
		}
		e = new(entry)
		t.entries[p.key] = e
	}
	before := e.sign()
	leaf.set(e, v)
	e.heard = now
	return leaf.signs && e.sign() != before
}

// remove takes back what was told of a path and below.
func (t *table) remove(prefix, path *gnmi.Path) (values int, signs bool) {
	p, ok := placeOf(slices.Concat(prefix.GetElem(), path.GetElem())...)
	if !ok || p.list != interfaces && !strings.HasPrefix(interfaces, p.list) {
		return 0, false
	}
	for name, e := range t.entries {
		if p.key != "" && p.key != name {
			continue
		}
		values++
		if p.leaf == "" {
			delete(t.entries, name)
			signs = true
			continue
		}
		before := e.sign()
		for at, leaf := range leaves {
			if at == p.leaf || strings.HasPrefix(at, p.leaf+"/") {
				leaf.set(e, nil)
			}
		}
		signs = signs || e.sign() != before
	}
	return values, signs
}

// sweep forgets what was not heard of since then, and returns whether there was any.
func (t *table) sweep(since time.Time) bool {
	before := len(t.entries)
	for name, e := range t.entries {
		if e.heard.Before(since) {
			delete(t.entries, name)
		}
	}
	return len(t.entries) != before
}

// sign is what of an interface somebody may act on.
type sign struct {
	id    uint16
	known bool
	oper  string
}

func (e *entry) sign() sign {
	s := sign{oper: e.oper}
	if is := cmp.Or(e.state, e.configured); is != nil {
		s.id, s.known = *is, true
	}
	return s
}

// same says whether nobody would act on u in another way than on t.
func (t *table) same(u *table) bool {
	if len(t.entries) != len(u.entries) {
		return false
	}
	for name, e := range t.entries {
		if other := u.entries[name]; other == nil || other.sign() != e.sign() {
			return false
		}
	}
	return true
}

// view is what the table shows at a time. every is the time between samples.
func (t *table) view(now time.Time, every time.Duration, err error, l ladder, flood time.Time) View {
	v := View{Err: err}
	if err == nil {
		v.Way = l.way().String()
	}
	oldest := now.Add(-staleAfter * every)
	ids := make(map[uint16]bool)
	twice := false
	for name, e := range t.entries {
		s := e.sign()
		if !s.known {
			continue
		}
		twice = twice || ids[s.id]
		ids[s.id] = true
		heard := e.heard
		if !e.sampled && t.heard.After(heard) { // it is told of when something changes, by a target that is there
			heard = t.heard
		}
		p := Port{
			ID: s.id, Name: name, State: e.oper, Heard: heard, Stale: heard.Before(oldest),
			Received: sum(e.received, e.unicast, e.multicast, e.broadcast), ReceiveDropped: deref(e.receiveDropped),
			Sent: sum(e.sent, e.sentUnicast, e.sentMulticast, e.sentBroadcast), SendDropped: e.sendDropped,
		}
		switch {
		case p.State != "up":
			p.Reason = e.reason
		case e.discardAt > 0 && e.discardAt <= math.MaxInt64:
			p.Reason, p.ReasonAt = e.discard, time.Unix(0, int64(e.discardAt))
		}
		v.Ports = append(v.Ports, p)
	}
	slices.SortFunc(v.Ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name,
			b.Name))
	})
	v.Note = t.note(l, now.Sub(flood) < patience, twice)
	if err == nil && len(v.Ports) == 0 {
		v.Err = fmt.Errorf("it says of none of its %d interfaces which port of P4Runtime it is (openconfig-p4rt)",
			len(t.entries))
	}
	return v
}

func (t *table) note(l ladder, floods, twice bool) string {
	var notes []string
	add := func(is bool, note string) {
		if is {
			notes = append(notes, note)
		}
	}
	before := l.note()
	add(before != "", before)
	add(t.unsure, "it does not say when it has told all")
	add(floods, fmt.Sprintf("it tells more than %d values a second: what it tells comes late", maxRate))
	add(t.left > 0,
		fmt.Sprintf("it tells of more than %d interfaces, or of names of more than %d bytes: the others are left out",
			maxInterfaces, text.Most))
	add(twice, "it gives two interfaces one id of P4Runtime")
	add(t.faults != "", "some of what it tells cannot be read: "+t.faults)
	return strings.Join(notes, "; ")
}
