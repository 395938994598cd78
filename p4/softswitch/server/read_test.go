package server_test

import (
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

func TestReadErrors(t *testing.T) {
	for _, tt := range []struct{ section, name, ask, want string }{
		{"Wildcard Reads", "no entity", ``, "InvalidArgument: no entity in the request"},
		{"Wildcard Reads", "all tables with a filter", `table_entry:{priority:3}`,
			"InvalidArgument: table_id 0 means all tables and takes no other filter"},
		{"Wildcard Reads", "all defaults", `table_entry:{is_default_action:true}`,
			"InvalidArgument: table_id 0 means all tables and takes no other filter"},
		{"Wildcard Reads", "no such table", `table_entry:{table_id:3}`,
			"InvalidArgument: table_id 3 is not in the P4Info"},
		{"Wildcard Reads", "half a key",
			`table_entry:{table_id:$prefixes match:{field_id:1 lpm:{value:"\x0a\x00\x00\x00" prefix_len:8}}}`,
			"InvalidArgument: table prefixes: field c is missing"},
		{"Wildcard Reads", "no such action", `table_entry:{table_id:$small action:{action:{action_id:4}}}`,
			"InvalidArgument: table small has no action with id 4"},
		{"Default Entry", "default with a match", `table_entry:{table_id:$small is_default_action:true` + smallKey +
			`}`, "InvalidArgument: table small: the default entry has no match and no priority"},
		{"Direct Resources", "no counter", `table_entry:{table_id:$rules counter_data:{}}`,
			"InvalidArgument: table rules has no direct counter"},
		{"Direct Resources", "no meter", `table_entry:{table_id:$rules meter_config:{}}`,
			"InvalidArgument: table rules has no direct meter"},
		{"Idle-timeout", "no timeouts", `table_entry:{table_id:$rules time_since_last_hit:{}}`,
			"InvalidArgument: table rules has no idle timeouts there"},
		{"DirectCounterEntry", "no counter", `direct_counter_entry:{table_entry:{table_id:$rules}}`,
			"InvalidArgument: table rules has no direct counter"},
		{"DirectCounterEntry", "no such entry", `direct_counter_entry:{table_entry:{table_id:$small` + smallKey + `}}`,
			"NotFound: table small: no such entry"},
		{"CounterEntry", "no such counter", `counter_entry:{counter_id:5}`,
			"InvalidArgument: counter_id 5 is not in the P4Info"},
		{"CounterEntry", "index too large", `counter_entry:{counter_id:$cells index:{index:4}}`,
			"OutOfRange: counter cells: index is 4, want 0 to 3"},
		{"CounterEntry", "index negative", `counter_entry:{counter_id:$cells index:{index:-1}}`,
			"InvalidArgument: counter cells: index -1 is negative"},
		{"RegisterEntry", "index too large", `register_entry:{register_id:$words index:{index:4}}`,
			"OutOfRange: register words: index is 4, want 0 to 3"},
		{"MeterEntry", "unknown meter", `meter_entry:{meter_id:7}`, "InvalidArgument: meter_id 7 is not in the P4Info"},
		{"MeterEntry", "index of all meters", `meter_entry:{index:{index:1}}`,
			"InvalidArgument: meter_id 0 means all meters and takes no index"},
		{"MeterEntry", "index", `meter_entry:{meter_id:$rates index:{index:4}}`,
			"OutOfRange: meter rates: index is 4, want 0 to 3"},
		{"DirectMeterEntry", "default entry of all tables", `direct_meter_entry:{table_entry:{is_default_action:true}}`,
			"InvalidArgument: table_id 0 means all tables and takes no other filter"},
		{"DirectMeterEntry", "default entry with a match", `direct_meter_entry:{table_entry:{table_id:$marked ` +
			`is_default_action:true match:{field_id:1 exact:{value:"\x01"}}}}`,
			"InvalidArgument: table marked: the default entry has no match and no priority"},
		{"DirectMeterEntry", "no meter", `direct_meter_entry:{table_entry:{table_id:$rules}}`,
			"InvalidArgument: table rules has no direct meter"},
		{"DirectMeterEntry", "match of all tables",
			`direct_meter_entry:{table_entry:{match:{field_id:1 exact:{value:"\x01"}}}}`,
			"InvalidArgument: table_id 0 means all tables and takes no other filter"},
		{"DirectMeterEntry", "no such entry", `direct_meter_entry:{table_entry:{table_id:$marked match:{field_id:1 ` +
			`exact:{value:"\x01"}}}}`, "NotFound: table marked: no such entry"},
		{"ActionProfileMember", "no such profile", `action_profile_member:{action_profile_id:3}`,
			"InvalidArgument: action_profile_id 3 is not in the P4Info"},
		{"ActionProfileGroup", "no such profile", `action_profile_group:{action_profile_id:3}`,
			"InvalidArgument: action_profile_id 3 is not in the P4Info"},
		{"ValueSetEntry", "no such set", `value_set_entry:{value_set_id:3}`,
			"InvalidArgument: value_set_id 3 is not in the P4Info"},
		{"ExternEntry", "no such extern", `extern_entry:{extern_type_id:3}`,
			"InvalidArgument: extern_type_id 3 is not in the P4Info"},
		{"DigestEntry", "no such digest", `digest_entry:{digest_id:4}`,
			"InvalidArgument: digest_id 4 is not in the P4Info"},
	} {
		t.Run(tt.section+"/"+tt.name, func(t *testing.T) {
			r := newRig(t)
			r.configured(kinds(t))
			if got := r.readError(entry(t, tt.ask)); got != tt.want {
				t.Errorf("Read:\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Reads need no election; the checks of the whole RPC carry no details.
func TestReadChecks(t *testing.T) {
	r := newRig(t)
	ask := entry(t, `table_entry:{}`)
	_, err := r.read(ask)
	if got, want := describe(err), "FailedPrecondition: no forwarding pipeline config is set"; got != want ||
		len(details(err)) != 0 {
		t.Errorf("before a pipeline: %s, want %s without details", got, want)
	}
	rpc, err := r.client.Read(t.Context(), &v1.ReadRequest{DeviceId: 8, Entities: []*v1.Entity{ask}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rpc.Recv()
	if got, want := describe(err), "NotFound: no device 8 here, only 1"; got != want {
		t.Errorf("device 8: %s, want %s", got, want)
	}
}

// Section "Batch Processing" of "Read RPC": what is valid is returned, then the errors of each request.
func TestReadBatch(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	got, err := r.read(
		entry(t, `counter_entry:{counter_id:$cells index:{index:2}}`),
		entry(t, `table_entry:{table_id:3}`),
		entry(t, `register_entry:{register_id:$words index:{}}`),
	)
	want := []string{
		`counter_entry:{counter_id:$cells index:{index:2} data:{}}`,
		`register_entry:{register_id:$words index:{} data:{bitstring:"\x00"}}`,
	}
	if diff := cmp.Diff(want, texts(got)); diff != "" {
		t.Errorf("entities (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"OK", "InvalidArgument: table_id 3 is not in the P4Info", "OK"},
		details(err)); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

// A large table comes in several messages, and a client that stops reading in the middle
// holds up no writer.
func TestReadLargeTable(t *testing.T) {
	r := newRig(t)
	r.configured(sluice())
	const n, batch = 40_960, 4096
	all := slots(v1.Update_INSERT, n+1, 1)
	for i := 0; i < n; i += batch {
		r.mustWrite(all[i:min(i+batch, n)]...)
	}
	rpc, err := r.client.Read(t.Context(),
		&v1.ReadRequest{DeviceId: device, Entities: []*v1.Entity{entry(t, `table_entry:{table_id:$slot}`)}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := rpc.Recv()
	if err != nil {
		t.Fatal(err)
	}
	// The rest waits in the server for this client: writes go on, and the read does not see them.
	r.mustWrite(&v1.Update{Type: v1.Update_DELETE, Entity: all[0].Entity}, all[n])
	got, messages, seen0 := 0, 0, false
	for m := first; ; {
		got, messages = got+len(m.Entities), messages+1
		for _, e := range m.Entities {
			match := e.GetTableEntry().GetMatch()
			seen0 = seen0 || match[0].GetExact().Value[0] == 1 && match[2].GetExact().Value[0] == 0
		}
		if m, err = rpc.Recv(); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got != n || messages < 10 || !seen0 {
		t.Errorf("%d entries in %d messages, slot 0 among them: %v; want %d in many, true", got, messages, seen0, n)
	}
}
