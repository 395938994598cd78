package check_test

import (
	"context"
	"errors"
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
		errs <- run(t, check.TCP{Network: n, Address: netip.MustParseAddrPort("127.0.0.1:80"), Close: check.CloseFIN, Wait: time.Millisecond}, time.Second)
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
