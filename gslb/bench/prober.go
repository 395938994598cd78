//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// prober asks at a fixed rate, whatever the answers do, from one socket and one thread that never sleeps.
type prober struct {
	fd      int
	queries [][]byte
	sent    []int64 // when the query with this id left, in ns of the real-time clock; 0: it is answered
	delays  []time.Duration
	data    []byte
	control []byte
}

// latency is what a prober found.
type latency struct {
	p50, p99 time.Duration
	lost     int
}

// probe asks for a time, and waits for the last answers until they are late. The calling goroutine's thread should have
// a processor of its own.
func (w *workload) probe(ctx context.Context, server netip.AddrPort, rate int, seconds float64,
	late time.Duration,
) (l latency, err error) {
	// A collection would run on the server's processor.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	p := &prober{sent: make([]int64, 1<<16), data: make([]byte, 4096), control: make([]byte, 128)}
	for _, q := range w.queries {
		m := new(dns.Msg).SetQuestion(q, dns.TypeA)
		m.RecursionDesired = false
		m.SetEdns0(dns.DefaultMsgSize, false)
		wire, err := m.Pack()
		if err != nil {
			return l, err
		}
		p.queries = append(p.queries, wire)
	}
	if err := p.open(server); err != nil {
		return l, err
	}
	defer unix.Close(p.fd)
	total := int(float64(rate) * seconds)
	p.delays = make([]time.Duration, 0, total)
	begin := time.Now()
	for n := 0; n < total; {
		if due := begin.Add(time.Duration(n) * time.Second / time.Duration(rate)); time.Now().Before(due) {
			if err := p.receive(); err != nil {
				return l, err
			}
			continue
		}
		if err := p.send(n); err != nil {
			return l, err
		}
		if n++; n%128 == 0 && ctx.Err() != nil {
			return l, context.Cause(ctx)
		}
	}
	for end := time.Now().Add(late); len(p.delays) < total && time.Now().Before(end); {
		if err := p.receive(); err != nil {
			return l, err
		}
	}
	if len(p.delays) == 0 {
		return l, errors.New("no answers at a fixed rate")
	}
	slices.Sort(p.delays)
	return latency{p50: percentile(p.delays, 50), p99: percentile(p.delays, 99), lost: total - len(p.delays)}, nil
}

// percentile is of a sorted list that has values.
func percentile(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

func (p *prober) open(server netip.AddrPort) (err error) {
	p.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, clientBuffer<<10),
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Connect(p.fd, &unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()}),
	)
	if err != nil {
		unix.Close(p.fd)
		return fmt.Errorf("opening a socket to %v: %w", server, err)
	}
	return nil
}

// send sends the n-th query.
func (p *prober) send(n int) error {
	q, id := p.queries[n%len(p.queries)], uint16(n)
	binary.BigEndian.PutUint16(q, id)
	p.sent[id] = time.Now().UnixNano()
	if _, err := unix.Write(p.fd, q); err != nil {
		return os.NewSyscallError("write", err)
	}
	return nil
}

// receive takes an answer, if one is there.
func (p *prober) receive() error {
	n, controls, _, _, err := unix.Recvmsg(p.fd, p.data, p.control, unix.MSG_DONTWAIT)
	if err == unix.EAGAIN || err == unix.EINTR {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("recvmsg", err)
	}
	at, err := timestamp(p.control[:controls])
	if err != nil {
		return err
	}
	if n < 12 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	id := binary.BigEndian.Uint16(p.data)
	if left := p.sent[id]; left != 0 {
		p.sent[id] = 0
		p.delays = append(p.delays, time.Duration(at-left))
	}
	return nil
}

// timestamp is when the kernel had the datagram, in ns of the real-time clock.
func timestamp(control []byte) (int64, error) {
	all, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, os.NewSyscallError("parsing control messages", err)
	}
	for _, m := range all {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
			return int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:])), nil
		}
	}
	return 0, errors.New("the kernel gives no timestamps")
}
