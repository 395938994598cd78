package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	drop      = ` action:{action:{action_id:$drop}}`
	toPort3   = ` action:{action:{action_id:$forward params:{param_id:1 value:"\x03"}}}`
	counted3  = ` action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x03"}}}`
	counted4  = ` action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x04"}}}`
	smallKey  = ` match:{field_id:1 exact:{value:"\x01"}}`
	ruleB     = ` match:{field_id:1 ternary:{value:"\x01\x00" mask:"\xff\x00"}}`
	prefixKey = ` match:{field_id:2 exact:{value:"\x01"}}`
)

// What single updates of table entries answer. Every row starts from an empty pipeline, with one entry
// in small.
func TestTableWrites(t *testing.T) {
	const (
		ins, mod, del = v1.Update_INSERT, v1.Update_MODIFY, v1.Update_DELETE
	)
	for _, tt := range []struct {
		section, name string
		kind          v1.Update_Type
		entity, want  string
	}{
		{"Write RPC", "no type", 0, `table_entry:{table_id:$small}`,
			"InvalidArgument: update type UNSPECIFIED is not one of INSERT, MODIFY, DELETE"},
		{"Write RPC", "no entity", ins, ``, "InvalidArgument: no entity in the update"},
		{"Write RPC", "exists", ins, `table_entry:{table_id:$small` + smallKey + counted4 + `}`,
			"AlreadyExists: table small: entry exists"},
		{"Write RPC", "MODIFY of nothing", mod, `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x09"}}` +
			counted4 + `}`, "NotFound: table small: no such entry"},
		{"Write RPC", "DELETE of nothing", del, `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x09"}}}`,
			"NotFound: table small: no such entry"},
		{"Write RPC", "DELETE by the key alone", del,
			`table_entry:{table_id:$small` + smallKey + ` action:{action:{action_id:99}} idle_timeout_ns:-5 ` +
				`is_const:true}`, ""},
		{"Write RPC", "no such table", ins, `table_entry:{table_id:5}`,
			"InvalidArgument: table_id 5 is not in the P4Info"},

		{"Bytestrings", "longer than needed", ins,
			`table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x00\x00\x00\x00\x00\x00\x00\x00\x02"}}` +
				counted4 + `}`, ""},
		{"Bytestrings", "empty", ins, `table_entry:{table_id:$small match:{field_id:1 exact:{}}` + counted4 + `}`,
			"OutOfRange: table small: field dst: empty, want a number of 48 bits"},
		{"Bytestrings", "too large", ins,
			`table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x01\x00\x00\x00\x00\x00\x00"}}` + counted4 +
				`}`, "OutOfRange: table small: field dst: 0x01000000000000 does not fit 48 bits"},
		{"Bytestrings", "far too large", ins, `table_entry:{table_id:$small match:{field_id:1 exact:{value:"` +
			strings.Repeat("x", 65) + `"}}` + counted4 + `}`,
			"OutOfRange: table small: field dst: a number of 65 bytes does not fit 48 bits"},
		{"Bytestrings", "too large by a bit", ins, `table_entry:{table_id:$small match:{field_id:1 ` +
			`exact:{value:"\x09"}} action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x02\x00"}}}}`,
			"OutOfRange: table small: action forward_counted: parameter port: 0x0200 does not fit 9 bits"},

		{"Match Format", "exact left out", ins, `table_entry:{table_id:$small` + counted3 + `}`,
			"InvalidArgument: table small: field dst is missing"},
		{"Match Format", "no such field", ins, `table_entry:{table_id:$small match:{field_id:2 exact:{value:"\x01"}}` +
			counted3 + `}`, "InvalidArgument: table small: field_id 2 is not in the P4Info"},
		{"Match Format", "field twice", ins, `table_entry:{table_id:$small` + smallKey + smallKey + counted3 + `}`,
			"InvalidArgument: table small: field dst is there twice"},
		{"Match Format", "other match type", ins,
			`table_entry:{table_id:$small match:{field_id:1 ternary:{value:"\x01" mask:"\x01"}}` + counted3 + `}`,
			"InvalidArgument: table small: field dst: want an exact match"},
		{"Match Format", "no match type", ins, `table_entry:{table_id:$small match:{field_id:1}` + counted3 + `}`,
			"InvalidArgument: table small: field dst: want an exact match"},
		{"Match Format", "LPM", ins, `table_entry:{table_id:$prefixes` + prefixKey + ` match:{field_id:1 ` +
			`lpm:{value:"\x0a\x00\x00\x00" prefix_len:8}}` + drop + `}`, ""},
		{"Match Format", "LPM left out", ins, `table_entry:{table_id:$prefixes` + prefixKey + drop + `}`, ""},
		{"Match Format", "LPM of length 0", ins,
			`table_entry:{table_id:$prefixes` + prefixKey + ` match:{field_id:1 lpm:{value:"\x00" prefix_len:0}}` +
				drop + `}`, "InvalidArgument: table prefixes: field a: prefix_len is 0, want 1 to 32: a field that " +
				"does not matter is left out"},
		{"Match Format", "LPM too long", ins,
			`table_entry:{table_id:$prefixes` + prefixKey + ` match:{field_id:1 lpm:{value:"\x00" prefix_len:33}}` +
				drop + `}`, "InvalidArgument: table prefixes: field a: prefix_len is 33, want 1 to 32: a field that " +
				"does not matter is left out"},
		{"Match Format", "LPM with bits behind", ins,
			`table_entry:{table_id:$prefixes` + prefixKey + ` match:{field_id:1 lpm:{value:"\x0a\x00\x00\x01" ` +
				`prefix_len:8}}` + drop + `}`, "InvalidArgument: table prefixes: field a: bits behind the prefix " +
				"must be 0"},
		{"Match Format", "ternary, optional, range", ins,
			`table_entry:{table_id:$rules priority:1` + ruleB + ` match:{field_id:2 optional:{value:"\x07"}} ` +
				`match:{field_id:3 range:{low:"\x01" high:"\x02"}}` + drop + `}`, ""},
		{"Match Format", "all left out", ins, `table_entry:{table_id:$rules priority:1` + drop + `}`, ""},
		{"Match Format", "mask of zeros", ins,
			`table_entry:{table_id:$rules priority:1 match:{field_id:1 ternary:{value:"\x00" mask:"\x00"}}` + drop +
				`}`, "InvalidArgument: table rules: field b: the mask is 0: a field that does not matter is left out"},
		{"Match Format", "bits outside the mask", ins,
			`table_entry:{table_id:$rules priority:1 match:{field_id:1 ternary:{value:"\x03" mask:"\x02"}}` + drop +
				`}`, "InvalidArgument: table rules: field b: bits outside the mask must be 0"},
		{"Match Format", "mask too large", ins,
			`table_entry:{table_id:$rules priority:1 match:{field_id:1 ternary:{value:"\x03" mask:"\xff\xff\xff"}}` +
				drop + `}`, "OutOfRange: table rules: field b: mask: 0xffffff does not fit 16 bits"},
		{"Match Format", "range upside down", ins,
			`table_entry:{table_id:$rules priority:1 match:{field_id:3 range:{low:"\x03" high:"\x02"}}` + drop + `}`,
			"InvalidArgument: table rules: field d: low is above high"},
		{"Match Format", "range of all", ins,
			`table_entry:{table_id:$rules priority:1 match:{field_id:3 range:{low:"\x00" high:"\x0f\xff"}}` + drop +
				`}`, "InvalidArgument: table rules: field d: the range is everything: a field that does not matter " +
				"is left out"},

		{"TableEntry", "no priority", ins, `table_entry:{table_id:$rules` + ruleB + drop + `}`,
			"InvalidArgument: table rules: priority is 0, want 1 or more: it has ternary, range or optional fields"},
		{"TableEntry", "negative priority", ins, `table_entry:{table_id:$rules priority:-1` + ruleB + drop + `}`,
			"InvalidArgument: table rules: priority is -1, want 1 or more: it has ternary, range or optional fields"},
		{"TableEntry", "priority", ins, `table_entry:{table_id:$prefixes priority:1` + prefixKey + drop + `}`,
			"InvalidArgument: table prefixes: priority is 1, want 0: it has exact and LPM fields only"},
		{"TableEntry", "keyless", ins, `table_entry:{table_id:$keyless` + drop + `}`,
			"InvalidArgument: table keyless has no key: it takes no entries, only a default"},
		{"TableEntry", "is_const", ins, `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x09"}} ` +
			`is_const:true` + counted3 + `}`, "InvalidArgument: table small: is_const cannot be written"},

		{"Action Specification", "INSERT without", ins,
			`table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x09"}}}`,
			"InvalidArgument: table small: INSERT needs an action"},
		{"Action Specification", "MODIFY without", mod, `table_entry:{table_id:$small` + smallKey + `}`, ""},
		{"Action Specification", "member", mod,
			`table_entry:{table_id:$small` + smallKey + ` action:{action_profile_member_id:1}}`,
			"InvalidArgument: table small takes an action, not a member, group or action set"},
		{"Action Specification", "of another table", mod, `table_entry:{table_id:$small` + smallKey + drop + `}`,
			"InvalidArgument: table small has no action with id 18759588"},
		{"Action Specification", "only for the default", ins,
			`table_entry:{table_id:$rules priority:1 action:{action:{action_id:$NoAction}}}`,
			"PermissionDenied: table rules: action NoAction can only be the default"},
		{"Action Specification", "parameter missing", mod,
			`table_entry:{table_id:$small` + smallKey + ` action:{action:{action_id:$forward_counted}}}`,
			"InvalidArgument: table small: action forward_counted: parameter port is missing"},
		{"Action Specification", "no such parameter", mod,
			`table_entry:{table_id:$small` + smallKey + ` action:{action:{action_id:$forward_counted ` +
				`params:{param_id:2 value:"\x01"}}}}`,
			"InvalidArgument: table small: action forward_counted has no parameter with id 2"},
		{"Action Specification", "parameter twice", mod,
			`table_entry:{table_id:$small` + smallKey + ` action:{action:{action_id:$forward_counted ` +
				`params:{param_id:1 value:"\x01"} params:{param_id:1 value:"\x01"}}}}`,
			"InvalidArgument: table small: action forward_counted: parameter port is there twice"},

		{"Default Entry", "INSERT", ins, `table_entry:{table_id:$keyless is_default_action:true` + drop + `}`,
			"InvalidArgument: table keyless: the default entry takes MODIFY only, not INSERT"},
		{"Default Entry", "DELETE", del, `table_entry:{table_id:$keyless is_default_action:true}`,
			"InvalidArgument: table keyless: the default entry takes MODIFY only, not DELETE"},
		{"Default Entry", "with a match", mod, `table_entry:{table_id:$small is_default_action:true` + smallKey +
			counted3 + `}`, "InvalidArgument: table small: the default entry has no match and no priority"},
		{"Default Entry", "const", mod, `table_entry:{table_id:$fixed is_default_action:true` + drop + `}`,
			"PermissionDenied: table fixed: the default entry is const"},
		{"Default Entry", "only in the table", mod, `table_entry:{table_id:$rules is_default_action:true` + drop + `}`,
			"PermissionDenied: table rules: action drop cannot be the default"},
		{"Default Entry", "idle timeout", mod, `table_entry:{table_id:$small is_default_action:true idle_timeout_ns:1` +
			counted3 + `}`, "InvalidArgument: table small: the default entry has no idle timeout"},

		{"Constant Tables", "INSERT", ins, `table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x03"}}` +
			drop + `}`, "PermissionDenied: table fixed: its entries are const"},
		{"Constant Tables", "MODIFY", mod, `table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x01"}}` +
			drop + `}`, "PermissionDenied: table fixed: its entries are const"},
		{"Constant Tables", "MODIFY without action", mod,
			`table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x01"}}}`, ""},
		{"Constant Tables", "DELETE", del, `table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x01"}}}`,
			"PermissionDenied: table fixed: its entries are const"},

		{"Direct Resources", "no counter", ins, `table_entry:{table_id:$rules priority:1 counter_data:{}` + drop + `}`,
			"InvalidArgument: table rules has no direct counter"},
		{"Direct Resources", "no meter", ins, `table_entry:{table_id:$rules priority:1 meter_config:{}` + drop + `}`,
			"InvalidArgument: table rules has no direct meter"},
		{"Direct Resources", "negative rate", ins,
			`table_entry:{table_id:$marked` + smallKey + ` meter_config:{cir:-1 pir:2} ` +
				`action:{action:{action_id:$mark}}}`,
			"InvalidArgument: table marked: meter_config: cir -1, cburst 0, pir 2, pburst 0: want 0 or more"},
		{"Direct Resources", "counters of colors", ins,
			`table_entry:{table_id:$marked` + smallKey + ` meter_counter_data:{} action:{action:{action_id:$mark}}}`,
			"Unimplemented: this target has no counters of colors"},
		{"Direct Resources", "negative counter", mod,
			`table_entry:{table_id:$small` + smallKey + ` counter_data:{packet_count:-1}}`,
			"InvalidArgument: counter_data: -1 packets, 0 bytes: want 0 or more"},

		{"Idle-timeout", "not supported", ins, `table_entry:{table_id:$rules priority:1 idle_timeout_ns:5` + drop + `}`,
			"InvalidArgument: table rules has no idle timeouts"},
		{"Idle-timeout", "negative", mod, `table_entry:{table_id:$small` + smallKey + counted3 + ` idle_timeout_ns:-1}`,
			"InvalidArgument: table small: idle_timeout_ns is -1, want 0 (none) or more"},
		{"Idle-timeout", "time_since_last_hit", mod,
			`table_entry:{table_id:$small` + smallKey + counted3 + ` time_since_last_hit:{}}`,
			"InvalidArgument: table small: time_since_last_hit cannot be written"},

		{"ActionProfileMember", "members", ins, `action_profile_member:{}`,
			"Unimplemented: this target has no action profiles"},
		{"ValueSetEntry", "value sets", mod, `value_set_entry:{}`, "Unimplemented: this target has no value sets"},
		{"ExternEntry", "externs", ins, `extern_entry:{}`, "Unimplemented: this target has no extern entries"},
		{"CloneSessionEntry", "clones", ins, `packet_replication_engine_entry:{clone_session_entry:{session_id:1}}`,
			"Unimplemented: this target has no clone sessions"},
	} {
		t.Run(tt.section+"/"+tt.name, func(t *testing.T) {
			r := newRig(t)
			r.configured(kinds(t))
			r.mustWrite(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`))
			if got := r.writeOne(update(t, tt.kind, tt.entity)); got != tt.want {
				t.Errorf("Write:\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Section "Error Reporting" of "Write RPC": UNKNOWN, with as many details as updates, in their order.
func TestBatch(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	key := func(n string) string { return ` match:{field_id:1 exact:{value:"\x0` + n + `"}}` }
	err := r.write(
		insert(t, `table_entry:{table_id:$small`+key("1")+counted3+`}`),
		insert(t, `table_entry:{table_id:$small`+key("1")+counted3+`}`),
		insert(t, `table_entry:{table_id:$small`+key("2")+counted3+`}`),
		insert(t, `table_entry:{table_id:$small`+key("3")+counted3+`}`),
		remove(t, `table_entry:{table_id:$small`+key("4")+`}`),
	)
	want := []string{
		"OK",
		"AlreadyExists: table small: entry exists",
		"OK",
		"ResourceExhausted: table small: table is full: it has room for 2 entries",
		"NotFound: table small: no such entry",
	}
	if diff := cmp.Diff(want, details(err)); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if got, want := describe(err), "Unknown: 3 of 5 failed; the first: table small: entry exists"; got != want {
		t.Errorf("status: %s, want %s", got, want)
	}
	if got := r.mustRead(entry(t, `table_entry:{table_id:$small}`)); len(got) != 2 {
		t.Errorf("%d entries, want the 2 whose updates were OK", len(got))
	}
}

// Thousands of failures in one batch still come with all their details.
func TestLargeFailingBatch(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	updates := make([]*v1.Update, 4096)
	for i := range updates {
		updates[i] = remove(t, `table_entry:{table_id:$small`+smallKey+`}`)
	}
	err := r.write(updates...)
	if got := len(details(err)); status.Code(err) != codes.Unknown || got != len(updates) {
		t.Errorf("%v with %d details, want UNKNOWN with %d", status.Code(err), got, len(updates))
	}
}

// What is written is read back in its canonical form (section "Read-Write Symmetry").
func TestReadBack(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	r.mustWrite(
		insert(t, `table_entry:{table_id:$prefixes`+prefixKey+` match:{field_id:1 lpm:{value:"\x0a\x00\x00\x00" `+
			`prefix_len:8}}`+toPort3+` metadata:"note" controller_metadata:9}`),
		insert(t, `table_entry:{table_id:$rules priority:5`+ruleB+` match:{field_id:3 range:{low:"\x00\x00\x00\x01" `+
			`high:"\x02"}}`+drop+`}`),
		insert(t, `table_entry:{table_id:$rules priority:6 match:{field_id:2 optional:{value:"\x00\x07"}}`+toPort3+`}`),
		insert(t, `table_entry:{table_id:$small`+smallKey+counted3+` idle_timeout_ns:5000000000}`),
		modify(t, `table_entry:{table_id:$keyless is_default_action:true`+drop+` metadata:"mine"}`),
	)
	for _, tt := range []struct {
		ask  string
		want []string
	}{
		{`table_entry:{table_id:$prefixes}`, []string{
			`table_entry:{table_id:$prefixes match:{field_id:1 lpm:{value:"\n\x00\x00\x00" prefix_len:8}} ` +
				`match:{field_id:2 exact:{value:"\x01"}} action:{action:{action_id:$forward params:{param_id:1 ` +
				`value:"\x03"}}} controller_metadata:9 metadata:"note"}`}},
		{`table_entry:{table_id:$rules priority:5}`, []string{
			`table_entry:{table_id:$rules match:{field_id:1 ternary:{value:"\x01\x00" mask:"\xff\x00"}} ` +
				`match:{field_id:3 range:{low:"\x01" high:"\x02"}} action:{action:{action_id:$drop}} priority:5}`}},
		{`table_entry:{table_id:$rules` + toPort3 + `}`, []string{
			`table_entry:{table_id:$rules match:{field_id:2 optional:{value:"\x07"}} ` +
				`action:{action:{action_id:$forward params:{param_id:1 value:"\x03"}}} priority:6}`}},
		{`table_entry:{table_id:$rules` + ruleB + ` match:{field_id:3 range:{low:"\x01" high:"\x02"}}}`, []string{
			`table_entry:{table_id:$rules match:{field_id:1 ternary:{value:"\x01\x00" mask:"\xff\x00"}} ` +
				`match:{field_id:3 range:{low:"\x01" high:"\x02"}} action:{action:{action_id:$drop}} priority:5}`}},
		{`table_entry:{table_id:$rules priority:7}`, nil},
		{`table_entry:{table_id:$small` + smallKey + `}`, []string{
			`table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x01"}} ` +
				`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x03"}}} ` +
				`idle_timeout_ns:5000000000}`}},
		{`table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x05"}}}`, nil},
		{`table_entry:{table_id:$prefixes metadata:"note"}`, []string{
			`table_entry:{table_id:$prefixes match:{field_id:1 lpm:{value:"\n\x00\x00\x00" prefix_len:8}} ` +
				`match:{field_id:2 exact:{value:"\x01"}} action:{action:{action_id:$forward params:{param_id:1 ` +
				`value:"\x03"}}} controller_metadata:9 metadata:"note"}`}},
		{`table_entry:{table_id:$prefixes metadata:"other"}`, nil},
		{`table_entry:{table_id:$prefixes controller_metadata:8}`, nil},
		{`table_entry:{table_id:$keyless is_default_action:true}`, []string{
			`table_entry:{table_id:$keyless action:{action:{action_id:$drop}} is_default_action:true ` +
				`metadata:"mine"}`}},
		{`table_entry:{table_id:$fixed is_default_action:true}`, []string{
			`table_entry:{table_id:$fixed action:{action:{action_id:$drop}} is_default_action:true is_const:true}`}},
		{`table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x01"}}}`, []string{
			`table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x01"}} action:{action:{action_id:$forward ` +
				`params:{param_id:1 value:"\x03"}}} is_const:true}`}},
	} {
		if diff := cmp.Diff(tt.want, texts(r.mustRead(entry(t, tt.ask)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.ask, diff)
		}
	}
	// All tables: entries, and no defaults (section "Wildcard Reads").
	var tables []string
	for _, s := range texts(r.mustRead(entry(t, `table_entry:{}`))) {
		tables = append(tables, strings.Fields(s)[0])
		if strings.Contains(s, "is_default_action") {
			t.Errorf("wildcard read returns a default: %s", s)
		}
	}
	want := []string{
		"table_entry:{table_id:$prefixes", "table_entry:{table_id:$rules", "table_entry:{table_id:$rules",
		"table_entry:{table_id:$small", "table_entry:{table_id:$fixed", "table_entry:{table_id:$fixed",
	}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("all tables (-want +got):\n%s", diff)
	}
}

// MODIFY replaces action, timeout and metadata together; without an action it leaves them.
func TestModify(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	read := func() string {
		t.Helper()
		return texts(r.mustRead(entry(t, `table_entry:{table_id:$small counter_data:{}}`)))[0]
	}
	r.mustWrite(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+` idle_timeout_ns:5000000000 metadata:"a" `+
		`counter_data:{packet_count:3 byte_count:300}}`))
	const key = `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x01"}} `
	for _, tt := range []struct{ name, entity, want string }{
		{"nothing", ``, `action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x03"}}} ` +
			`counter_data:{byte_count:300 packet_count:3} idle_timeout_ns:5000000000 metadata:"a"}`},
		{"counter alone", ` counter_data:{packet_count:1}`, `action:{action:{action_id:$forward_counted ` +
			`params:{param_id:1 value:"\x03"}}} counter_data:{packet_count:1} idle_timeout_ns:5000000000 ` +
			`metadata:"a"}`},
		{"action, and the counter stays", counted4 + ` metadata:"b" idle_timeout_ns:6000000000`,
			`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x04"}}} ` +
				`counter_data:{packet_count:1} idle_timeout_ns:6000000000 metadata:"b"}`},
		{"action and counter", counted3 + ` counter_data:{}`,
			`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x03"}}} counter_data:{}}`},
	} {
		r.mustWrite(modify(t, `table_entry:{table_id:$small`+smallKey+tt.entity+`}`))
		if got := read(); got != key+tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, key+tt.want)
		}
	}
	// An entry that comes again has nothing of the one that went.
	r.mustWrite(modify(t, `table_entry:{table_id:$small`+smallKey+counted3+` metadata:"c"}`))
	r.mustWrite(remove(t, `table_entry:{table_id:$small`+smallKey+`}`))
	r.mustWrite(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`))
	if got := read(); got != key+`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x03"}}} `+
		`counter_data:{}}` {
		t.Errorf("inserted again: %s", got)
	}
}

// Section "Default Entry": MODIFY without an action restores the program's.
func TestDefaultEntry(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	const original = `table_entry:{table_id:$keyless action:{action:{action_id:$forward params:{param_id:1 ` +
		`value:"\x04"}}} is_default_action:true}`
	read := func() string {
		t.Helper()
		return texts(r.mustRead(entry(t, `table_entry:{table_id:$keyless is_default_action:true}`)))[0]
	}
	if got := read(); got != original {
		t.Errorf("at first:\n got %s\nwant %s", got, original)
	}
	r.mustWrite(modify(t, `table_entry:{table_id:$keyless is_default_action:true metadata:"x"`+drop+`}`))
	if got, want := read(), `table_entry:{table_id:$keyless action:{action:{action_id:$drop}} is_default_action:true `+
		`metadata:"x"}`; got != want {
		t.Errorf("changed:\n got %s\nwant %s", got, want)
	}
	r.mustWrite(modify(t, `table_entry:{table_id:$keyless is_default_action:true}`))
	if got := read(); got != original {
		t.Errorf("reset:\n got %s\nwant %s", got, original)
	}
}
