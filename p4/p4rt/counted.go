package p4rt

import (
	"context"
	"fmt"
	"iter"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Counted is a table entry of which what tells it apart and what it has counted was decoded, and nothing else: building
// the messages of an entry takes ten times as long, and counters of many entries are read again and again.
type Counted struct {
	Table          uint32 // its id
	Packets, Bytes uint64
	Matches        int // how many match fields it has, of whatever kind

	exact []exact
}

// exact is a match field of that kind.
type exact struct {
	field uint32
	value []byte
}

// Exact returns the value of a match field; nil where the entry has none of that kind.
func (c *Counted) Exact(field uint32) []byte {
	for _, m := range c.exact {
		if m.field == field {
			return m.value
		}
	}
	return nil
}

// The numbers of the fields that are read (P4Runtime specification 1.5, section "Table Entry", p4runtime.proto).
var (
	entityTable  = numberOf((*v1.Entity)(nil), "table_entry")
	tableID      = numberOf((*v1.TableEntry)(nil), "table_id")
	tableMatch   = numberOf((*v1.TableEntry)(nil), "match")
	tableCounter = numberOf((*v1.TableEntry)(nil), "counter_data")
	matchField   = numberOf((*v1.FieldMatch)(nil), "field_id")
	matchExact   = numberOf((*v1.FieldMatch)(nil), "exact")
	exactValue   = numberOf((*v1.FieldMatch_Exact)(nil), "value")
	countPackets = numberOf((*v1.CounterData)(nil), "packet_count")
	countBytes   = numberOf((*v1.CounterData)(nil), "byte_count")
)

func numberOf(m protoreflect.ProtoMessage, field protoreflect.Name) protowire.Number {
	return m.ProtoReflect().Descriptor().Fields().ByName(field).Number()
}

// ReadCounted is Read for what table entries have counted; other entities are left out. A Counted is valid until the
// next one.
func (c *Client) ReadCounted(ctx context.Context, entities ...*v1.Entity) iter.Seq2[*Counted, error] {
	return func(yield func(*Counted, error) bool) {
		var one Counted
		for data, err := range c.read(ctx, entities) {
			if err == nil {
				one = Counted{exact: one.exact[:0]}
				if err = one.decode(data); err != nil {
					err = fmt.Errorf("reading from device %d: decoding an entity: %w", c.deviceID, err)
				}
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if one.Table != 0 && !yield(&one, nil) {
				return
			}
		}
	}
}

// decode reads an Entity.
func (c *Counted) decode(data []byte) error {
	return fields(data, nil, func(n protowire.Number, entry []byte) error {
		if n != entityTable {
			return nil
		}
		return fields(entry, func(n protowire.Number, v uint64) {
			if n == tableID {
				c.Table = uint32(v)
			}
		}, func(n protowire.Number, inner []byte) error {
			switch n {
			case tableMatch:
				return c.match(inner)
			case tableCounter:
				return fields(inner, c.count, nil)
			}
			return nil
		})
	})
}

func (c *Counted) count(n protowire.Number, v uint64) {
	switch n {
	case countPackets:
		c.Packets = v
	case countBytes:
		c.Bytes = v
	}
}

func (c *Counted) match(data []byte) error {
	c.Matches++
	var m exact
	err := fields(data, func(n protowire.Number, v uint64) {
		if n == matchField {
			m.field = uint32(v)
		}
	}, func(n protowire.Number, inner []byte) error {
		if n != matchExact {
			return nil
		}
		return fields(inner, nil, func(n protowire.Number, value []byte) error {
			if n == exactValue {
				m.value = value
			}
			return nil
		})
	})
	if len(m.value) > 0 {
		c.exact = append(c.exact, m)
	}
	return err
}

// fields visits the fields of an encoded message that are numbers, and those that are messages or bytes; either may be
// nil. Others are passed over, as those are whose number the message does not have.
func fields(data []byte, number func(protowire.Number, uint64), inner func(protowire.Number, []byte) error) error {
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(field, kind, data); n < 0 {
			return protowire.ParseError(n)
		}
		value := data[:n]
		data = data[n:]
		switch {
		case kind == protowire.VarintType && number != nil:
			v, _ := protowire.ConsumeVarint(value)
			number(field, v)
		case kind == protowire.BytesType && inner != nil:
			b, _ := protowire.ConsumeBytes(value)
			if err := inner(field, b); err != nil {
				return err
			}
		}
	}
	return nil
}
