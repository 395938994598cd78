package check

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gosnmp/gosnmp"
)

// SNMP passes when an SNMP agent answers a get of version 2c with a number between Min and Max, both included. A
// string that is a decimal number counts as one: agents give the output of scripts as strings.
type SNMP struct {
	Network   Network
	Address   netip.AddrPort
	Community string
	OID       string // ".1.3.6.1.2.1.1.3.0", with or without the first dot
	Min, Max  int64
}

// Run sends the request once.
func (c SNMP) Run(ctx context.Context) error {
	oid := "." + strings.TrimPrefix(c.OID, ".")
	q := ask(ctx, fmt.Sprintf("SNMP %s at %s", oid, c.Address), c.Network, c.Address.Addr())
	answer, err := c.exchange(q, oid)
	if err != nil {
		return q.failed("asking", err)
	}
	if answer.Error != gosnmp.NoError {
		return q.wrong("the agent says %v", answer.Error)
	}
	if len(answer.Variables) != 1 || answer.Variables[0].Name != oid {
		return q.wrong("the answer is about something else")
	}
	value, err := number(answer.Variables[0])
	if err != nil {
		return q.wrong("%w", err)
	}
	if value < c.Min || value > c.Max {
		return q.wrong("value %d, want %s", value, c.bounds())
	}
	return nil
}

func (c SNMP) bounds() string {
	switch {
	case c.Min == math.MinInt64:
		return fmt.Sprintf("at most %d", c.Max)
	case c.Max == math.MaxInt64:
		return fmt.Sprintf("at least %d", c.Min)
	}
	return fmt.Sprintf("%d to %d", c.Min, c.Max)
}

// exchange sends the request and reads until its response. gosnmp puts messages together and takes them apart;
// the socket is the Network's.
func (c SNMP) exchange(q *question, oid string) (*gosnmp.SnmpPacket, error) {
	codec := &gosnmp.GoSNMP{Version: gosnmp.Version2c, Community: c.Community}
	codec.SetRequestID(rand.Uint32N(1 << 31))
	request, err := codec.SnmpEncodePacket(gosnmp.GetRequest, []gosnmp.SnmpPDU{{Name: oid, Type: gosnmp.Null}}, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	sent, err := decode(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAsked, err)
	}
	conn, end, err := q.dial("udp", c.Address, CloseRST)
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	for {
		b, err := readDatagram(conn)
		if err != nil {
			return nil, err
		}
		answer, err := decode(b)
		if err == nil && answer.PDUType == gosnmp.GetResponse && answer.RequestID == sent.RequestID &&
			answer.Community == c.Community {
			return answer, nil
		}
	}
}

// decode takes apart a message that anybody may have sent. gosnmp recovers from its own panics only in what it sends
// itself.
func decode(b []byte) (p *gosnmp.SnmpPacket, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	codec := &gosnmp.GoSNMP{Version: gosnmp.Version2c}
	return codec.SnmpDecodePacket(b)
}

// number is the value of a variable as a number. A Counter64 beyond the range of int64 is none.
func number(v gosnmp.SnmpPDU) (int64, error) {
	switch v.Type {
	case gosnmp.NoSuchObject, gosnmp.NoSuchInstance:
		return 0, errors.New("the agent has no such object")
	case gosnmp.OctetString:
		text, _ := v.Value.([]byte)
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("value %.100q is no number", text)
		}
		return n, nil
	case gosnmp.Integer, gosnmp.Counter32, gosnmp.Gauge32, gosnmp.TimeTicks, gosnmp.Counter64, gosnmp.Uinteger32:
		n := gosnmp.ToBigInt(v.Value)
		if !n.IsInt64() {
			return 0, fmt.Errorf("value %v is too large", n)
		}
		return n.Int64(), nil
	}
	return 0, fmt.Errorf("the value is no number but of type %v", v.Type)
}
