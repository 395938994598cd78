package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/limits"
)

// pinBits is by how many of their first bits the pinned flows are divided between documents: a change writes those that
// it touches.
const pinBits = 6

// encodePins returns the documents of pinned flows: in each, for every flow in their order, its distance from the one
// before and its backend, as uvarints.
func encodePins(pins *plan.Pins) map[string][]byte {
	flows := make([]rows.Flow, 0, pins.Len())
	for flow := range pins.All() {
		flows = append(flows, flow)
	}
	slices.Sort(flows)
	docs := make(map[string][]byte)
	part, last := -1, rows.Flow(0)
	var b []byte
	for _, flow := range flows {
		if of := int(flow >> (64 - pinBits)); of != part {
			if part >= 0 {
				docs[pinDoc(part)] = b
			}
			part, last, b = of, 0, nil
		}
		b = binary.AppendUvarint(b, uint64(flow-last))
		b = binary.AppendUvarint(b, uint64(pins.Get(flow)))
		last = flow
	}
	if part >= 0 {
		docs[pinDoc(part)] = b
	}
	return docs
}

func pinDoc(part int) string { return fmt.Sprintf("%s%02d", docPins, part) }

// decodePins adds the flows of a document.
func decodePins(doc []byte, to map[rows.Flow]rows.BackendID) error {
	flow := rows.Flow(0)
	for r := bytes.NewReader(doc); r.Len() > 0; {
		step, err := binary.ReadUvarint(r)
		if err != nil {
			return errors.New("the pinned flows are cut short")
		}
		id, err := binary.ReadUvarint(r)
		if err != nil {
			return errors.New("the pinned flows are cut short")
		}
		if len(to) >= limits.PinSize {
			return fmt.Errorf("more than %d pinned flows", limits.PinSize)
		}
		flow += rows.Flow(step)
		to[flow] = rows.BackendID(id)
	}
	return nil
}
