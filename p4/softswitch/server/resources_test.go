package server_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// Frames of 60 bytes for dst 1 are counted by the entry of small, and in cell 1 of cells.
func sendCounted(r *rig, n int) {
	r.t.Helper()
	host, _ := r.link(1)
	_, at3 := r.link(3)
	for range n {
		host.Send(append([]byte{0, 0, 0, 0, 0, 1}, make([]byte, 54)...))
		<-at3
	}
}

// Sections "Direct Resources" and "DirectCounterEntry".
func TestDirectCounters(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	r.mustWrite(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`))
	sendCounted(r, 3)
	read := func(ask string) []string {
		t.Helper()
		return texts(r.mustRead(entry(t, ask)))
	}
	const counter = `direct_counter_entry:{table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x01"}}} data:{`
	for _, ask := range []string{
		`direct_counter_entry:{table_entry:{table_id:$small` + smallKey + `}}`,
		`direct_counter_entry:{table_entry:{table_id:$small}}`,
		`direct_counter_entry:{table_entry:{}}`,
	} {
		if diff := cmp.Diff([]string{counter + `byte_count:180 packet_count:3}}`}, read(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	const body = `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x01"}} ` +
		`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x03"}}}`
	for ask, want := range map[string]string{
		`table_entry:{table_id:$small}`:                 body + `}`,
		`table_entry:{table_id:$small counter_data:{}}`: body + ` counter_data:{byte_count:180 packet_count:3}}`,
	} {
		if diff := cmp.Diff([]string{want}, read(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}

	r.mustWrite(modify(t, `direct_counter_entry:{table_entry:{table_id:$small`+smallKey+`}}`)) // no data: stays
	r.mustWrite(modify(t, `direct_counter_entry:{table_entry:{table_id:$small`+smallKey+`} data:{packet_count:9}}`))
	if diff := cmp.Diff([]string{counter + `packet_count:9}}`},
		read(`direct_counter_entry:{table_entry:{table_id:$small}}`)); diff != "" {
		t.Errorf("after MODIFY (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		kind         v1.Update_Type
		entity, want string
	}{
		{v1.Update_INSERT, `direct_counter_entry:{table_entry:{table_id:$small` + smallKey + `}}`,
			"InvalidArgument: a direct counter takes MODIFY only, not INSERT"},
		{v1.Update_DELETE, `direct_counter_entry:{table_entry:{table_id:$small` + smallKey + `}}`,
			"InvalidArgument: a direct counter takes MODIFY only, not DELETE"},
		{v1.Update_MODIFY, `direct_counter_entry:{table_entry:{table_id:$small match:{field_id:1 ` +
			`exact:{value:"\x08"}}}}`, "NotFound: table small: no such entry"},
		{v1.Update_MODIFY, `direct_counter_entry:{table_entry:{table_id:$rules}}`,
			"InvalidArgument: table rules has no direct counter"},
		{v1.Update_MODIFY, `direct_counter_entry:{table_entry:{table_id:$rules is_default_action:true}}`,
			"InvalidArgument: table rules has no direct counter"},
		{v1.Update_MODIFY, `direct_counter_entry:{table_entry:{table_id:$small is_default_action:true` + smallKey +
			`}}`, "InvalidArgument: table small: the default entry has no match and no priority"},
	} {
		if got := r.writeOne(update(t, tt.kind, tt.entity)); got != tt.want {
			t.Errorf("%v %s:\n got %s\nwant %s", tt.kind, tt.entity, got, tt.want)
		}
	}
}

// Sections "Default Entry" and "Direct Resources": the default entry counts what misses, whichever action it has.
func TestDefaultEntryCounter(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	host, _ := r.link(1)
	_, at5 := r.link(5)
	_, at7 := r.link(7)
	miss := func(n int, at <-chan []byte) {
		for range n {
			host.Send(append([]byte{0, 0, 0, 0, 0, 9}, make([]byte, 54)...))
			<-at
		}
	}
	const key = `table_entry:{table_id:$small is_default_action:true`
	wants := func(what string, packets, bytes int64) {
		t.Helper()
		want := &v1.CounterData{PacketCount: packets, ByteCount: bytes}
		own := r.mustRead(entry(t, `direct_counter_entry:{`+key+`}}`))[0].GetDirectCounterEntry()
		with := r.mustRead(entry(t, key+` counter_data:{}}`))[0].GetTableEntry()
		for name, got := range map[string]*v1.CounterData{"direct counter": own.GetData(),
			"table entry": with.GetCounterData()} {
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", what, name, diff)
			}
		}
	}
	miss(2, at7)
	wants("two misses", 2, 120)
	const to5 = ` action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x05"}}}`
	r.mustWrite(modify(t, `table_entry:{table_id:$small is_default_action:true`+to5+`}`))
	miss(1, at5)
	wants("after another action", 3, 180)
	// no data: stays
	r.mustWrite(modify(t, `direct_counter_entry:{table_entry:{table_id:$small is_default_action:true}}`))
	r.mustWrite(modify(t, `direct_counter_entry:{table_entry:{table_id:$small is_default_action:true} `+
		`data:{packet_count:10 byte_count:1}}`))
	miss(1, at5)
	wants("after a write of the counter", 11, 61)
	r.mustWrite(modify(t, `table_entry:{table_id:$small is_default_action:true`+to5+` counter_data:{packet_count:20 `+
		`byte_count:2}}`))
	wants("after a write with the entry", 20, 2)
	r.mustWrite(modify(t, `table_entry:{table_id:$small is_default_action:true}`)) // the program's action again
	miss(1, at7)
	wants("after a reset", 21, 62)
	r.mustWrite(insert(t, `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x09"}}`+to5+`}`))
	miss(1, at5)
	wants("after a hit", 21, 62)
	if got := r.mustRead(entry(t, key+`}`))[0].GetTableEntry().GetCounterData(); got != nil {
		t.Errorf("a read that does not ask for the counter returns it: %v", got)
	}
	if got := r.mustRead(entry(t, `direct_counter_entry:{table_entry:{table_id:$small}}`)); len(got) != 1 {
		t.Errorf("a read of all entries returns %d, want 1: the default entry must be asked for", len(got))
	}
}

// Section "CounterEntry".
func TestCounters(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	r.mustWrite(insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`))
	sendCounted(r, 2)
	read := func(ask string) []string {
		t.Helper()
		return texts(r.mustRead(entry(t, ask)))
	}
	cell := func(i, data string) string {
		return `counter_entry:{counter_id:$cells index:{` + i + `} data:{` + data + `}}`
	}
	all := []string{cell("", ""), cell("index:1", "byte_count:120 packet_count:2"), cell("index:2", ""),
		cell("index:3", "")}
	for _, ask := range []string{`counter_entry:{}`, `counter_entry:{counter_id:$cells}`} {
		if diff := cmp.Diff(all, read(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	r.mustWrite(modify(t, `counter_entry:{counter_id:$cells index:{index:1}}`)) // no data: stays
	r.mustWrite(modify(t, `counter_entry:{counter_id:$cells index:{index:1} data:{packet_count:5}}`))
	if diff := cmp.Diff([]string{cell("index:1", "packet_count:5")},
		read(`counter_entry:{counter_id:$cells index:{index:1}}`)); diff != "" {
		t.Errorf("one cell (-want +got):\n%s", diff)
	}
	r.mustWrite(modify(t, `counter_entry:{counter_id:$cells data:{byte_count:1}}`)) // all cells
	if diff := cmp.Diff([]string{cell("", "byte_count:1"), cell("index:1", "byte_count:1"),
		cell("index:2", "byte_count:1"), cell("index:3", "byte_count:1")}, read(`counter_entry:{}`)); diff != "" {
		t.Errorf("all cells (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		kind         v1.Update_Type
		entity, want string
	}{
		{v1.Update_INSERT, `counter_entry:{counter_id:$cells}`,
			"InvalidArgument: a counter takes MODIFY only, not INSERT"},
		{v1.Update_DELETE, `counter_entry:{counter_id:$cells}`,
			"InvalidArgument: a counter takes MODIFY only, not DELETE"},
		{v1.Update_MODIFY, `counter_entry:{counter_id:$cells index:{index:4}}`,
			"OutOfRange: counter cells: index is 4, want 0 to 3"},
		{v1.Update_MODIFY, `counter_entry:{counter_id:$cells index:{index:-4}}`,
			"InvalidArgument: counter cells: index -4 is negative"},
		{v1.Update_MODIFY, `counter_entry:{counter_id:8}`, "InvalidArgument: counter_id 8 is not in the P4Info"},
	} {
		if got := r.writeOne(update(t, tt.kind, tt.entity)); got != tt.want {
			t.Errorf("%v %s:\n got %s\nwant %s", tt.kind, tt.entity, got, tt.want)
		}
	}
}

// Section "RegisterEntry".
func TestRegisters(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	r.mustWrite(modify(t, `register_entry:{register_id:$words data:{bitstring:"\x07"}}`))
	r.mustWrite(modify(t, `register_entry:{register_id:$words index:{index:2} data:{bitstring:"\x00\x0a\xbc"}}`))
	cell := func(i, data string) string {
		return `register_entry:{register_id:$words index:{` + i + `} data:{bitstring:"` + data + `"}}`
	}
	want := []string{cell("", `\x07`), cell("index:1", `\x07`), cell("index:2", `\n\xbc`), cell("index:3", `\x07`)}
	for _, ask := range []string{`register_entry:{}`, `register_entry:{register_id:$words}`} {
		if diff := cmp.Diff(want, texts(r.mustRead(entry(t, ask)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	for _, tt := range []struct {
		kind         v1.Update_Type
		entity, want string
	}{
		{v1.Update_INSERT, `register_entry:{register_id:$words}`,
			"InvalidArgument: a register takes MODIFY only, not INSERT"},
		{v1.Update_MODIFY, `register_entry:{register_id:$words}`,
			"InvalidArgument: register words: data must be a bitstring"},
		{v1.Update_MODIFY, `register_entry:{register_id:$words data:{bitstring:"\x10\x00"}}`,
			"OutOfRange: register words: 0x1000 does not fit 12 bits"},
		{v1.Update_MODIFY, `register_entry:{register_id:$words index:{index:4} data:{bitstring:"\x00"}}`,
			"OutOfRange: register words: index is 4, want 0 to 3"},
		{v1.Update_MODIFY, `register_entry:{register_id:6}`, "InvalidArgument: register_id 6 is not in the P4Info"},
	} {
		if got := r.writeOne(update(t, tt.kind, tt.entity)); got != tt.want {
			t.Errorf("%v %s:\n got %s\nwant %s", tt.kind, tt.entity, got, tt.want)
		}
	}
}

// Section "MulticastGroupEntry".
func TestMulticastGroups(t *testing.T) {
	r := newRig(t)
	r.configured(sluice())
	host, _ := r.link(1)
	_, at2 := r.link(2)
	_, at3 := r.link(3)
	broadcast := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1}, make([]byte, 48)...)
	group := func(id, body string) string {
		return `packet_replication_engine_entry:{multicast_group_entry:{` + id + body + `}}`
	}
	const one = `multicast_group_id:1`
	const replicas = ` replicas:{port:"\x01"} replicas:{port:"\x00\x02" instance:1} replicas:{egress_port:3}`
	const readBack = ` replicas:{port:"\x01"} replicas:{port:"\x02" instance:1} replicas:{egress_port:3}`
	for _, tt := range []struct {
		name         string
		kind         v1.Update_Type
		entity, want string
	}{
		{"MODIFY of nothing", v1.Update_MODIFY, group(one, ""), "NotFound: no multicast group 1"},
		{"DELETE of nothing", v1.Update_DELETE, group(one, ""), "NotFound: no multicast group 1"},
		{"INSERT", v1.Update_INSERT, group(one, replicas+` metadata:"m"`), ""},
		{"exists", v1.Update_INSERT, group(one, ""), "AlreadyExists: multicast group 1 exists"},
		{"id 0", v1.Update_INSERT, group("", ""), "InvalidArgument: multicast_group_id is 0, want 1 to 65535"},
		{"id too large", v1.Update_INSERT, group("multicast_group_id:65536", ""),
			"InvalidArgument: multicast_group_id is 65536, want 1 to 65535"},
		{"no port", v1.Update_MODIFY, group(one, ` replicas:{}`),
			"OutOfRange: replica: port: empty, want a number of 9 bits"},
		{"port too large", v1.Update_MODIFY, group(one, ` replicas:{port:"\x02\x00"}`),
			"OutOfRange: replica: port: 0x0200 does not fit 9 bits"},
		{"drop port", v1.Update_MODIFY, group(one, ` replicas:{port:"\x01\xff"}`),
			"InvalidArgument: replica: port is 511, want 0 to 510"},
		{"egress_port too large", v1.Update_MODIFY, group(one, ` replicas:{egress_port:65537}`),
			"InvalidArgument: replica: port is 65537, want 0 to 510"},
		{"instance too large", v1.Update_MODIFY, group(one, ` replicas:{port:"\x01" instance:65536}`),
			"InvalidArgument: replica: instance is 65536, want 0 to 65535"},
		{"twice", v1.Update_MODIFY, group(one, ` replicas:{port:"\x01" instance:2} replicas:{port:"\x01" instance:2}`),
			"InvalidArgument: multicast group 1: port 1, instance 2 is there twice"},
		{"backup", v1.Update_MODIFY, group(one, ` replicas:{port:"\x01" backup_replicas:{port:"\x02"}}`),
			"Unimplemented: this target has no backup replicas"},
	} {
		if got := r.writeOne(update(t, tt.kind, tt.entity)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	for _, ask := range []string{group("", ""), group(one, "")} {
		if diff := cmp.Diff([]string{group(one, readBack+` metadata:"m"`)},
			texts(r.mustRead(entry(t, ask)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	host.Send(broadcast)
	<-at2
	<-at3
	r.mustWrite(modify(t, group(one, ` replicas:{port:"\x03"}`)))
	host.Send(broadcast)
	<-at3
	if len(at2) != 0 {
		t.Error("a frame left by a port that MODIFY took out")
	}
	r.mustWrite(remove(t, group(one, "")))
	if got := r.mustRead(entry(t, group("", ""))); len(got) != 0 {
		t.Errorf("after DELETE there are %d groups", len(got))
	}
}

// showColors sends frames for dst 1 that leave with their colors by port 3: the entry's and the cell's.
func showColors(host *port.End, at3 <-chan []byte, n int) string {
	text := ""
	for range n {
		host.Send(append([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x1c}, make([]byte, 46)...))
		f := <-at3
		text += fmt.Sprintf(" %x", f[13])
	}
	return text
}

// Sections "MeterEntry", "DirectMeterEntry" and "Direct Resources".
func TestMeters(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	host, _ := r.link(1)
	_, at3 := r.link(3)
	const slow = `cir:0 cburst:2 pir:0 pburst:3` // no token comes back: colors follow from the bursts alone
	const slowBytes = `cir:0 cburst:60 pir:0 pburst:120`
	read := func(ask string) []string {
		t.Helper()
		return texts(r.mustRead(entry(t, ask)))
	}
	cell := func(i, config string) string { return `meter_entry:{meter_id:$rates index:{` + i + `}` + config + `}` }
	config := func(rates string) string { return ` config:{` + rates + `}` }
	key := `table_entry:{table_id:$marked` + smallKey
	const mark = ` action:{action:{action_id:$mark}}`
	r.mustWrite(
		insert(t, `table_entry:{table_id:$small`+smallKey+counted3+`}`),
		insert(t, key+mark+`}`),
	)
	if got, want := showColors(host, at3, 2), " 0 0"; got != want {
		t.Errorf("without rates the colors are%s, want%s", got, want)
	}

	for _, ask := range []string{`meter_entry:{}`, `meter_entry:{meter_id:$rates}`} {
		want := []string{cell("", ""), cell("index:1", ""), cell("index:2", ""), cell("index:3", "")}
		if diff := cmp.Diff(want, read(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	r.mustWrite(modify(t, `meter_entry:{meter_id:$rates index:{index:1} config:{`+slow+`}}`))
	const readBack = `cburst:2 pburst:3`
	if diff := cmp.Diff([]string{cell("index:1", config(readBack))},
		read(`meter_entry:{meter_id:$rates index:{index:1}}`)); diff != "" {
		t.Errorf("one cell (-want +got):\n%s", diff)
	}
	if got, want := showColors(host, at3, 4), " 0 0 1 2"; got != want {
		t.Errorf("the cell's colors are%s, want%s", got, want)
	}
	r.mustWrite(modify(t, `meter_entry:{meter_id:$rates config:{cir:5 cburst:6 pir:7 pburst:8}}`)) // all cells
	all := config(`cir:5 cburst:6 pir:7 pburst:8`)
	if diff := cmp.Diff([]string{cell("", all), cell("index:1", all), cell("index:2", all), cell("index:3", all)},
		read(`meter_entry:{}`)); diff != "" {
		t.Errorf("all cells (-want +got):\n%s", diff)
	}
	r.mustWrite(modify(t, `meter_entry:{meter_id:$rates}`)) // the default: green

	// 60 bytes a frame.
	r.mustWrite(modify(t, `direct_meter_entry:{`+key+`} config:{`+slowBytes+`}}`))
	if got, want := showColors(host, at3, 3), " 0 10 20"; got != want {
		t.Errorf("the entry's colors are%s, want%s", got, want)
	}
	const direct = `direct_meter_entry:{table_entry:{table_id:$marked match:{field_id:1 exact:{value:"\x01"}}}`
	for _, ask := range []string{
		`direct_meter_entry:{` + key + `}}`,
		`direct_meter_entry:{table_entry:{table_id:$marked}}`,
		`direct_meter_entry:{table_entry:{}}`,
	} {
		if diff := cmp.Diff([]string{direct + ` config:{cburst:60 pburst:120}}`}, read(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	const row = `table_entry:{table_id:$marked match:{field_id:1 exact:{value:"\x01"}}` + mark
	if diff := cmp.Diff([]string{row + `}`}, read(`table_entry:{table_id:$marked}`)); diff != "" {
		t.Errorf("not asked for (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{row + ` meter_config:{cburst:60 pburst:120}}`},
		read(`table_entry:{table_id:$marked meter_config:{}}`)); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	r.mustWrite(modify(t, key+mark+` meter_config:{cir:1 cburst:1 pir:1 pburst:1}}`))
	if diff := cmp.Diff([]string{direct + ` config:{cir:1 cburst:1 pir:1 pburst:1}}`},
		read(`direct_meter_entry:{table_entry:{}}`)); diff != "" {
		t.Errorf("written with the entry (-want +got):\n%s", diff)
	}
	r.mustWrite(modify(t, key+mark+`}`)) // unset: the default
	if diff := cmp.Diff([]string{direct + `}`}, read(`direct_meter_entry:{table_entry:{}}`)); diff != "" {
		t.Errorf("reset by MODIFY (-want +got):\n%s", diff)
	}
	if got, want := showColors(host, at3, 3), " 0 0 0"; got != want {
		t.Errorf("after the reset the colors are%s, want%s", got, want)
	}

	// What misses is marked by the default entry's meter, and by none as long as that has no rates.
	r.mustWrite(remove(t, key+`}`))
	const defaultKey = `table_entry:{table_id:$marked is_default_action:true`
	r.mustWrite(modify(t, `direct_meter_entry:{`+defaultKey+`} config:{`+slowBytes+`}}`))
	if got, want := showColors(host, at3, 3), " 0 10 20"; got != want {
		t.Errorf("the default entry's colors are%s, want%s", got, want)
	}
	const noAction = ` action:{action:{action_id:$NoAction}}`
	for ask, want := range map[string]string{
		`direct_meter_entry:{` + defaultKey + `}}`: `direct_meter_entry:{` + defaultKey + `} config:{cburst:60 ` +
			`pburst:120}}`,
		defaultKey + ` meter_config:{}}`: `table_entry:{table_id:$marked` + noAction + ` meter_config:{cburst:60 ` +
			`pburst:120} is_default_action:true}`,
	} {
		if diff := cmp.Diff([]string{want}, read(ask)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", ask, diff)
		}
	}
	r.mustWrite(modify(t, defaultKey+noAction+` meter_config:{cir:1 cburst:1 pir:1 pburst:1}}`))
	if diff := cmp.Diff([]string{`direct_meter_entry:{` + defaultKey + `} config:{cir:1 cburst:1 pir:1 pburst:1}}`},
		read(`direct_meter_entry:{`+defaultKey+`}}`)); diff != "" {
		t.Errorf("written with the default entry (-want +got):\n%s", diff)
	}
	r.mustWrite(modify(t, defaultKey+`}`)) // a reset
	if diff := cmp.Diff([]string{`direct_meter_entry:{` + defaultKey + `}}`},
		read(`direct_meter_entry:{`+defaultKey+`}}`)); diff != "" {
		t.Errorf("the default entry's meter after a reset (-want +got):\n%s", diff)
	}

	for _, tt := range []struct {
		kind         v1.Update_Type
		entity, want string
	}{
		{v1.Update_INSERT, `meter_entry:{meter_id:$rates}`, "InvalidArgument: a meter takes MODIFY only, not INSERT"},
		{v1.Update_DELETE, `meter_entry:{meter_id:$rates}`, "InvalidArgument: a meter takes MODIFY only, not DELETE"},
		{v1.Update_MODIFY, `meter_entry:{}`, "InvalidArgument: meter_id 0 is not in the P4Info"},
		{v1.Update_MODIFY, `meter_entry:{meter_id:$rates index:{index:4}}`,
			"OutOfRange: meter rates: index is 4, want 0 to 3"},
		{v1.Update_MODIFY, `meter_entry:{meter_id:$rates index:{index:-1}}`,
			"InvalidArgument: meter rates: index -1 is negative"},
		{v1.Update_MODIFY, `meter_entry:{meter_id:$rates config:{cir:2 pir:1}}`,
			"InvalidArgument: meter rates: pir is 1, want cir, 2, or more"},
		{v1.Update_MODIFY, `meter_entry:{meter_id:$rates config:{pburst:-1}}`,
			"InvalidArgument: meter rates: cir 0, cburst 0, pir 0, pburst -1: want 0 or more"},
		{v1.Update_MODIFY, `meter_entry:{meter_id:$rates config:{eburst:1}}`,
			"InvalidArgument: meter rates: eburst is 1, want 0: it belongs to meters of a single rate"},
		{v1.Update_MODIFY, `meter_entry:{meter_id:$rates counter_data:{}}`,
			"Unimplemented: this target has no counters of colors"},
		{v1.Update_INSERT, `direct_meter_entry:{` + key + `}}`,
			"InvalidArgument: a direct meter takes MODIFY only, not INSERT"},
		{v1.Update_MODIFY, `direct_meter_entry:{table_entry:{table_id:$rules}}`,
			"InvalidArgument: table rules has no direct meter"},
		{v1.Update_MODIFY,
			`direct_meter_entry:{table_entry:{table_id:$marked match:{field_id:1 exact:{value:"\x08"}}}}`,
			"NotFound: table marked: no such entry"},
	} {
		if got := r.writeOne(update(t, tt.kind, tt.entity)); got != tt.want {
			t.Errorf("%v %s:\n got %s\nwant %s", tt.kind, tt.entity, got, tt.want)
		}
	}
}
