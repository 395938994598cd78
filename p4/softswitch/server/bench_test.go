package server_test

import (
	"encoding/binary"
	"errors"
	"io"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// slots returns updates of slot entries: pool 1, slots from 0.
func slots(kind v1.Update_Type, n int, backend byte) []*v1.Update {
	exact := func(id uint32, v []byte) *v1.FieldMatch {
		return &v1.FieldMatch{FieldId: id, FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: v}}}
	}
	var out []*v1.Update
	for i := range n {
		out = append(out, &v1.Update{Type: kind,
			Entity: &v1.Entity{Entity: &v1.Entity_TableEntry{TableEntry: &v1.TableEntry{
				TableId: 44497391,
				Match: []*v1.FieldMatch{
					exact(1, binary.BigEndian.AppendUint32(nil, 1+uint32(i/4096))), exact(2, []byte{0}),
					exact(3, binary.BigEndian.AppendUint16(nil, uint16(i%4096))),
				},
				Action: &v1.TableAction{Type: &v1.TableAction_Action{Action: &v1.Action{
					ActionId: 17234410, Params: []*v1.Action_Param{{ParamId: 1, Value: []byte{backend}}},
				}}},
			}}}})
	}
	return out
}

// One batch of 4,096 slots, over loopback TCP.
func BenchmarkWrite4096Slots(b *testing.B) {
	r := newRig(b)
	r.configured(sluice())
	r.mustWrite(slots(v1.Update_INSERT, 4096, 1)...)
	batch := slots(v1.Update_MODIFY, 4096, 2)
	b.ReportAllocs()
	for b.Loop() {
		r.mustWrite(batch...)
	}
	b.ReportMetric(4096*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// A wildcard read of 100 pools of 4,096 slots, over loopback TCP.
func BenchmarkRead409600Slots(b *testing.B) {
	r := newRig(b)
	r.configured(sluice())
	const n = 100 * 4096
	all := slots(v1.Update_INSERT, n, 1)
	for i := 0; i < n; i += 4096 {
		r.mustWrite(all[i : i+4096]...)
	}
	b.ReportAllocs()
	for b.Loop() {
		rpc, err := r.client.Read(b.Context(), &v1.ReadRequest{DeviceId: device, Entities: []*v1.Entity{
			{Entity: &v1.Entity_TableEntry{TableEntry: &v1.TableEntry{TableId: 44497391}}},
		}})
		if err != nil {
			b.Fatal(err)
		}
		got := 0
		for {
			m, err := rpc.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			got += len(m.Entities)
		}
		if got != n {
			b.Fatalf("%d entries, want %d", got, n)
		}
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
