package device

import (
	"cmp"
	"slices"

	"github.com/sluicelb/sluice/controller/plan"
)

func hasVIPs(b plan.Batch) bool {
	return slices.ContainsFunc(b, func(ch plan.Change) bool { _, ok := ch.Row.(plan.VIPRow); return ok })
}

// oldestFirst sorts the VIPs of a batch by age: a full table leaves out the newest.
func oldestFirst(b plan.Batch, age map[plan.VIPKey]int64) plan.Batch {
	b = slices.Clone(b)
	slices.SortStableFunc(b, func(x, y plan.Change) int {
		a, ok1 := x.Row.(plan.VIPRow)
		b, ok2 := y.Row.(plan.VIPRow)
		if !ok1 || !ok2 {
			return 0
		}
		return cmp.Or(cmp.Compare(x.Op, y.Op), cmp.Compare(age[a.VIPKey], age[b.VIPKey]), a.VIPKey.Compare(b.VIPKey))
	})
	return b
}
