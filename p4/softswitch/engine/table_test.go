package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func answer(v byte) Call { return call("answer", []byte{v}) }

// asked returns what field a of the packet becomes: the answer of table t.
func asked(t testing.TB, p *Program, frame string) string {
	t.Helper()
	f := zeros()
	copy(f, unhex(frame))
	return through(t, p, f)[:2]
}

// A batch of writes is as many entries as a pool has slots. What is only looked for takes no memory, and what is
// written takes that of the entry.
func TestWritesTakeTheEntryAlone(t *testing.T) {
	slot := newSluice(t).Table("slot")
	e := Entry{Match: exact(bytesOf(9, 4), bytesOf(0, 1), bytesOf(7, 2)), Call: call("to_backend", bytesOf(1, 4))}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(slot.Insert(e))
	for _, tt := range []struct {
		name string
		do   func()
		want float64
	}{
		{"looked for", func() { slot.Lookup(e.Match, 0) }, 0},
		{"modified", func() { must(slot.Modify(e)) }, 1},
		{"deleted and inserted", func() { must(slot.Delete(e.Match, 0)); must(slot.Insert(e)) }, 1},
	} {
		if got := testing.AllocsPerRun(100, tt.do); got != tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, got, tt.want)
		}
	}
}

func TestTableKinds(t *testing.T) {
	prefix := func(value string, n int) Match { return Match{Value: unhex(value), PrefixLen: n} }
	masked := func(value, mask string) Match { return Match{Value: unhex(value), Mask: unhex(mask)} }
	value := func(v string) Match { return Match{Value: unhex(v)} }
	entry := func(prio int, v byte, m ...Match) Entry { return Entry{Match: m, Priority: prio, Call: answer(v)} }
	tests := []struct {
		name    string
		prog    object
		entries []Entry
		answers map[string]string // by the first bytes of the packet
	}{
		{"exact", withTable("exact", "b:exact"), []Entry{entry(0, 1, value("0000")), entry(0, 2, value("ffff"))},
			map[string]string{"77 0000": "01", "77 ffff": "02", "77 0001": "77"}},
		{"exact of two words", withTable("exact", "d:exact", "c:exact", "b:exact"),
			[]Entry{entry(0, 1, value("0000000000000001"), value("00000002"), value("0003"))},
			map[string]string{"77 0003 00000002 0000000000000001": "01", "77 0003 00000002 0000000000000002": "77"}},
		{"exact of a wide field", withTable("exact", "w:exact", "b:exact"),
			[]Entry{entry(0, 1, value("80000000000000000000000000000001"), value("0003"))},
			map[string]string{
				"77 0003 00000000 0000000000000000 80000000000000000000000000000001": "01",
				"77 0003 00000000 0000000000000000 00000000000000000000000000000001": "77",
			}},
		{"validity", withTable("exact", "pkt:valid", "vl:valid"), []Entry{entry(0, 1, value("01"), value("00"))},
			map[string]string{"00": "01"}},
		{"lpm", withTable("lpm", "c:lpm"), []Entry{
			entry(0, 1, prefix("00000000", 0)), entry(0, 2, prefix("0a000000", 8)), entry(0, 3, prefix("0a010000", 16)),
			entry(0, 4, prefix("0a010203", 32)),
		}, map[string]string{
			"00 0000 0b000000": "01", "00 0000 0a020000": "02", "00 0000 0a01ffff": "03", "00 0000 0a010203": "04",
			"00 0000 0a010202": "03",
		}},
		{"lpm without a default route", withTable("lpm", "c:lpm"), []Entry{entry(0, 2, prefix("80000000", 1))},
			map[string]string{"00 0000 ffffffff": "02", "55 0000 7fffffff": "55"}},
		{"lpm beside exact", withTable("lpm", "b:exact", "c:lpm"), []Entry{
			entry(0, 1, value("0001"), prefix("0a000000", 8)), entry(0, 2, value("0002"), prefix("0a010000", 16)),
		}, map[string]string{"55 0001 0a010000": "01", "55 0002 0a010000": "02", "55 0002 0a000000": "55"}},
		{"lpm of a wide field", withTable("lpm", "w:lpm"), []Entry{
			entry(0, 1, prefix("20010db8000000000000000000000000", 32)),
			entry(0, 2, prefix("20010db8000000000000000000000000", 65)),
		}, map[string]string{
			"55 0000 00000000 0000000000000000 20010db8000000008000000000000000": "01",
			"55 0000 00000000 0000000000000000 20010db8000000007fffffffffffffff": "02",
			"55 0000 00000000 0000000000000000 20010db9000000000000000000000000": "55",
		}},
		{"lpm of twelve bits, which are not the first of their bytes", func() object {
			prog := withTable("lpm", "m:lpm")
			pkt := prog["header_types"].(array)[1].(object)
			pkt["fields"] = slices.Concat(array{array{"a", 8, false}, array{"n", 4, false}, array{"m", 12, false}},
				pkt["fields"].(array)[2:])
			return prog
		}(), []Entry{entry(0, 1, prefix("0100", 4)), entry(0, 2, prefix("0800", 1)), entry(0, 3, prefix("0001", 12))},
			map[string]string{"55 f1ff": "01", "55 0800": "02", "55 0001": "03", "55 0000": "55"}},
		{"ternary: the highest priority", withTable("ternary", "b:ternary", "c:exact"), []Entry{
			entry(1, 1, masked("0000", "0000"), value("00000000")),
			entry(5, 2, masked("ff00", "ff00"), value("00000000")),
			entry(9, 3, masked("0001", "0001"), value("00000000")),
			entry(3, 4, masked("0000", "0000"), value("00000000")),
			entry(7, 5, masked("0000", "0000"), value("00000001")),
		}, map[string]string{"55 0000": "04", "55 ff00": "02", "55 ff01": "03", "55 ff01 00000001": "05",
			"55 ff01 00000002": "55"}},
		{"range: the highest priority", withTable("range", "b:range", "c:ternary", "s:exact"), []Entry{
			entry(1, 1, masked("0000", "ffff"), masked("00000000", "00000000"), value("00")),
			entry(2, 2, masked("0010", "0020"), masked("00000000", "00000000"), value("00")),
			entry(3, 3, masked("0020", "0020"), masked("00000001", "00000001"), value("00")),
		}, map[string]string{"55 0000": "01", "55 000f": "01", "55 0010": "02", "55 0020": "02",
			"55 0020 00000001": "03", "55 0021": "01"}},
		{"range of a wide field", withTable("range", "w:range", "a:exact"), []Entry{
			entry(1, 1, masked("20010db8000000000000000000000000", "20010db8ffffffffffffffffffffffff"), value("55")),
			entry(2, 2, masked("20010db8000000010000000000000002", "20010db8000000020000000000000001"), value("55")),
		}, map[string]string{
			"55 0000 00000000 0000000000000000 20010db8000000000000000000000000": "01",
			"55 0000 00000000 0000000000000000 20010db8000000010000000000000001": "01",
			"55 0000 00000000 0000000000000000 20010db8000000010000000000000002": "02",
			"55 0000 00000000 0000000000000000 20010db8000000020000000000000001": "02",
			"55 0000 00000000 0000000000000000 20010db8000000020000000000000002": "01",
			"55 0000 00000000 0000000000000000 20010db9000000000000000000000000": "55",
			"56 0000 00000000 0000000000000000 20010db8000000020000000000000001": "56",
		}},
		{"static mask", func() object {
			prog := withTable("exact", "b:exact")
			table1(prog)["key"].(array)[0].(object)["mask"] = "0x0ff0"
			return prog
		}(), []Entry{entry(0, 1, value("0120"))}, map[string]string{"55 f12f": "01", "55 f13f": "55"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustLoad(t, tt.prog)
			table := p.Table("t")
			for _, e := range tt.entries {
				if err := table.Insert(e); err != nil {
					t.Fatal(err)
				}
			}
			for frame, want := range tt.answers {
				if got := asked(t, p, frame); got != want {
					t.Errorf("%s: answer %s, want %s", frame, got, want)
				}
			}
			var got []string
			for e := range table.All() {
				got = append(got, fmt.Sprintf("%x", e.Entry()))
			}
			var want []string
			for _, e := range tt.entries {
				want = append(want, fmt.Sprintf("%x", e))
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("entries read back (-want +got):\n%s", diff)
			}
			for i, e := range tt.entries {
				e.Call = answer(0x80)
				if err := table.Modify(e); err != nil {
					t.Errorf("modifying entry %d: %v", i, err)
				}
			}
			for frame, want := range tt.answers {
				if got := asked(t, p, frame); want < "10" && got != "80" {
					t.Errorf("%s: answer %s after modifying, want 80", frame, got)
				}
			}
			for i, e := range tt.entries {
				if err := table.Delete(e.Match, e.Priority); err != nil {
					t.Errorf("deleting entry %d: %v", i, err)
				}
				if err := table.Delete(e.Match, e.Priority); !errors.Is(err, ErrNotFound) {
					t.Errorf("deleting entry %d again: %v", i, err)
				}
			}
			for frame := range tt.answers {
				if got := asked(t, p, frame); got != strings.ReplaceAll(frame, " ", "")[:2] {
					t.Errorf("%s: answer %s from an empty table", frame, got)
				}
			}
			if table.Len() != 0 {
				t.Errorf("%d entries left", table.Len())
			}
		})
	}
}

func TestTableErrors(t *testing.T) {
	exactOne := mustLoad(t, withTable("exact", "s:exact", "b:exact")).Table("t")
	lpm := mustLoad(t, withTable("lpm", "c:lpm")).Table("t")
	ternary := mustLoad(t, withTable("ternary", "b:ternary")).Table("t")
	ranges := mustLoad(t, withTable("range", "b:range")).Table("t")
	odd := func() *Table {
		prog := withTable("exact", "b:exact")
		prog["header_types"].(array)[1].(object)["fields"].(array)[1] = array{"b", 12, false}
		prog["header_types"].(array)[1].(object)["fields"].(array)[2] = array{"c", 36, false}
		return mustLoad(t, prog).Table("t")
	}()
	tests := []struct {
		name  string
		table *Table
		entry Entry
		want  string
	}{
		{"keys", exactOne, Entry{Match: exact([]byte{1}), Call: answer(1)},
			"invalid entry: table has 2 keys, match has 1"},
		{"short key", exactOne, Entry{Match: exact([]byte{1}, []byte{1}), Call: answer(1)},
			"invalid entry: key b is 1 bytes, must be 2"},
		{"key too wide", odd, Entry{Match: exact([]byte{0x10, 0}), Call: answer(1)},
			"invalid entry: key b does not fit 12 bits"},
		{"action", exactOne, Entry{Match: exact([]byte{1}, []byte{0, 1}), Call: call("main")},
			`invalid entry: table has no action "main"`},
		{"parameters", exactOne, Entry{Match: exact([]byte{1}, []byte{0, 1}), Call: call("answer")},
			"invalid entry: action answer takes 1 parameters, has 0"},
		{"parameter", exactOne, Entry{Match: exact([]byte{1}, []byte{0, 1}), Call: call("answer", []byte{0, 1})},
			"invalid entry: parameter p0 is 2 bytes, must be 1"},
		{"priority", exactOne, Entry{Match: exact([]byte{1}, []byte{0, 1}), Priority: 1, Call: answer(1)},
			"invalid entry: priority must be 0 in an exact table, is 1"},
		{"prefix", lpm, Entry{Match: []Match{{Value: make([]byte, 4), PrefixLen: 33}}, Call: answer(1)},
			"invalid entry: key c: prefix length must be 0..32, is 33"},
		{"bits outside the prefix", lpm, Entry{Match: []Match{{Value: []byte{0, 0, 0, 1}, PrefixLen: 31}},
			Call: answer(1)}, "invalid entry: key c has bits outside its mask"},
		{"bits outside the mask", ternary, Entry{Match: []Match{{Value: []byte{0, 1}, Mask: []byte{0xff, 0xfe}}},
			Priority: 1, Call: answer(1)}, "invalid entry: key b has bits outside its mask"},
		{"no mask", ternary, Entry{Match: []Match{{Value: []byte{0, 1}}}, Priority: 1, Call: answer(1)},
			"invalid entry: mask of key b is 0 bytes, must be 2"},
		{"empty range", ranges, Entry{Match: []Match{{Value: []byte{0, 2}, Mask: []byte{0, 1}}}, Priority: 1,
			Call: answer(1)}, "invalid entry: key b: range from 0x0002 to 0x0001 is empty"},
		{"no high end", ranges, Entry{Match: []Match{{Value: []byte{0, 2}}}, Priority: 1, Call: answer(1)},
			"invalid entry: high end of key b is 0 bytes, must be 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, write := range []func(Entry) error{tt.table.Insert, tt.table.Modify} {
				err := write(tt.entry)
				if err == nil || err.Error() != tt.want || !errors.Is(err, ErrInvalid) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
			}
		})
	}
}

func TestTableSize(t *testing.T) {
	table := mustLoad(t, withTable("exact", "a:exact")).Table("t")
	for i := range byte(8) {
		if err := table.Insert(Entry{Match: exact([]byte{i}), Call: answer(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Insert(Entry{Match: exact([]byte{3}), Call: answer(9)}); !errors.Is(err, ErrExists) {
		t.Errorf("inserting an entry twice into a full table: %v, want %v", err, ErrExists)
	}
	if err := table.Insert(Entry{Match: exact([]byte{8}), Call: answer(9)}); !errors.Is(err, ErrFull) {
		t.Errorf("inserting a ninth entry: %v, want %v", err, ErrFull)
	}
	if err := table.Modify(Entry{Match: exact([]byte{8}), Call: answer(9)}); !errors.Is(err, ErrNotFound) {
		t.Errorf("modifying what is not there: %v, want %v", err, ErrNotFound)
	}
	if err := table.Delete(exact([]byte{3}), 0); err != nil {
		t.Fatal(err)
	}
	if err := table.Insert(Entry{Match: exact([]byte{8}), Call: answer(9)}); err != nil {
		t.Errorf("inserting after a deletion: %v", err)
	}
	if table.Size() != 8 || table.Len() != 8 {
		t.Errorf("size %d, %d entries; want 8 and 8", table.Size(), table.Len())
	}
}

func TestTableDescription(t *testing.T) {
	table := mustLoad(t, withTable("ternary", "b:ternary", "c:lpm", "vl:valid")).Table("t")
	wantKeys := []Key{{"b", Ternary, 16}, {"c", LPM, 32}, {"vl", Valid, 1}}
	if diff := cmp.Diff(wantKeys, table.Keys()); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	wantActions := []Action{{"answer", []Param{{"p0", 8}}}, {Name: "NoAction"}}
	if diff := cmp.Diff(wantActions, table.Actions()); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if !table.HasCounter() || !table.SupportsTimeout() || table.ConstEntries() || table.ConstDefault() {
		t.Error("table has counter and timeout, and nothing const")
	}
}

func TestDefaultAction(t *testing.T) {
	p := mustLoad(t, withTable("exact", "b:exact"))
	table := p.Table("t")
	if c, ok := table.Default(); !ok || c.Action != "NoAction" {
		t.Errorf("default %v, %v; want NoAction", c, ok)
	}
	if err := table.SetDefault(answer(0x42)); err != nil {
		t.Fatal(err)
	}
	if got := asked(t, p, "01"); got != "42" {
		t.Errorf("answer %s, want 42", got)
	}
	if c, _ := table.Default(); !cmp.Equal(c, answer(0x42)) {
		t.Errorf("default %v, want %v", c, answer(0x42))
	}
	table.ResetDefault()
	if got := asked(t, p, "01"); got != "01" {
		t.Errorf("answer %s after reset, want 01", got)
	}

	prog := withTable("exact", "b:exact")
	table1(prog)["default_entry"].(object)["action_entry_const"] = true
	if err := mustLoad(t, prog).Table("t").SetDefault(answer(1)); !errors.Is(err, ErrConst) {
		t.Errorf("setting a const default: %v, want %v", err, ErrConst)
	}
	delete(table1(prog), "default_entry")
	if _, ok := mustLoad(t, prog).Table("t").Default(); ok {
		t.Error("a table without a default entry has a default")
	}
}

func TestConstEntries(t *testing.T) {
	prog := withTable("ternary", "b:ternary", "c:lpm", "vl:valid")
	row := func(prio int, v string, key ...any) object {
		return object{"match_key": key, "priority": prio,
			"action_entry": object{"action_id": 1, "action_data": array{v}}}
	}
	lpm := func(v string, n int) object { return object{"match_type": "lpm", "key": v, "prefix_length": n} }
	tern := func(v, mask string) object { return object{"match_type": "ternary", "key": v, "mask": mask} }
	valid := func(v bool) object { return object{"match_type": "valid", "key": v} }
	table1(prog)["entries"] = array{
		row(1, "0x01", tern("0x0000", "0x0000"), lpm("0x0affffff", 8), valid(false)),
		row(2, "0x02", tern("0x0001", "0x0001"), lpm("0x0", 0), valid(false)),
		row(3, "0x03", tern("0x0000", "0x0000"), lpm("0x0", 0), valid(false)),
	}
	p := mustLoad(t, prog)
	for frame, want := range map[string]string{"00 0001 0a000001": "01", "00 0001": "02", "00 0000": "03"} {
		if got := asked(t, p, frame); got != want {
			t.Errorf("%s: answer %s, want %s", frame, got, want)
		}
	}
	table := p.Table("t")
	for e := range table.All() {
		for name, err := range map[string]error{
			"insert": table.Insert(e.Entry()), "modify": table.Modify(e.Entry()),
			"delete": table.Delete(e.Entry().Match, e.Entry().Priority),
		} {
			if !errors.Is(err, ErrConst) {
				t.Errorf("%s: %v, want %v", name, err, ErrConst)
			}
		}
		if e.Entry().Priority != 4-int(e.Entry().Call.Params[0][0]) {
			t.Errorf("entry %v has priority %d", e.Entry().Call, e.Entry().Priority)
		}
	}
}

func TestCountersAndIdleTime(t *testing.T) {
	p := mustLoad(t, withTable("exact", "b:exact"))
	table := p.Table("t")
	key := exact([]byte{0, 1})
	if err := table.Insert(Entry{Match: key, Call: answer(1), Since: time.Second,
		IdleTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	before, _ := table.Lookup(key, 0)
	if got := before.LastHit(); got != time.Second {
		t.Errorf("last hit of a new entry %v, want %v", got, time.Second)
	}
	frame := zeros()
	frame[2] = 1
	r := p.NewRunner(discard{})
	r.Process(1, frame, 3*time.Second)
	r.Process(1, append(frame, 1, 2, 3, 4), 5*time.Second)
	check := func(e *Installed, packets, bytes uint64, last time.Duration) {
		t.Helper()
		if n, b := e.Counter(); n != packets || b != bytes || e.LastHit() != last {
			t.Errorf("%d packets, %d bytes, last hit %v; want %d, %d, %v", n, b, e.LastHit(), packets, bytes, last)
		}
	}
	check(before, 2, 68, 5*time.Second)
	if err := table.Modify(Entry{Match: key, Call: answer(2), Since: 4 * time.Second}); err != nil {
		t.Fatal(err)
	}
	after, _ := table.Lookup(key, 0)
	check(after, 2, 68, 5*time.Second)
	if err := table.Modify(Entry{Match: key, Call: answer(2), Since: 9 * time.Second}); err != nil {
		t.Fatal(err)
	}
	r.Process(1, frame, 9*time.Second)
	check(before, 3, 100, 9*time.Second)
	check(after, 3, 100, 9*time.Second)
	after.SetCounter(7, 8)
	check(before, 7, 8, 9*time.Second)
	if got := before.Entry().IdleTimeout; got != time.Minute {
		t.Errorf("idle timeout %v, want %v", got, time.Minute)
	}
}

// A table tells what it was asked to count, and no more.
func TestCountersOfTables(t *testing.T) {
	tests := []struct {
		name             string
		counter, timeout bool
		packets          uint64
		last             time.Duration
	}{
		{"nothing", false, false, 0, time.Second},
		{"a counter", true, false, 1, time.Second},
		{"idle time", false, true, 0, 3 * time.Second},
		{"both", true, true, 1, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prog := withTable("exact", "b:exact")
			table1(prog)["with_counters"], table1(prog)["support_timeout"] = tt.counter, tt.timeout
			p := mustLoad(t, prog)
			key := exact([]byte{0, 0})
			if err := p.Table("t").Insert(Entry{Match: key, Call: answer(1), Since: time.Second}); err != nil {
				t.Fatal(err)
			}
			p.NewRunner(discard{}).Process(1, zeros(), 3*time.Second)
			e, _ := p.Table("t").Lookup(key, 0)
			if n, bytes := e.Counter(); n != tt.packets || bytes != 32*tt.packets || e.LastHit() != tt.last {
				t.Errorf("%d packets, %d bytes, last hit %v; want %d, %d, %v",
					n, bytes, e.LastHit(), tt.packets, 32*tt.packets, tt.last)
			}
		})
	}
}

// Packets that come at once hit more entries than a Runner has places for, and each is counted with its own time.
func TestCountersOfPacketsAtOnce(t *testing.T) {
	prog := withTable("exact", "b:exact")
	const entries = 5 * hitPlaces
	table1(prog)["max_size"] = entries
	p := mustLoad(t, prog)
	table := p.Table("t")
	for i := range uint64(entries) {
		if err := table.Insert(Entry{Match: exact(bytesOf(i, 2)), Call: answer(1)}); err != nil {
			t.Fatal(err)
		}
	}
	r := p.NewRunner(discard{})
	r.Hold()
	for round := range 2 {
		for i := range entries {
			frame := zeros()
			copy(frame[atB:], bytesOf(uint64(i), 2))
			r.Process(1, frame, time.Duration(round*entries+i))
		}
	}
	r.Release()
	for i := range entries {
		e, _ := table.Lookup(exact(bytesOf(uint64(i), 2)), 0)
		if n, bytes := e.Counter(); n != 2 || bytes != 64 || e.LastHit() != time.Duration(entries+i) {
			t.Errorf("entry %d: %d packets, %d bytes, last hit %v; want 2, 64, %v",
				i, n, bytes, e.LastHit(), time.Duration(entries+i))
		}
	}
}

// The concurrent hash against a map, over a life of insertions and deletions.
func TestHashTable(t *testing.T) {
	prog := withTable("exact", "b:exact")
	table1(prog)["max_size"] = 1 << 20
	table := mustLoad(t, prog).Table("t")
	random := rand.New(rand.NewPCG(6, 7))
	want := make(map[uint64]byte)
	for i := range 200_000 {
		k, v := random.Uint64N(5000), byte(i)
		e := Entry{Match: exact(bytesOf(k, 2)), Call: answer(v)}
		_, there := want[k]
		var err error
		switch random.IntN(3) {
		case 0:
			if err = table.Insert(e); there == (err == nil) {
				t.Fatalf("insert %d: %v", k, err)
			}
			if !there {
				want[k] = v
			}
		case 1:
			if err = table.Modify(e); there != (err == nil) {
				t.Fatalf("modify %d: %v", k, err)
			}
			if there {
				want[k] = v
			}
		case 2:
			if err = table.Delete(e.Match, 0); there != (err == nil) {
				t.Fatalf("delete %d: %v", k, err)
			}
			delete(want, k)
		}
	}
	got := make(map[uint64]byte)
	for e := range table.All() {
		got[toUint64(e.Entry().Match[0].Value)] = e.Entry().Call.Params[0][0]
	}
	if diff := cmp.Diff(want, got); diff != "" || table.Len() != len(want) {
		t.Errorf("table of %d (-want +got):\n%s", table.Len(), diff)
	}
}

// Ternary lookup against a search of all entries.
func TestTernaryAgainstSearch(t *testing.T) {
	prog := withTable("ternary", "b:ternary")
	table1(prog)["max_size"] = 1000
	p := mustLoad(t, prog)
	table := p.Table("t")
	random := rand.New(rand.NewPCG(8, 9))
	type row struct {
		value, mask uint64
		prio        int
	}
	rows := make(map[row]byte)
	for i := range 3000 {
		mask := []uint64{0, 0xff, 0xff00, 0x00f0, 0xffff, 1}[random.IntN(6)]
		x := row{random.Uint64N(1<<16) & mask & 0x7171, mask, 1 + random.IntN(40)}
		m := []Match{{Value: bytesOf(x.value, 2), Mask: bytesOf(x.mask, 2)}}
		if _, there := rows[x]; there {
			if err := table.Delete(m, x.prio); err != nil {
				t.Fatal(err)
			}
			delete(rows, x)
		} else if clash := func() bool { // only one entry of each priority: ties are anybody's
			for r := range rows {
				if r.prio == x.prio {
					return true
				}
			}
			return false
		}(); !clash {
			if err := table.Insert(Entry{Match: m, Priority: x.prio, Call: answer(byte(i))}); err != nil {
				t.Fatal(err)
			}
			rows[x] = byte(i)
		}
		key := random.Uint64N(1<<16) & 0x7171
		best, want := 0, "00"
		for r, v := range rows {
			if key&r.mask == r.value && r.prio > best {
				best, want = r.prio, fmt.Sprintf("%02x", v)
			}
		}
		if got := asked(t, p, fmt.Sprintf("00 %04x", key)); got != want {
			t.Fatalf("step %d: %04x answers %s, want %s", i, key, got, want)
		}
	}
}

// The entries of the program are const, unless the table is released: then they are a beginning.
func TestReleasedEntries(t *testing.T) {
	prog := withTable("exact", "b:exact")
	entryFor := func(key, answer string) object {
		return object{"match_key": array{object{"match_type": "exact", "key": key}},
			"action_entry": object{"action_id": 1, "action_data": array{answer}}, "priority": 1}
	}
	table1(prog)["entries"] = array{entryFor("0x0001", "0x11"), entryFor("0x0002", "0x22")}
	p := mustLoad(t, prog)
	table := p.Table("t")
	answer := func(key byte) string {
		frame := zeros()
		frame[atB+1] = key
		return through(t, p, frame)[:2]
	}
	one := exact(bytesOf(1, 2))
	if err := table.Modify(Entry{Match: one, Call: call("answer", bytesOf(0x33, 1))}); err != ErrConst {
		t.Errorf("Modify: %v, want %v", err, ErrConst)
	}
	table.Release(3)
	for _, err := range []error{
		table.Modify(Entry{Match: one, Call: call("answer", bytesOf(0x33, 1))}),
		table.Delete(exact(bytesOf(2, 2)), 0),
		table.Insert(Entry{Match: exact(bytesOf(4, 2)), Call: call("answer", bytesOf(0x44, 1))}),
		table.Insert(Entry{Match: exact(bytesOf(5, 2)), Call: call("answer", bytesOf(0x55, 1))}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := table.Insert(Entry{Match: exact(bytesOf(6, 2)), Call: call("answer", bytesOf(0x66, 1))}); err != ErrFull {
		t.Errorf("a fourth entry: %v, want %v", err, ErrFull)
	}
	var got []string
	for key := range byte(7) {
		got = append(got, answer(key))
	}
	if diff := cmp.Diff([]string{"00", "33", "00", "00", "44", "55", "00"}, got); diff != "" {
		t.Errorf("answers to keys 0 to 6 (-want +got):\n%s", diff)
	}
}

// A miss counts, whatever the default action is and however often it changes.
func TestMissCounter(t *testing.T) {
	p := mustLoad(t, withTable("exact", "b:exact"))
	table := p.Table("t")
	misses := func(n int) {
		for range n {
			through(t, p, zeros())
		}
	}
	misses(2)
	if err := table.SetDefault(call("answer", bytesOf(7, 1))); err != nil {
		t.Fatal(err)
	}
	misses(1)
	table.ResetDefault()
	misses(1)
	insert(t, p, "t", Entry{Match: exact(bytesOf(0, 2)), Call: call("answer", bytesOf(1, 1))})
	misses(1) // a hit
	if n, bytes := table.Miss().Counter(); n != 4 || bytes != 4*32 {
		t.Errorf("the default entry counts %d packets and %d bytes, want 4 and 128", n, bytes)
	}
	table.Miss().SetCounter(10, 20)
	if n, bytes := table.Miss().Counter(); n != 10 || bytes != 20 {
		t.Errorf("the default entry counts %d packets and %d bytes, want 10 and 20", n, bytes)
	}
}

// A table of no program keeps entries of every kind.
func TestUnappliedTable(t *testing.T) {
	param := []Param{{"p", 12}}
	for _, tt := range []struct {
		name     string
		keys     []Key
		match    []Match
		priority int
	}{
		{"exact", []Key{{"a", Exact, 9}, {"w", Exact, 128}}, exact(bytesOf(5, 2), make([]byte, 16)), 0},
		{"lpm", []Key{{"a", Exact, 9}, {"b", LPM, 32}},
			[]Match{{Value: bytesOf(5, 2)}, {Value: bytesOf(0x0a000000, 4), PrefixLen: 8}}, 0},
		{"ternary", []Key{{"a", Ternary, 9}}, []Match{{Value: bytesOf(4, 2), Mask: bytesOf(6, 2)}}, 3},
		{"range", []Key{{"a", Ternary, 9}, {"b", Range, 16}},
			[]Match{{Value: bytesOf(4, 2), Mask: bytesOf(6, 2)}, {Value: bytesOf(4, 2), Mask: bytesOf(6, 2)}}, 3},
		{"range of a wide key", []Key{{"a", Range, 8}, {"w", Range, 100}},
			[]Match{{Value: bytesOf(4, 1), Mask: bytesOf(6, 1)}, {Value: unhex("00 0000 0000 0000 0000 0000 0004"),
				Mask: unhex("0f 0000 0000 0000 0000 0000 0003")}}, 3},
		{"no key", nil, nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table, err := NewTable(Unapplied{Name: "t", Keys: tt.keys, Size: 1, Counter: true, Meter: true,
				Actions: []Action{{Name: "set", Params: param}, {Name: "NoAction"}},
				Default: &Call{Action: "NoAction"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := table.SetDefault(call("set", bytesOf(9, 2))); err != nil {
				t.Error(err)
			}
			table.ResetDefault()
			if got, _ := table.Default(); got.Action != "NoAction" {
				t.Errorf("default action %q, want NoAction", got.Action)
			}
			if tt.keys == nil {
				return
			}
			want := Entry{Match: tt.match, Priority: tt.priority, Call: call("set", bytesOf(0xabc, 2))}
			if err := table.Insert(want); err != nil {
				t.Fatal(err)
			}
			for e := range table.All() {
				if diff := cmp.Diff(want, e.Entry()); diff != "" {
					t.Errorf("entry (-want +got):\n%s", diff)
				}
			}
			if err := table.Delete(tt.match, tt.priority); err != nil || table.Len() != 0 {
				t.Errorf("Delete: %v, %d entries are left", err, table.Len())
			}
		})
	}
	for _, tt := range []struct {
		u    Unapplied
		want string
	}{
		{Unapplied{Keys: []Key{{"a", Exact, 0}}}, "key a: width must be 1..65535, is 0"},
		{Unapplied{Keys: []Key{{"a", LPM, 8}, {"b", LPM, 8}}}, "key b: a second lpm key"},
		{Unapplied{Actions: []Action{{Name: "set", Params: []Param{{"p", 0}}}}},
			"action set: parameter p: width must be 1..65535, is 0"},
	} {
		if _, err := NewTable(tt.u); err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
}

// Every Runner counts for itself, and a reader misses nothing of what came before.
func TestMissesOfSeveralRunners(t *testing.T) {
	p := mustLoad(t, withTable("exact", "b:exact"))
	table := p.Table("t")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			r := p.NewRunner(discard{})
			for range 100 {
				r.Hold()
				for range 10 {
					r.Process(1, zeros(), time.Second)
				}
				r.Release()
			}
		})
	}
	last := uint64(0)
	for range 50 {
		n, bytes := table.Miss().Counter()
		if n < last || bytes != 32*n {
			t.Fatalf("%d packets of %d bytes after %d packets, want no fewer and 32 bytes each", n, bytes, last)
		}
		last = n
	}
	wg.Wait()
	if n, _ := table.Miss().Counter(); n != 4000 {
		t.Errorf("%d packets, want 4000", n)
	}
}

// A table that is empty, once more or still, misses.
func TestEmptyTable(t *testing.T) {
	five := []byte{5}
	for kind, e := range map[string]Entry{
		"exact":   {Match: []Match{{Value: five}}},
		"lpm":     {Match: []Match{{Value: five, PrefixLen: 8}}},
		"ternary": {Match: []Match{{Value: five, Mask: []byte{0xff}}}, Priority: 1},
		"range":   {Match: []Match{{Value: five, Mask: five}}, Priority: 1},
	} {
		p := mustLoad(t, withTable(kind, "a:"+kind))
		e.Call = call("answer", []byte{9})
		becomes := func(what, want string) {
			t.Helper()
			frame := append(zeros(), 0)
			frame[0] = 5
			if got := through(t, p, frame)[:2]; got != want {
				t.Errorf("%s table %s: first byte %s, want %s", kind, what, got, want)
			}
		}
		becomes("still empty", "05")
		insert(t, p, "t", e)
		becomes("with an entry", "09")
		if err := p.Table("t").Delete(e.Match, e.Priority); err != nil {
			t.Fatal(err)
		}
		becomes("empty once more", "05")
		if n, _ := p.Table("t").Miss().Counter(); n != 2 {
			t.Errorf("%s table: %d misses counted, want 2", kind, n)
		}
	}
}
