package wire

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// cost is the least that a message is let pass with.
func cost(data []byte, m protoreflect.MessageDescriptor) int {
	for n := 0; ; n++ {
		if Check(data, m, n) == nil {
			return n
		}
	}
}

func TestCheck(t *testing.T) {
	encode := func(m proto.Message) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	list := func(values ...any) *structpb.ListValue {
		m, err := structpb.NewList(values)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	object, _ := structpb.NewStruct(map[string]any{"a": 1, "b": []any{true, nil}})
	for _, test := range []struct {
		name string
		m    proto.Message
		want int
	}{
		{"nothing", list(), 0},
		{"three values", list(1, 2, "x"), 3},
		{"a list in a list", list([]any{1, 2}), 4}, // value, list, two values
		{"a map", object, 2 + 2 + 1 + 2},           // entries, values, list, its values
		{"strings", &descriptorpb.FileDescriptorProto{Dependency: []string{"", "", ""}}, 3},
		{"numbers", &descriptorpb.FileDescriptorProto{PublicDependency: []int32{1, 2}}, 2},
		{"packed numbers", &descriptorpb.SourceCodeInfo_Location{Path: []int32{1, 2, 3, 4, 5, 6, 7, 8, 9}}, 2},
		{"a long text", structpb.NewStringValue(strings.Repeat("x", 1000)), 0},
	} {
		if got := cost(encode(test.m), test.m.ProtoReflect().Descriptor()); got != test.want {
			t.Errorf("%s: %d items, want %d", test.name, got, test.want)
		}
	}
	listType := list().ProtoReflect().Descriptor()
	err := Check(encode(list(1, 2, 3)), listType, 2)
	if want := "too many items in a google.protobuf.ListValue: must be at most 2"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	// Unknown fields and what is cut off are for the decoder.
	unknown := protowire.AppendTag(nil, 500, protowire.BytesType)
	unknown = protowire.AppendBytes(unknown, make([]byte, 50))
	for _, data := range [][]byte{unknown, {0x0a, 0x7f}, {0xff}, {0x0a}} {
		if err := Check(data, listType, 0); err != nil {
			t.Errorf("% x: %v", data, err)
		}
	}
	// Nor is the depth of a message a way to cost more than its bytes.
	deep := []byte{}
	for range 20000 {
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), deep)
		if len(deep) > 1000 {
			break
		}
	}
	if err := Check(deep, listType, 1<<20); err != nil {
		t.Error(err)
	}
}

// Whatever the bytes, a message that is let pass has no more than it may.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{"", "\x0a\x00\x0a\x00", "\x0a\x04\x32\x02\x0a\x00", "\xff\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &structpb.ListValue{}
		if Check(data, m.ProtoReflect().Descriptor(), 10) != nil || proto.Unmarshal(data, m) != nil {
			return
		}
		if len(m.Values) > 10 {
			t.Errorf("%d values were let pass", len(m.Values))
		}
	})
}
