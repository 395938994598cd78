package check_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// tells says in a word what an error tells of the server.
func tells(err error) string {
	switch {
	case err == nil:
		return "up"
	case errors.Is(err, check.ErrNotAsked):
		return "not asked"
	case errors.Is(err, check.ErrWrongAnswer):
		return "failing"
	}
	return "dead"
}

// routed is a network that fails with an error and has a route, or not.
type routed struct {
	broken
	route error
}

func (r routed) Route(netip.Addr) error { return r.route }

// deaf loses every answer, and tells of its route.
type deaf struct {
	blackhole
	route error
}

func (d deaf) Route(netip.Addr) error { return d.route }

func dialError(errno syscall.Errno) error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errno)}
}

// What this host's own errors say of the server is nothing, and what others say of it is that it is dead.
func TestWhatErrorsOfTheNetworkTell(t *testing.T) {
	noRoute := dialError(syscall.ENETUNREACH)
	for _, tt := range []struct {
		name    string
		network check.Network
		tells   string
		says    string
	}{
		{"refused", broken{dialError(syscall.ECONNREFUSED)}, "dead", "connection refused"},
		{"reset", broken{dialError(syscall.ECONNRESET)}, "dead", "connection reset by peer"},
		{"silence", deaf{}, "dead", "no answer within 50ms"},
		{"silence, and no word of routes", blackhole{}, "dead", "no answer within 50ms"},
		{"the kernel gave up", broken{dialError(syscall.ETIMEDOUT)}, "dead", "connection timed out"},
		{"no answer to ARP", routed{broken{dialError(syscall.EHOSTUNREACH)}, nil}, "dead", "no route to host"},
		{"a router has no route", routed{broken{dialError(syscall.ENETUNREACH)}, nil}, "dead",
			"network is unreachable"},
		{"the host is down, a router says", broken{dialError(syscall.EHOSTDOWN)}, "dead", "host is down"},
		{"a userland stack's own words", broken{errors.New("no route to host")}, "dead", "no route to host"},

		{"no route", routed{broken{dialError(syscall.ENETUNREACH)}, noRoute}, "not asked",
			"not asked: network is unreachable"},
		{"an unreachable route", routed{broken{dialError(syscall.EHOSTUNREACH)}, dialError(syscall.EHOSTUNREACH)},
			"not asked", "not asked: no route to host"},
		{"silence, and the route is gone", deaf{route: noRoute}, "not asked", "not asked: network is unreachable"},
		{"a black hole of a route", broken{dialError(syscall.EINVAL)}, "not asked", "not asked: invalid argument"},
		{"a prohibited route", broken{dialError(syscall.EACCES)}, "not asked", "not asked: permission denied"},
		{"a firewall on this side", broken{dialError(syscall.EPERM)}, "not asked",
			"not asked: operation not permitted"},
		{"the link is down", broken{dialError(syscall.ENETDOWN)}, "not asked", "not asked: network is down"},
		{"no address of our own", broken{dialError(syscall.EADDRNOTAVAIL)}, "not asked",
			"not asked: cannot assign requested address"},
		{"no port of our own", broken{dialError(syscall.EADDRINUSE)}, "not asked", "not asked: address already in use"},
		{"no descriptor", broken{dialError(syscall.EMFILE)}, "not asked", "not asked: too many open files"},
		{"no descriptor in the system", broken{dialError(syscall.ENFILE)}, "not asked",
			"not asked: too many open files in system"},
		{"no buffers", broken{dialError(syscall.ENOBUFS)}, "not asked", "not asked: no buffer space available"},
		{"no memory", broken{dialError(syscall.ENOMEM)}, "not asked", "not asked: cannot allocate memory"},
		{"no IPv6", broken{dialError(syscall.EAFNOSUPPORT)}, "not asked",
			"not asked: address family not supported by protocol"},
		{"no roots of trust", broken{x509.SystemRootsError{}}, "not asked",
			"not asked: x509: failed to load system roots and no roots provided"},
		{"killed on this side", broken{dialError(syscall.ECONNABORTED)}, "not asked",
			"not asked: software caused connection abort"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, c := range []struct {
				asks string
				check.Check
			}{
				{"TCP 10.0.0.11:80: connecting: ",
					check.TCP{Network: tt.network, Address: netip.MustParseAddrPort("10.0.0.11:80")}},
				{"ICMP echo 10.0.0.11: pinging: ",
					check.ICMP{Network: tt.network, Address: netip.MustParseAddr("10.0.0.11")}},
			} {
				err := run(t, c, 50*time.Millisecond)
				if got, want := message(err, netip.AddrPort{}), c.asks+tt.says; got != want || tells(err) != tt.tells {
					t.Errorf("got  %s: %s\nwant %s: %s", tells(err), got, tt.tells, want)
				}
			}
		})
	}
}

// within2s is what a check that had 2 s says: it counts from its own start, a moment later.
var within2s = regexp.MustCompile(`within 1\.9\d*s`)

// A service of which nothing is heard is dead; one that says anything, and not what it should, is failing.
func TestWhatAnswersTell(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	secured := func(f func(*tls.Config)) func(net.Conn) {
		c := s.TLS.Clone()
		f(c)
		return func(conn net.Conn) {
			defer conn.Close()
			server := tls.Server(conn, c)
			http.ReadRequest(bufio.NewReader(server))
			io.Copy(io.Discard, conn) // until the check ends
		}
	}
	resets := func(first string) func(net.Conn) {
		return func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, first)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
	says := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, text)
			silent(c)
		}
	}
	unverified, verified := &tls.Config{InsecureSkipVerify: true}, &tls.Config{}
	for _, tt := range []struct {
		name    string
		server  func(net.Conn)
		tls     *tls.Config
		timeout time.Duration
		tells   string
		says    string
	}{
		{"well", raw("HTTP/1.1 200 OK\r\n\r\n"), nil, patience, "up", "passed"},
		{"resets", resets(""), nil, patience, "dead", "reading the response: connection reset by peer"},
		{"closes", raw(""), nil, patience, "dead", "reading the response: the server closed the connection"},
		{"silent", silent, nil, 50 * time.Millisecond, "dead", "reading the response: no answer within 50ms"},
		{"closes, TLS", raw(""), unverified, patience, "dead", "TLS handshake: EOF"},
		{"silent, TLS", silent, unverified, 50 * time.Millisecond, "dead", "TLS handshake: no answer within 50ms"},

		{"503", raw("HTTP/1.1 503 Sick\r\n\r\n"), nil, patience, "failing", "status 503, want 200-299"},
		{"not HTTP", raw("SSH-2.0-x\r\n"), nil, patience, "failing",
			`reading the response: malformed HTTP response "SSH-2.0-x"`},
		{"a header that is no header", raw("HTTP/1.1 200 OK\r\n:\r\n\r\n"), nil, patience, "failing",
			`reading the response: malformed MIME header line: ":"`},
		{"half an answer, then closes", raw("HTTP/1.1 200 OK\r\nX:"), nil, patience, "failing",
			"reading the response: the server closed the connection"},
		{"half an answer, then silence", says("HTTP/1.1 2"), nil, 50 * time.Millisecond, "failing",
			"reading the response: no answer within 50ms"},
		{"only hints", says("HTTP/1.1 103 Early Hints\r\n\r\n"), nil, 50 * time.Millisecond, "failing",
			"reading the response: no answer within 50ms"},
		{"not TLS", raw("HTTP/1.1 400 Bad Request\r\n\r\n"), unverified, patience, "failing",
			"TLS handshake: tls: first record does not look like a TLS handshake"},
		{"an alert in the handshake", secured(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }), unverified,
			patience,
			"failing", "TLS handshake: remote error: tls: protocol version not supported"},
		{"an alert after it", secured(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }), unverified,
			patience,
			"failing", "reading the response: remote error: tls: certificate required"},
		{"a certificate of nobody", secured(func(*tls.Config) {}), verified, patience, "failing",
			"TLS handshake: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"a handshake, then silence", secured(func(*tls.Config) {}), unverified, 2 * time.Second, "failing",
			"reading the response: no answer within 2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := check.HTTPOptions{Address: listen(t, tt.server), TLS: tt.tls}
			c, err := check.NewHTTP(check.Kernel{}, o)
			if err != nil {
				t.Fatal(err)
			}
			err = run(t, c, tt.timeout)
			want := fmt.Sprintf("HTTP GET http://ADDR/: %s", tt.says)
			if tt.tls != nil {
				want = fmt.Sprintf("HTTPS GET https://ADDR/: %s", tt.says)
			}
			if err == nil {
				want = "passed"
			}
			if got := within2s.ReplaceAllString(message(err, o.Address), "within 2s"); got != want ||
				tells(err) != tt.tells {
				t.Errorf("got  %s: %s\nwant %s: %s", tells(err), got, tt.tells, want)
			}
		})
	}
}

// A check that was stopped by us has asked nothing.
func TestStoppedIsNotAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := check.TCP{Network: deaf{}, Address: netip.MustParseAddrPort("10.0.0.11:80")}.Run(ctx)
	if want := "TCP 10.0.0.11:80: connecting: not asked: context canceled"; err == nil || err.Error() != want ||
		tells(err) != "not asked" {
		t.Errorf("got %v, want %s", err, want)
	}
}
