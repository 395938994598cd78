package rpc

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/sluicelb/sluice/internal/wire"
)

// binary is Connect's codec for protobuf, and refuses messages of too many items before they are built.
type binary struct{ items int }

func (binary) Name() string   { return "proto" }
func (binary) IsBinary() bool { return true }

func (binary) Marshal(m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(p)
}

func (binary) MarshalAppend(to []byte, m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{}.MarshalAppend(to, p)
}

func (binary) MarshalStable(m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(p)
}

func (c binary) Unmarshal(data []byte, m any) error {
	p, err := message(m)
	if err != nil {
		return err
	}
	if err := wire.Check(data, p.ProtoReflect().Descriptor(), c.items); err != nil {
		return err
	}
	return proto.Unmarshal(data, p)
}

// text is Connect's codec for JSON, with the same bound.
type text struct {
	name  string
	items int
}

func (t text) Name() string { return t.name }

func (text) Marshal(m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(p)
}

func (text) MarshalAppend(to []byte, m any) ([]byte, error) {
	p, err := message(m)
	if err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{}.MarshalAppend(to, p)
}

func (t text) Unmarshal(data []byte, m any) error {
	p, err := message(m)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return fmt.Errorf("no JSON: must be an object, {} at least")
	}
	if n := items(data); n > t.items {
		return fmt.Errorf("%d items in the message: must be at most %d", n, t.items)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, p)
}

// items counts what becomes an item: objects, lists, and what has a comma before it, outside of strings.
func items(data []byte) int {
	n := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[', ',':
			n++
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		}
	}
	return n
}

func message(m any) (proto.Message, error) {
	switch m := m.(type) {
	case proto.Message:
		return m, nil
	case protoiface.MessageV1:
		return nil, fmt.Errorf("%T uses the old API of protobuf", m)
	}
	return nil, fmt.Errorf("%T is no protobuf message", m)
}
