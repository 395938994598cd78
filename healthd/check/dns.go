package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// DNS passes when a name server answers a query with NOERROR and at least one record of the type that was asked
// for. It asks over UDP, and over TCP when the answer is truncated.
type DNS struct {
	Network Network
	Address netip.AddrPort
	Name    string // absolute: "www.example.com."
	Type    uint16
}

// Run sends the query once.
func (c DNS) Run(ctx context.Context) error {
	q := ask(ctx, fmt.Sprintf("DNS %s %s at %s", dns.Type(c.Type), c.Name, c.Address), c.Network, c.Address.Addr())
	answer, err := c.exchange(q, "udp")
	if err == nil && answer.Truncated {
		q.heard = true
		answer, err = c.exchange(q, "tcp")
	}
	if err != nil {
		return q.failed("querying", err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return q.wrong("answer %s, want NOERROR", rcode(answer.Rcode))
	}
	for _, rr := range answer.Answer {
		if rr.Header().Rrtype == c.Type || c.Type == dns.TypeANY {
			return nil
		}
	}
	return q.wrong("answer NOERROR without %s records", dns.Type(c.Type))
}

func rcode(n int) string {
	if s, ok := dns.RcodeToString[n]; ok {
		return s
	}
	return fmt.Sprint("RCODE ", n)
}

// exchange sends the query and reads until its answer: all else is passed over.
func (c DNS) exchange(q *question, network string) (*dns.Msg, error) {
	query := new(dns.Msg).SetQuestion(c.Name, c.Type)
	packed, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	conn, end, err := q.dial(network, c.Address, CloseRST)
	if err != nil {
		return nil, err
	}
	defer end()
	receive := readDatagram
	if network == "tcp" {
		receive = readSized
		packed = append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
	}
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	for {
		b, err := receive(conn)
		if err != nil {
			return nil, err
		}
		answer := new(dns.Msg)
		err = answer.Unpack(b)
		if !answer.Response || answer.Id != query.Id || !sameQuestion(answer, query) {
			continue
		}
		if err != nil && !answer.Truncated {
			q.heard = true
			return nil, fmt.Errorf("the answer is malformed: %w", err)
		}
		return answer, nil
	}
}

// sameQuestion reports whether answer may be about query: a server that refuses may leave the question out.
func sameQuestion(answer, query *dns.Msg) bool {
	if len(answer.Question) == 0 {
		return true
	}
	a, q := answer.Question[0], query.Question[0]
	return len(answer.Question) == 1 && a.Qtype == q.Qtype && strings.EqualFold(a.Name, q.Name)
}

func readDatagram(conn net.Conn) ([]byte, error) {
	b := make([]byte, 4096) // without EDNS the answer has 512 bytes at most (RFC 1035, section 4.2.1)
	n, err := conn.Read(b)
	return b[:n], err
}

// readSized reads a message as RFC 1035, section 4.2.2 puts it on TCP.
func readSized(conn net.Conn) ([]byte, error) {
	var size [2]byte
	_, err := io.ReadFull(conn, size[:])
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if err == nil {
		_, err = io.ReadFull(conn, b)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("the server closed the connection")
	}
	return b, err
}
