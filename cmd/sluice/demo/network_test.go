package demo

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// handSwitch is a balancing switch in a few lines, so that network, load and proof are tested without
// any of the parts that they judge. It sends a flow to server port 2 + client port % 3.
type handSwitch struct {
	mu       sync.Mutex // guards stations
	stations map[packet.MAC]uint16
	net      *network
}

var vip, vipMAC = fra.vip, fra.vipMAC

// run switches frames until the test ends.
func (h *handSwitch) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for id, p := range h.net.ports {
		running.Go(func() {
			p.Run(ctx, func(frames [][]byte) {
				for _, frame := range frames {
					h.forward(id, slices.Clone(frame))
				}
			})
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
}

func (h *handSwitch) forward(in uint16, frame []byte) {
	e := packet.Ethernet(frame)
	h.mu.Lock()
	h.stations[e.Src()] = in
	out := h.stations[e.Dst()]
	h.mu.Unlock()
	if a := packet.ARP(e.Payload()); e.Type() == packet.TypeARP && a.Operation() == packet.ARPRequest &&
		a.Target() == vip.Addr() {
		h.net.ports[in].Send(packet.NewARPReply(vipMAC, vip.Addr(), a.SenderMAC(), a.Sender()))
		return
	}
	if ip := packet.IPv4(e.Payload()); e.Type() == packet.TypeIPv4 && ip.Dst() == vip.Addr() {
		s := h.net.hosts[packet.TCP(ip.Payload()).SrcPort()%3]
		e.SetDst(s.MAC)
		out = s.Port
	}
	if out != 0 {
		h.net.ports[out].Send(frame)
		return
	}
	for id, p := range h.net.ports {
		if id != in {
			p.Send(frame)
		}
	}
}

// gentle is a rate of new connections, per second, that a busy machine bears: requests must not fail for want of a
// processor.
const gentle = 100 / slowdown

// handNetwork returns a data center with such a switch, and a load that goes there.
func handNetwork(t *testing.T, tamper tamper) (*network, *load) {
	t.Helper()
	w, err := newWorld("", tamper, fra)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	n := w.networks[0]
	(&handSwitch{stations: make(map[packet.MAC]uint16), net: n}).run(t)
	where := func(context.Context) (*network, error) { return n, nil }
	return n, newLoad(w.lab.Client.Host, keepPace(t), client.Address.Addr(), where)
}

// keepPace returns a clock that runs until the test ends.
func keepPace(t *testing.T) *pace {
	p := newPace()
	ctx, cancel := context.WithCancel(t.Context())
	var keeping sync.WaitGroup
	keeping.Go(func() { p.run(ctx) })
	t.Cleanup(func() { cancel(); keeping.Wait() })
	return p
}

// changed is a port whose frames are changed on their way.
type changed struct {
	port.Port
	out func(frame []byte)
	in  func(frame []byte)
}

func (c *changed) Send(frame []byte) {
	if c.out != nil {
		frame = slices.Clone(frame)
		c.out(frame)
	}
	c.Port.Send(frame)
}

func (c *changed) Run(ctx context.Context, receive func([][]byte)) error {
	return c.Port.Run(ctx, func(frames [][]byte) {
		for i := range frames {
			if c.in != nil {
				frames[i] = slices.Clone(frames[i])
				c.in(frames[i])
			}
		}
		receive(frames)
	})
}

// decrementTTL does what a router does and a switch must not.
func decrementTTL(frame []byte) {
	const ttl, checksum = packet.EthernetLen + 8, packet.EthernetLen + 10
	if packet.Ethernet(frame).Type() == packet.TypeIPv4 {
		frame[ttl]--
		frame[checksum], frame[checksum+1] = 0, 0
		sum := packet.Checksum(frame[packet.EthernetLen:][:packet.IPv4Len])
		frame[checksum], frame[checksum+1] = byte(sum>>8), byte(sum)
	}
}

// eventually waits for a condition that only the passing of real packets brings about.
func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come about")
		}
	}
}

// at puts changed on one port.
func at(id uint16, c changed) func(uint16, port.Port) port.Port {
	return func(of uint16, p port.Port) port.Port {
		if of != id {
			return p
		}
		c := c
		c.Port = p
		return &c
	}
}

// flooded sends what leaves by one port, and is chosen, by another too.
func flooded(from, to uint16, chosen func(packet.Ethernet) bool) func(uint16, port.Port) port.Port {
	var copies struct {
		sync.Mutex
		port.Port
	}
	return func(id uint16, p port.Port) port.Port {
		if id == to {
			copies.Lock()
			copies.Port = p
			copies.Unlock()
		}
		if id != from {
			return p
		}
		return &changed{Port: p, out: func(frame []byte) {
			copies.Lock()
			defer copies.Unlock()
			if chosen(frame) && copies.Port != nil {
				copies.Port.Send(frame)
			}
		}}
	}
}

func fromVIP(e packet.Ethernet) bool {
	return e.Type() == packet.TypeIPv4 && packet.IPv4(e.Payload()).Src() == vip.Addr()
}

func toVIP(e packet.Ethernet) bool {
	return e.Type() == packet.TypeIPv4 && packet.IPv4(e.Payload()).Dst() == vip.Addr()
}

// broken is what the proof of a network finds wrong.
func broken(n *network) []string {
	v := n.proof.Finding()
	return slices.Concat(v.Broken, v.Unseen)
}

// The demo's network lies, and the proof at its ports finds it out.
func TestProof(t *testing.T) {
	stranger := packet.MAC{2, 0, 0, 0, 0, 0x99}
	for _, test := range []struct {
		name   string
		tamper tamper
		want   []string // in the first breach; nil: proved
	}{
		{"honest", tamper{}, nil},
		{
			"the switch changes an IP byte to a server",
			tamper{inside: at(3, changed{out: decrementTTL})},
			[]string{"left at port 3 with other bytes than it entered with"},
		},
		{
			"the switch changes an IP byte to the router",
			tamper{inside: at(routerPort, changed{out: decrementTTL})},
			[]string{"a frame from the VIP to 192.0.2.10:", "left with other bytes than it entered with"},
		},
		{
			"the switch sends replies to a server too",
			tamper{inside: flooded(routerPort, 2, fromVIP)},
			[]string{"a frame from the VIP to 192.0.2.10:", "left by port 2, which is not the router's"},
		},
		{
			"the switch sends replies twice",
			tamper{inside: flooded(routerPort, routerPort, fromVIP)},
			[]string{"a frame from the VIP to 192.0.2.10:", "or left twice"},
		},
		{
			"the switch sends requests to two servers",
			tamper{inside: flooded(3, 4, toVIP)},
			[]string{"a frame of 192.0.2.10:",
				"left at port 4 with destination MAC 02:00:00:00:00:12, want 02:00:00:00:00:13"},
		},
		{
			"a server answers from another MAC",
			tamper{wire: at(4, changed{in: func(frame []byte) {
				if e := packet.Ethernet(frame); e.Type() == packet.TypeIPv4 {
					e.SetSrc(stranger)
				}
			}})},
			[]string{"entered at port 4 with source MAC 02:00:00:00:00:99, want 02:00:00:00:00:13"},
		},
		{
			"a server answers ARP for the VIP",
			tamper{wire: at(2, changed{in: func(frame []byte) {
				if e := packet.Ethernet(frame); e.Type() == packet.TypeARP &&
					packet.ARP(e.Payload()).Operation() == packet.ARPReply {
					copy(frame, packet.NewARPReply(e.Src(), vip.Addr(), e.Dst(), packet.ARP(e.Payload()).Target()))
				}
			}})},
			[]string{"02:00:00:00:00:11 at port 2 speaks for the VIP in ARP"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, l := handNetwork(t, test.tamper)
			l.once(t.Context())
			n.proof.RouterIsLearned()
			l.start(t.Context(), gentle)
			// Somebody asks each server for its own MAC, as health checks do.
			for _, s := range n.hosts {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				n.mgmt.Ping(ctx, s.Address.Addr()) // may fail: where a server lies in ARP
				cancel()
			}
			eventually(t, func() bool {
				return l.now().ok+l.now().failedLive >= 100 && (len(test.want) == 0 || len(broken(n)) > 0)
			})
			l.stop()
			done := l.now()
			broken := broken(n)
			if len(test.want) == 0 {
				if len(broken) > 0 {
					t.Errorf("broken: %q", broken)
				}
				if done.ok != done.issued {
					t.Errorf("%d of %d requests answered: %q", done.ok, done.issued, done.failures)
				}
				for _, s := range n.hosts {
					if answers := done.fresh[s.Name] + done.kept[s.Name]; answers == 0 ||
						int(s.served.Load()) != answers {
						t.Errorf("%s answered %d requests and sent %d pages", s.Name, answers, s.served.Load())
					}
				}
				if v := n.proof.Finding(); v.ARPClaims != 0 || v.Flooded != 0 {
					t.Errorf("verdict: %+v", v)
				}
				// The last segments of closed connections arrive, and nothing is left over.
				eventually(t, func() bool {
					v := n.proof.Finding()
					return v.Flows+v.Waiting == 0 && v.RequestsIn == v.RequestsOut && v.RepliesIn == v.RepliesOut
				})
				return
			}
			if len(broken) == 0 {
				t.Fatal("nothing was found")
			}
			for _, want := range test.want {
				if !strings.Contains(broken[0], want) {
					t.Errorf("found %q, want %q", broken[0], want)
				}
			}
		})
	}
}

// A request that fails is charged to the server that its connection was on.
func TestBlame(t *testing.T) {
	n, l := handNetwork(t, tamper{})
	l.start(t.Context(), gentle)
	eventually(t, func() bool { return len(l.openBefore(time.Now())) == 3 })
	sessions := l.openBefore(time.Now())
	web2 := n.server("web2")
	died := web2.powerOff()
	eventually(t, func() bool {
		left, _ := n.proof.LastRequest(web2.Port)
		return left.After(died)
	})
	if err := web2.powerOn(); err != nil { // knows nothing of the old connections, and says so
		t.Fatal(err)
	}
	// Some wait for a page that it was about to send: nothing tells them.
	eventually(t, func() bool {
		l.giveUpLost()
		return l.now().failedDead >= sessions["web2"]
	})
	l.stop()
	done := l.now()
	if done.failedLive != 0 {
		t.Errorf("%d requests charged to live servers: %q", done.failedLive, done.failures)
	}
	if done.ok+done.failedDead != done.issued {
		t.Errorf("%+v", done)
	}
	if broken := broken(n); len(broken) > 0 {
		t.Errorf("broken: %q", broken)
	}
}

// Requests to a data center that is dead as a whole are charged to it, and end when their clients give up; who asks
// after its return is answered.
func TestBlackout(t *testing.T) {
	n, l := handNetwork(t, tamper{})
	l.start(t.Context(), gentle)
	eventually(t, func() bool { return len(l.openBefore(time.Now())) == 3 })
	died := n.powerOff()
	eventually(t, func() bool {
		left, _ := n.proof.LastRequest(firstServer)
		return left.After(died)
	})
	stopped := make(chan struct{})
	go func() { l.stop(); close(stopped) }()
	eventually(t, func() bool {
		l.giveUp(n)
		select {
		case <-stopped:
			return true
		default:
			return false
		}
	})
	dark := l.now()
	if dark.failedDead == 0 || dark.failedLive != 0 || dark.ok+dark.failedDead != dark.issued {
		t.Errorf("of requests in the dark: %+v", dark)
	}
	if err := n.powerOn(); err != nil {
		t.Fatal(err)
	}
	back := l.await(n)
	l.start(t.Context(), gentle)
	if page := <-back; !slices.Contains(n.servers, page.server) {
		t.Errorf("the first page after the return: %+v", page)
	}
	l.stop()
	if light := l.now().since(dark); light.ok == 0 || light.ok != light.issued {
		t.Errorf("of requests after the return: %+v", light)
	}
}

func TestDeadDuring(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	n := newNetwork(ams)
	n.hosts[0].outages = []outage{{at(10), at(20)}, {at(40), at(50)}}
	n.hosts[1].outages = []outage{{at(20), at(30)}, {at(45), time.Time{}}}
	for _, test := range []struct {
		name     string
		port     uint16
		from, to int64
		want     bool
	}{
		{"before", 2, 0, 10, false},
		{"into its outage", 2, 0, 11, true},
		{"within", 2, 12, 13, true},
		{"after", 2, 20, 40, false},
		{"without end", 3, 60, 70, true},
		{"nobody's", 0, 0, 9, false},
		{"nobody's, one after the other dead", 0, 0, 45, false},
		{"nobody's, all dead", 0, 41, 46, true},
		{"nobody's, since all are dead", 0, 46, 47, true},
		{"nobody's, since one is back", 0, 50, 70, false},
		{"a stranger's", 9, 0, 100, false},
	} {
		if got := n.deadDuring(test.port, at(test.from), at(test.to)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
