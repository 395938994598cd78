package device

import (
	"slices"

	"google.golang.org/grpc/codes"

	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/internal/text"
)

// Failure is a change that the switch does not take. It is tried again.
type Failure struct {
	Change   string
	Code     codes.Code
	Message  string
	Attempts int
}

type failure struct {
	change  rows.Change
	code    codes.Code
	message string
	tries   int
	due     bool // to be tried in the next pass
}

// failures remembers the changes that the switch refused, so that the others need not wait for them, and those that
// would break something without them do.
type failures struct {
	rows map[rows.Ref]*failure
	// refused counts the rows that were, by every name by which others need them.
	refused map[rows.Ref]int
	// waits has the rows that are not tried, by the same names, and stays what is needed by rows that the switch still
	// holds though the plan has them no more. Both are gathered in each pass.
	waits, stays map[rows.Ref]bool
}

func newFailures() *failures {
	return &failures{rows: make(map[rows.Ref]*failure), refused: make(map[rows.Ref]int)}
}

// add remembers that ch was refused, by a switch that holds held.
func (f *failures) add(ch rows.Change, held *rows.Tables, code codes.Code, message string) {
	ref := ch.Row.Ref()
	old := f.rows[ref]
	if old == nil {
		old = new(failure)
		f.rows[ref] = old
	} else {
		f.count(old.change, -1)
	}
	f.count(ch, +1)
	*old = failure{ch, code, message, old.tries + 1, false}
	f.stay(ch.Row, held)
}

// done forgets the row.
func (f *failures) done(row rows.Row) {
	if len(f.rows) == 0 {
		return
	}
	if one := f.rows[row.Ref()]; one != nil {
		delete(f.rows, row.Ref())
		f.count(one.change, -1)
	}
}

func (f *failures) count(ch rows.Change, by int) {
	for _, ref := range missed(ch) {
		if f.refused[ref] += by; f.refused[ref] == 0 {
			delete(f.refused, ref)
		}
	}
}

// missed are the names by which others need a row that is not as wanted. A row that needs a whole bears a part of it
// that differs, but not one that is missing.
func missed(ch rows.Change) []rows.Ref {
	ref := ch.Row.Ref()
	if part, ok := ref.(rows.Part); ok && ch.Op == rows.Insert {
		return []rows.Ref{ref, part.Whole()}
	}
	return []rows.Ref{ref}
}

// retry makes every refused change due.
func (f *failures) retry() {
	for _, one := range f.rows {
		one.due = true
	}
}

// begin starts a pass that writes these. Rows for which nothing is to be changed any more are forgotten.
func (f *failures) begin(batches []rows.Batch) {
	f.waits, f.stays = make(map[rows.Ref]bool), make(map[rows.Ref]bool)
	if len(f.rows) == 0 {
		return
	}
	wanted := make(map[rows.Ref]bool)
	for _, b := range batches {
		for _, ch := range b {
			wanted[ch.Row.Ref()] = true
		}
	}
	for ref, one := range f.rows {
		if !wanted[ref] {
			f.done(one.change.Row)
		}
	}
}

// ready returns the changes of a batch that can be written now, to a switch that holds held. The others were refused
// not long ago, or need a row that was or is left out here, or take away what rows need that stay for such a reason.
func (f *failures) ready(batch rows.Batch, held *rows.Tables) rows.Batch {
	if len(f.rows) == 0 {
		return batch
	}
	var out rows.Batch
	for _, ch := range batch {
		one := f.rows[ch.Row.Ref()]
		if one != nil && !one.due && one.change == ch || f.blocks(ch) {
			f.wait(ch)
			f.stay(ch.Row, held)
			continue
		}
		out = append(out, ch)
	}
	return out
}

// wait remembers that ch is not tried.
func (f *failures) wait(ch rows.Change) {
	if ch.Op == rows.Delete {
		return
	}
	for _, ref := range missed(ch) {
		f.waits[ref] = true
	}
}

// stay keeps what the row needs that the switch holds instead of this one.
func (f *failures) stay(row rows.Row, held *rows.Tables) {
	if is, ok := row.Held(held); ok {
		for _, need := range is.Needs() {
			f.stays[need] = true
		}
	}
}

func (f *failures) blocks(ch rows.Change) bool {
	if ch.Op == rows.Delete {
		ref := ch.Row.Ref()
		part, ok := ref.(rows.Part)
		return f.stays[ref] || ok && f.stays[part.Whole()]
	}
	return slices.ContainsFunc(ch.Row.Needs(), func(need rows.Ref) bool { return f.refused[need] > 0 || f.waits[need] })
}

// unpinned counts the pinned flows that were refused or wait.
func (f *failures) unpinned() (n int) {
	for ref := range f.rows {
		if _, ok := ref.(rows.Flow); ok {
			n++
		}
	}
	return n
}

// some returns a few failures for people.
func (f *failures) some(most int) []Failure {
	out := make([]Failure, 0, min(most, len(f.rows)))
	for _, one := range f.rows {
		out = append(out, Failure{text.Cut(one.change.String()), one.code, one.message, one.tries})
	}
	sortFailures(out)
	return out[:min(most, len(out))]
}
