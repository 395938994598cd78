package healthd

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluicelb/sluice/controller/api"
)

// cable joins a healthd in a namespace of its own with a server in that of this goroutine. The controller is reached
// over a Unix socket, which no cable cuts.
//
//	controller -- unix socket -- healthd                           server
//	                             here 10.9.0.2 ---- veth ---- 10.9.0.1 there, port 80
type cable struct {
	healthd *netlink.Handle // of healthd's namespace
	here    netlink.Link    // in there
	address *netlink.Addr
	there   netlink.Link
}

func newCable(t *testing.T, healthd *os.Process) *cable {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "there"},
		PeerName: "here"}); err != nil {
		t.Skipf("needs virtual Ethernet: %v", err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	addr := func(text string) *netlink.Addr {
		t.Helper()
		a, err := netlink.ParseAddr(text)
		must(err)
		return a
	}
	there, err := netlink.LinkByName("there")
	must(err)
	here, err := netlink.LinkByName("here")
	must(err)
	must(netlink.LinkSetNsPid(here, healthd.Pid))
	must(netlink.AddrAdd(there, addr("10.9.0.1/24")))
	must(netlink.LinkSetUp(there))
	ns, err := netns.GetFromPid(healthd.Pid)
	must(err)
	t.Cleanup(func() { ns.Close() })
	h, err := netlink.NewHandleAt(ns)
	must(err)
	t.Cleanup(h.Close)
	lo, err := h.LinkByName("lo")
	must(err)
	must(h.LinkSetUp(lo))
	here, err = h.LinkByName("here")
	must(err)
	return &cable{healthd: h, here: here, address: addr("10.9.0.2/24"), there: there}
}

// A healthd that cannot reach anything itself calls nobody down, not even by the questions that were under way. One
// whose network is in order, and is cut off further on, does: it cannot know better.
func TestOwnSideBrokenFailsNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of real time")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	ns, err := netns.New()
	if err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	defer ns.Close()

	c := newController(checked(&api.PoolChecks{
		Pool:     "web",
		Backends: []*api.CheckedBackend{{Name: "web1", Address: "10.9.0.1"}},
		Checks: []*api.Check{{
			Type: "http", Port: 80, Path: "/healthz", Rise: 1, Fall: 1,
			Interval: durationpb.New(100 * time.Millisecond), FastInterval: durationpb.New(50 * time.Millisecond),
			Timeout: durationpb.New(2 * time.Second),
		}},
	}))
	address := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	c.serve(t, address)
	var log lines
	healthd := exec.Command(os.Args[0])
	healthd.Env = append(os.Environ(), stoppedEnv+"="+address)
	healthd.Stderr = &log
	healthd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := healthd.Start(); err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	defer healthd.Wait()
	defer healthd.Process.Kill()
	w := newCable(t, healthd.Process)
	l, err := net.Listen("tcp", "10.9.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(300 * time.Millisecond) // so that a question is always under way
	})}
	go server.Serve(l)
	defer server.Close()

	// says waits for the verdict, and then for so many repetitions of it. Until then nobody is called anything but
	// what is named.
	says := func(when, verdict, reason string, repeated int, others ...string) {
		t.Helper()
		late := time.After(patience)
		for n := 0; n <= repeated; {
			select {
			case r := <-c.reports:
				switch got := text(r); {
				case got == verdict && strings.Contains(r.Verdicts[0].Reason, reason):
					n++
				case n > 0 || got != "" && !strings.Contains(fmt.Sprint(others), got):
					t.Fatalf("%s: got %v after %d of %q\n%s", when, r, n, verdict, log.String())
				}
			case <-late:
				t.Fatalf("%s: no %q because of %q\n%s", when, verdict, reason, log.String())
			}
		}
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const up, down, unchecked = "web1 UP", "web1 DOWN", "web1 UNCHECKED"
	const noRoute = "not asked: network is unreachable"
	const beyondTimeout = 15 // reports, one each 200 ms
	says("without a link", unchecked, noRoute, 1)
	do(w.healthd.AddrAdd(w.here, w.address))
	do(w.healthd.LinkSetUp(w.here))
	says("with a link", up, "all checks pass", 1, unchecked)
	do(w.healthd.LinkSetDown(w.here))
	says("the link is down", unchecked, noRoute, beyondTimeout, up)
	do(w.healthd.LinkSetUp(w.here))
	says("the link is up again", up, "all checks pass", 1, unchecked)
	do(w.healthd.AddrDel(w.here, w.address))
	says("the address is gone", unchecked, noRoute, beyondTimeout, up)
	do(w.healthd.AddrAdd(w.here, w.address))
	says("the address is back", up, "all checks pass", 1, unchecked)
	do(netlink.LinkSetDown(w.there))
	says("the other end is down", down, "no ", 1, up)
	do(netlink.LinkSetUp(w.there))
	says("the other end is up again", up, "all checks pass", 1, down)
}
