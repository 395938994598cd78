package responder

import (
	"slices"

	"github.com/sluicelb/sluice/gslb/selection"
)

// Core is what one goroutine that answers queries keeps between them: where its round robins stand. The zero value is ready;
// it must not be used from two goroutines at a time.
type Core struct {
	cursors []uint32
}

// Cursors returns the positions for selection.Query.Cursors and selection.Choice.Advance. They stay as they are when
// rules change; a clause that another took the place of goes on where that was.
func (c *Core) Cursors(rules *selection.Rules) []uint32 {
	if n := rules.Cursors(); len(c.cursors) < n {
		c.cursors = slices.Grow(c.cursors, n-len(c.cursors))[:n]
	}
	return c.cursors
}
