package p4rt_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// Names and widths as programs have them that choose no format.
func TestFormatByNameAndWidth(t *testing.T) {
	for _, tt := range []struct {
		name string
		bits int
		want p4rt.Format
	}{
		{"hdr.ethernet.dstAddr", 48, p4rt.MAC},
		{"dmac", 48, p4rt.MAC},
		{"standard_metadata.ingress_global_timestamp", 48, p4rt.Decimal},
		{"hdr.ipv4.dstAddr", 32, p4rt.IPv4},
		{"hdr.ipv4.src", 32, p4rt.IPv4},
		{"hdr.arp.spa", 32, p4rt.IPv4},
		{"tpa", 32, p4rt.IPv4},
		{"dst_ip", 32, p4rt.IPv4},
		{"srcIP", 32, p4rt.IPv4},
		{"ip", 32, p4rt.IPv4},
		{"nhop_ipv4", 32, p4rt.IPv4},
		{"target_address", 32, p4rt.IPv4},
		{"next_hop", 32, p4rt.IPv4},
		{"address_index", 32, p4rt.Decimal},
		{"meta.ip_hash", 32, p4rt.Decimal},
		{"hdr.tcp.seqNo", 32, p4rt.Decimal},
		{"skip", 32, p4rt.Decimal},
		{"chip", 32, p4rt.Decimal},
		{"hdr.ipv4.protocol", 8, p4rt.Decimal},
		{"hdr.ipv6.dst", 128, p4rt.IPv6},
		{"src_addr", 128, p4rt.IPv6},
		{"key", 128, p4rt.Decimal},
		{"addr", 64, p4rt.Decimal},
	} {
		info := infoOf(t, fmt.Sprintf(`actions { preamble { id: 1 name: "a" } params { id: 1 name: %q bitwidth: %d } }`,
			tt.name, tt.bits))
		a, err := info.Action("a")
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Params[0].Format(); got != tt.want {
			t.Errorf("%s, bit<%d>: format %d, want %d", tt.name, tt.bits, got, tt.want)
		}
	}
}

// A table of a foreign program prints as people write addresses, masks and all.
func TestForeignEntry(t *testing.T) {
	info := infoOf(t, `
tables {
  preamble { id: 1 name: "ingress.acl" alias: "acl" }
  match_fields { id: 1 name: "hdr.ethernet.srcAddr" bitwidth: 48 match_type: TERNARY }
  match_fields { id: 2 name: "hdr.ipv4.dstAddr" bitwidth: 32 match_type: TERNARY }
  match_fields { id: 3 name: "hdr.arp.tpa" bitwidth: 32 match_type: OPTIONAL }
  match_fields { id: 4 name: "hdr.ipv6.src" bitwidth: 128 match_type: RANGE }
  match_fields { id: 5 name: "meta.class" bitwidth: 32 match_type: LPM }
  match_fields { id: 6 name: "proto" bitwidth: 8 match_type: TERNARY }
  match_fields { id: 7 name: "label" annotations: "@format(HEX_STRING)" bitwidth: 48 match_type: OPTIONAL }
  action_refs { id: 2 }
}
actions { preamble { id: 2 name: "set_nhop" } params { id: 1 name: "nhop" bitwidth: 32 } params { id: 2 name: "mac" bitwidth: 48 } params { id: 3 name: "port" bitwidth: 9 }
  params { id: 4 name: "key" annotations: "@secret" bitwidth: 32 } }
`)
	entry, err := info.DecodeEntry(message(t, new(v1.TableEntry), `
table_id: 1 priority: 5
match { field_id: 1 ternary { value: "\x02\x00\x00\x00\x00\x00" mask: "\xff\xff\xff\x00\x00\x00" } }
match { field_id: 2 ternary { value: "\n\x00\x00\x00" mask: "\xff\x00\x00\x00" } }
match { field_id: 3 optional { value: "\n\x00\x00\x01" } }
match { field_id: 4 range { low: "\x00" high: "\x01" } }
match { field_id: 5 lpm { value: "\n\x00\x00\x00" prefix_len: 8 } }
match { field_id: 6 ternary { value: "\x06" mask: "\xff" } }
match { field_id: 7 optional { value: "\x07" } }
action { action { action_id: 2 params { param_id: 1 value: "\n\x00\x00\x02" } params { param_id: 2 value: "\x02\x00\x00\x00\x00\x09" } params { param_id: 3 value: "\x03" }
  params { param_id: 4 value: "\x07" } } }`))
	const want = "acl{hdr.ethernet.srcAddr=02:00:00:00:00:00&ff:ff:ff:00:00:00 hdr.ipv4.dstAddr=10.0.0.0&255.0.0.0 " +
		"hdr.arp.tpa=10.0.0.1 " +
		"hdr.ipv6.src=::..::1 meta.class=10.0.0.0/8 proto=6&0xff label=0x000000000007 priority=5}" +
		" -> set_nhop(nhop=10.0.0.2, mac=02:00:00:00:00:09, port=3, key=hidden)"
	if diff := cmp.Diff(want, entry.String()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestProfile(t *testing.T) {
	info := zooInfo(t)
	table, err := info.Table("route")
	if err != nil {
		t.Fatal(err)
	}
	answer := message(t, new(v1.ReadResponse), `
entities { action_profile_member { action_profile_id: 40 member_id: 9 action { action_id: 20 params { param_id: 1 value: "\x07" } } } }
entities { action_profile_group { action_profile_id: 40 group_id: 4 members { member_id: 9 weight: 3 } members { member_id: 9 weight: 1 } } }
entities { action_profile_group { action_profile_id: 40 group_id: 5 members { member_id: 8 weight: 3 } } }
entities { action_profile_group { action_profile_id: 40 group_id: 6 } }`)
	profile, err := table.DecodeProfile(answer.Entities)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		entry p4rt.Entry
		want  string
		ok    bool
	}{
		{p4rt.Entry{Member: 9}, "1*forward(port=7)", true},
		{p4rt.Entry{Group: 4}, "3*forward(port=7), 1*forward(port=7)", true},
		{p4rt.Entry{Group: 6}, "", true},
		{p4rt.Entry{Member: 8}, "", false},
		{p4rt.Entry{Group: 5}, "", false},
		{p4rt.Entry{Group: 7}, "", false},
		{p4rt.Entry{Action: "forward"}, "", false},
	} {
		held, ok := profile.Holds(tt.entry)
		if ok != tt.ok || ok && p4rt.Set(held) != tt.want {
			t.Errorf("%v holds %q, %v; want %q, %v", tt.entry, p4rt.Set(held), ok, tt.want, tt.ok)
		}
	}
	if _, ok := (p4rt.Profile{}).Holds(p4rt.Entry{Group: 4}); ok {
		t.Error("an empty profile tells")
	}
	members, groups := table.QueryProfile()
	if members.GetActionProfileMember().GetActionProfileId() != 40 ||
		groups.GetActionProfileGroup().GetActionProfileId() != 40 {
		t.Errorf("queries are %v and %v, want those of profile 40", members, groups)
	}
	_, err = table.DecodeProfile(message(t, new(v1.ReadResponse),
		`entities { action_profile_member { member_id: 9 action { action_id: 21 } } }`).Entities)
	want := "decoding member 9 of the action profile of table route: action id 21 is not one of the table's"
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}
