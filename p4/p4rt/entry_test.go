package p4rt_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// zoo is a program with one of everything that Sluice's own lacks.
const zoo = `
tables {
  preamble { id: 10 name: "ingress.acl" alias: "acl" }
  match_fields { id: 1 name: "port" bitwidth: 9 match_type: OPTIONAL }
  match_fields { id: 2 name: "dst" annotations: "@format(IPV4_ADDRESS)" bitwidth: 32 match_type: TERNARY }
  match_fields { id: 3 name: "l4" bitwidth: 16 match_type: RANGE }
  action_refs { id: 20 }
  action_refs { id: 21 scope: DEFAULT_ONLY }
  size: 64
}
tables {
  preamble { id: 11 name: "ingress.route" alias: "route" }
  match_fields { id: 1 name: "vrf" type_name { name: "vrf_t" } match_type: EXACT }
  match_fields { id: 2 name: "dst" annotations: "@format(IPV6_ADDRESS)" bitwidth: 128 match_type: LPM }
  action_refs { id: 20 }
  implementation_id: 40
  size: 1024
}
actions { preamble { id: 20 name: "ingress.forward" alias: "forward" } params { id: 1 name: "port" bitwidth: 9 } }
actions { preamble { id: 21 name: "ingress.drop" alias: "drop" } }
counters { preamble { id: 50 name: "ingress.seen" alias: "seen" } spec { unit: PACKETS } size: 4 }
digests { preamble { id: 60 name: "single" alias: "single" } type_spec { bitstring { bit { bitwidth: 12 } } } }
type_info { new_types { key: "vrf_t" value { translated_type { uri: "vrf" sdn_string {} } } } }
`

func zooInfo(t testing.TB) *p4rt.Info {
	t.Helper()
	return infoOf(t, zoo)
}

func infoOf(t testing.TB, text string) *p4rt.Info {
	t.Helper()
	source := new(configv1.P4Info)
	if err := prototext.Unmarshal([]byte(text), source); err != nil {
		t.Fatal(err)
	}
	info, err := p4rt.NewInfo(source)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func sluiceInfo(t testing.TB) *p4rt.Info {
	t.Helper()
	info, err := p4rt.NewInfo(p4.P4Info())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func message[M proto.Message](t testing.TB, m M, text string) M {
	t.Helper()
	if err := prototext.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func prefix(name, cidr string) p4rt.Field {
	p := netip.MustParsePrefix(cidr)
	return p4rt.Field{Name: name, Kind: p4rt.LPM, Value: p4rt.AddrValue(p.Addr()), PrefixLen: p.Bits()}
}

func ternary(name string, value, mask p4rt.Value) p4rt.Field {
	return p4rt.Field{Name: name, Kind: p4rt.Ternary, Value: value, Mask: mask}
}

func span(name string, low, high uint64) p4rt.Field {
	return p4rt.Field{Name: name, Kind: p4rt.Range, Value: p4rt.UintValue(low), High: p4rt.UintValue(high)}
}

func optional(name string, x uint64) p4rt.Field {
	return p4rt.Field{Name: name, Kind: p4rt.Optional, Value: p4rt.UintValue(x)}
}

func addr(text string) p4rt.Value { return p4rt.AddrValue(netip.MustParseAddr(text)) }

var forward1 = []p4rt.Field{u("port", 1)}

// Sections "Bytestrings", "Match Format" and "Action Specification".
func TestEncodeEntry(t *testing.T) {
	tests := []struct {
		name  string
		entry p4rt.Entry
		want  string
	}{
		{
			"every kind of match",
			p4rt.Entry{Table: "acl", Priority: 5, Action: "forward", Params: []p4rt.Field{u("port", 256)},
				Match: []p4rt.Field{optional("port", 0), ternary("dst", addr("10.0.0.0"), addr("255.0.0.0")),
					span("l4", 0, 1023)}},
			`table_id: 10 priority: 5
			 match { field_id: 1 optional { value: "\x00" } }
			 match { field_id: 2 ternary { value: "\n\x00\x00\x00" mask: "\xff\x00\x00\x00" } }
			 match { field_id: 3 range { low: "\x00" high: "\x03\xff" } }
			 action { action { action_id: 20 params { param_id: 1 value: "\x01\x00" } } }`,
		},
		{
			"fields in another order, by full name",
			p4rt.Entry{Table: "ingress.acl", Priority: 5, Action: "forward", Params: forward1,
				Match: []p4rt.Field{span("l4", 5, 5), optional("port", 3)}},
			`table_id: 10 priority: 5
			 match { field_id: 1 optional { value: "\x03" } }
			 match { field_id: 3 range { low: "\x05" high: "\x05" } }
			 action { action { action_id: 20 params { param_id: 1 value: "\x01" } } }`,
		},
		{
			"what matches everything is left out",
			p4rt.Entry{Table: "acl", Priority: 1, Action: "forward", Params: forward1,
				Match: []p4rt.Field{ternary("dst", addr("10.0.0.1"), p4rt.UintValue(0)), span("l4", 0, 65535)}},
			`table_id: 10 priority: 1 action { action { action_id: 20 params { param_id: 1 value: "\x01" } } }`,
		},
		{
			"masked-out bits are zero",
			p4rt.Entry{Table: "acl", Priority: 1,
				Match: []p4rt.Field{ternary("dst", addr("10.1.2.3"), addr("0.255.0.0"))}},
			`table_id: 10 priority: 1 match { field_id: 2 ternary { value: "\x01\x00\x00" mask: "\xff\x00\x00" } }`,
		},
		{
			"host bits of a prefix are zero; a member",
			p4rt.Entry{Table: "route", Member: 9,
				Match: []p4rt.Field{field("vrf", p4rt.TextValue("blue")), prefix("dst", "2001:db8::1/16")}},
			`table_id: 11 match { field_id: 1 exact { value: "blue" } }
			 match { field_id: 2 lpm { value: "\x20\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" prefix_len: 16 } }
			 action { action_profile_member_id: 9 }`,
		},
		{
			"prefix of length 0; a group",
			p4rt.Entry{Table: "route", Group: 3,
				Match: []p4rt.Field{field("vrf", p4rt.TextValue("blue")), prefix("dst", "::/0")}},
			`table_id: 11 match { field_id: 1 exact { value: "blue" } } action { action_profile_group_id: 3 }`,
		},
		{
			"one-shot set",
			p4rt.Entry{Table: "route", Match: []p4rt.Field{field("vrf", p4rt.TextValue("blue"))},
				OneShot: []p4rt.WeightedAction{
					{Action: "forward", Params: forward1, Weight: 2, WatchPort: p4rt.UintValue(7)},
					{Action: "forward", Params: []p4rt.Field{u("port", 2)}, Weight: 1}}},
			`table_id: 11 match { field_id: 1 exact { value: "blue" } }
			 action { action_profile_action_set {
			   action_profile_actions { action { action_id: 20 params { param_id: 1 value: "\x01" } } weight: 2 watch_port: "\x07" }
			   action_profile_actions { action { action_id: 20 params { param_id: 1 value: "\x02" } } weight: 1 } } }`,
		},
		{
			"default entry",
			p4rt.Entry{Table: "acl", Default: true, Action: "drop"},
			`table_id: 10 is_default_action: true action { action { action_id: 21 } }`,
		},
		{
			"default entry, to be reset",
			p4rt.Entry{Table: "acl", Default: true},
			`table_id: 10 is_default_action: true`,
		},
	}
	info := zooInfo(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := info.EncodeEntry(tt.entry)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(message(t, new(v1.TableEntry), tt.want), got, protocmp.Transform()); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncodeEntryErrors(t *testing.T) {
	blue := field("vrf", p4rt.TextValue("blue"))
	tests := []struct {
		name  string
		entry p4rt.Entry
		want  string
	}{
		{"unknown table", p4rt.Entry{Table: "vip"}, `no table "vip"; there is: acl, route`},
		{"no table", p4rt.Entry{}, `no table ""; there is: acl, route`},
		{"unknown match field", p4rt.Entry{Table: "acl", Priority: 1, Match: []p4rt.Field{u("dest", 1)}},
			`table acl: no match field "dest"; there is: dst, l4, port`},
		{"match field twice",
			p4rt.Entry{Table: "acl", Priority: 1, Match: []p4rt.Field{optional("port", 1), optional("port", 2)}},
			"table acl: match field port: given twice"},
		{"exact field missing", p4rt.Entry{Table: "route"},
			"table route: match field vrf: missing, and exact fields always matter"},
		{"exact field without a value", p4rt.Entry{Table: "route", Match: []p4rt.Field{{Name: "vrf"}}},
			"table route: match field vrf: no value, must be a string"},
		{"another kind", p4rt.Entry{Table: "acl", Priority: 1, Match: []p4rt.Field{u("dst", 1)}},
			"table acl: match field dst: given as exact, must be ternary"},
		{"too wide", p4rt.Entry{Table: "acl", Priority: 1, Match: []p4rt.Field{optional("port", 512)}},
			"table acl: match field port: 512 needs 10 bits, must fit bit<9>"},
		{"mask too wide", p4rt.Entry{Table: "acl", Priority: 1,
			Match: []p4rt.Field{ternary("dst", p4rt.UintValue(0), p4rt.UintValue(1<<32))}},
			"table acl: match field dst: mask: 4294967296 needs 33 bits, must fit bit<32>"},
		{"no mask", p4rt.Entry{Table: "acl", Priority: 1,
			Match: []p4rt.Field{ternary("dst", p4rt.UintValue(0), p4rt.Value{})}},
			"table acl: match field dst: mask: no value, must be bit<32>"},
		{"empty range", p4rt.Entry{Table: "acl", Priority: 1, Match: []p4rt.Field{span("l4", 2, 1)}},
			"table acl: match field l4: range 2..1 is empty: the lowest value is above the highest"},
		{"string for a number", p4rt.Entry{Table: "acl", Priority: 1,
			Match: []p4rt.Field{{Name: "port", Kind: p4rt.Optional, Value: p4rt.TextValue("x")}}},
			`table acl: match field port: "x" is a string, must be bit<9>`},
		{"number for a string", p4rt.Entry{Table: "route", Match: []p4rt.Field{u("vrf", 1)}},
			"table route: match field vrf: 1 is a number, must be a string"},
		{"prefix too long", p4rt.Entry{Table: "route",
			Match: []p4rt.Field{blue, {Name: "dst", Kind: p4rt.LPM, Value: addr("::1"), PrefixLen: 129}}},
			"table route: match field dst: prefix length is 129, must be 0..128"},
		{"no priority", p4rt.Entry{Table: "acl"},
			"table acl: priority is 0, must be above 0: a key is ternary, range or optional"},
		{"priority", p4rt.Entry{Table: "route", Priority: 1, Match: []p4rt.Field{blue}},
			"table route: priority is 1, must be 0: no key is ternary, range or optional"},
		{"default entry with a match",
			p4rt.Entry{Table: "acl", Default: true, Match: []p4rt.Field{optional("port", 1)}},
			"table acl: the default entry has neither match fields nor a priority"},
		{"unknown action", p4rt.Entry{Table: "acl", Priority: 1, Action: "fwd"},
			`table acl: no action "fwd"; there is: forward`},
		{"action for the default entry", p4rt.Entry{Table: "acl", Priority: 1, Action: "drop"},
			`table acl: action "drop" is for the default entry only`},
		{"parameter missing", p4rt.Entry{Table: "acl", Priority: 1, Action: "forward"},
			"table acl: action forward: parameter port: missing"},
		{"parameter unknown",
			p4rt.Entry{Table: "acl", Priority: 1, Action: "forward", Params: []p4rt.Field{u("port", 1), u("prot", 1)}},
			`table acl: action forward: no parameter "prot"; there is: port`},
		{"parameter twice", p4rt.Entry{Table: "acl", Priority: 1, Action: "forward",
			Params: []p4rt.Field{u("port", 1), u("port", 1)}},
			"table acl: action forward: parameter port: given twice"},
		{"parameter too wide",
			p4rt.Entry{Table: "acl", Priority: 1, Action: "forward", Params: []p4rt.Field{u("port", 1024)}},
			"table acl: action forward: parameter port: 1024 needs 11 bits, must fit bit<9>"},
		{"parameters without an action", p4rt.Entry{Table: "acl", Priority: 1, Params: forward1},
			"table acl: 1 parameters are given without an action"},
		{"two actions", p4rt.Entry{Table: "route", Match: []p4rt.Field{blue}, Action: "forward", Group: 1},
			"table route: an entry has one of action, member, group and one-shot set, 2 are given"},
		{"group in a direct table", p4rt.Entry{Table: "acl", Priority: 1, Group: 1},
			"table acl: a member, group or one-shot set is given, but the table has no action profile"},
		{"idle timeout", p4rt.Entry{Table: "acl", Priority: 1, IdleTimeout: time.Second},
			"table acl: idle timeout is 1s, but the table does not support one"},
		{"counter", p4rt.Entry{Table: "acl", Priority: 1, Counter: &p4rt.Counter{}},
			"table acl: a counter is given, but the table has none"},
	}
	info := zooInfo(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := info.EncodeEntry(tt.entry)
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is\n%v\nwant\n%s", err, tt.want)
			}
			if m != nil {
				t.Errorf("message is %v", m)
			}
		})
	}
}

func TestDecodeEntry(t *testing.T) {
	tests := []struct {
		name, message, want string
	}{
		{"every kind of match, bytes longer than needed",
			`table_id: 10 priority: 5
			 match { field_id: 1 optional { value: "\x00\x00\x05" } }
			 match { field_id: 2 ternary { value: "\n\x00\x00\x00" mask: "\xff\x00\x00\x00" } }
			 match { field_id: 3 range { low: "\x00" high: "\x03\xff" } }
			 action { action { action_id: 20 params { param_id: 1 value: "\x01\x00" } } }`,
			"acl{port=5 dst=10.0.0.0&255.0.0.0 l4=0..1023 priority=5} -> forward(port=256)"},
		{"fields in another order, some left out",
			`table_id: 10 priority: 5 match { field_id: 3 range { low: "\x05" high: "\x06" } } match { field_id: 1 ` +
				`optional ` +
				`{ value: "\x03" } }`,
			"acl{port=3 l4=5..6 priority=5}"},
		{"string, prefix, member",
			`table_id: 11 match { field_id: 1 exact { value: "blue" } }
			 match { field_id: 2 lpm { value: "\x20\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" prefix_len: 16 } }
			 action { action_profile_member_id: 9 }`,
			`route{vrf="blue" dst=2001::/16} -> member 9`},
		{"group", `table_id: 11 match { field_id: 1 exact { value: "" } } action { action_profile_group_id: 4 }`,
			`route{vrf=""} -> group 4`},
		{"one-shot set",
			`table_id: 11 match { field_id: 1 exact { value: "blue" } }
			 action { action_profile_action_set {
			   action_profile_actions { action { action_id: 20 params { param_id: 1 value: "\x01" } } weight: 2 watch_port: "\x07" }
			   action_profile_actions { action { action_id: 20 params { param_id: 1 value: "\x02" } } weight: 1 } } }`,
			`route{vrf="blue"} -> 2*forward(port=1) watch 7, 1*forward(port=2)`},
		{"default entry", `table_id: 10 is_default_action: true action { action { action_id: 21 } }`,
			"acl{default} -> drop()"},
	}
	info := zooInfo(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := message(t, new(v1.TableEntry), tt.message)
			got, err := info.DecodeEntry(m)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != tt.want {
				t.Errorf("entry is\n%s\nwant\n%s", got, tt.want)
			}
			again, err := info.EncodeEntry(got)
			if err != nil {
				t.Fatal(err)
			}
			back, err := info.DecodeEntry(again)
			if diff := cmp.Diff(got, back); err != nil || diff != "" {
				t.Errorf("decoded again: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestDecodeResources(t *testing.T) {
	got, err := sluiceInfo(t).DecodeEntry(&v1.TableEntry{
		TableId:          38320832,
		Match:            message(t, new(v1.TableEntry), `match { field_id: 1 exact { value: "\x03" } }`).Match,
		IdleTimeoutNs:    int64(time.Minute),
		TimeSinceLastHit: &v1.TableEntry_IdleTimeout{ElapsedNs: int64(time.Second)},
		CounterData:      &v1.CounterData{PacketCount: 3, ByteCount: 180},
	})
	if err != nil {
		t.Fatal(err)
	}
	second := time.Second
	want := p4rt.Entry{Table: "pin", Match: []p4rt.Field{u("flow", 3)},
		IdleTimeout: time.Minute, SinceHit: &second, Counter: &p4rt.Counter{Packets: 3, Bytes: 180}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	if got := got.Field("flow").Uint(); got != 3 {
		t.Errorf("flow is %d", got)
	}
	if !got.Param("backend_id").IsZero() {
		t.Error("an entry without an action has a parameter")
	}
}

func TestDecodeEntryErrors(t *testing.T) {
	tests := []struct {
		name, message, want string
	}{
		{"id 0 is no table", ``, "decoding a table entry: no table has id 0"},
		{"unknown table", `table_id: 99`, "decoding a table entry: no table has id 99"},
		{"unknown match field", `table_id: 10 match { field_id: 4 }`,
			"decoding an entry of table acl: 1 match fields, of which 0 are in the P4Info"},
		{"match field twice",
			`table_id: 10 match { field_id: 1 optional { value: "\x01" } } match { field_id: 1 optional { value: ` +
				`"\x01" } }`,
			"decoding an entry of table acl: 2 match fields, of which 1 are in the P4Info"},
		{"exact field missing", `table_id: 11`, "decoding an entry of table route: match field vrf: missing"},
		{"no kind of match", `table_id: 10 match { field_id: 1 }`,
			"decoding an entry of table acl: match field port: matched as <nil>, must be optional"},
		{"another kind of match", `table_id: 10 match { field_id: 1 exact { value: "\x01" } }`,
			"decoding an entry of table acl: match field port: matched as *v1.FieldMatch_Exact_, must be optional"},
		{"no bytes", `table_id: 10 match { field_id: 1 optional { } }`,
			"decoding an entry of table acl: match field port: no bytes, must be bit<9>"},
		{"too wide", `table_id: 10 match { field_id: 1 optional { value: "\x02\x00" } }`,
			"decoding an entry of table acl: match field port: 512 needs 10 bits, must fit bit<9>"},
		{"prefix too long", `table_id: 11 match { field_id: 1 exact { } } match { field_id: 2 lpm { value: "\x01" ` +
			`prefix_len: 130 } }`,
			"decoding an entry of table route: match field dst: prefix length is 130, must be 0..128"},
		{"unknown action", `table_id: 10 action { action { action_id: 7 } }`,
			"decoding an entry of table acl: action id 7 is not one of the table's"},
		{"too many parameters", `table_id: 10 action { action { action_id: 21 params { param_id: 1 value: "\x01" } } }`,
			"decoding an entry of table acl: action drop: 1 parameters, must be 0"},
		{"another parameter", `table_id: 10 action { action { action_id: 20 params { param_id: 2 value: "\x01" } } }`,
			"decoding an entry of table acl: action forward: parameter port: missing"},
		{"parameter too wide",
			`table_id: 10 action { action { action_id: 20 params { param_id: 1 value: "\x02\x00" } } }`,
			"decoding an entry of table acl: action forward: parameter port: 512 needs 10 bits, must fit bit<9>"},
	}
	info := zooInfo(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := info.DecodeEntry(message(t, new(v1.TableEntry), tt.message))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is\n%v\nwant\n%s", err, tt.want)
			}
			if diff := cmp.Diff(p4rt.Entry{}, got); diff != "" && err != nil {
				t.Errorf("an entry comes with the error: %v", got)
			}
		})
	}
}

// A caller may go on to use what it gave, or got.
func TestEntriesShareNothing(t *testing.T) {
	info := sluiceInfo(t)
	m, err := info.EncodeEntry(rows[2].entry)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := info.DecodeEntry(m)
	if err != nil {
		t.Fatal(err)
	}
	clear(m.Match[0].GetExact().Value)
	clear(m.Action.GetAction().Params[0].Value)
	if diff := cmp.Diff(rows[2].entry, entry); diff != "" {
		t.Errorf("the entry changes with its message (-want +got):\n%s", diff)
	}
}

func TestNewInfoErrors(t *testing.T) {
	tests := []struct {
		name, info, want string
	}{
		{"no id", `tables { preamble { name: "t" } }`, `P4Info: table "t" has no id`},
		{"no name", `tables { preamble { id: 1 } }`, `P4Info: table 1 has no name`},
		{"id twice", `tables { preamble { id: 1 name: "a" } } tables { preamble { id: 1 name: "b" } }`,
			`P4Info: table "b": another has the id 1 too`},
		{"name twice", `tables { preamble { id: 1 name: "a" } } tables { preamble { id: 2 name: "a" } }`,
			`P4Info: two tables are named "a"`},
		{"action missing, twice",
			`tables { preamble { id: 1 name: "a" } action_refs { id: 5 } const_default_action_id: 6 }`,
			"P4Info: table \"a\": no action has id 5\ntable \"a\": no action has id 6"},
		{"match type", `tables { preamble { id: 1 name: "a" } match_fields { id: 1 name: "f" bitwidth: 8 } }`,
			`P4Info: table "a": match field "f": match type UNSPECIFIED is not supported; exact, lpm, ternary, ` +
				`range and ` +
				`optional are`},
		{"string in a ternary match",
			`tables { preamble { id: 1 name: "a" } match_fields { id: 1 name: "f" match_type: TERNARY type_name { name: "s" } } }
			type_info { new_types { key: "s" value { translated_type { sdn_string {} } } } }`,
			`P4Info: table "a": match field "f": a string cannot be matched ternary`},
		{"type of itself", `digests { preamble { id: 1 name: "d" } type_spec { new_type { name: "n" } } }
			type_info { new_types { key: "n" value { original_type { new_type { name: "n" } } } } }`,
			`P4Info: digest "d": member d: type "n": its original type is "n", which is none of P4's`},
		{"digest's struct missing", `digests { preamble { id: 1 name: "d" } type_spec { struct { name: "s" } } }`,
			`P4Info: digest "d": no struct "s"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := p4rt.NewInfo(message(t, new(configv1.P4Info), tt.info))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestUnknownNames(t *testing.T) {
	info := sluiceInfo(t)
	_, tableErr := info.Table("vips")
	_, actionErr := info.Action("to_pol")
	_, counterErr := info.Counter("x")
	_, digestErr := info.DigestEntity("learn", p4rt.DigestConfig{})
	_, packetErr := info.EncodePacketOut(nil, u("egress_port", 1), u("x", 1))
	_, missingErr := info.EncodePacketOut(nil)
	for _, tt := range []struct {
		err  error
		want string
	}{
		{tableErr, `no table "vips"; there is: arp_guard, arp_responder, backend, l2, pin, pinned_arp, pinned_l2, ` +
			`pinned_station, slot, station, vip, vip_address`},
		{actionErr, `no action "to_pol"; there is: NoAction, answer, anywhere, at, back, claim, discard, flood, ` +
			`forward, ` +
			`forward_to_backend, known, move, owned, pin_to, pinned, refuse, to_backend, to_pool`},
		{counterErr, `no counter "x"; there is: alarm_unsent, learn_unsent, openings, pin_unsent, tally`},
		{digestErr, `no digest "learn"; there is: disowned_t, flow_t, learn_t`},
		{packetErr, `packet-out: no metadata "x"; there is: egress_port`},
		{missingErr, `packet-out: metadata egress_port: missing`},
	} {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("error is\n%v\nwant\n%s", tt.err, tt.want)
		}
	}
	_, err := zooInfo(t).EncodePacketOut(nil)
	if err == nil || !strings.Contains(err.Error(), "no header packet_out") {
		t.Errorf("packet-out without a header: %v", err)
	}
}

func TestDecodeStreamErrors(t *testing.T) {
	zooish, own := zooInfo(t), sluiceInfo(t)
	digest := func(info *p4rt.Info, text string) error {
		_, err := info.DecodeDigests(message(t, new(v1.DigestList), text))
		return err
	}
	packetIn := func(info *p4rt.Info, text string) error {
		_, err := info.DecodePacketIn(message(t, new(v1.PacketIn), text))
		return err
	}
	signed := reportInfo(t)
	_, cellErr := own.DecodeCell(&v1.CounterEntry{CounterId: 3})
	for _, tt := range []struct {
		err  error
		want string
	}{
		{digest(own, `digest_id: 1`), "decoding digests: no digest has id 1"},
		{digest(zooish, `digest_id: 60 data { bitstring: "\x10\x00" }`),
			"decoding a digest single: member single: 4096 needs 13 bits, must fit bit<12>"},
		{digest(zooish, `digest_id: 60 data { error: "x" }`),
			"decoding a digest single: member single: the name of an error, must be bit<12>"},
		{digest(zooish, `digest_id: 60 data { varbit { } }`),
			"decoding a digest single: member single: a *v1.P4Data_Varbit is not supported; bitstrings, booleans, " +
				"enums and " +
				"errors are"},
		{digest(signed, `digest_id: 61 data { struct { members { bitstring: "\x08\x00" } members { bool: true } `+
			`members { `+
			`enum: "red" } members { error: "NoError" } } }`),
			"decoding a digest report: member s: 2048 needs 13 bits, must fit int<12>"},
		{digest(signed, `digest_id: 61 data { struct { members { bitstring: "\xf7\xff" } members { bool: true } `+
			`members { `+
			`enum: "red" } members { error: "NoError" } } }`),
			"decoding a digest report: member s: -2049 needs 13 bits, must fit int<12>"},
		{digest(own, `digest_id: 398033514 data { struct { members { bitstring: "\x01" } } }`),
			"decoding a digest learn_t: 1 members, must be 2"},
		{packetIn(zooish, ``), "decoding a packet-in: the P4 program has no header packet_in"},
		{packetIn(own, `metadata { metadata_id: 1 value: "\x01" }`), "decoding a packet-in: metadata reason: missing"},
		{packetIn(own, `metadata { metadata_id: 1 value: "" } metadata { metadata_id: 2 value: "\x01" }`),
			"decoding a packet-in: metadata ingress_port: no bytes, must be bit<16>"},
		{cellErr, "decoding a counter cell: no counter has id 3"},
	} {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("error is\n%v\nwant\n%s", tt.err, tt.want)
		}
	}
	if err := digest(zooish, `digest_id: 60 data { bitstring: "\x00\x0f" }`); err != nil {
		t.Error(err)
	}
}

// reportInfo has a digest whose members are no plain numbers.
func reportInfo(t *testing.T) *p4rt.Info {
	t.Helper()
	info, err := p4rt.NewInfo(message(t, new(configv1.P4Info), `
digests { preamble { id: 61 name: "report" } type_spec { struct { name: "report" } } }
type_info { structs { key: "report" value {
  members { name: "s" type_spec { bitstring { int { bitwidth: 12 } } } }
  members { name: "f" type_spec { bool { } } }
  members { name: "color" type_spec { enum { name: "color" } } }
  members { name: "error" type_spec { error { } } }
} } enums { key: "color" value { members { name: "red" } } } }`))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// int<W> in a digest is in two's complement, in any length (section "Bytestrings").
func TestSignedDigests(t *testing.T) {
	info := reportInfo(t)
	for bytes, want := range map[string]string{
		`\xff`: "-1", `\xff\xff\xff`: "-1", `\x00\xc8`: "200", `\x7f`: "127", `\x80`: "-128", `\x00`: "0",
		`\xf8\x00`: "-2048", `\x07\xff`: "2047",
	} {
		list, err := info.DecodeDigests(message(t, new(v1.DigestList),
			`digest_id: 61 data { struct { members { bitstring: "`+bytes+`" } members { bool: true } members { enum: `+
				`"red" } `+
				`members { error: "NoError" } } }`))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range list.Messages[0] {
			got = append(got, f.Name+"="+f.String())
		}
		if diff := cmp.Diff([]string{"s=" + want, "f=1", `color="red"`, `error="NoError"`}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", bytes, diff)
		}
	}
}

// Ports of replicas come in two forms.
func TestMulticastPorts(t *testing.T) {
	got, err := p4rt.DecodeMulticastGroup(message(t, new(v1.MulticastGroupEntry),
		`multicast_group_id: 1 replicas { egress_port: 3 instance: 1 } replicas { port: "\x01\x00" instance: 2 }`))
	want := p4rt.MulticastGroup{ID: 1, Replicas: []p4rt.Replica{{Port: 3, Instance: 1}, {Port: 256, Instance: 2}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, err = p4rt.DecodeMulticastGroup(message(t, new(v1.MulticastGroupEntry),
		`multicast_group_id: 1 replicas { port: "\x01\x00\x00\x00\x00" }`))
	if want := "decoding multicast group 1: replica 0: port: 4294967296 needs 33 bits, must fit bit<32>"; err == nil ||
		err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// Whatever a target sends, decoding gives an error or an entry that survives being encoded.
func FuzzDecodeEntry(f *testing.F) {
	info := zooInfo(f)
	for _, text := range []string{
		`table_id: 10 priority: 5 match { field_id: 2 ternary { value: "\n\x00\x00\x00" mask: "\xff\x00\x00\x00" } }`,
		`table_id: 10 priority: 5 match { field_id: 3 range { low: "\x01" high: "\x00" } }`,
		`table_id: 11 match { field_id: 1 exact { value: "blue" } } match { field_id: 2 lpm { value: "\x20" ` +
			`prefix_len: ` +
			`16 } } action { action_profile_member_id: 9 }`,
	} {
		b, err := proto.Marshal(message(f, new(v1.TableEntry), text))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(v1.TableEntry)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		entry, err := info.DecodeEntry(m)
		if err != nil {
			return
		}
		_ = entry.String()
		again, err := info.EncodeEntry(entry)
		if err != nil {
			return // a target may break rules that encoding holds, such as priorities
		}
		first, err := info.DecodeEntry(again)
		if err != nil {
			t.Fatalf("%v: encoded as %v: %v", entry, again, err)
		}
		twice, err := info.EncodeEntry(first)
		if err != nil || !proto.Equal(again, twice) {
			t.Fatalf("%v is encoded as %v, then as %v, %v", entry, again, twice, err)
		}
	})
}

func BenchmarkEncodeEntry(b *testing.B) {
	info := sluiceInfo(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := info.EncodeEntry(rows[4].entry); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEntry(b *testing.B) {
	info := sluiceInfo(b)
	m, err := info.EncodeEntry(rows[4].entry)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := info.DecodeEntry(m); err != nil {
			b.Fatal(err)
		}
	}
}
