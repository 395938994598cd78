package check

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sluicelb/sluice/controller/config/checkable"
)

// How much of a response is read. A server that sends more before the check has its answer fails.
const (
	maxHeader = 64 << 10
	maxBody   = 64 << 10
)

// StatusRange is a range of HTTP status codes, both ends included.
type StatusRange struct{ Low, High int }

func (r StatusRange) String() string {
	if r.Low == r.High {
		return strconv.Itoa(r.Low)
	}
	return fmt.Sprintf("%d-%d", r.Low, r.High)
}

// StatusRanges joins neighbouring codes, for shorter reasons.
func StatusRanges(codes []uint16) []StatusRange {
	var all []StatusRange
	for _, code := range slices.Sorted(slices.Values(codes)) {
		c := int(code)
		if n := len(all); n > 0 && c <= all[n-1].High+1 {
			all[n-1].High = c
			continue
		}
		all = append(all, StatusRange{Low: c, High: c})
	}
	return all
}

// HTTPOptions is one HTTP or HTTPS question.
type HTTPOptions struct {
	Address netip.AddrPort
	Method  string // default GET
	Path    string // with its query, as checkable.Path takes it; default /
	// of the Host header and the server name of TLS, as checkable.Host takes it; default the address
	Host   string
	Expect []StatusRange // default 200-299
	Body   string        // must occur in the first 64 KiB of the body; empty: the body is not read
	TLS    *tls.Config   // nil: plain HTTP. An empty ServerName is set from Host or the address
	Close  Close
	Wait   time.Duration // for the server's FIN, see TCP
	Agent  string        // of the User-Agent header; default sluice-healthd
}

// HTTP passes when the server answers a request with an expected status. Every run has a connection
// of its own, follows no redirect, and holds no more than a few KiB.
type HTTP struct {
	network Network
	address netip.AddrPort
	name    string // "HTTP GET http://10.0.0.11:80/healthz"
	method  string
	request []byte
	expect  []StatusRange
	body    []byte
	tls     *tls.Config
	close   Close
	wait    time.Duration
}

// NewHTTP prepares the request. It refuses options that would not make exactly one request.
func NewHTTP(n Network, o HTTPOptions) (*HTTP, error) {
	if len(o.Expect) == 0 {
		o.Expect = []StatusRange{{200, 299}}
	}
	method, agent := cmp.Or(o.Method, http.MethodGet), cmp.Or(o.Agent, "sluice-healthd")
	var problems []error
	problem := func(of string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", of, err))
		}
	}
	problem("method", printable(method))
	problem("agent", printable(agent))
	path, err := checkable.Path(cmp.Or(o.Path, "/"))
	problem("path", err)
	header, name := o.Address.String(), o.Address.Addr().String()
	if o.Host != "" {
		header, name, err = checkable.Host(o.Host)
		problem("host", err)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}

	c := &HTTP{
		network: n,
		address: o.Address,
		name:    fmt.Sprintf("HTTP %s http://%s%s", method, o.Address, path),
		method:  method,
		request: fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: */*\r\n"+
			"Connection: close\r\n\r\n",
			method, path, header, agent),
		expect: o.Expect,
		body:   []byte(o.Body),
		close:  o.Close,
		wait:   o.Wait,
	}
	if o.TLS != nil {
		c.name = fmt.Sprintf("HTTPS %s https://%s%s", method, o.Address, path)
		c.tls = o.TLS.Clone()
		if c.tls.ServerName == "" {
			c.tls.ServerName = name
		}
	}
	return c, nil
}

func printable(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("must be printable ASCII without spaces, is %q", s)
	}
	return nil
}

// Run sends the request once.
func (c *HTTP) Run(ctx context.Context) error {
	q := ask(ctx, c.name, c.network, c.address.Addr())
	conn, end, err := q.dial("tcp", c.address, c.close)
	if err != nil {
		return q.failed("connecting", err)
	}
	defer end()
	heard := ear{conn, &q.heard}
	if c.tls == nil {
		err = c.exchange(q, heard)
	} else {
		secured := tls.Client(heard, c.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			return q.failed("TLS handshake", err)
		}
		err = c.exchange(q, secured)
		if c.close == CloseFIN {
			secured.CloseWrite() // close_notify, before the FIN
		}
	}
	if err != nil || c.close == CloseRST {
		return err
	}
	if err := hangUp(ctx, conn, c.wait); err != nil {
		q.heard = false // not any more
		return q.failed("closing", err)
	}
	return nil
}

// exchange sends the request and judges the response.
func (c *HTTP) exchange(q *question, conn net.Conn) error {
	if _, err := conn.Write(c.request); err != nil {
		return q.failed("sending the request", err)
	}

	limit := &limitReader{r: conn, left: maxHeader, what: "header"}
	buffered := readers.Get().(*bufio.Reader)
	buffered.Reset(limit)
	defer func() {
		buffered.Reset(nil)
		readers.Put(buffered)
	}()
	response, err := c.readHeader(buffered)
	if err != nil {
		return q.failed("reading the response", err)
	}
	if !c.expected(response.StatusCode) {
		return q.wrong("status %s", c.unexpected(response))
	}
	if len(c.body) == 0 {
		return nil
	}
	limit.left, limit.what = 2*maxBody, "body" // twice: chunk sizes count here and not in the body
	found, err := contains(io.LimitReader(response.Body, maxBody), c.body)
	if err != nil {
		return q.failed("reading the body", err)
	}
	if !found {
		return q.wrong("status %d, but the body lacks %q", response.StatusCode, c.body)
	}
	return nil
}

// readers are reused: a buffer is the largest thing a check holds.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// readHeader reads up to the end of the header, past informational responses (RFC 9110, section 15.2).
func (c *HTTP) readHeader(r *bufio.Reader) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(r, &http.Request{Method: c.method})
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			return nil, errors.New("the server closed the connection")
		}
		if err != nil {
			return nil, err
		}
		if response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
	}
}

func (c *HTTP) expected(status int) bool {
	for _, r := range c.expect {
		if r.Low <= status && status <= r.High {
			return true
		}
	}
	return false
}

func (c *HTTP) unexpected(response *http.Response) string {
	want := make([]string, len(c.expect))
	for i, r := range c.expect {
		want[i] = r.String()
	}
	to := ""
	if location := response.Header.Get("Location"); location != "" {
		to = fmt.Sprintf(" (to %.100q)", location)
	}
	return fmt.Sprintf("%d%s, want %s", response.StatusCode, to, strings.Join(want, ", "))
}

// contains reads until it has seen want, so that a body that never ends may pass.
func contains(r io.Reader, want []byte) (bool, error) {
	var seen []byte
	chunk := make([]byte, 2<<10)
	for {
		n, err := r.Read(chunk)
		from := max(0, len(seen)-len(want)+1)
		seen = append(seen, chunk[:n]...)
		if bytes.Contains(seen[from:], want) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}

// limitReader fails, where io.LimitReader would end as if the server had.
type limitReader struct {
	r    io.Reader
	left int
	what string
}

func (l *limitReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("the %s is longer than allowed", l.what)
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
