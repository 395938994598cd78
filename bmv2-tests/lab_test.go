package bmv2tests

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// twoSegments is two data centers behind one router.
//
//	client ── router ──1┌────────┐2── web1 10.0.0.11, with the VIP 10.0.0.100
//	             │      │   a    │3── manager
//	             │      └────────┘
//	             └─────1┌────────┐2── web2 10.1.0.11, with the VIP 10.1.0.100
//	                    │   b    │3── manager
//	                    └────────┘
func twoSegments() lab.Topology {
	t := lab.Topology{Client: topology.Client, Outside: topology.Outside}
	for n, name := range []string{"a", "b"} {
		address := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n), 0, last}) }
		node := func(name string, id uint16, last byte) lab.Node {
			mac := packet.MAC{2, 0, 0, 0, byte(n), last}
			return lab.Node{Name: name, Port: id, MAC: mac, Address: netip.PrefixFrom(address(last), 24)}
		}
		router, web := node("router", 1, 1), node(fmt.Sprint("web", n+1), 2, 11)
		router.Router, web.VIPs = true, []netip.Addr{address(100)}
		t.Segments = append(t.Segments, lab.Segment{Name: name, Nodes: []lab.Node{router, web, node("manager", 3, 2)}})
	}
	return t
}

// hub is a switch that repeats every frame to all other ports.
type hub struct{}

func (hub) Start(ctx context.Context, _ string, ports map[uint16]port.Port) (*lab.Running, error) {
	var running sync.WaitGroup
	for in, p := range ports {
		running.Go(func() {
			p.Run(ctx, func(frames [][]byte) {
				for _, frame := range frames {
					for out, p := range ports {
						if in != out {
							p.Send(frame)
						}
					}
				}
			})
		})
	}
	return &lab.Running{Wait: func() error { running.Wait(); return nil }}, nil
}

// bridge is the kernel's switch.
type bridge struct{}

func (bridge) Start(_ context.Context, _ string, ports map[uint16]string) (*lab.Running, error) {
	ip := func(args ...string) error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	name := ports[1] + "b"
	if err := ip("link", "add", name, "up", "type", "bridge", "mcast_snooping", "0"); err != nil {
		return nil, err
	}
	for _, p := range ports {
		if err := ip("link", "set", p, "master", name); err != nil {
			return nil, err
		}
	}
	return &lab.Running{Wait: func() error { return ip("link", "del", name) }}, nil
}

// One topology of two data centers is the same network, whatever it is made of.
func TestLab(t *testing.T) {
	t.Run("in process", func(t *testing.T) {
		l, err := lab.InProcess(twoSegments(), lab.Options{Switch: hub{}})
		if err != nil {
			t.Fatal(err)
		}
		exercise(t, l)
	})
	t.Run("namespaces", func(t *testing.T) {
		needNamespaces(t)
		l, err := namespaces.New(twoSegments(), bridge{})
		if err != nil {
			t.Fatal(err)
		}
		exercise(t, l)
	})
}

func exercise[H lab.Host, P any](t *testing.T, l *lab.Lab[H, P]) {
	closeLater(t, l)
	get := func(from lab.Host, address string, limit time.Duration) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		body, err := from.Get(ctx, "http://"+address+"/")
		if err != nil {
			return "no answer"
		}
		return body
	}
	var got, want []string
	add := func(wanted, body string) { got, want = append(got, body), append(want, wanted) }
	var mu sync.Mutex
	entered := make(map[string]int) // frames of the client, by segment
	for i, s := range l.Sites {
		web := s.Nodes[1]
		host := s.Host(web.Name)
		for _, address := range []netip.Addr{web.Address.Addr(), web.VIPs[0]} {
			listener, err := host.Listen(netip.AddrPortFrom(address, 80))
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, "%s for %s", web.Name, r.RemoteAddr[:strings.LastIndex(r.RemoteAddr, ":")])
			})}
			go server.Serve(listener) // until the test ends
			t.Cleanup(func() { server.Close() })
		}
		stop, err := s.Host("router").Capture(func(f lab.Frame) {
			e := packet.Ethernet(f.Data)
			if !f.Sent || e.Type() != packet.TypeIPv4 {
				return
			}
			if ip := packet.IPv4(e.Payload()); ip.IsValid() && ip.Src() == topology.Client.Address.Addr() {
				mu.Lock()
				defer mu.Unlock()
				entered[s.Name]++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)

		// The client is behind the router, whose leg in this segment its frames take.
		add(web.Name+" for 192.0.2.10", get(l.Client, web.Address.Addr().String(), patience))
		err = poll(func() error { // a capture may be behind
			mu.Lock()
			defer mu.Unlock()
			if entered[s.Name] == 0 || len(entered) != i+1 {
				return fmt.Errorf("frames by segments: %v", entered)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		// A cable.
		for _, up := range []bool{false, true} {
			if err := host.SetLink(up); err != nil {
				t.Fatal(err)
			}
			wanted, limit := "no answer", time.Second
			if up {
				wanted, limit = fmt.Sprintf("%s for 10.%d.0.2", web.Name, i), patience
			}
			add(wanted, get(s.Host("manager"), web.Address.Addr().String(), limit))
		}
		// The VIP, which nobody answers for, and then the server.
		add("no answer", get(s.Host("manager"), web.VIPs[0].String(), time.Second))
		if err := host.SuppressARP(false); err != nil {
			t.Fatal(err)
		}
		add(fmt.Sprintf("%s for 10.%d.0.2", web.Name, i), get(s.Host("manager"), web.VIPs[0].String(), patience))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}

// The cards of the hosts are read each on its own: in which order frames passed two of them is not known.
func TestJudge(t *testing.T) {
	node := func(name string) lab.Node { return topology.Segments[0].Node(name) }
	router, web1, web2 := node("router"), node("web1"), node("web2")
	clientEnd, vipEnd := netip.MustParseAddrPort("192.0.2.10:20000"), netip.AddrPortFrom(vip, 80)
	request := func(port uint16, way port.Direction, mac packet.MAC) captured {
		s := packet.Segment{SrcMAC: router.MAC, DstMAC: mac, Src: clientEnd, Dst: vipEnd}
		return captured{port, way, packet.NewTCP(s)}
	}
	reply := func(port uint16, way port.Direction) captured {
		s := packet.Segment{SrcMAC: web1.MAC, DstMAC: router.MAC, Src: vipEnd, Dst: clientEnd}
		return captured{port, way, packet.NewTCP(s)}
	}
	claim := captured{web2.Port, port.In, packet.NewARPReply(web2.MAC, vip, router.MAC, router.Address.Addr())}
	fine := []captured{
		request(web1.Port, port.Out, web1.MAC), reply(router.Port, port.Out),
		claim, reply(web1.Port, port.In), request(router.Port, port.In, switchMAC),
	}
	for _, test := range []struct {
		name   string
		frames []captured
		want   string
	}{
		{"in any order", fine, ""},
		{"nothing", nil, "no frames were captured"},
		{
			"a request and a reply that were lost",
			append([]captured{request(router.Port, port.In, switchMAC), reply(web1.Port, port.In)}, fine...),
			"2 of 2 frames to the VIP and 2 from it did not leave the switch",
		},
		{
			"a reply that the manager gets too", append([]captured{reply(node("manager").Port, port.Out)}, fine...),
			"a frame from the VIP to 192.0.2.10:20000 left by port 2, which is not the router's",
		},
		{
			"a request for a server's MAC",
			append([]captured{request(router.Port, port.In, web1.MAC), request(web1.Port, port.Out, web1.MAC)},
				fine...),
			"a frame for the VIP entered with destination MAC 02:00:00:00:00:11, want 02:53:4c:00:00:01",
		},
		{
			"a claim that the router hears", append([]captured{{router.Port, port.Out, claim.data}}, fine...),
			"ARP that names 02:00:00:00:00:12 as the VIP left at port 1",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if _, err := (&capture{frames: test.frames}).judge(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("error %q, want %q", got, test.want)
			}
		})
	}
}
