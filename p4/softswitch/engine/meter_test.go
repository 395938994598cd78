package engine

import (
	"math"
	"strings"
	"testing"
	"time"
)

// metered is a base that writes the color of cell b of a meter into a, which is 9 before.
func metered(unit string) object {
	prog := base(assign("a", hexstr("0x9")),
		primitive("execute_meter", object{"type": "meter_array", "value": "m"}, pkt("b"), pkt("a")))
	prog["meter_arrays"] = array{object{"name": "m", "id": 0, "is_direct": false, "size": 4, "rate_count": 2,
		"type": unit}}
	return prog
}

// colors runs one packet of n bytes at each time, and tells the colors.
func colors(p *Program, cell byte, n int, at ...time.Duration) string {
	rec := new(recorder)
	r := p.NewRunner(rec)
	for _, now := range at {
		frame := make([]byte, n)
		frame[2] = cell
		r.Process(1, frame, now)
	}
	var text strings.Builder
	for _, f := range rec.frames {
		text.WriteString(map[string]string{"00": "g", "01": "y", "02": "r", "09": "-"}[f.Frame[:2]])
	}
	return text.String()
}

// RFC 2698 section 3: the peak bucket is asked first, and a packet that it lacks takes from neither.
func TestMeter(t *testing.T) {
	const ms = time.Millisecond
	start := time.Hour // the origin of the clock is anywhere
	tests := []struct {
		name  string
		unit  string
		rates *Rates
		bytes int
		at    []time.Duration
		want  string
	}{
		{"no rates: everything is green", "packets", nil, 32, []time.Duration{0, 0, 0, 0}, "gggg"},
		{"buckets begin full", "packets", &Rates{CIR: 1, CBurst: 1, PIR: 2, PBurst: 3}, 32, []time.Duration{0, 0, 0, 0},
			"gyyr"},
		{"no rate and no burst: nothing passes", "packets", &Rates{}, 32, []time.Duration{0, 10 * time.Hour}, "rr"},
		{"a token a second", "packets", &Rates{CIR: 1, CBurst: 2, PIR: 1, PBurst: 2}, 32,
			[]time.Duration{0, 0, 0, 999 * ms, 1000 * ms, 1001 * ms, 1999 * ms, 2000 * ms, 100 * time.Second,
				100 * time.Second, 100 * time.Second}, "ggrrgrrgggr"},
		{"no fraction is lost", "packets", &Rates{CIR: 3, CBurst: 1, PIR: 3, PBurst: 1}, 32,
			[]time.Duration{0, 333 * ms, 334 * ms, 666 * ms, 667 * ms, 999 * ms, 1000 * ms}, "grgrgrg"},
		{"a red packet takes no committed token", "packets", &Rates{CIR: 1, CBurst: 9, PIR: 1, PBurst: 1}, 32,
			[]time.Duration{0, 0, 1000 * ms}, "grg"},
		{"bytes, as received", "bytes", &Rates{CIR: 32, CBurst: 64, PIR: 32, PBurst: 128}, 32,
			[]time.Duration{0, 0, 0, 0, 0, 1000 * ms}, "ggyyrg"},
		{"a packet larger than the burst never passes", "bytes", &Rates{CIR: 1000, CBurst: 31, PIR: 1000, PBurst: 31},
			32,
			[]time.Duration{0, 10 * time.Second}, "rr"},
		{"a clock that goes back makes nothing", "packets", &Rates{CIR: 1, CBurst: 1, PIR: 1, PBurst: 1}, 32,
			[]time.Duration{5 * time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second}, "grrg"},
		{"the highest rates", "packets", &Rates{CIR: math.MaxInt64, CBurst: math.MaxInt64, PIR: math.MaxInt64,
			PBurst: math.MaxInt64}, 32,
			[]time.Duration{0, 1, 1000 * time.Hour}, "ggg"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustLoad(t, metered(tt.unit))
			p.Meter("m").SetRates(2, tt.rates)
			for i := range tt.at {
				tt.at[i] += start
			}
			if got := colors(p, 2, tt.bytes, tt.at...); got != tt.want {
				t.Errorf("colors are %s, want %s", got, tt.want)
			}
		})
	}
}

func TestMeterCells(t *testing.T) {
	p := mustLoad(t, metered("packets"))
	m := p.Meter("m")
	one := Rates{CIR: 1, CBurst: 1, PIR: 1, PBurst: 1}
	m.SetRates(1, &one)
	if got := colors(p, 1, 32, 0, 0); got != "gr" {
		t.Errorf("cell 1: %s, want gr", got)
	}
	if got := colors(p, 0, 32, 0, 0); got != "gg" {
		t.Errorf("cell 0, which has no rates: %s, want gg", got)
	}
	if got := colors(p, 4, 32, 0); got != "-" {
		t.Errorf("an index out of range: %s, want the field as it was", got)
	}
	if got, ok := m.Rates(1); got != one || !ok {
		t.Errorf("Rates = %v %v, want %v true", got, ok, one)
	}
	if got, ok := m.Rates(0); got != (Rates{}) || ok {
		t.Errorf("Rates of a cell without = %v %v", got, ok)
	}
	m.SetRates(1, &one) // fills the bucket again
	if got := colors(p, 1, 32, 0, 0); got != "gr" {
		t.Errorf("after the rates were written again: %s, want gr", got)
	}
	m.SetRates(1, nil)
	if got := colors(p, 1, 32, 0, 0); got != "gg" {
		t.Errorf("after the rates were taken away: %s, want gg", got)
	}
	if m.Size() != 4 || p.Meter("none") != nil {
		t.Errorf("size %d, a meter called none: %v", m.Size(), p.Meter("none"))
	}
}

// A direct meter marks what hits its entry before the action runs, and survives Modify.
func TestDirectMeter(t *testing.T) {
	prog := withTable("exact", "b:exact")
	prog["meter_arrays"] = array{object{"name": "m", "id": 0, "is_direct": true, "size": 8, "rate_count": 2,
		"type":    "packets",
		"binding": "t", "result_target": array{"pkt", "s"}}}
	table1(prog)["direct_meters"] = "m"
	prog["actions"].(array)[1] = action1(1, "answer", []int{8}, primitive("assign", pkt("a"), pkt("s")))
	p := mustLoad(t, prog)
	table := p.Table("t")
	if !table.HasMeter() {
		t.Error("the table has no meter")
	}
	match := exact([]byte{0, 2})
	insert(t, p, "t", Entry{Match: match, Call: call("answer", []byte{7})})
	e, _ := table.Lookup(match, 0)
	if _, ok := e.Rates(); ok {
		t.Error("a new entry has rates")
	}
	if got := colors(p, 2, 32, 0, 0, 0); got != "ggg" {
		t.Errorf("without rates: %s, want ggg", got)
	}
	want := Rates{CIR: 1, CBurst: 1, PIR: 1, PBurst: 2}
	e.SetRates(&want)
	if err := table.Modify(Entry{Match: match, Call: call("answer", []byte{8})}); err != nil {
		t.Fatal(err)
	}
	e, _ = table.Lookup(match, 0)
	if got, ok := e.Rates(); got != want || !ok {
		t.Errorf("after Modify, Rates = %v %v, want %v", got, ok, want)
	}
	if got := colors(p, 2, 32, 0, 0, 0, time.Second); got != "gyrg" {
		t.Errorf("with rates: %s, want gyrg", got)
	}
	e.SetRates(nil)
	if got := colors(p, 2, 32, time.Second, time.Second); got != "gg" {
		t.Errorf("after the rates were taken away: %s, want gg", got)
	}
}

func TestMeterAllocatesNothing(t *testing.T) {
	p := mustLoad(t, metered("bytes"))
	p.Meter("m").SetRates(0, &Rates{CIR: 1, CBurst: 1, PIR: 1, PBurst: 1})
	r := p.NewRunner(discard{})
	frame := zeros()
	if n := testing.AllocsPerRun(100, func() { r.Process(1, frame, time.Second) }); n != 0 {
		t.Errorf("%v allocations for a packet, want none", n)
	}
}
