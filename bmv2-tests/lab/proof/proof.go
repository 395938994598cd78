// Package proof holds Direct Server Return to its word: it is told which frames passed the ports of one switch, and
// says what was not as it must be. Who captures them, and what is claimed with it, is left to its callers, the demo and
// the scenarios.
//
//	client -> VIP   enters at the router's port for the VIP's MAC; leaves once, at one server's
//	                port for that server's MAC, every other byte as it came
//	VIP -> client   enters at a server's port from that server's MAC with the VIP as source; leaves
//	                once, at the router's port and no other, every byte as it came. Until the
//	                switch has learned where the router is, it floods: one copy per port.
//	ARP             only the switch speaks for the VIP
//
// That holds for every frame of TCP, whole or broken, and for ARP however it is wrapped.
//
// From the same frames it knows which server a flow was on, so that a failed request is charged to
// a dead server or a live one by evidence.
package proof

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// Config says what is at the ports of the switch.
type Config struct {
	VIP     netip.Addr
	VIPMAC  packet.MAC            // the switch's, for the VIP
	Router  uint16                // port of the router that clients are behind
	Servers map[uint16]packet.MAC // by port
	Others  []uint16              // ports of hosts that no frame of the VIP is for

	// ClaimsAllowed is for servers with the ARP problem: they may claim the VIP, as long as the switch lets nobody
	// hear it.
	ClaimsAllowed bool
}

// Proof is what is known of the frames so far. Its methods may be called from any goroutine.
type Proof struct {
	config Config

	mu       sync.Mutex               // guards what follows
	requests map[string][]time.Time   // when frames entered that have not left yet, by all but the destination MAC
	replies  map[string]int           // whole frames that entered and have not left yet
	learned  bool                     // the switch knows where the router is
	early    map[copied]int           // copies that may leave beside the router's port: of frames from before that
	flows    map[netip.AddrPort]*Flow // by the client's end
	opens    map[uint16]int           // by port: frames that open a connection and left for a server
	lastTo   map[uint16]time.Time     // when the last request frame left for a server
	lastFor  map[uint16]time.Time     // when the youngest frame entered that left for a server
	counts   Counts
	broken   []string // the first things that were not as they must be
	breaches int
}

// Counts are numbers of frames.
type Counts struct {
	RequestsIn, RequestsOut int // from clients to the VIP, at the router's port and at servers' ports
	RepliesIn, RepliesOut   int // and back
	Flooded                 int // copies of replies, from before the switch knew the router
	ARPAnswers              int // for the VIP, by the switch
	ARPClaims               int // on the VIP, by anybody else
}

// Finding is what the frames so far come to.
type Finding struct {
	Counts
	Flows    int      // records that are open
	Waiting  int      // frames that entered and have not left, or not as they entered: on their way, lost, or dropped
	Breaches int      // frames that were not as they must be
	Broken   []string // the first of those, in words
	Unseen   []string // what was not seen at all, and must be if the VIP was used
}

// copied is a frame at a port that it may leave by.
type copied struct {
	frame string
	port  uint16
}

// Flow is what the frames say of one connection.
type Flow struct {
	Opened   time.Time
	To       uint16 // port of the server that the last request frame left for; 0 before
	Answered uint16 // port of the server that accepted the connection; 0 before
	requests int    // frames that left for a server
	replies  int    // frames that left for the client
}

// Server returns the port of the server that the flow was on, 0 if it was on none.
func (f *Flow) Server() uint16 {
	if f.Answered != 0 {
		return f.Answered
	}
	return f.To
}

const (
	brokenKept = 5
	synACK     = packet.SYN | packet.ACK
)

// New returns a proof that has seen nothing yet.
func New(config Config) *Proof {
	return &Proof{
		config:   config,
		requests: make(map[string][]time.Time),
		replies:  make(map[string]int),
		early:    make(map[copied]int),
		flows:    make(map[netip.AddrPort]*Flow),
		opens:    make(map[uint16]int),
		lastTo:   make(map[uint16]time.Time),
		lastFor:  make(map[uint16]time.Time),
	}
}

// See takes one frame that passed a port, and does not keep the slice. A frame must have been seen to enter before it
// is seen to leave.
func (p *Proof) See(id uint16, d port.Direction, at time.Time, frame []byte) {
	e := packet.Ethernet(frame)
	if !e.IsValid() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, ok := packet.FindARP(frame); ok {
		p.arp(id, d, e, a)
		return
	}
	ip := packet.IPv4(e.Payload())
	if e.Type() != packet.TypeIPv4 || len(ip) < packet.IPv4Len || ip.Protocol() != packet.ProtocolTCP {
		return
	}
	if ip.Dst() == p.config.VIP {
		p.request(id, d, at, e, ip)
	} else if ip.Src() == p.config.VIP {
		p.reply(id, d, e, ip)
	}
}

// segment returns the ports and flags of a packet's TCP header, zeros where it is not all there.
func segment(ip packet.IPv4) (src, dst uint16, flags uint8) {
	if !ip.IsValid() {
		return 0, 0, 0
	}
	tcp := packet.TCP(ip.Payload())
	if ip.FragmentOffset() != 0 || !tcp.IsValid() {
		return 0, 0, 0
	}
	return tcp.SrcPort(), tcp.DstPort(), tcp.Flags()
}

func (p *Proof) request(id uint16, d port.Direction, at time.Time, e packet.Ethernet, ip packet.IPv4) {
	from, _, flags := segment(ip)
	client := netip.AddrPortFrom(ip.Src(), from)
	key := string(e[len(packet.MAC{}):])
	if d == port.In {
		if id != p.config.Router {
			p.breach("a frame for the VIP entered at port %d, which is not the router's", id)
		}
		if e.Dst() != p.config.VIPMAC {
			p.breach("a frame for the VIP entered with destination MAC %v, want %v", e.Dst(), p.config.VIPMAC)
		}
		p.counts.RequestsIn++
		p.requests[key] = append(p.requests[key], at)
		return
	}
	p.counts.RequestsOut++
	mac, server := p.config.Servers[id]
	if !server {
		p.breach("a frame of %v for the VIP left at port %d, which is no server's", client, id)
	} else if e.Dst() != mac {
		p.breach("a frame of %v left at port %d with destination MAC %v, want %v", client, id, e.Dst(), mac)
	}
	opens := flags&synACK == packet.SYN
	// Equal frames leave in the order in which they entered.
	switch entered := p.requests[key]; len(entered) {
	case 0:
		p.breach("a frame of %v left at port %d with other bytes than it entered with, or left twice", client, id)
	case 1:
		p.youngest(id, entered[0], opens)
		delete(p.requests, key)
	default:
		p.youngest(id, entered[0], opens)
		p.requests[key] = entered[1:]
	}
	p.lastTo[id] = at
	if opens {
		p.opens[id]++
	}
	if f := p.flows[client]; f != nil {
		f.requests++
		f.To = id
	}
}

// youngest notes of a frame that opens a connection that it left for the server at port id, and when it had entered.
func (p *Proof) youngest(id uint16, entered time.Time, opens bool) {
	if opens && entered.After(p.lastFor[id]) {
		p.lastFor[id] = entered
	}
}

func (p *Proof) reply(id uint16, d port.Direction, e packet.Ethernet, ip packet.IPv4) {
	_, to, flags := segment(ip)
	client := netip.AddrPortFrom(ip.Dst(), to)
	f := p.flows[client]
	if d == port.In {
		mac, server := p.config.Servers[id]
		if !server {
			p.breach("a frame from the VIP to %v entered at port %d, which is no server's", client, id)
		} else if e.Src() != mac {
			p.breach("a frame from the VIP to %v entered at port %d with source MAC %v, want %v", client, id, e.Src(),
				mac)
		}
		p.counts.RepliesIn++
		p.replies[string(e)]++
		if !p.learned {
			for other := range p.config.Servers {
				if other != id {
					p.early[copied{string(e), other}]++
				}
			}
			for _, other := range p.config.Others {
				p.early[copied{string(e), other}]++
			}
		}
		if f != nil && flags&synACK == synACK {
			f.Answered = id
		}
		return
	}
	if id != p.config.Router {
		if !take(p.early, copied{string(e), id}) {
			p.breach("a frame from the VIP to %v left by port %d, which is not the router's", client, id)
		}
		p.counts.Flooded++
		return
	}
	p.counts.RepliesOut++
	if !take(p.replies, string(e)) {
		p.breach("a frame from the VIP to %v left with other bytes than it entered with, or left twice", client)
	}
	if f != nil {
		f.replies++
	}
}

func (p *Proof) arp(id uint16, d port.Direction, e packet.Ethernet, a packet.ARP) {
	if a.Sender() != p.config.VIP {
		return
	}
	switch {
	case d == port.In:
		p.counts.ARPClaims++
		if !p.config.ClaimsAllowed {
			p.breach("%v at port %d speaks for the VIP in ARP", a.SenderMAC(), id)
		}
	case a.Operation() == packet.ARPReply && a.SenderMAC() == p.config.VIPMAC && e.Src() == p.config.VIPMAC:
		p.counts.ARPAnswers++
	default:
		p.counts.ARPClaims++
		p.breach("ARP that names %v as the VIP left at port %d", a.SenderMAC(), id)
	}
}

func take[K comparable](m map[K]int, key K) bool {
	n := m[key]
	if n <= 1 {
		delete(m, key)
	} else {
		m[key] = n - 1
	}
	return n > 0
}

func (p *Proof) breach(format string, args ...any) {
	p.breaches++
	if text := fmt.Sprintf(format, args...); len(p.broken) < brokenKept && !slices.Contains(p.broken, text) {
		p.broken = append(p.broken, text)
	}
}

// Open starts a flow's record, before the client sends its first frame.
func (p *Proof) Open(client netip.AddrPort, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows[client] = &Flow{Opened: at}
}

// On returns what the frames say of an open flow.
func (p *Proof) On(client netip.AddrPort) Flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.flows[client]
}

// Finish ends a flow's record. A flow that answered a request must have been seen both ways.
func (p *Proof) Finish(client netip.AddrPort, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[client]; answered && (f.requests == 0 || f.replies == 0 || f.Answered == 0) {
		p.breach("%v got an answer, but %d frames to a server and %d back were seen", client, f.requests, f.replies)
	}
	delete(p.flows, client)
}

// LastRequest returns when the last request frame left for the server at port id, and when the youngest one that did
// and opens a connection had entered the switch. They are zero when none ever did.
func (p *Proof) LastRequest(id uint16) (left, entered time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastTo[id], p.lastFor[id]
}

// RouterIsLearned says that the switch knows where the router is: frames that enter from now on have
// no reason to be flooded.
func (p *Proof) RouterIsLearned() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learned = true
}

// Opened returns how many frames that open a connection have left for the server at port id.
func (p *Proof) Opened(id uint16) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opens[id]
}

// Finding returns what the frames so far come to.
func (p *Proof) Finding() Finding {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := Finding{Counts: p.counts, Flows: len(p.flows), Breaches: p.breaches, Broken: slices.Clone(p.broken)}
	if more := p.breaches - len(p.broken); more > 0 {
		v.Broken = append(v.Broken, fmt.Sprintf("and so on, %d breaches in all", p.breaches))
	}
	for _, times := range p.requests {
		v.Waiting += len(times)
	}
	for _, n := range p.replies {
		v.Waiting += n
	}
	for _, seen := range []struct {
		what  string
		count int
	}{
		{"request frame", p.counts.RequestsOut},
		{"reply frame", p.counts.RepliesOut},
		{"ARP answer for the VIP", p.counts.ARPAnswers},
	} {
		if seen.count == 0 {
			v.Unseen = append(v.Unseen, fmt.Sprintf("no %s was seen", seen.what))
		}
	}
	return v
}
