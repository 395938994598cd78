package p4rt

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/proto"
)

// counted is what decode must make of an entity.
func counted(e *v1.Entity) Counted {
	t := e.GetTableEntry()
	c := Counted{
		Table: t.GetTableId(), Matches: len(t.GetMatch()),
		Packets: uint64(t.GetCounterData().GetPacketCount()), Bytes: uint64(t.GetCounterData().GetByteCount()),
	}
	for _, m := range t.GetMatch() {
		if v := m.GetExact().GetValue(); len(v) > 0 {
			c.exact = append(c.exact, exact{m.GetFieldId(), v})
		}
	}
	return c
}

func TestCounted(t *testing.T) {
	match := func(id uint32, value string) *v1.FieldMatch {
		return &v1.FieldMatch{FieldId: id, FieldMatchType: &v1.FieldMatch_Exact_{
			Exact: &v1.FieldMatch_Exact{Value: []byte(value)},
		}}
	}
	ternary := &v1.FieldMatch{FieldId: 3, FieldMatchType: &v1.FieldMatch_Ternary_{
		Ternary: &v1.FieldMatch_Ternary{Value: []byte{1}, Mask: []byte{1}},
	}}
	action := &v1.TableAction{Type: &v1.TableAction_Action{Action: &v1.Action{
		ActionId: 7, Params: []*v1.Action_Param{{ParamId: 1, Value: []byte{9}}},
	}}}
	for _, tt := range []struct {
		name  string
		entry *v1.TableEntry
	}{
		{"a row", &v1.TableEntry{TableId: 5, Match: []*v1.FieldMatch{match(1, "\x0a\x00\x00\x01"), match(2, "\x06")},
			Action: action, CounterData: &v1.CounterData{PacketCount: 1 << 40, ByteCount: 1<<62 + 1}}},
		{"that counted nothing", &v1.TableEntry{TableId: 5, Match: []*v1.FieldMatch{match(1, "\x01")}, Action: action}},
		{"with other kinds of fields", &v1.TableEntry{TableId: 5, Priority: 3, IdleTimeoutNs: 1e9,
			Match: []*v1.FieldMatch{ternary, match(1, "\x01")}, Metadata: []byte("x"),
			CounterData: &v1.CounterData{PacketCount: 1}}},
		{"the default", &v1.TableEntry{TableId: 5, IsDefaultAction: true, Action: action}},
		{"nothing", &v1.TableEntry{}},
	} {
		e := TableEntity(tt.entry)
		data, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Counted
		if err := got.decode(data); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if diff := cmp.Diff(counted(e), got, cmp.AllowUnexported(Counted{}, exact{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Of whatever a target sends, what protobuf takes is read as protobuf reads it.
func FuzzCounted(f *testing.F) {
	f.Add([]byte("\x12\x10\x08\x05\x12\x08\x08\x01\x12\x04\x0a\x02\x0a\x00\x3a\x02\x10\x07"))
	f.Add([]byte("\x12\x02\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = new(Counted).decode(data)
		e := new(v1.Entity)
		if proto.Unmarshal(data, e) != nil {
			return
		}
		canonical, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var got Counted
		if err := got.decode(canonical); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(counted(e), got, cmp.AllowUnexported(Counted{}, exact{})); diff != "" {
			t.Errorf("%v (-want +got):\n%s", e, diff)
		}
	})
}

// BenchmarkCounted is what it takes to read what a row has counted, beside building all of its messages.
func BenchmarkCounted(b *testing.B) {
	row := &v1.TableEntry{
		TableId: 5, CounterData: &v1.CounterData{PacketCount: 1 << 20, ByteCount: 1 << 30},
		Action: &v1.TableAction{Type: &v1.TableAction_Action{Action: &v1.Action{
			ActionId: 7, Params: []*v1.Action_Param{{ParamId: 1, Value: []byte{9}}, {ParamId: 2, Value: []byte{9}}},
		}}},
	}
	for id, value := range []string{"\x0a\x00\x00\x01", "\x06", "\x50"} {
		row.Match = append(row.Match, &v1.FieldMatch{FieldId: uint32(id + 1), FieldMatchType: &v1.FieldMatch_Exact_{
			Exact: &v1.FieldMatch_Exact{Value: []byte(value)},
		}})
	}
	data, err := proto.Marshal(TableEntity(row))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("counted", func(b *testing.B) {
		b.ReportAllocs()
		var one Counted
		for b.Loop() {
			one = Counted{exact: one.exact[:0]}
			if err := one.decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("messages", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(data, new(v1.Entity)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
