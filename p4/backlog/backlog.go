// Package backlog keeps the stream messages of a P4Runtime target that wait to be sent, or to be read:
// packet-ins, digests, idle timeout notifications and stream errors. Each kind has a room of its own,
// bounded in memory, and a rank: what a host can cause at line rate neither delays nor displaces what a
// program waits for. The embedded switch has one for each client, a P4Runtime client one for each time
// as primary. It knows no arbitration updates: those never wait behind anything.
package backlog

import (
	"container/list"
	"sync"
	"sync/atomic"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/proto"
)

// Kind is what a message is about. Those that come first are taken first.
type Kind int

// The kinds, by rank. Drains end by idle notices; digests make stations known; a packet-in is worth the
// least, as any host can cause as many as it likes.
const (
	Idle Kind = iota
	Digest
	Error
	Packet
	kinds
)

func (k Kind) String() string {
	return [...]string{"idle timeout notifications", "digests", "stream errors", "packet-ins"}[k]
}

// overhead is what a message takes besides its encoding: what it is decoded into, and its place here.
const overhead = 512

// Rooms says how much of each kind may wait, in bytes of messages and their overhead.
type Rooms struct{ Idle, Digest, Error, Packet int }

// DefaultRooms holds the notices that 65,536 moving slots and 16,384 stations are idle, the digests of
// some 50,000 stations, and some 3,000 short packets. Decoded, that is up to twenty times as much memory.
var DefaultRooms = Rooms{Idle: 4 << 20, Digest: 1 << 20, Error: 1 << 20, Packet: 2 << 20}

// Backlog is a set of rooms. All methods may be called from any goroutine; none of them waits.
type Backlog struct {
	waiting chan struct{} // holds a token while something is there
	drop    func(Kind)    // told of every message that is dropped; nil: nobody is

	mu    sync.Mutex // guards rooms
	rooms [kinds]room

	dropped [kinds]atomic.Uint64
}

// room holds one kind, in the order of arrival. A message belongs to a class, and when there is no room
// the class that takes the most of it gives way: a flood displaces itself and nobody else.
type room struct {
	limit   int
	used    int
	order   list.List // of *item, the oldest first
	classes map[string]*class
}

type class struct {
	used  int
	order list.List // of *item
}

type item struct {
	message         *v1.StreamMessageResponse
	cost            int
	class           string
	inRoom, inClass *list.Element
}

// New returns a Backlog with rooms of that size. It calls drop, unless that is nil, for every message that
// finds no room, or has to make some; drop must not call back.
func New(size Rooms, drop func(Kind)) *Backlog {
	b := &Backlog{waiting: make(chan struct{}, 1), drop: drop}
	for kind, limit := range [kinds]int{size.Idle, size.Digest, size.Error, size.Packet} {
		b.rooms[kind] = room{limit: limit, classes: make(map[string]*class)}
	}
	return b
}

// KindOf returns the kind of a message.
func KindOf(m *v1.StreamMessageResponse) Kind {
	switch m.GetUpdate().(type) {
	case *v1.StreamMessageResponse_IdleTimeoutNotification:
		return Idle
	case *v1.StreamMessageResponse_Digest:
		return Digest
	case *v1.StreamMessageResponse_Packet:
		return Packet
	}
	return Error
}

// ClassOf tells the messages of a kind apart that must not displace each other: notices by table, digests
// by what they are of, packets by their metadata, which says where they came in.
func ClassOf(m *v1.StreamMessageResponse) string {
	var b []byte
	switch u := m.GetUpdate().(type) {
	case *v1.StreamMessageResponse_IdleTimeoutNotification:
		if entries := u.IdleTimeoutNotification.GetTableEntry(); len(entries) > 0 {
			b = appendID(b, entries[0].GetTableId())
		}
	case *v1.StreamMessageResponse_Digest:
		b = appendID(b, u.Digest.GetDigestId())
	case *v1.StreamMessageResponse_Packet:
		for _, f := range u.Packet.GetMetadata() {
			b = append(append(appendID(b, f.GetMetadataId()), byte(len(f.GetValue()))), f.GetValue()...)
		}
	}
	return string(b)
}

func appendID(b []byte, id uint32) []byte {
	return append(b, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// Offer takes a message of a class, if there is room for it or others make room, and reports whether it did.
func (b *Backlog) Offer(class string, m *v1.StreamMessageResponse) bool {
	kind, cost := KindOf(m), proto.Size(m)+overhead
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.rooms[kind]
	for r.used+cost > r.limit {
		longest := r.longest(class, cost)
		if longest == nil {
			b.lost(kind)
			return false
		}
		r.remove(longest.order.Back().Value.(*item))
		b.lost(kind)
	}
	r.add(&item{message: m, cost: cost, class: class})
	b.poke()
	return true
}

// longest returns the class that must give way for cost more bytes of another; nil when that other one
// would itself be the longest.
func (r *room) longest(other string, cost int) *class {
	most := cost
	if c := r.classes[other]; c != nil {
		most += c.used
	}
	var longest *class
	for _, c := range r.classes {
		if c.used > most {
			longest, most = c, c.used
		}
	}
	return longest
}

func (r *room) add(i *item) {
	c := r.classes[i.class]
	if c == nil {
		c = new(class)
		r.classes[i.class] = c
	}
	i.inRoom, i.inClass = r.order.PushBack(i), c.order.PushBack(i)
	r.used += i.cost
	c.used += i.cost
}

func (r *room) remove(i *item) {
	c := r.classes[i.class]
	r.order.Remove(i.inRoom)
	c.order.Remove(i.inClass)
	r.used -= i.cost
	if c.used -= i.cost; c.used == 0 {
		delete(r.classes, i.class)
	}
}

// Full says whether a message of that size, in its encoding, would find no room, and counts it as dropped
// then: whoever makes messages at line rate asks before it makes one.
func (b *Backlog) Full(kind Kind, class string, size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.rooms[kind]
	if cost := size + overhead; r.used+cost <= r.limit || r.longest(class, cost) != nil {
		return false
	}
	b.lost(kind)
	return true
}

func (b *Backlog) lost(kind Kind) {
	b.dropped[kind].Add(1)
	if b.drop != nil {
		b.drop(kind)
	}
}

// Waiting returns a channel that holds a token as long as Next has something to return.
func (b *Backlog) Waiting() <-chan struct{} { return b.waiting }

// Next returns the message whose turn it is, the oldest of the first kind that has any; nil when there is
// none.
func (b *Backlog) Next() *v1.StreamMessageResponse {
	b.mu.Lock()
	defer b.mu.Unlock()
	var next *v1.StreamMessageResponse
	for kind := range b.rooms {
		r := &b.rooms[kind]
		if next == nil && r.order.Len() > 0 {
			i := r.order.Front().Value.(*item)
			r.remove(i)
			next = i.message
		}
		if r.order.Len() > 0 {
			b.poke()
			return next
		}
	}
	select {
	case <-b.waiting: // the last one was taken without it
	default:
	}
	return next
}

func (b *Backlog) poke() {
	select {
	case b.waiting <- struct{}{}:
	default:
	}
}

// Used returns the memory that waits, in the measure of Rooms.
func (b *Backlog) Used() Rooms {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Rooms{b.rooms[Idle].used, b.rooms[Digest].used, b.rooms[Error].used, b.rooms[Packet].used}
}

// Dropped counts the messages of a kind that found no room, or had to make some.
func (b *Backlog) Dropped(kind Kind) uint64 { return b.dropped[kind].Load() }
