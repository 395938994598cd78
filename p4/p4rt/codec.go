package p4rt

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/wire"
)

// codec is gRPC's for protobuf, and refuses messages of too many items before they are built.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no protobuf message", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	if err := wire.Check(buffer.ReadOnlyData(), m.ProtoReflect().Descriptor(), maxMessageItems); err != nil {
		return err
	}
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}
