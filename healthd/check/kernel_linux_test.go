package check_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/healthd/check"
)

// A host without a route is this host's fault, not the server's.
func TestNoRoute(t *testing.T) {
	errs := make(chan error, 2)
	go func() {
		defer close(errs)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			errs <- err
			return
		}
		errs <- run(t, check.TCP{Network: check.Kernel{}, Address: netip.MustParseAddrPort("10.0.0.11:80")}, patience)
		errs <- run(t, check.ICMP{Network: check.Kernel{}, Address: netip.MustParseAddr("10.0.0.11")}, patience)
	}()
	want := []string{
		"TCP 10.0.0.11:80: connecting: not asked: network is unreachable",
		"ICMP echo 10.0.0.11: pinging: not asked: network is unreachable",
	}
	for err := range errs {
		if err == unix.EPERM {
			t.Skip("a network namespace needs root")
		}
		if !errors.Is(err, check.ErrNotAsked) || err.Error() != want[0] {
			t.Errorf("got %v, want %s", err, want[0])
		}
		want = want[1:]
	}
}

// What the routes of this host forbid was not asked; that nobody answers to ARP is the server's fault.
//
//	this host  eth0 10.9.0.2/24 ---- veth ---- (no address)
func TestRoutes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the kernel's time to give up on ARP")
	}
	var (
		setUp error
		errs  = map[string]error{}
		done  = make(chan struct{})
	)
	asks := map[string][2]string{
		"blackhole":   {"192.0.2.1", "not asked: invalid argument"},
		"prohibit":    {"192.0.2.2", "not asked: permission denied"},
		"unreachable": {"192.0.2.3", "not asked: no route to host"},
		"no ARP":      {"10.9.0.1", "no route to host"},
	}
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if setUp = unix.Unshare(unix.CLONE_NEWNET); setUp != nil {
			return
		}
		if setUp = forbiddenRoutes(); setUp != nil {
			return
		}
		for name, a := range asks {
			errs[name] = run(t, check.TCP{Network: check.Kernel{},
				Address: netip.AddrPortFrom(netip.MustParseAddr(a[0]), 80)},
				patience)
		}
	}()
	<-done
	if setUp == unix.EPERM {
		t.Skip("a network namespace needs root")
	}
	if setUp != nil {
		t.Fatal(setUp)
	}
	for name, a := range asks {
		err, want := errs[name], fmt.Sprintf("TCP %s:80: connecting: %s", a[0], a[1])
		if err == nil || err.Error() != want || errors.Is(err, check.ErrNotAsked) != (name != "no ARP") {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func forbiddenRoutes() error {
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth1"}); err != nil {
		return err
	}
	for _, name := range []string{"lo", "eth0", "eth1"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if name != "eth0" {
			continue
		}
		addr, err := netlink.ParseAddr("10.9.0.2/24")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	for to, kind := range map[string]int{"192.0.2.1/32": unix.RTN_BLACKHOLE, "192.0.2.2/32": unix.RTN_PROHIBIT,
		"192.0.2.3/32": unix.RTN_UNREACHABLE} {
		dst, err := netlink.ParseIPNet(to)
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Type: kind}); err != nil {
			return fmt.Errorf("route to %s: %w", to, err)
		}
	}
	return nil
}

// Who may not ping has asked nobody.
func TestPingWithoutTheRight(t *testing.T) {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		// A new namespace has no group that may have ping sockets.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			errs <- err
			return
		}
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			errs <- fmt.Errorf("giving up the right: %w", err)
			return
		}
		errs <- run(t, check.ICMP{Network: check.Kernel{}, Address: netip.MustParseAddr("127.0.0.1")}, patience)
	}()
	err := <-errs
	if err == unix.EPERM {
		t.Skip("a network namespace needs root")
	}
	const want = "ICMP echo 127.0.0.1: pinging: not asked: neither a ping socket (net.ipv4.ping_group_range must " +
		"include this group: permission denied) " +
		"nor a raw socket (needs CAP_NET_RAW: operation not permitted)"
	if err == nil || err.Error() != want || !errors.Is(err, check.ErrNotAsked) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// dyingNetwork loses every packet once a connection stands.
type dyingNetwork struct {
	check.Kernel
	die func() error
}

func (n dyingNetwork) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := n.Kernel.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return conn, n.die()
}

// A server that dies before it acknowledges the FIN has not passed.
func TestUnacknowledgedFIN(t *testing.T) {
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			errs <- err
			return
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			errs <- err
			return
		}
		l, err := net.Listen("tcp", "127.0.0.1:80")
		if err != nil {
			errs <- err
			return
		}
		defer l.Close()
		n := dyingNetwork{die: func() error { return netlink.LinkSetDown(lo) }}
		errs <- run(t, check.TCP{Network: n, Address: netip.MustParseAddrPort("127.0.0.1:80"), Close: check.CloseFIN,
			Wait: time.Millisecond}, time.Second)
	}()
	err := <-errs
	if err == unix.EPERM {
		t.Skip("a network namespace needs root")
	}
	const want = "TCP 127.0.0.1:80: closing: no answer within "
	if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %s...", err, want)
	}
}
