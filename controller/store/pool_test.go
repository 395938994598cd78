package store

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/rows"
)

// A pool that a program wrote which knew no graces is read as one without any.
func TestPoolWithoutLaterColumns(t *testing.T) {
	want := *sample().Plan.Pools["web"]
	want.Entered, want.Slots = nil, []rows.Slot{{Backend: 7}, {Backend: 300, Old: 7, Epoch: 1 << 31, Bank: 3},
		{Backend: 7}, {}}
	doc, err := encodePool(&want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(flate.NewReader(bytes.NewReader(doc)))
	if err != nil {
		t.Fatal(err)
	}
	later := 3 * len(want.Slots) // columns of zeros: grace, back, entered
	for cut, problem := range map[int]string{later: "", 1: "the slots are cut short: EOF",
		later - 1: "the slots are cut short: EOF"} {
		var old bytes.Buffer
		w, err := flate.NewWriter(&old, flate.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(b[:len(b)-cut])
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := decodePool(old.Bytes())
		switch {
		case problem == "" && err != nil:
			t.Error(err)
		case problem == "":
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		case err == nil || err.Error() != problem:
			t.Errorf("cut by %d bytes: got %v, want %s", cut, err, problem)
		}
	}
}
