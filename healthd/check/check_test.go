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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// patience is the timeout of checks that must not run into it.
const patience = 10 * time.Second

// listen serves each connection by f on loopback until the test ends.
func listen(t testing.TB, f func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed by Cleanup
			}
			go f(c)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// raw answers every request with the same bytes and closes.
func raw(response string) func(net.Conn) {
	return func(c net.Conn) {
		defer c.Close()
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, response)
	}
}

// silent takes connections, reads and never answers: a server that is half dead.
func silent(c net.Conn) {
	io.Copy(io.Discard, c)
	c.Close()
}

func refused(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// blackhole is a network on which nothing ever answers.
type blackhole struct{}

func (blackhole) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (blackhole) Ping(ctx context.Context, _ netip.Addr) (time.Duration, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// broken is a network that fails with its error.
type broken struct{ err error }

func (b broken) DialContext(context.Context, string, string) (net.Conn, error) { return nil, b.err }
func (b broken) Ping(context.Context, netip.Addr) (time.Duration, error)       { return 0, b.err }

func run(t *testing.T, c check.Check, timeout time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return c.Run(ctx)
}

// within50ms is what a check that had 50 ms says: it counts from its own start, a moment later.
var within50ms = regexp.MustCompile(`no answer within (\d|[1-4]\d|50)ms`)

// message is the error's text with the address replaced by ADDR.
func message(err error, a netip.AddrPort) string {
	if err == nil {
		return "passed"
	}
	return within50ms.ReplaceAllString(strings.ReplaceAll(err.Error(), a.String(), "ADDR"), "no answer within 50ms")
}

func TestTCP(t *testing.T) {
	open := listen(t, silent)
	closed := refused(t)
	overflowing := fullBacklog(t)
	tests := []struct {
		name    string
		network check.Network
		address netip.AddrPort
		timeout time.Duration
		want    string
		is      error
	}{
		{"open", check.Kernel{}, open, patience, "passed", nil},
		{"refused", check.Kernel{}, closed, patience, "TCP ADDR: connecting: connection refused", syscall.ECONNREFUSED},
		{"full backlog", check.Kernel{}, overflowing, 50 * time.Millisecond,
			"TCP ADDR: connecting: no answer within 50ms",
			context.DeadlineExceeded},
		{"blackholed", blackhole{}, open, 50 * time.Millisecond, "TCP ADDR: connecting: no answer within 50ms",
			context.DeadlineExceeded},
		{"no descriptors", broken{fmt.Errorf("%w: %w", check.ErrNotAsked, syscall.EMFILE)}, open, patience,
			"TCP ADDR: connecting: not asked: too many open files", check.ErrNotAsked},
		{"userland stack", broken{&net.OpError{Op: "connect", Net: "tcp", Err: errors.New("no route to host")}}, open,
			patience, "TCP ADDR: connecting: no route to host", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t, check.TCP{Network: tt.network, Address: tt.address}, tt.timeout)
			if got := message(err, tt.address); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if errors.Is(err, check.ErrNotAsked) != (tt.is == check.ErrNotAsked) {
				t.Errorf("ErrNotAsked: %v", err)
			}
		})
	}
}

// fullBacklog is a listener that accepts nothing and has no room for more, so that SYNs vanish.
func fullBacklog(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*syscall.SockaddrInet4).Port))
	for range 16 {
		c, err := net.DialTimeout("tcp", address.String(), 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this kernel never fills a backlog of 0")
	return address
}

func TestHowTCPEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		close check.Close
		want  error
	}{
		{"RST", check.CloseRST, syscall.ECONNRESET},
		{"FIN", check.CloseFIN, io.EOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			address := listen(t, func(c net.Conn) {
				defer c.Close()
				_, err := c.Read(make([]byte, 1))
				ended <- err
			})
			if err := run(t, check.TCP{Network: check.Kernel{}, Address: address, Close: tt.close},
				patience); err != nil {
				t.Fatal(err)
			}
			if got := <-ended; !errors.Is(got, tt.want) {
				t.Errorf("the server read %v, want %v", got, tt.want)
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	endless := func(c net.Conn) {
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nalive")
		for {
			if _, err := io.WriteString(c, "."); err != nil {
				return
			}
		}
	}
	stalled := func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nal")
		silent(c)
	}
	long := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n"
	tests := []struct {
		name    string
		server  func(net.Conn)
		options check.HTTPOptions
		timeout time.Duration
		want    string
	}{
		{"200", raw("HTTP/1.1 200 OK\r\n\r\n"), check.HTTPOptions{Path: "/healthz"}, patience, "passed"},
		{"HTTP/1.0", raw("HTTP/1.0 204 No Content\r\n\r\n"), check.HTTPOptions{}, patience, "passed"},
		{"503", raw("HTTP/1.1 503 Sick\r\n\r\n"), check.HTTPOptions{Path: "/healthz"}, patience,
			"HTTP GET http://ADDR/healthz: status 503, want 200-299"},
		{"503 is wanted", raw("HTTP/1.1 503 Sick\r\n\r\n"),
			check.HTTPOptions{Expect: []check.StatusRange{{200, 299}, {503, 503}}}, patience, "passed"},
		{"several ranges", raw("HTTP/1.1 404 Lost\r\n\r\n"), check.HTTPOptions{Expect: []check.StatusRange{{200, 299},
			{503, 503}}}, patience, "HTTP GET http://ADDR/: status 404, want 200-299, 503"},
		{"redirect", raw("HTTP/1.1 302 Found\r\nLocation: https://www.example.org/\r\n\r\n"), check.HTTPOptions{},
			patience,
			`HTTP GET http://ADDR/: status 302 (to "https://www.example.org/"), want 200-299`},
		{"informational first", raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
			check.HTTPOptions{}, patience, "passed"},
		{"HEAD", raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"), check.HTTPOptions{Method: "HEAD"}, patience,
			"passed"},
		{"closes", raw(""), check.HTTPOptions{}, patience,
			"HTTP GET http://ADDR/: reading the response: the server closed the connection"},
		{"closes in the header", raw("HTTP/1.1 200 OK\r\nX:"), check.HTTPOptions{}, patience,
			"HTTP GET http://ADDR/: reading the response: the server closed the connection"},
		{"not HTTP", raw("SSH-2.0-OpenSSH_9.6\r\n"), check.HTTPOptions{}, patience,
			`HTTP GET http://ADDR/: reading the response: malformed HTTP response "SSH-2.0-OpenSSH_9.6"`},
		{"silent", silent, check.HTTPOptions{}, 50 * time.Millisecond,
			"HTTP GET http://ADDR/: reading the response: no answer within 50ms"},
		{"endless header", raw(long), check.HTTPOptions{}, patience,
			"HTTP GET http://ADDR/: reading the response: the header is longer than allowed"},
		{"body", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalive"), check.HTTPOptions{Body: "live"}, patience,
			"passed"},
		{"chunked body", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nal\r\n3\r\nive\r\n0\r\n\r\n"),
			check.HTTPOptions{Body: "alive"}, patience, "passed"},
		{"wrong body", raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndead"), check.HTTPOptions{Body: "alive"},
			patience,
			`HTTP GET http://ADDR/: status 200, but the body lacks "alive"`},
		{"endless body", endless, check.HTTPOptions{Body: "alive"}, patience, "passed"},
		{"endless wrong body", endless, check.HTTPOptions{Body: "dead"}, patience,
			`HTTP GET http://ADDR/: status 200, but the body lacks "dead"`},
		{"endless body nobody asked for", endless, check.HTTPOptions{}, patience, "passed"},
		{"stalled body", stalled, check.HTTPOptions{Body: "alive"}, 50 * time.Millisecond,
			"HTTP GET http://ADDR/: reading the body: no answer within 50ms"},
		{"not TLS", raw("HTTP/1.1 200 OK\r\n\r\n"), check.HTTPOptions{TLS: &tls.Config{}}, patience,
			"HTTPS GET https://ADDR/: TLS handshake: tls: first record does not look like a TLS handshake"},
		{"silent TLS", silent, check.HTTPOptions{TLS: &tls.Config{}}, 50 * time.Millisecond,
			"HTTPS GET https://ADDR/: TLS handshake: no answer within 50ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.options.Address = listen(t, tt.server)
			c, err := check.NewHTTP(check.Kernel{}, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			if got := message(run(t, c, tt.timeout), tt.options.Address); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

func TestStatusRanges(t *testing.T) {
	for want, codes := range map[string][]uint16{
		"[]":                nil,
		"[200]":             {200},
		"[200-202 301 404]": {404, 201, 200, 202, 301, 301},
	} {
		if got := fmt.Sprint(check.StatusRanges(codes)); got != want {
			t.Errorf("%v: got %s, want %s", codes, got, want)
		}
	}
}

func TestHTTPRequest(t *testing.T) {
	requests := make(chan *http.Request, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	defer s.Close()
	address := netip.MustParseAddrPort(s.Listener.Addr().String())
	for _, tt := range []struct {
		options check.HTTPOptions
		want    string
	}{
		{check.HTTPOptions{}, "GET / " + address.String()},
		{check.HTTPOptions{Method: "HEAD", Path: "/healthz?deep=1", Host: "www.example.org"},
			"HEAD /healthz?deep=1 www.example.org"},
		{check.HTTPOptions{Path: "/is it/ä?q=1", Host: "2001:db8::1"}, "GET /is%20it/%C3%A4?q=1 [2001:db8::1]"},
	} {
		tt.options.Address = address
		c, err := check.NewHTTP(check.Kernel{}, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(t, c, patience); err != nil {
			t.Fatal(err)
		}
		r := <-requests
		if got := fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, r.Host); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
		if !r.Close {
			t.Error("the request does not say Connection: close")
		}
	}
}

func TestHTTPRefused(t *testing.T) {
	address := refused(t)
	c, _ := check.NewHTTP(check.Kernel{}, check.HTTPOptions{Address: address})
	got := message(run(t, c, patience), address)
	if want := "HTTP GET http://ADDR/: connecting: connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHTTPOptionsThatAreNoRequest(t *testing.T) {
	_, err := check.NewHTTP(check.Kernel{}, check.HTTPOptions{
		Method: "GET /", Path: "healthz", Host: "a\r\nX: y",
	})
	want := `method: must be printable ASCII without spaces, is "GET /"
path: must be the path of a URL, such as /healthz, is "healthz"
host: must be a host name, such as www.example.com, is "a\r\nX: y"`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestHTTPS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	address := netip.MustParseAddrPort(s.Listener.Addr().String())
	trusted := x509.NewCertPool()
	trusted.AddCert(s.Certificate())
	tests := []struct {
		name string
		host string
		tls  *tls.Config
		want string
	}{
		{"certificate for the address", "", &tls.Config{RootCAs: trusted}, "passed"},
		{"certificate for the name", "example.com:443", &tls.Config{RootCAs: trusted}, "passed"},
		{"another name", "www.example.org", &tls.Config{RootCAs: trusted},
			"HTTPS GET https://ADDR/: TLS handshake: tls: " +
				"failed to verify certificate: x509: certificate is valid for example.com, *.example.com, not " +
				"www.example.org"},
		{"nobody's certificate", "", &tls.Config{RootCAs: x509.NewCertPool()},
			"HTTPS GET https://ADDR/: TLS handshake: " +
				"tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"not verified", "", &tls.Config{InsecureSkipVerify: true}, "passed"},
	}
	for _, tt := range tests {
		for _, how := range []check.Close{check.CloseRST, check.CloseFIN} {
			t.Run(fmt.Sprint(tt.name, how), func(t *testing.T) {
				c, err := check.NewHTTP(check.Kernel{}, check.HTTPOptions{Address: address, Host: tt.host, TLS: tt.tls,
					Close: how})
				if err != nil {
					t.Fatal(err)
				}
				if got := message(run(t, c, patience), address); got != tt.want {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
			})
		}
	}
}

func TestICMP(t *testing.T) {
	for _, text := range []string{"127.0.0.1", "::1"} {
		t.Run(text, func(t *testing.T) {
			err := run(t, check.ICMP{Network: check.Kernel{}, Address: netip.MustParseAddr(text)}, patience)
			if errors.Is(err, check.ErrNotAsked) {
				t.Skipf("not possible here: %v", err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestICMPFailures(t *testing.T) {
	address := netip.MustParseAddr("10.0.0.11")
	for _, tt := range []struct {
		name    string
		network check.Network
		want    string
	}{
		{"blackholed", blackhole{}, "ICMP echo 10.0.0.11: pinging: no answer within 50ms"},
		{"unreachable", broken{os.NewSyscallError("sendto", syscall.EHOSTUNREACH)},
			"ICMP echo 10.0.0.11: pinging: no route to host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := run(t, check.ICMP{Network: tt.network, Address: address}, 50*time.Millisecond)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A check that is stopped is neither a failure of the server nor a timeout.
func TestStopped(t *testing.T) {
	address := listen(t, silent)
	c, err := check.NewHTTP(check.Kernel{}, check.HTTPOptions{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// BenchmarkHTTPChecks runs checks one after the other against a server that is as cheap as can be, in
// the same process: with -cpu 1 the figure is what one core does of both ends.
func BenchmarkHTTPChecks(b *testing.B) {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	address := listen(b, func(c net.Conn) {
		c.Read(make([]byte, 1024))
		c.Write(answer)
		c.Read(make([]byte, 1)) // until the check resets
		c.Close()
	})
	c, err := check.NewHTTP(check.Kernel{}, check.HTTPOptions{Address: address, Path: "/healthz"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			ctx, cancel := context.WithTimeout(b.Context(), patience)
			err := c.Run(ctx)
			cancel()
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "checks/s")
}
