package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/gslb/fastpath"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
)

// host puts this goroutine into a network namespace of its own, with two addresses of each family and a link-local one.
//
//	lo    192.0.2.1  192.0.2.2  2001:db8::1  2001:db8::2
//	one   fe80::1  ---- two   fe80::2
func host(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace")
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
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "one"}, PeerName: "two"}); err != nil {
		t.Skipf("needs virtual Ethernet: %v", err)
	}
	for name, addrs := range map[string][]string{
		"lo":  {"192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128", "2001:db8::2/128"},
		"one": {"fe80::1/64"},
		"two": {"fe80::2/64"},
	} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				t.Fatal(err)
			}
			addr.Flags = unix.IFA_F_NODAD // usable at once
			if err := netlink.AddrAdd(link, addr); err != nil {
				t.Fatal(err)
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
}

// settled asks until there is an answer: the network loses datagrams while its links come up.
func settled(t *testing.T, c *net.UDPConn, query []byte) {
	t.Helper()
	for end := time.Now().Add(hang); ; {
		sendUDP(t, c, query)
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, maxUDP))
		switch {
		case err == nil:
			return
		case !errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatal(err)
		case time.Now().After(end):
			t.Fatalf("no answer from %v", c.RemoteAddr())
		}
	}
}

// A host answers from the address that was asked, at once and late.
func TestUDPAnswersFromTheAddressAsked(t *testing.T) {
	for _, row := range []struct {
		listen string
		ask    []string
	}{
		{"0.0.0.0:0", []string{"192.0.2.1", "192.0.2.2", "127.0.0.2"}},
		{"[::]:0", []string{"2001:db8::1", "2001:db8::2", "::1", "fe80::1%one", "fe80::2%two"}},
		{"[fe80::1%one]:0", []string{"fe80::1%one"}},
	} {
		t.Run(row.listen, func(t *testing.T) {
			host(t)
			c := configuration(t)
			waits := make(chan struct{}, len(row.ask))
			s, bound := start(t, c, listen(row.listen), func(s *Server) {
				fast := s.fast
				s.fast = func(v *responder.View, scratch *fastpath.Scratch, req []byte, from netip.AddrPort, now int64,
					out []byte,
				) (*responder.Response, bool) {
					r, ok := fast(v, scratch, req, from, now, out)
					if ok && r.Disposition == responder.Wait {
						waits <- struct{}{}
					}
					return r, ok
				}
			})
			s.Publish(viewOf(t, c, selection.Unknown))
			for i, a := range row.ask {
				to := netip.AddrPortFrom(netip.MustParseAddr(a), bound.Port())
				now, late := dialUDP(t, to), dialUDP(t, to)
				settled(t, now, ask(t, uint16(i), "a.example.com.", dns.TypeA))
				sendUDP(t, late, ask(t, uint16(i), "www.example.com.", dns.TypeA))
				select {
				case <-waits:
				case <-time.After(hang):
					t.Fatalf("no query came to %s", a)
				}
				s.Publish(viewOf(t, c, selection.Up))
				if m := receiveUDP(t, late); m.Id != uint16(i) || len(m.Answer) != 1 {
					t.Errorf("from %s came late\n%v", a, m)
				}
				s.Publish(viewOf(t, c, selection.Unknown))
			}
		})
	}
}
