package ratelimit

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicelb/sluice/gslb/config"
)

const second64 = int64(time.Second)

// start is a time long after 0, at which the 44 bits of microseconds have wrapped.
const start = int64(1<<timeBits) * int64(time.Microsecond) * 3

func table(c config.RateLimit) *Table {
	t := New(1024)
	t.Set(c)
	return t
}

// passes returns how many of n responses at one time pass.
func passes(t *Table, client string, category Category, name uint64, n int, now int64) int {
	passed := 0
	for range n {
		if t.Allow(netip.MustParseAddr(client), category, name, now) == Pass {
			passed++
		}
	}
	return passed
}

func TestOffLimitsNothing(t *testing.T) {
	for name, tab := range map[string]*Table{
		"never set":    New(0),
		"no responses": table(config.RateLimit{Errors: 5, Window: 15 * time.Second}),
	} {
		if tab.On() {
			t.Errorf("%s: On", name)
		}
		if got := passes(tab, "192.0.2.1", Error, 0, 1000, start); got != 1000 {
			t.Errorf("%s: %d of 1000 pass, want all", name, got)
		}
	}
}

// step is a burst of responses, and how many of it are to pass.
type step struct {
	after time.Duration
	n     int
	want  int
}

func TestCredit(t *testing.T) {
	for _, row := range []struct {
		name   string
		limits config.RateLimit
		kind   Category
		steps  []step
	}{
		{
			"a second's worth at once", config.RateLimit{Responses: 5, Window: 15 * time.Second}, Answer,
			[]step{{0, 6, 5}},
		},
		{
			"the rate for ever", config.RateLimit{Responses: 5, Window: 15 * time.Second}, Answer,
			[]step{{0, 5, 5}, {time.Second, 5, 5}, {time.Second, 5, 5}, {time.Second, 5, 5}, {time.Hour, 6, 5}},
		},
		{
			"no more credit than a second's", config.RateLimit{Responses: 5, Window: 15 * time.Second}, Answer,
			[]step{{0, 1, 1}, {time.Hour, 10, 5}},
		},
		{
			"what was not sent is owed", config.RateLimit{Responses: 10, Window: 15 * time.Second}, Answer,
			[]step{{0, 40, 10}, {time.Second, 1, 0}, {2 * time.Second, 0, 0}, {time.Second, 9, 9}},
		},
		{
			"a burst is remembered for the window at most", config.RateLimit{Responses: 10, Window: 2 * time.Second},
			Answer,
			[]step{{0, 1_000_000, 10}, {2 * time.Second, 1, 0}, {200 * time.Millisecond, 1, 1}},
		},
		{
			"a flood that goes on gets nothing", config.RateLimit{Responses: 10, Window: 5 * time.Second}, Answer,
			[]step{{0, 100, 10}, {time.Second, 20, 0}, {time.Second, 20, 0}, {time.Second, 20, 0},
				{time.Second, 20, 0}},
		},
		{
			"errors have a rate of their own", config.RateLimit{Responses: 100, Errors: 3, Window: time.Second}, Error,
			[]step{{0, 10, 3}},
		},
		{
			"and so do names that do not exist", config.RateLimit{Responses: 100, Errors: 3, Window: time.Second},
			NXDomain,
			[]step{{0, 10, 3}},
		},
		{
			"names without data have that of answers", config.RateLimit{Responses: 100, Errors: 3, Window: time.Second},
			NoData,
			[]step{{0, 110, 100}},
		},
		{
			"errors have that of answers by default", config.RateLimit{Responses: 4, Window: time.Second}, Error,
			[]step{{0, 10, 4}},
		},
		{
			"one a second", config.RateLimit{Responses: 1, Window: time.Second}, Answer,
			[]step{{0, 1, 1}, {time.Second - time.Microsecond, 1, 0}, {time.Hour, 1, 1}},
		},
		{
			"more than one a microsecond", config.RateLimit{Responses: 10_000_000, Window: time.Second}, Answer,
			[]step{{0, 1_000_001, 1_000_000}},
		},
		{
			"after longer than the clock's 44 bits reach", config.RateLimit{Responses: 5, Window: 15 * time.Second},
			Answer,
			[]step{{0, 50, 5}, {203 * 24 * time.Hour, 6, 5}},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			tab, now := table(row.limits), start
			for i, s := range row.steps {
				now += int64(s.after)
				if got := passes(tab, "192.0.2.1", row.kind, 7, s.n, now); got != s.want {
					t.Errorf("step %d: %d of %d pass, want %d", i, got, s.n, s.want)
				}
			}
		})
	}
}

// Who shares credit with a client that used all of its own up.
func TestKeys(t *testing.T) {
	tab := table(config.RateLimit{Responses: 2, Window: 15 * time.Second})
	name, other := tab.Name([]byte("\x03www\x07example\x00")), tab.Name([]byte("\x03ftp\x07example\x00"))
	passes(tab, "192.0.2.1", Answer, name, 100, start)
	passes(tab, "192.0.2.1", Error, name, 100, start)
	passes(tab, "2001:db8::1", Answer, name, 100, start)
	for _, row := range []struct {
		name, client string
		category     Category
		hash         uint64
		shared       bool
	}{
		{"the client", "192.0.2.1", Answer, name, true},
		{"the client, mapped into IPv6", "::ffff:192.0.2.1", Answer, name, true},
		{"another in its /24", "192.0.2.255", Answer, name, true},
		{"one in the next /24", "192.0.3.1", Answer, name, false},
		{"another name", "192.0.2.1", Answer, other, false},
		{"the name in capitals", "192.0.2.1", Answer, tab.Name([]byte("\x03WwW\x07EXAMPLE\x00")), true},
		{"another category", "192.0.2.1", NXDomain, name, false},
		{"errors, whatever the name", "192.0.2.1", Error, other, true},
		{"another in the same /56", "2001:db8:0:ff:1::", Answer, name, true},
		{"one in the next /56", "2001:db8:0:100::", Answer, name, false},
		{"an IPv6 network with an IPv4 one's bytes", "c000:200::", Answer, name, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := tab.Allow(netip.MustParseAddr(row.client), row.category, row.hash,
				start) != Pass; got != row.shared {
				t.Errorf("limited = %v, want %v", got, row.shared)
			}
		})
	}
}

func TestSlip(t *testing.T) {
	const n = 10_000
	for _, row := range []struct{ slip, least, most int }{
		{0, 0, 0},
		{1, n, n},
		{2, n/2 - 500, n/2 + 500}, // ten standard deviations
		{10, n/10 - 300, n/10 + 300},
	} {
		tab := table(config.RateLimit{Responses: 1, Window: 15 * time.Second, Slip: row.slip})
		var got [3]int
		for range n + 1 {
			got[tab.Allow(netip.MustParseAddr("192.0.2.1"), Answer, 0, start)]++
		}
		if got[Pass] != 1 || got[Slip] < row.least || got[Slip] > row.most || got[Drop] != n-got[Slip] {
			t.Errorf("slip %d: %d slip and %d are dropped of %d, want %d to %d to slip", row.slip, got[Slip], got[Drop],
				n, row.least, row.most)
		}
	}
}

func TestExempt(t *testing.T) {
	prefixes := []netip.Prefix{
		netip.MustParsePrefix("192.0.2.128/25"),
		netip.MustParsePrefix("10.1.0.0/16"),
		netip.MustParsePrefix("10.0.0.0/8"), // has the one before inside
		netip.MustParsePrefix("10.255.255.255/32"),
		netip.MustParsePrefix("203.0.113.7/32"),
		netip.MustParsePrefix("255.255.255.255/32"),
		netip.MustParsePrefix("2001:db8:1::/48"),
	}
	tab := table(config.RateLimit{Responses: 1, Window: time.Second, Exempt: prefixes})
	for client, want := range map[string]bool{
		"192.0.2.127": false, "192.0.2.128": true, "192.0.2.255": true, "192.0.3.0": false,
		"9.255.255.255": false, "10.0.0.0": true, "10.1.2.3": true, "10.2.0.0": true, "10.255.255.255": true,
		"11.0.0.0":    false,
		"203.0.113.6": false, "203.0.113.7": true, "203.0.113.8": false, "255.255.255.255": true,
		"::ffff:10.0.0.1": true,
		"::":              false, "2001:db8:0:ffff::": false, "2001:db8:1::": true,
		"2001:db8:1:ffff:ffff:ffff:ffff:ffff": true,
		"2001:db8:2::":                        false, "0.0.0.0": false,
	} {
		got := passes(tab, client, Answer, 0, 100, start) == 100
		if got != want {
			t.Errorf("%s: exempt %v, want %v", client, got, want)
		}
	}
}

// Limits change under way; what is owed stays, and is worth what the new limits say.
func TestSetKeepsWhatIsOwed(t *testing.T) {
	tab := table(config.RateLimit{Responses: 10, Window: 15 * time.Second})
	passes(tab, "192.0.2.1", Answer, 0, 1000, start)
	tab.Set(config.RateLimit{Responses: 20, Window: 15 * time.Second})
	if got := passes(tab, "192.0.2.1", Answer, 0, 10, start+second64); got != 0 {
		t.Errorf("%d pass after a change of the rate, want 0", got)
	}
	tab.Set(config.RateLimit{})
	if got := passes(tab, "192.0.2.1", Answer, 0, 10, start+second64); got != 10 {
		t.Errorf("%d of 10 pass when limits are off, want all", got)
	}
}

// More keys than buckets: one that is over its limit may be forgiven, but no one is limited for another's sake.
func TestMoreKeysThanBuckets(t *testing.T) {
	tab := New(ways)
	tab.Set(config.RateLimit{Responses: 2, Window: 15 * time.Second})
	var limited int
	for i := range uint32(10_000) {
		client := address(i)
		if tab.Allow(client, Answer, 0, start) != Pass {
			limited++
		}
	}
	// Tags of 20 bits, each compared with eight: 10,000 * 8 / 2^20 meet another's by chance on average.
	if limited > 5 {
		t.Errorf("%d of 10000 clients with one query each are limited, want hardly any", limited)
	}
}

// In a full set the key that owes least makes room, so that the floods stay limited.
func TestEvictsWhoOwesLeast(t *testing.T) {
	tab := New(ways)
	tab.Set(config.RateLimit{Responses: 10, Window: 15 * time.Second})
	flood := []string{"192.0.2.1", "198.51.100.1", "203.0.113.1"}
	for _, client := range flood {
		passes(tab, client, Answer, 0, 1000, start)
	}
	for i := range uint32(1000) {
		tab.Allow(address(i), Answer, 0, start)
	}
	for _, client := range flood {
		if tab.Allow(netip.MustParseAddr(client), Answer, 0, start) == Pass {
			t.Errorf("%s got its credit back from other clients' queries", client)
		}
	}
}

// Two keys with one tag in one set share a bucket: that is what a collision costs, and no more.
func TestCollision(t *testing.T) {
	tab := New(ways)
	key := uint64(0xABCDE << timeBits)
	cost, most := second/10, 10*second
	if got := tab.charge(key, cost, most, 1000); got != cost {
		t.Fatalf("the first owes %d, want %d", got, cost)
	}
	if got := tab.charge(key|ways, cost, most, 1000); got != 2*cost {
		t.Errorf("with the same tag the second owes %d, want %d", got, 2*cost)
	}
	if got := tab.charge(key^1<<timeBits, cost, most, 1000); got != cost {
		t.Errorf("with another tag the third owes %d, want %d", got, cost)
	}
	if got := tab.charge(key, cost, most, 1000+2*cost); got != cost {
		t.Errorf("after its time the first owes %d, want %d", got, cost)
	}
}

func TestConcurrentChargesAddUp(t *testing.T) {
	tab := table(config.RateLimit{Responses: 1000, Window: 15 * time.Second})
	var passed atomic.Int64
	var all sync.WaitGroup
	tab.Allow(address(1), Answer, 0, start) // else two may each take a free bucket
	for range 8 {
		all.Go(func() {
			for range 1000 {
				if tab.Allow(address(1), Answer, 0, start) == Pass {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := passed.Load(); got != 999 {
		t.Errorf("%d pass, want 999 after the first", got)
	}
}

func TestNoAllocations(t *testing.T) {
	tab := table(config.RateLimit{Responses: 1, Window: time.Second, Slip: 2,
		Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	name := []byte("\x03www\x07example\x00")
	client := netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { tab.Allow(client, Answer, tab.Name(name), start) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// address is an address in the i-th /24 from 0.0.0.0 on.
func address(i uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], i<<8)
	return netip.AddrFrom4(b)
}

func BenchmarkAllow(b *testing.B) {
	for name, clients := range map[string]uint32{"one client": 1, "100000 clients": 100_000} {
		b.Run(name, func(b *testing.B) {
			tab := New(0)
			tab.Set(config.RateLimit{Responses: 20, Window: 15 * time.Second, Slip: 2})
			wire := []byte("\x03www\x07example\x03com\x00")
			b.ReportAllocs()
			var i uint32
			now := start
			for b.Loop() {
				i++
				now += 1000
				tab.Allow(address(i%clients), Answer, tab.Name(wire), now)
			}
		})
	}
}
