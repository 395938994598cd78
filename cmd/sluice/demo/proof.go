package demo

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// proof watches every frame that enters or leaves the switch of a data center and holds Direct Server Return to its
// word, for all flows and all frames:
//
//	client -> VIP   enters at the router's port for the VIP's MAC; leaves once, at one server's
//	                port for that server's MAC, every other byte as it came
//	VIP -> client   enters at a server's port from that server's MAC with the VIP as source; leaves
//	                once, at the router's port and no other, every byte as it came. Until the
//	                switch has learned where the router is, it floods: one copy per port.
//	ARP             only the switch speaks for the VIP
//
// From the same frames it knows which server a flow was on, so that a failed request is charged to
// a dead server or a live one by evidence.
type proof struct {
	vip        netip.AddrPort
	vipMAC     packet.MAC
	router     uint16                // port
	management uint16                // port
	servers    map[uint16]packet.MAC // by port

	mu       sync.Mutex               // guards what follows
	requests map[string][]time.Time   // when frames entered that have not left yet, by all but the destination MAC
	replies  map[string]int           // whole frames that entered and have not left yet
	learned  bool                     // the switch knows where the router is
	early    map[copied]int           // copies that may leave beside the router's port: of frames from before that
	flows    map[netip.AddrPort]*flow // by the client's end
	opens    map[uint16]int           // by port: frames that open a connection and left for a server
	lastTo   map[uint16]time.Time     // when the last request frame left for a server
	lastFor  map[uint16]time.Time     // when the youngest frame entered that left for a server
	counts   frameCounts
	broken   []string // the first things that were not as they must be
	breaches int
}

type frameCounts struct {
	RequestsIn, RequestsOut int // frames from the client to the VIP, at the router's port and at servers' ports
	RepliesIn, RepliesOut   int // and back
	Flooded                 int // copies of replies, from before the switch knew the router
	ARPAnswers              int // for the VIP, by the switch
	ARPClaims               int // on the VIP, by anybody else
}

// copied is a frame at a port that it may leave by.
type copied struct {
	frame string
	port  uint16
}

// flow is what the captures say of one connection.
type flow struct {
	opened   time.Time
	to       uint16 // port of the server that the last request frame left for; 0 before
	answered uint16 // port of the server that accepted the connection; 0 before
	requests int    // frames that left for a server
	replies  int    // frames that left for the client
}

// server returns the port of the server that the flow was on.
func (f *flow) server() uint16 {
	if f.answered != 0 {
		return f.answered
	}
	return f.to
}

const (
	brokenKept = 5
	synACK     = packet.SYN | packet.ACK
)

func newProof(vip netip.AddrPort, vipMAC packet.MAC, router, management uint16, servers map[uint16]packet.MAC) *proof {
	return &proof{
		vip: vip, vipMAC: vipMAC, router: router, management: management, servers: servers,
		requests: make(map[string][]time.Time),
		replies:  make(map[string]int),
		early:    make(map[copied]int),
		flows:    make(map[netip.AddrPort]*flow),
		opens:    make(map[uint16]int),
		lastTo:   make(map[uint16]time.Time),
		lastFor:  make(map[uint16]time.Time),
	}
}

// tap returns the function that sees the frames of one port.
func (p *proof) tap(id uint16) func(port.Direction, time.Time, []byte) {
	return func(d port.Direction, at time.Time, frame []byte) {
		e := packet.Ethernet(frame)
		if !e.IsValid() {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		switch e.Type() {
		case packet.TypeARP:
			if a := packet.ARP(e.Payload()); a.IsValid() {
				p.arp(id, d, e, a)
			}
		case packet.TypeIPv4:
			ip := packet.IPv4(e.Payload())
			if !ip.IsValid() || ip.Protocol() != packet.ProtocolTCP || !packet.TCP(ip.Payload()).IsValid() {
				return
			}
			if ip.Dst() == p.vip.Addr() {
				p.request(id, d, at, e, ip)
			} else if ip.Src() == p.vip.Addr() {
				p.reply(id, d, e, ip)
			}
		}
	}
}

func (p *proof) request(id uint16, d port.Direction, at time.Time, e packet.Ethernet, ip packet.IPv4) {
	tcp := packet.TCP(ip.Payload())
	client := netip.AddrPortFrom(ip.Src(), tcp.SrcPort())
	key := string(e[len(packet.MAC{}):])
	if d == port.In {
		if id != p.router {
			p.breach("a frame for the VIP entered at port %d, which is not the router's", id)
		}
		if e.Dst() != p.vipMAC {
			p.breach("a frame for the VIP entered with destination MAC %v, want %v", e.Dst(), p.vipMAC)
		}
		p.counts.RequestsIn++
		p.requests[key] = append(p.requests[key], at)
		return
	}
	p.counts.RequestsOut++
	mac, server := p.servers[id]
	if !server {
		p.breach("a frame of %v for the VIP left at port %d, which is no server's", client, id)
	} else if e.Dst() != mac {
		p.breach("a frame of %v left at port %d with destination MAC %v, want %v", client, id, e.Dst(), mac)
	}
	opens := tcp.Flags()&synACK == packet.SYN
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
		f.to = id
	}
}

// youngest notes of a frame that opens a connection that it left for the server at port id, and when it had entered.
func (p *proof) youngest(id uint16, entered time.Time, opens bool) {
	if opens && entered.After(p.lastFor[id]) {
		p.lastFor[id] = entered
	}
}

func (p *proof) reply(id uint16, d port.Direction, e packet.Ethernet, ip packet.IPv4) {
	tcp := packet.TCP(ip.Payload())
	client := netip.AddrPortFrom(ip.Dst(), tcp.DstPort())
	f := p.flows[client]
	if d == port.In {
		mac, server := p.servers[id]
		if !server {
			p.breach("a frame from the VIP to %v entered at port %d, which is no server's", client, id)
		} else if e.Src() != mac {
			p.breach("a frame from the VIP to %v entered at port %d with source MAC %v, want %v", client, id, e.Src(), mac)
		}
		p.counts.RepliesIn++
		p.replies[string(e)]++
		if !p.learned {
			for other := range p.servers {
				if other != id {
					p.early[copied{string(e), other}]++
				}
			}
			p.early[copied{string(e), p.management}]++
		}
		if f != nil && tcp.Flags()&synACK == synACK {
			f.answered = id
		}
		return
	}
	if id != p.router {
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

func (p *proof) arp(id uint16, d port.Direction, e packet.Ethernet, a packet.ARP) {
	if a.Sender() != p.vip.Addr() {
		return
	}
	switch {
	case d == port.In:
		p.counts.ARPClaims++
		p.breach("%v at port %d speaks for the VIP in ARP", a.SenderMAC(), id)
	case a.Operation() == packet.ARPReply && a.SenderMAC() == p.vipMAC && e.Src() == p.vipMAC:
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

func (p *proof) breach(format string, args ...any) {
	p.breaches++
	if text := fmt.Sprintf(format, args...); len(p.broken) < brokenKept && !slices.Contains(p.broken, text) {
		p.broken = append(p.broken, text)
	}
}

// open starts a flow's record, before the client sends its first frame.
func (p *proof) open(client netip.AddrPort, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows[client] = &flow{opened: at}
}

// on returns what the captures say of an open flow.
func (p *proof) on(client netip.AddrPort) flow {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.flows[client]
}

// finish ends a flow's record. A flow that answered a request must have been seen both ways.
func (p *proof) finish(client netip.AddrPort, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[client]; answered && (f.requests == 0 || f.replies == 0 || f.answered == 0) {
		p.breach("%v got an answer, but %d frames to a server and %d back were seen", client, f.requests, f.replies)
	}
	delete(p.flows, client)
}

// lastRequest returns when the last request frame left for the server at port id, and when the youngest one that did
// and opens a connection had entered the switch. They are zero when none ever did.
func (p *proof) lastRequest(id uint16) (left, entered time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastTo[id], p.lastFor[id]
}

// routerIsLearned says that the switch knows where the router is: frames that enter from now on have
// no reason to be flooded.
func (p *proof) routerIsLearned() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learned = true
}

// opened returns how many frames that open a connection have left for the server at port id.
func (p *proof) opened(id uint16) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opens[id]
}

// verdict returns the counts so far, how many frames were not as they must be, and what is wrong: the first of those,
// and what was not seen at all.
func (p *proof) verdict() (counts frameCounts, breaches int, broken []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	broken = slices.Clone(p.broken)
	if more := p.breaches - len(broken); more > 0 {
		broken = append(broken, fmt.Sprintf("and so on, %d breaches in all", p.breaches))
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
			broken = append(broken, fmt.Sprintf("no %s was seen", seen.what))
		}
	}
	return p.counts, p.breaches, broken
}
