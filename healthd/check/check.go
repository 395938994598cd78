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
	"time"
)

// Check is one question to one server.
type Check interface {
	// Run asks once and returns nil when the server passed. The error says what was asked and what
	// came of it: "HTTP GET http://10.0.0.11:80/healthz: status 503, want 200-299". It is
	// ErrNotAsked when the fault lies on this side, and context.DeadlineExceeded when the server did
	// not answer before ctx's deadline, which is the check's timeout.
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

// ErrNotAsked says that the question never left this host: no file descriptors, no local port, no
// permission, no route. It tells nothing of the server.
var ErrNotAsked = errors.New("not asked")

// Impossible stands for a check that cannot be made. It is never asked, so that it fails nobody.
type Impossible struct {
	Name string // "snmp check of web/web1"
	Err  error
}

// Run returns ErrNotAsked and why.
func (c Impossible) Run(context.Context) error {
	return fmt.Errorf("%s: %w: %w", c.Name, ErrNotAsked, c.Err)
}

// dial connects and makes the connection's reads and writes end with ctx. end closes it.
func dial(ctx context.Context, n Network, network string, to netip.AddrPort, c Close) (conn net.Conn, end func(), err error) {
	conn, err = n.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() {
		stop()
		c.end(conn)
	}, nil
}

// question is one Run under way: it names what was asked in errors.
type question struct {
	name  string
	ctx   context.Context
	start time.Time
}

func ask(ctx context.Context, name string) question {
	return question{name, ctx, time.Now()}
}

// failed says what the check was doing when err ended it. After ctx's end err is only its echo, an
// expired I/O deadline as a rule, so the text tells of the time that ran out in its place. The echo
// may even come a moment before ctx itself ends.
func (q question) failed(doing string, err error) error {
	deadline, limited := q.ctx.Deadline()
	switch {
	case errors.Is(err, ErrNotAsked):
	case errors.Is(q.ctx.Err(), context.Canceled):
		err = context.Canceled
	case q.ctx.Err() != nil, limited && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)):
		err = NoAnswer(deadline.Sub(q.start).Round(time.Millisecond))
	}
	return fmt.Errorf("%s: %s: %w", q.name, doing, plain(err))
}

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
