package device

import (
	"cmp"
	"slices"

	"github.com/sluicelb/sluice/controller/rows"
)

func hasVIPs(b rows.Batch) bool {
	return slices.ContainsFunc(b, func(ch rows.Change) bool { _, ok := ch.Row.(rows.VIPRow); return ok })
}

// oldestFirst sorts the VIPs of a batch by age: a full table leaves out the newest.
func oldestFirst(b rows.Batch, age map[rows.VIPKey]int64) rows.Batch {
	b = slices.Clone(b)
	slices.SortStableFunc(b, func(x, y rows.Change) int {
		a, ok1 := x.Row.(rows.VIPRow)
		b, ok2 := y.Row.(rows.VIPRow)
		if !ok1 || !ok2 {
			return 0
		}
		return cmp.Or(cmp.Compare(x.Op, y.Op), cmp.Compare(age[a.VIPKey], age[b.VIPKey]), a.VIPKey.Compare(b.VIPKey))
	})
	return b
}
