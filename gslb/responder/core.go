package responder

import "github.com/sluicelb/sluice/gslb/selection"

// Core is what one goroutine that answers queries keeps between them: where its round robins stand. The zero value is
// ready; it must not be used from two goroutines at a time.
type Core struct {
	cursors []uint32
	// hints are the positions for address hints, which are asked for together with addresses: out of a shared round
	// robin of two answers, hints would always get the one and addresses the other.
	hints []uint32
}

// Cursors returns the positions for selection.Query.Cursors and selection.Choice.Advance. They stay as they are when
// rules change; a clause that another took the place of goes on where that was.
func (c *Core) Cursors(rules *selection.Rules) []uint32 {
	c.cursors = grown(c.cursors, rules.Cursors())
	return c.cursors
}

func (c *Core) hintCursors(rules *selection.Rules) []uint32 {
	c.hints = grown(c.hints, rules.Cursors())
	return c.hints
}

func grown(cursors []uint32, n int) []uint32 {
	if len(cursors) < n {
		cursors = append(cursors, make([]uint32, n-len(cursors))...)
	}
	return cursors
}
