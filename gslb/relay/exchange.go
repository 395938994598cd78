package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	headerSize = 12
	maxUDP     = 4096 // config allows no larger UDP size
)

// errTimeout is what a server that says nothing is called.
var errTimeout = errors.New("no reply in time")

// exchange asks over UDP, and over TCP if the reply is truncated. Each may take the time of a try.
func (r *Relay) exchange(ctx context.Context, c *Config, query *dns.Msg, server netip.AddrPort) (*dns.Msg, error) {
	reply, err := r.overUDP(ctx, c.Timeout, query, server)
	if err != nil || !reply.Truncated {
		return reply, err
	}
	r.tcp.Add(1)
	query.Id = dns.Id()
	return r.overTCP(ctx, c.Timeout, query, server)
}

// overUDP asks from a new socket, whose port the kernel picks at random, and which takes datagrams from the server
// alone.
func (r *Relay) overUDP(ctx context.Context, timeout time.Duration, query *dns.Msg, server netip.AddrPort) (*dns.Msg,
	error) {
	conn, done, err := dial(ctx, "udp", timeout, server)
	if err != nil {
		return nil, err
	}
	defer done()
	wire, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("packing the query: %w", err)
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, fault(err)
	}
	buf := make([]byte, maxUDP)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, fault(err)
		}
		reply, ours, err := parse(buf[:n], query)
		if !ours {
			r.mismatch.Add(1) // a forgery or a late reply: the true one may still come
			continue
		}
		return reply, err
	}
}

func (r *Relay) overTCP(ctx context.Context, timeout time.Duration, query *dns.Msg, server netip.AddrPort) (*dns.Msg,
	error) {
	conn, done, err := dial(ctx, "tcp", timeout, server)
	if err != nil {
		return nil, fmt.Errorf("over TCP: %w", err)
	}
	defer done()
	wire, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("packing the query: %w", err)
	}
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(wire)), uint16(len(wire))), wire...)
	if _, err := conn.Write(framed); err != nil {
		return nil, fmt.Errorf("over TCP: %w", fault(err))
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, fmt.Errorf("over TCP: %w", fault(err))
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, fmt.Errorf("over TCP: %w", fault(err))
	}
	reply, ours, err := parse(buf, query)
	if !ours {
		r.mismatch.Add(1)
		return nil, errors.New("over TCP: the reply is to another query")
	}
	if err == nil && reply.Truncated {
		return nil, errors.New("over TCP: the reply is truncated")
	}
	return reply, err
}

// dial connects to server with a deadline for all that is done there. done closes the connection and must be called.
func dial(ctx context.Context, network string, timeout time.Duration, server netip.AddrPort) (conn net.Conn,
	done func(), err error) {
	deadline := time.Now().Add(timeout)
	d := net.Dialer{Deadline: deadline}
	conn, err = d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, nil, fault(err)
	}
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}

// fault strips the addresses, which the caller adds, from an error of package net.
func fault(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return errTimeout
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// parse reads a reply. It is ours if it is a response with the id and question of query; a FORMERR may come without its
// question. Of a truncated one only the header and the question have to make sense.
func parse(wire []byte, query *dns.Msg) (reply *dns.Msg, ours bool, err error) {
	if len(wire) < headerSize || binary.BigEndian.Uint16(wire) != query.Id {
		return nil, false, nil
	}
	reply = new(dns.Msg)
	err = reply.Unpack(wire)
	if !reply.Response || reply.Opcode != dns.OpcodeQuery {
		return nil, false, nil
	}
	if len(reply.Question) == 0 && reply.Rcode == dns.RcodeFormatError && err == nil {
		return reply, true, nil
	}
	if len(reply.Question) != 1 || !sameQuestion(reply.Question[0], query.Question[0]) {
		return nil, false, nil
	}
	if reply.Truncated {
		return reply, true, nil
	}
	if err != nil {
		return nil, true, fmt.Errorf("malformed reply: %w", err)
	}
	for i, section := range [][]dns.RR{reply.Answer, reply.Ns, reply.Extra} {
		// Unpack takes a message that ends early for a short one.
		if n := int(binary.BigEndian.Uint16(wire[6+2*i:])); n != len(section) {
			return nil, true, fmt.Errorf("malformed reply: its header counts %d records in a section of %d", n,
				len(section))
		}
	}
	return reply, true, nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}
