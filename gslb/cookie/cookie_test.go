package cookie

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func secret(t testing.TB, s string) [16]byte { return [16]byte(fromHex(t, s)) }

// The examples of RFC 9018 appendix A. The times are those that their cookies hold.
func TestRFC9018Vectors(t *testing.T) {
	const (
		key     = "e5e973e5a6b2a43f48e7dc849e37bfcf"
		rolled  = "445536bcd2513298075a5d379663c962"
		earlier = "dd3bdf9344b678b185a6f5cb60fca715"
	)
	for _, row := range []struct {
		name, client string
		secrets      []string
		option, want string
		now          uint32
		valid        bool
	}{
		{
			name: "A.1 learning a new server cookie", client: "198.51.100.100", secrets: []string{key},
			option: "2464c4abcf10c957", now: 1559731985,
			want: "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
		},
		{
			name: "A.2 the same client learning a renewed server cookie", client: "198.51.100.100",
			secrets: []string{key},
			option:  "2464c4abcf10c957010000005cf79f111f8130c3eee29480", now: 1559734385, valid: true,
			want: "2464c4abcf10c957010000005cf7a871d4a564a1442aca77",
		},
		{
			name: "A.3 another client learning a renewed server cookie", client: "203.0.113.203",
			secrets: []string{key},
			option:  "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", now: 1559734700, // almost two hours old
			want: "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e",
		},
		{
			name: "A.4 IPv6 query with rolled over secret", client: "2001:db8:220:1:59de:d0f4:8769:82b8",
			secrets: []string{rolled, earlier},
			option:  "22681ab97d52c298010000005cf7c57926556bd0934c72f8", now: 1559741961, valid: true,
			want: "22681ab97d52c298010000005cf7c609a6bb79d16625507a",
		},
		{
			name: "an address mapped into IPv6 is the IPv4 address", client: "::ffff:198.51.100.100",
			secrets: []string{key},
			option:  "2464c4abcf10c957", now: 1559731985,
			want: "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			var secrets [][16]byte
			for _, s := range row.secrets {
				secrets = append(secrets, secret(t, s))
			}
			client := netip.MustParseAddr(row.client)
			got, valid := Append([]byte("before"), secrets, fromHex(t, row.option), client, row.now)
			if want := append([]byte("before"), fromHex(t, row.want)...); !bytes.Equal(got, want) ||
				valid != row.valid {
				t.Errorf("Append = %x, %v\nwant     %x, %v", got, valid, want, row.valid)
			}
			if !Check(secrets, got[len("before"):], client, row.now) {
				t.Error("Check refuses what Append made")
			}
		})
	}
}

func TestCheck(t *testing.T) {
	const now = 0xFFFFFF00 // soon after it the clock wraps
	a, b, other := [16]byte{1}, [16]byte{2}, [16]byte{3}
	client := netip.MustParseAddr("192.0.2.1")
	at := func(when uint32) []byte { return Make(nil, a, []byte("12345678"), client, when) }
	change := func(i int) []byte {
		c := at(now)
		c[i] ^= 1
		return c
	}
	for _, row := range []struct {
		name    string
		secrets [][16]byte
		option  []byte
		client  string
		now     uint32
		want    bool
	}{
		{"new", [][16]byte{a}, at(now), "192.0.2.1", now, true},
		{"an hour old", [][16]byte{a}, at(now), "192.0.2.1", now + 3600 - 1<<32, true},
		{"older than an hour", [][16]byte{a}, at(now), "192.0.2.1", now + 3601 - 1<<32, false},
		{"five minutes ahead", [][16]byte{a}, at(now), "192.0.2.1", now - 300, true},
		{"more than five minutes ahead", [][16]byte{a}, at(now), "192.0.2.1", now - 301, false},
		{"by the second secret", [][16]byte{b, a}, at(now), "192.0.2.1", now, true},
		{"by no secret of ours", [][16]byte{b, other}, at(now), "192.0.2.1", now, false},
		{"no secrets", nil, at(now), "192.0.2.1", now, false},
		{"of another address", [][16]byte{a}, at(now), "192.0.2.2", now, false},
		{"of the other family", [][16]byte{a}, at(now), "2001:db8::1", now, false},
		{"client cookie changed", [][16]byte{a}, change(0), "192.0.2.1", now, false},
		{"version changed", [][16]byte{a}, change(8), "192.0.2.1", now, false},
		{"reserved bytes that another server set (RFC 9018 A.3)",
			[][16]byte{secret(t, "e5e973e5a6b2a43f48e7dc849e37bfcf")},
			fromHex(t, "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5"), "203.0.113.203", 0x5cf78f71, true},
		{"reserved changed", [][16]byte{a}, change(9), "192.0.2.1", now, false},
		{"time changed", [][16]byte{a}, change(15), "192.0.2.1", now, false},
		{"hash changed", [][16]byte{a}, change(23), "192.0.2.1", now, false},
		{"client cookie alone", [][16]byte{a}, at(now)[:8], "192.0.2.1", now, false},
		{"cut", [][16]byte{a}, at(now)[:23], "192.0.2.1", now, false},
		{"longer", [][16]byte{a}, append(at(now), 0), "192.0.2.1", now, false},
		{"empty", [][16]byte{a}, nil, "192.0.2.1", now, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := Check(row.secrets, row.option, netip.MustParseAddr(row.client), row.now); got != row.want {
				t.Errorf("Check = %v, want %v", got, row.want)
			}
		})
	}
}

// A client keeps its server cookie for half an hour, and a rolled secret makes it a new one at its next query.
func TestRenewal(t *testing.T) {
	const now = 1_000_000
	a, b := [16]byte{1}, [16]byte{2}
	client := netip.MustParseAddr("2001:db8::1")
	option := Make(nil, a, []byte("12345678"), client, now)
	for _, row := range []struct {
		name    string
		secrets [][16]byte
		now     uint32
		valid   bool
		kept    bool
	}{
		{"young", [][16]byte{a, b}, now + 1800, true, true},
		{"old", [][16]byte{a, b}, now + 1801, true, false},
		{"from the future", [][16]byte{a, b}, now - 1, true, false},
		{"earlier secret", [][16]byte{b, a}, now, true, false},
		{"expired", [][16]byte{a, b}, now + 3601, false, false},
		{"forgotten secret", [][16]byte{b}, now, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, valid := Append(nil, row.secrets, option, client, row.now)
			if valid != row.valid || bytes.Equal(got, option) != row.kept {
				t.Errorf("Append = %x, %v; kept %v, want valid %v, kept %v", got, valid, bytes.Equal(got, option),
					row.valid, row.kept)
			}
			if !bytes.Equal(got, option) && !bytes.Equal(got, Make(nil, row.secrets[0], option[:8], client, row.now)) {
				t.Errorf("Append = %x, which the first secret did not make", got)
			}
		})
	}
}

func TestWellFormed(t *testing.T) {
	for n, want := range map[int]bool{0: false, 7: false, 8: true, 9: false, 15: false, 16: true, 24: true, 40: true,
		41: false} {
		if got := WellFormed(make([]byte, n)); got != want {
			t.Errorf("WellFormed of %d bytes = %v, want %v", n, got, want)
		}
	}
}

func TestOwnSecrets(t *testing.T) {
	var o Own
	configured := [][16]byte{{1}, {2}}
	if got := o.Secrets(configured, 0); &got[0] != &configured[0] {
		t.Errorf("Secrets = %v, want those configured", got)
	}
	const start = 0xFFFF_FFF0
	first := o.Secrets(nil, start)
	if len(first) != 1 || first[0] == [16]byte{} {
		t.Fatalf("Secrets = %x, want one, at random", first)
	}
	if other := new(Own).Secrets(nil, start); other[0] == first[0] {
		t.Error("two processes made up the same secret")
	}
	var clock uint32 = start
	clock += ownLife - 1
	if same := o.Secrets(nil, clock); &same[0] != &first[0] {
		t.Error("the secret changed before its time")
	}
	clock++
	second := o.Secrets(nil, clock)
	if len(second) != 2 || second[0] == first[0] || second[1] != first[0] {
		t.Errorf("Secrets after a month = %x, want a new one and %x", second, first[0])
	}
	clock += ownLife
	if third := o.Secrets(nil, clock); len(third) != 2 || third[1] != second[0] {
		t.Errorf("Secrets after two months = %x, want a new one and %x", third, second[0])
	}
}

func TestNoAllocations(t *testing.T) {
	secrets := [][16]byte{{1}, {2}}
	client := netip.MustParseAddr("2001:db8::1")
	option := Make(nil, secrets[1], []byte("12345678"), client, 1000)
	buf := make([]byte, 0, Size)
	if n := testing.AllocsPerRun(100, func() {
		if !Check(secrets, option, client, 1000) {
			t.Fatal("not valid")
		}
		Append(buf, Secrets(nil, 1000), option, client, 1000)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	secrets := [][16]byte{{1}}
	client := netip.MustParseAddr("192.0.2.1")
	option := Make(nil, secrets[0], []byte("12345678"), client, 1000)
	buf := make([]byte, 0, Size)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = Append(buf[:0], secrets, option, client, 1000)
	}
}
