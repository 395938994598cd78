package server

import "testing"

// A batch in which nothing fails needs no details.
func TestBatchWithoutErrors(t *testing.T) {
	errs := make([]error, 4096)
	got := testing.AllocsPerRun(10, func() {
		if err := batchError(errs); err != nil {
			t.Fatal(err)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}
