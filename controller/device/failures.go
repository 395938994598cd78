package device

import (
	"net/netip"
	"reflect"

	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/packet"
)

// Failure is a change that the switch does not take. It is tried again.
type Failure struct {
	Change   string
	Code     codes.Code
	Message  string
	Attempts int
}

type failure struct {
	change  plan.Change
	code    codes.Code
	message string
	tries   int
	due     bool // to be tried in the next pass
}

// failures remembers the changes that the switch refused, by row, so that the others need not wait for
// them, and those that would break something without them do.
type failures struct {
	rows  map[any]*failure
	slots map[plan.SlotTable]int // refused rows of slot
	paths int                    // refused rows of slot and slot_old
}

func newFailures() *failures {
	return &failures{rows: make(map[any]*failure), slots: make(map[plan.SlotTable]int)}
}

type (
	slotKey      oldKey
	responderKey plan.ARPResponderRow
	stationKey   packet.MAC
	l2Key        packet.MAC
	arpKey       netip.Addr
	floodKey     struct{}
)

// keyOf returns what identifies the row among all: its table and match.
func keyOf(row plan.Row) any {
	switch r := row.(type) {
	case plan.BackendRow:
		return r.ID
	case plan.SlotRow:
		return slotKey{r.SlotTable, r.Slot}
	case plan.SlotOldRow:
		return oldKey{r.SlotTable, r.Slot}
	case plan.VIPRow:
		return r.VIPKey
	case plan.ARPResponderRow:
		return responderKey{Address: r.Address}
	case plan.PinnedStationRow:
		return stationKey(r.MAC)
	case plan.PinnedL2Row:
		return l2Key(r.MAC)
	case plan.PinnedARPRow:
		return arpKey(r.Address)
	case plan.FloodRow:
		return floodKey{}
	}
	return row // nothing but a match
}

// add remembers that ch was refused.
func (f *failures) add(ch plan.Change, code codes.Code, message string) {
	key := keyOf(ch.Row)
	old := f.rows[key]
	if old == nil {
		old = new(failure)
		f.rows[key] = old
		f.count(ch.Row, +1)
	}
	*old = failure{ch, code, message, old.tries + 1, false}
}

// done forgets the row.
func (f *failures) done(row plan.Row) {
	if len(f.rows) == 0 {
		return
	}
	if key := keyOf(row); f.rows[key] != nil {
		delete(f.rows, key)
		f.count(row, -1)
	}
}

func (f *failures) count(row plan.Row, by int) {
	switch r := row.(type) {
	case plan.SlotRow:
		f.paths += by
		if f.slots[r.SlotTable] += by; f.slots[r.SlotTable] == 0 {
			delete(f.slots, r.SlotTable)
		}
	case plan.SlotOldRow:
		f.paths += by
	}
}

// retry makes every refused change due.
func (f *failures) retry() {
	for _, one := range f.rows {
		one.due = true
	}
}

// keep forgets rows for which nothing is to be changed any more.
func (f *failures) keep(batches []plan.Batch) {
	if len(f.rows) == 0 {
		return
	}
	wanted := make(map[any]bool)
	for _, b := range batches {
		for _, ch := range b {
			wanted[keyOf(ch.Row)] = true
		}
	}
	for key, one := range f.rows {
		if !wanted[key] {
			f.done(one.change.Row)
		}
	}
}

// ready returns the changes of a batch that can be written now. The others were refused not long
// ago, or need a row that was.
func (f *failures) ready(batch plan.Batch) plan.Batch {
	if len(f.rows) == 0 {
		return batch
	}
	var out plan.Batch
	for _, ch := range batch {
		if one := f.rows[keyOf(ch.Row)]; one != nil && !one.due && reflect.DeepEqual(one.change, ch) {
			continue
		}
		if !f.blocks(ch) {
			out = append(out, ch)
		}
	}
	return out
}

// blocks says whether a refused row keeps ch from being written:
//
//	slot names a backend, and slot_old too             no packets to a backend that is not there
//	slot says move after slot_old says stay            or old flows would go to the new backend
//	slot_old goes after slot says to_backend           for the same reason
//	vip points to a pool whose slots are complete      or a part of its flows would be dropped
//	backend goes after every path to it
func (f *failures) blocks(ch plan.Change) bool {
	switch r := ch.Row.(type) {
	case plan.SlotRow:
		return ch.Op != plan.Delete && (f.refused(r.Backend) || f.refused(r.Grace) || f.refused(oldKey{r.SlotTable, r.Slot}))
	case plan.SlotOldRow:
		if ch.Op == plan.Delete {
			return f.refused(slotKey{r.SlotTable, r.Slot})
		}
		return f.refused(r.Backend)
	case plan.VIPRow:
		return ch.Op != plan.Delete && f.slots[plan.SlotTable{Pool: r.Pool, Generation: r.Generation}] > 0
	case plan.BackendRow:
		return ch.Op == plan.Delete && f.paths > 0
	}
	return false
}

func (f *failures) refused(key any) bool { return f.rows[key] != nil }

// report returns a few failures for people.
func (f *failures) report(most int) []Failure {
	out := make([]Failure, 0, min(most, len(f.rows)))
	for _, one := range f.rows {
		out = append(out, Failure{text.Cut(one.change.String()), one.code, one.message, one.tries})
	}
	sortFailures(out)
	return out[:min(most, len(out))]
}
