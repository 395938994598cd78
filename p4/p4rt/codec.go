package p4rt

import (
	"fmt"
	"iter"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/wire"
)

// codec is gRPC's for protobuf, and refuses messages of too many items before they are built.
type codec struct {
	encoding.CodecV2
	items int // that a message may have
}

func newCodec(items int) codec { return codec{encoding.GetCodecV2(protocodec.Name), items} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if p, ok := v.(*page); ok {
		p.data = data.Materialize()
		return wire.Check(p.data, (*v1.ReadResponse)(nil).ProtoReflect().Descriptor(), c.items)
	}
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no protobuf message", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	if err := wire.Check(buffer.ReadOnlyData(), m.ProtoReflect().Descriptor(), c.items); err != nil {
		return err
	}
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}

// page is a ReadResponse whose entities are decoded one at a time: bmv2 answers with a single one for a whole table,
// and half a million rows take 40 MB encoded and ten times that decoded.
type page struct{ data []byte }

var pageEntities = numberOf((*v1.ReadResponse)(nil), "entities")

// entities yields them as they are encoded. The sequence ends after the last one, or after the first error.
func (p *page) entities() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for data := p.data; len(data) > 0; {
			number, kind, n := protowire.ConsumeTag(data)
			if n < 0 {
				yield(nil, fmt.Errorf("decoding a ReadResponse: %w", protowire.ParseError(n)))
				return
			}
			data = data[n:]
			if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
				yield(nil, fmt.Errorf("decoding a ReadResponse: %w", protowire.ParseError(n)))
				return
			}
			value := data[:n]
			data = data[n:]
			if number != pageEntities || kind != protowire.BytesType {
				continue
			}
			if encoded, _ := protowire.ConsumeBytes(value); !yield(encoded, nil) {
				return
			}
		}
	}
}
