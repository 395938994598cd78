// Package check asks one server one question: does it take a TCP connection, does it answer an HTTP
// request, does it echo a ping, does it resolve a name, does an SNMP variable of it have a good value. A check
// asks once and knows nothing of intervals or of earlier answers; package probe decides when to ask and what
// to make of it. healthd and gslb ask with the same checks.
package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Check is one question to one server.
type Check interface {
	// Run asks once and returns nil when the server passed. The error says what was asked and what
	// came of it: "HTTP GET http://10.0.0.11:80/healthz: status 503, want 200-299". It may hold text of the
	// server's, however long. It is ErrNotAsked when the fault lies on this side, and ErrWrongAnswer when the server
	// answered, but not as it should. Else nothing answered: the host refused, or reset, or was silent; it is
	// context.DeadlineExceeded when the time up to ctx's deadline, which is the check's timeout, was not enough.
	Run(ctx context.Context) error
}

// Network is what checks ask through: Kernel, or a userland stack.
type Network interface {
	// DialContext connects over network, tcp or udp, to an address of the form 10.0.0.11:80. A connection
	// over TCP may have the methods SetLinger(int) error and CloseWrite() error, as net.TCPConn has:
	// without the first no check can end by RST, without the second none waits for the peer's FIN.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// Ping sends one ICMP echo request and returns the time until its reply.
	Ping(ctx context.Context, address netip.Addr) (time.Duration, error)
}

// router is what some Networks are as well: it tells whether this host has a route to an address now, and if not, why.
type router interface{ Route(to netip.Addr) error }

// ErrNotAsked says that the question never left this host, or that this host could not have heard an answer: no file
// descriptors, no local port, no permission, no route, or the check was stopped; or that whoever was asked about the
// server does not see it. It says nothing about the server.
var ErrNotAsked = errors.New("not asked")

// ErrWrongAnswer says that the service answered, if only a byte, and not as it should: it is there, and fails. Errors
// that are ErrWrongAnswer do not mention it in their text.
var ErrWrongAnswer = errors.New("wrong answer")

type wrongAnswer struct{ error }

func (e wrongAnswer) Unwrap() error      { return e.error }
func (wrongAnswer) Is(target error) bool { return target == ErrWrongAnswer }

// Impossible stands for a check that cannot be made. It is never asked, so that it fails nobody.
type Impossible struct {
	Name string // "snmp check of web/web1"
	Err  error
}

// Run returns ErrNotAsked and why.
func (c Impossible) Run(context.Context) error {
	return fmt.Errorf("%s: %w: %s", c.Name, ErrNotAsked, strings.ReplaceAll(c.Err.Error(), "\n", "; "))
}

// dial connects and makes the connection's reads and writes end with the question's context. end closes it.
func (q *question) dial(network string, to netip.AddrPort, c Close) (conn net.Conn, end func(), err error) {
	conn, err = q.network.DialContext(q.ctx, network, to.String())
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(q.ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() {
		stop()
		c.end(conn)
	}, nil
}

// question is one Run under way: it names what was asked in errors, and says what they tell of the server.
type question struct {
	name    string
	ctx     context.Context
	network Network
	to      netip.Addr
	start   time.Time
	heard   bool // something of an answer
}

func ask(ctx context.Context, name string, n Network, to netip.Addr) *question {
	return &question{name: name, ctx: ctx, network: n, to: to, start: time.Now()}
}

// ear notes when the server says anything.
type ear struct {
	net.Conn
	heard *bool
}

func (e ear) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if n > 0 {
		*e.heard = true
	}
	return n, err
}

// wrong is an answer that is not as it should be.
func (q *question) wrong(format string, args ...any) error {
	return wrongAnswer{fmt.Errorf("%s: "+format, append([]any{q.name}, args...)...)}
}

// failed says what the check was doing when err ended it. After ctx's end err is only its echo, an
// expired I/O deadline as a rule, so the text tells of the time that ran out in its place. The echo
// may even come a moment before ctx itself ends.
func (q *question) failed(doing string, err error) error {
	deadline, limited := q.ctx.Deadline()
	switch {
	case errors.Is(err, ErrNotAsked):
	case errors.Is(q.ctx.Err(), context.Canceled):
		err = notAsked(context.Canceled)
	case q.ctx.Err() != nil, limited &&
		(errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)):
		err = NoAnswer(deadline.Sub(q.start).Round(time.Millisecond))
		if own := q.unroutable(); own != nil {
			err = notAsked(own)
		}
	case isOurs(err):
		err = notAsked(err)
	case mayBeOurs(err):
		if own := q.unroutable(); own != nil {
			err = notAsked(own)
		}
	}
	err = fmt.Errorf("%s: %s: %w", q.name, doing, plain(err))
	if q.heard && !errors.Is(err, ErrNotAsked) {
		return wrongAnswer{err}
	}
	return err
}

// unroutable says why this host cannot send to the server now, or nil.
func (q *question) unroutable() error {
	if r, ok := q.network.(router); ok {
		return r.Route(q.to)
	}
	return nil
}

func notAsked(err error) error { return fmt.Errorf("%w: %w", ErrNotAsked, plain(err)) }

// NoAnswer is context.DeadlineExceeded with the time that was given.
type NoAnswer time.Duration

func (e NoAnswer) Error() string { return fmt.Sprintf("no answer within %v", time.Duration(e)) }

// Is makes it context.DeadlineExceeded.
func (e NoAnswer) Is(target error) bool { return target == context.DeadlineExceeded }

// plain strips what the net package says about the operation and the addresses, which question has
// said already, down to "connection refused".
func plain(err error) error {
	for {
		switch e := err.(type) {
		case *net.OpError:
			err = e.Err
		case *os.SyscallError:
			err = e.Err
		default:
			return err
		}
	}
}
