package check_test

import (
	"errors"
	"net/netip"
	"runtime"
	"testing"

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
