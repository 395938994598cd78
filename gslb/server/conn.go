package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/responder"
)

// conn is one TCP connection (RFC 7766). Its queries are read one after the other; what can be answered at once is, and
// what takes time is answered when it is done, in whatever order. One goroutine reads, one writes.
type conn struct {
	s    *Server
	tcp  net.Conn
	from netip.AddrPort

	busy atomic.Int32 // queries whose answers are not written yet
	last atomic.Int64 // when it last had an answer to write, or came; nanoseconds since started
}

// started is what conn.last counts from: a clock that nobody sets.
var started = time.Now()

func (c *conn) touch() { c.last.Store(int64(time.Since(started))) }

// serve answers until the client has closed its side and has all its answers, or is too slow, or ctx ends, when
// answers under way are still sent.
func (c *conn) serve(ctx context.Context) {
	limits := c.s.tcpLimits()
	answers := make(chan []byte, limits.Pipeline)
	slots := make(chan struct{}, limits.Pipeline) // one is taken from a query's reading to its answer's writing
	var writer, late sync.WaitGroup
	writer.Go(func() { c.write(answers, slots, limits.Query) })
	defer c.tcp.Close()
	defer writer.Wait()
	defer close(answers)
	defer late.Wait()
	defer context.AfterFunc(ctx, func() { c.tcp.SetReadDeadline(time.Unix(1, 0)) })()

	messages := frames{bufio.NewReader(c.tcp)}
	for ctx.Err() == nil {
		message, err := c.read(ctx, messages, limits)
		if err != nil {
			c.s.countEnd(err)
			return
		}
		slots <- struct{}{}
		c.busy.Add(1)
		answer := func(wire []byte) { answers <- wire }
		q := &query{request: message, from: c.from, tcp: true}
		var r responder.Response
		read := time.Now()
		c.s.cores.with(func(core *core) {
			core.counts.queries[TCP].Add(1)
			r = c.s.again(core, q, c.s.respond)
			if r.Disposition == responder.Reply || r.Disposition == responder.Drop {
				core.counts.took[TCP].add(1, int64(time.Since(read)))
				answer(countTCP(core, r))
			}
		})
		if r.Disposition == responder.Forward || r.Disposition == responder.Wait {
			late.Add(1)
			c.s.later(q, r, func(core *core, r responder.Response) {
				defer late.Done()
				core.counts.tookLater.add(1, int64(time.Since(read)))
				answer(countTCP(core, r))
			})
		}
	}
}

// read returns the next message. A client may be silent for as long as the idle limit, not counting the time that
// its queries are under way, and take as long as the query limit for one message.
func (c *conn) read(ctx context.Context, messages frames, limits config.TCPLimits) ([]byte, error) {
	begun := false
	for {
		idle := time.Since(started) - time.Duration(c.last.Load())
		if c.busy.Load() > 0 {
			idle = 0
		}
		c.readDeadline(ctx, limits.Idle-idle)
		message, err := messages.next(func() {
			begun = true
			c.readDeadline(ctx, limits.Query)
		})
		if begun || !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			if begun && ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			return message, err
		}
		if c.busy.Load() == 0 && time.Since(started)-time.Duration(c.last.Load()) >= limits.Idle {
			return nil, err
		}
	}
}

// errSlow is a client that takes too long to send a message.
var errSlow = errors.New("message not complete in time")

// readDeadline sets a deadline, unless ctx has ended: then it has passed already.
func (c *conn) readDeadline(ctx context.Context, d time.Duration) {
	c.tcp.SetReadDeadline(time.Now().Add(d))
	if ctx.Err() != nil {
		c.tcp.SetReadDeadline(time.Unix(1, 0))
	}
}

// countTCP counts a response over TCP and returns what is sent of it: nil if nothing.
func countTCP(c *core, r responder.Response) []byte {
	if r.Disposition != responder.Reply {
		c.counts.event(DroppedMalformed)
		return nil
	}
	c.counts.response(TCP, r.Kind, r.Rcode, r.Rule, r.Clause, r.Answer)
	return r.Wire
}

// maxWrite is how many bytes of answers are gathered for one write.
const maxWrite = 16 << 10

// write sends answers until there will be no more of them. Those that are there together are sent together, each after
// its length (RFC 7766 section 8). A client that does not read for the time limit loses its connection.
func (c *conn) write(answers <-chan []byte, slots <-chan struct{}, limit time.Duration) {
	var buf []byte
	lost := false
	for answer := range answers {
		buf = buf[:0]
		n := 0
		for more := true; more; {
			n++
			if answer != nil {
				buf = appendFrame(buf, answer)
			}
			if more = len(buf) < maxWrite; more {
				select {
				case answer, more = <-answers:
				default:
					more = false
				}
			}
		}
		c.touch()
		if len(buf) > 0 && !lost {
			c.tcp.SetWriteDeadline(time.Now().Add(limit))
			if _, err := c.tcp.Write(buf); err != nil {
				lost = true
				if errors.Is(err, os.ErrDeadlineExceeded) {
					c.s.count(TCPTimedOut)
				}
				c.abort()
			}
		}
		c.busy.Add(int32(-n))
		for range n {
			<-slots
		}
	}
}

// abort closes the connection by RST: what the client did not read is not kept for it, and its port is free at once.
func (c *conn) abort() {
	if tcp, ok := c.tcp.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.tcp.Close()
}

// countEnd counts the end of a connection that is the client's fault.
func (s *Server) countEnd(err error) {
	switch {
	case errors.Is(err, errSlow):
		s.count(TCPTimedOut)
	case errors.Is(err, errBadFrame):
		s.count(TCPBadFrame)
	}
}
