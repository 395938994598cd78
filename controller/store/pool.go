package store

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// maxSlots bounds what a document can make the decoder allocate.
const maxSlots = limits.PoolSlots

// writers are kept because a new one costs more than packing a pool.
var writers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// encodePool packs a pool: compressed, a JSON header, then columns of uvarints, one for each field of
// a slot. A verdict must not wait for the encoding of thousands of slots as JSON.
func encodePool(p *plan.Pool) ([]byte, error) {
	head := *p
	head.Home, head.Slots, head.Entered = nil, nil, nil
	header, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := binary.AppendUvarint(nil, uint64(len(header)))
	b = append(b, header...)
	b = binary.AppendUvarint(b, uint64(len(p.Home)))
	b = binary.AppendUvarint(b, uint64(len(p.Slots)))
	for _, id := range p.Home {
		b = binary.AppendUvarint(b, uint64(id))
	}
	for _, column := range slices.Concat(slotColumns, laterColumns) {
		for i := range p.Slots {
			b = binary.AppendUvarint(b, column.get(&p.Slots[i]))
		}
	}
	for i := range p.Slots {
		entered := uint32(0)
		if p.Entered != nil {
			entered = p.Entered[i]
		}
		b = binary.AppendUvarint(b, uint64(entered))
	}
	var out bytes.Buffer
	w := writers.Get().(*flate.Writer)
	defer writers.Put(w)
	w.Reset(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type slotColumn struct {
	get func(*rows.Slot) uint64
	set func(*rows.Slot, uint64)
}

var slotColumns = []slotColumn{
	{func(s *rows.Slot) uint64 { return uint64(s.Backend) },
		func(s *rows.Slot, x uint64) { s.Backend = rows.BackendID(x) }},
	{func(s *rows.Slot) uint64 { return uint64(s.Old) }, func(s *rows.Slot, x uint64) { s.Old = rows.BackendID(x) }},
	{func(s *rows.Slot) uint64 { return uint64(s.Epoch) }, func(s *rows.Slot, x uint64) { s.Epoch = uint32(x) }},
	{func(s *rows.Slot) uint64 { return uint64(s.Bank) }, func(s *rows.Slot, x uint64) { s.Bank = uint8(x) }},
}

// laterColumns are absent from what programs wrote that knew no graces.
var laterColumns = []slotColumn{
	// The old backend of a slot, where that was dead: for a while it had a column of its own.
	{func(*rows.Slot) uint64 { return 0 }, func(s *rows.Slot, x uint64) {
		if x != 0 {
			s.Old = rows.BackendID(x)
		}
	}},
	{func(s *rows.Slot) uint64 {
		if s.Back {
			return 1
		}
		return 0
	}, func(s *rows.Slot, x uint64) { s.Back = x != 0 }},
}

func decodePool(doc []byte) (*plan.Pool, error) {
	const most = 64 << 20
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(doc)), most))
	if err != nil {
		return nil, err
	}
	r := bytes.NewReader(b)
	number := func() (x uint64) {
		if err == nil {
			x, err = binary.ReadUvarint(r)
		}
		return x
	}
	n := number()
	if err != nil || n > uint64(r.Len()) {
		return nil, errors.New("the header is cut short")
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	p := new(plan.Pool)
	if err := json.Unmarshal(header, p); err != nil {
		return nil, err
	}
	homes, slots := number(), number()
	if homes > maxSlots || slots > maxSlots {
		return nil, fmt.Errorf("%d slots, at most %d are possible", max(homes, slots), maxSlots)
	}
	if homes > 0 {
		p.Home = make([]rows.BackendID, homes)
	}
	for i := range p.Home {
		p.Home[i] = rows.BackendID(number())
	}
	if slots > 0 {
		p.Slots = make([]rows.Slot, slots)
	}
	for _, column := range slotColumns {
		for i := range p.Slots {
			column.set(&p.Slots[i], number())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the slots are cut short: %w", err)
	}
	if r.Len() > 0 { // written by a program that knows graces
		for _, column := range laterColumns {
			for i := range p.Slots {
				column.set(&p.Slots[i], number())
			}
		}
		entered := make([]uint32, slots)
		for i := range entered {
			entered[i] = uint32(number())
		}
		if slices.ContainsFunc(entered, func(e uint32) bool { return e != 0 }) {
			p.Entered = entered
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the slots are cut short: %w", err)
	}
	if r.Len() != 0 {
		return nil, fmt.Errorf("%d bytes too many", r.Len())
	}
	return p, nil
}
