package port

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/packet/packettest"
)

// Topology, in a network namespace of the test's own:
//
//	port under test -- sw ======veth====== peer -- a second port, or the kernel's own stack
//
// inNamespace locks the test to its thread there, and makes the pair.
func inNamespace(t *testing.T) (sw, peer netlink.Link) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace and opens packet sockets")
	}
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	ns, err := netns.New()
	if err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := netns.Set(old); err == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
		ns.Close()
		old.Close()
	})
	// Neighbour discovery and router solicitations would be noise.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sw"}, PeerName: "peer"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Skipf("needs veth: %v", err)
	}
	sw, peer = linkByName(t, "sw"), linkByName(t, "peer")
	for _, l := range []netlink.Link{sw, peer} {
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	return sw, peer
}

func linkByName(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func open(t *testing.T, name string) Port {
	t.Helper()
	p, err := OpenPacket(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// arrivals runs p until the test ends and returns the frames it receives.
func arrivals(t *testing.T, p Port) <-chan []byte {
	t.Helper()
	frames := make(chan []byte, 4096)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- p.Run(ctx, func(batch [][]byte) {
			for _, f := range batch {
				frames <- bytes.Clone(f)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return frames
}

func send(t *testing.T, p Port, frame []byte) {
	t.Helper()
	p.Send(frame)
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
}

// sendUntil sends the frame again and again until it arrives: for a while after a link was set up, the kernel drops
// what is sent by it without a word.
func sendUntil(t *testing.T, p Port, frame []byte, arrived <-chan []byte) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		send(t, p, frame)
		select {
		case f := <-arrived:
			packettest.Equal(t, f, frame)
			return
		case <-again.C:
		}
	}
}

// frameOf returns an Ethernet frame for nobody here, of n bytes.
func frameOf(n int, fill byte) []byte {
	f := packet.AppendEthernet(nil, packet.MAC{2, 9, 9, 9, 9, 9}, packet.MAC{2, 0, 0, 0, 0, 1}, 0x88b5)
	return append(f, bytes.Repeat([]byte{fill}, n-len(f))...)
}

func TestPacketBothWays(t *testing.T) {
	inNamespace(t)
	a, b := open(t, "sw"), open(t, "peer")
	atA, atB := arrivals(t, a), arrivals(t, b)
	const n = 500 // several batches, and it fits the ring
	for i := range n {
		a.Send(frameOf(60+i, byte(i)))
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		packettest.Equal(t, <-atB, frameOf(60+i, byte(i)))
	}
	send(t, b, frameOf(100, 7))
	packettest.Equal(t, <-atA, frameOf(100, 7)) // and nothing of its own before it
	if diff := cmp.Diff(Counters{Received: 1, Sent: n}, a.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// Run can be ended and begun again; what arrived meanwhile waits in the ring.
func TestPacketRunAgain(t *testing.T) {
	inNamespace(t)
	a, b := open(t, "sw"), open(t, "peer")
	for i := range 3 {
		send(t, b, frameOf(60, byte(i)))
		ctx, cancel := context.WithCancel(t.Context())
		err := a.Run(ctx, func(frames [][]byte) {
			packettest.Equal(t, frames[0], frameOf(60, byte(i)))
			cancel()
		})
		if err != nil {
			t.Fatalf("Run: %v", err)
		}
	}
}

func TestPacketTag(t *testing.T) {
	sw, peer := inNamespace(t)
	for _, l := range []netlink.Link{sw, peer} {
		if err := netlink.LinkSetMTU(l, 9000); err != nil {
			t.Fatal(err)
		}
	}
	a, b := open(t, "sw"), open(t, "peer")
	atA := arrivals(t, a)
	for _, n := range []int{60, 5000} {
		plain := frameOf(n, 3)
		tagged := append(bytes.Clone(plain[:12]), 0x81, 0x00, 0x60, 0x2a)
		tagged = append(tagged, plain[12:]...)
		send(t, b, tagged)
		packettest.Equal(t, <-atA, tagged)
	}
}

func TestPacketLong(t *testing.T) {
	sw, peer := inNamespace(t)
	for _, l := range []netlink.Link{sw, peer} {
		if err := netlink.LinkSetMTU(l, 65535); err != nil {
			t.Fatal(err)
		}
	}
	a, b := open(t, "sw"), open(t, "peer")
	atA := arrivals(t, a)
	for _, n := range []int{1500, 1960, 1980, 2048, 2049, 9000, 65535, 65535 + 14, 100} {
		send(t, b, frameOf(n, 5))
		packettest.Equal(t, <-atA, frameOf(n, 5))
	}
}

func TestPacketLongerThanMTU(t *testing.T) {
	inNamespace(t)
	a := open(t, "sw")
	for _, n := range []int{1600, 3000} {
		a.Send(frameOf(100, 1))
		a.Send(frameOf(n, 1))
		a.Send(frameOf(100, 1))
		err := a.Flush()
		want := "interface sw: sending: frame is longer than the MTU: turn the hosts' offloads off (ethtool -K IF tx " +
			"off gro off) or raise the MTU"
		if err == nil || err.Error() != want {
			t.Errorf("Flush: %v, want %s", err, want)
		}
	}
	if diff := cmp.Diff(Counters{Sent: 4, SendDropped: 2}, a.Counters()); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	if err := a.Flush(); err != nil {
		t.Errorf("second Flush: %v", err)
	}
}

// A host that leaves checksums to its interface, as veth has it by default, sends none.
func TestPacketCompletesChecksums(t *testing.T) {
	_, peer := inNamespace(t)
	address, err := netlink.ParseAddr("10.0.0.1/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(peer, address); err != nil {
		t.Fatal(err)
	}
	err = netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: peer.Attrs().Index, State: netlink.NUD_PERMANENT,
		IP: net.IPv4(10, 0, 0, 2), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	frames := arrivals(t, open(t, "sw"))
	conn, err := net.Dial("udp4", "10.0.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("payload")); err != nil {
		t.Fatal(err)
	}
	for frame := range frames {
		ip := packet.IPv4(packet.Ethernet(frame).Payload())
		if packet.Ethernet(frame).Type() != packet.TypeIPv4 || ip.Protocol() != packet.ProtocolUDP {
			continue // IGMP and the like
		}
		if packet.TransportChecksum(ip.Src(), ip.Dst(), packet.ProtocolUDP, ip.Payload()) != 0 {
			t.Errorf("wrong UDP checksum in %s", packettest.Describe(frame))
		}
		if want := netip.MustParseAddr("10.0.0.2"); ip.Dst() != want {
			t.Errorf("destination is %v, want %v", ip.Dst(), want)
		}
		return
	}
}

func TestPacketInterfaceDownAndUp(t *testing.T) {
	sw, peer := inNamespace(t)
	a, b := open(t, "sw"), open(t, "peer")
	atA := arrivals(t, a)
	send(t, b, frameOf(60, 1))
	<-atA
	if err := netlink.LinkSetDown(sw); err != nil {
		t.Fatal(err)
	}
	a.Send(frameOf(60, 1))
	if err, want := a.Flush(), "interface sw: sending: network is down"; err == nil || err.Error() != want {
		t.Errorf("Flush: %v, want %s", err, want)
	}
	for _, l := range []netlink.Link{sw, peer} {
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	sendUntil(t, b, frameOf(60, 2), atA)
}

func TestPacketInterfaceGone(t *testing.T) {
	sw, _ := inNamespace(t)
	a := open(t, "sw")
	here, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(here); err != nil {
			done <- err
			return
		}
		done <- a.Run(context.Background(), func([][]byte) {})
	}()
	if err := netlink.LinkDel(sw); err != nil {
		t.Fatal(err)
	}
	if err, want := <-done, "interface sw: is gone"; err == nil || err.Error() != want || !errors.Is(err, ErrGone) {
		t.Errorf("Run: %v, want %s", err, want)
	}
	if diff := cmp.Diff(State{Name: "sw", Status: NotPresent, Reason: "the interface is gone"}, a.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	a.Send(frameOf(60, 1))
	if err := a.Flush(); err == nil {
		t.Error("a frame was sent by an interface that is gone")
	}
	// An interface of the same name is another one. The port works there as before, wherever Run runs.
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sw"}, PeerName: "peer"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(State{Name: "sw", Status: Down, SetDown: true, Reason: "the interface is set down"},
		a.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if err := netlink.LinkSetUp(linkByName(t, "sw")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(State{Name: "sw", Status: Down, Reason: "the interface has no carrier"},
		a.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if err := netlink.LinkSetUp(linkByName(t, "peer")); err != nil {
		t.Fatal(err)
	}
	b := open(t, "peer")
	atA, atB := arrivals(t, a), arrivals(t, b)
	sendUntil(t, b, frameOf(60, 2), atA) // Run has to bind the sockets, too
	if diff := cmp.Diff(State{Name: "sw"}, a.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	send(t, a, frameOf(60, 3))
	packettest.Equal(t, <-atB, frameOf(60, 3))
}

// An interface that is renamed goes on to be the port, while it is up and while it is down, and another one of its
// former name is not.
func TestPacketInterfaceRenamed(t *testing.T) {
	sw, peer := inNamespace(t)
	a, b := open(t, "sw"), open(t, "peer")
	atA, atB := arrivals(t, a), arrivals(t, b)
	passes := func(name string) {
		t.Helper()
		sendUntil(t, b, frameOf(60, 1), atA)
		sendUntil(t, a, frameOf(60, 2), atB)
		for _, waiting := range []<-chan []byte{atA, atB} { // sent again, as the link was not up yet
			for len(waiting) > 0 {
				<-waiting
			}
		}
		if diff := cmp.Diff(State{Name: name}, a.State()); diff != "" {
			t.Errorf("state (-want +got):\n%s", diff)
		}
	}
	passes("sw")
	switch err := netlink.LinkSetName(sw, "live"); {
	case errors.Is(err, unix.EBUSY):
		t.Log("this kernel renames no interface that is up (6.2 does)")
	case err != nil:
		t.Fatal(err)
	default:
		passes("live")
	}
	for _, err := range []error{
		netlink.LinkSetDown(sw), netlink.LinkSetName(sw, "later"),
		netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "sw"}, PeerName: "other"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := State{Name: "later", Status: Down, SetDown: true, Reason: "the interface is set down"}
	if diff := cmp.Diff(want, a.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	for _, link := range []netlink.Link{sw, peer} {
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
	passes("later")
}

// A port that has read the error of an interface set down is told nothing when the interface is deleted.
func TestPacketInterfaceGoneWhileDown(t *testing.T) {
	sw, _ := inNamespace(t)
	a, b := open(t, "sw"), open(t, "peer")
	send(t, b, frameOf(60, 1)) // waits in the ring for Run
	if err := netlink.LinkSetDown(sw); err != nil {
		t.Fatal(err)
	}
	if errno, err := unix.GetsockoptInt(a.(*packetPort).ring.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil ||
		errno == 0 {
		t.Fatalf("the socket's error after the interface went down: %d, %v", errno, err)
	}
	err := a.Run(t.Context(), func([][]byte) {
		if err := netlink.LinkDel(sw); err != nil { // while Run runs
			t.Error(err)
		}
	})
	if want := "interface sw: is gone"; err == nil || err.Error() != want || !errors.Is(err, ErrGone) {
		t.Errorf("Run: %v, want %s", err, want)
	}
}

func TestOpenPacketErrors(t *testing.T) {
	_, err := OpenPacket("veth9")
	if want := "interface veth9: no such network interface"; err == nil || err.Error() != want ||
		!errors.Is(err, ErrNoInterface) {
		t.Errorf("OpenPacket: %v, want %s", err, want)
	}
	if os.Geteuid() != 0 {
		_, err := OpenPacket("lo")
		if want := "interface lo: socket: operation not permitted: needs root or CAP_NET_RAW"; err == nil ||
			err.Error() != want {
			t.Errorf("OpenPacket: %v, want %s", err, want)
		}
	}
}
