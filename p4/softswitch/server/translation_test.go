package server_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/proto"
)

// programRig is a rig that runs a program of testdata, whose names stand for ids as $name.
type programRig struct {
	*rig
	named, unnamed *strings.Replacer
	stream         *stream
}

func programOf(t testing.TB, name string) *v1.ForwardingPipelineConfig {
	t.Helper()
	program, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile("testdata/" + name + ".p4info.txt")
	if err != nil {
		t.Fatal(err)
	}
	return &v1.ForwardingPipelineConfig{P4Info: parse(t, &configv1.P4Info{}, string(info)), P4DeviceConfig: program}
}

func newProgramRig(t testing.TB, config *v1.ForwardingPipelineConfig) *programRig {
	t.Helper()
	r := &programRig{rig: newRig(t)}
	r.stream = r.configured(config)
	info := config.GetP4Info()
	var pairs [][2]string
	for _, p := range preambles(info) {
		pairs = append(pairs, [2]string{"$" + p.GetAlias(), fmt.Sprint(p.GetId())})
	}
	slices.SortFunc(pairs, func(a, b [2]string) int { return len(b[0]) - len(a[0]) }) // no name is found within another
	var forth, back []string
	for _, p := range pairs {
		forth, back = append(forth, p[0], p[1]), append(back, p[1], p[0])
	}
	r.named, r.unnamed = strings.NewReplacer(forth...), strings.NewReplacer(back...)
	return r
}

func preambles(info *configv1.P4Info) []*configv1.Preamble {
	var all []*configv1.Preamble
	for _, x := range info.GetTables() {
		all = append(all, x.GetPreamble())
	}
	for _, x := range info.GetActions() {
		all = append(all, x.GetPreamble())
	}
	for _, x := range info.GetRegisters() {
		all = append(all, x.GetPreamble())
	}
	for _, x := range info.GetDigests() {
		all = append(all, x.GetPreamble())
	}
	for _, x := range info.GetActionProfiles() {
		all = append(all, x.GetPreamble())
	}
	return all
}

func (r *programRig) entity(s string) *v1.Entity {
	r.t.Helper()
	return parse(r.t, &v1.Entity{}, r.named.Replace(s))
}

func (r *programRig) do(kind v1.Update_Type, s string) string {
	r.t.Helper()
	return r.writeOne(&v1.Update{Type: kind, Entity: r.entity(s)})
}

// holds checks what a read returns, in any order.
func (r *programRig) holds(ask string, want ...string) {
	r.t.Helper()
	var got []string
	for _, e := range r.mustRead(r.entity(ask)) {
		got = append(got, r.unnamed.Replace(text(e)))
	}
	for i := range want { // strings in the form that text gives them
		want[i] = r.unnamed.Replace(text(r.entity(want[i])))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", ask, diff)
	}
}

// learns enables a digest; nextDigest returns what the next list holds.
func (r *programRig) learns(digest string) {
	r.t.Helper()
	if got := r.do(v1.Update_INSERT, `digest_entry:{digest_id:`+digest+` config:{max_list_size:1}}`); got != "" {
		r.t.Fatal(got)
	}
}

func (r *programRig) nextDigest() string {
	r.t.Helper()
	for {
		m, err := r.stream.rpc.Recv()
		if err != nil {
			r.t.Fatal(err)
		}
		if d := m.GetDigest(); d != nil {
			return r.unnamed.Replace(fmt.Sprint(d.DigestId)) + " " + text(d.Data[0])
		}
	}
}

// dataText writes P4Data as text does.
func dataText(t testing.TB, s string) string {
	t.Helper()
	return text(parse(t, &v1.P4Data{}, s))
}

// nextPacket returns the metadata of the next packet-in.
func (r *programRig) nextPacket() string {
	r.t.Helper()
	for {
		m, err := r.stream.rpc.Recv()
		if err != nil {
			r.t.Fatal(err)
		}
		if p := m.GetPacket(); p != nil {
			p.Payload = nil
			return text(p)
		}
	}
}

// Sections "Bytestrings" and "Representation of Arbitrary P4 Types": int<W> in two's complement, bool as bool, a
// serializable enum as its number.
func TestTypesOfP4Data(t *testing.T) {
	r := newProgramRig(t, programOf(t, "types"))
	host, _ := r.link(1)
	_, at2 := r.link(2)
	r.learns("$learn_t")
	for _, tt := range []struct {
		ethertype, dst byte
		digest, cell   string
	}{
		{0xff, 1, `\xff`, `\xff`},
		{0x00, 0, `\x00`, `\x00`},
		{0x7f, 1, `\x7f\x7f`, `\x7f\x7f`},
		{0x80, 0, `\x80\x80`, `\x80\x80`},
	} {
		host.Send([]byte{0, 0, 0, 0, 0xa1, tt.dst, 2, 0, 0, 0, 0, 1, tt.ethertype, tt.ethertype})
		<-at2
		want := "$learn_t " + dataText(t,
			fmt.Sprintf(`struct:{members:{bitstring:"\x02\x00\x00\x00\x00\x01"} members:{bitstring:"%s"}
			members:{bool:%v} members:{bitstring:"\x01\x%02x"}}`, tt.digest, tt.dst == 1, tt.dst))
		if got := r.nextDigest(); got != want {
			t.Errorf("digest of ethertype %02x:\n got %s\nwant %s", tt.ethertype, got, want)
		}
		r.holds(`register_entry:{register_id:$signed16 index:{}}`,
			`register_entry:{register_id:$signed16 index:{} data:{bitstring:"`+tt.cell+`"}}`)
	}
	const cell = `register_entry:{register_id:$signed16 index:{index:1} data:`
	for _, tt := range []struct{ name, data, back, want string }{
		{"-1", `{bitstring:"\xff"}`, `{bitstring:"\xff"}`, ""},
		{"-1, longer", `{bitstring:"\xff\xff\xff\xff"}`, `{bitstring:"\xff"}`, ""},
		{"200", `{bitstring:"\x00\xc8"}`, `{bitstring:"\x00\xc8"}`, ""},
		{"200, longer", `{bitstring:"\x00\x00\x00\xc8"}`, `{bitstring:"\x00\xc8"}`, ""},
		{"the lowest", `{bitstring:"\x80\x00"}`, `{bitstring:"\x80\x00"}`, ""},
		{"below the lowest", `{bitstring:"\xff\x7f\xff"}`, `{bitstring:"\x80\x00"}`,
			`OutOfRange: register I.signed16: 0xff7fff does not fit int<16>`},
		{"above the highest", `{bitstring:"\x00\x80\x00"}`, `{bitstring:"\x80\x00"}`,
			`OutOfRange: register I.signed16: 0x008000 does not fit int<16>`},
		{"empty", `{bitstring:""}`, `{bitstring:"\x80\x00"}`,
			`OutOfRange: register I.signed16: empty, want a number of int<16>`},
		{"another type", `{bool:true}`, `{bitstring:"\x80\x00"}`,
			`InvalidArgument: register I.signed16: data must be a bitstring`},
	} {
		if got := r.do(v1.Update_MODIFY, cell+tt.data+`}`); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
		r.holds(`register_entry:{register_id:$signed16 index:{index:1}}`, cell+tt.back+`}`)
	}
	const kind = `register_entry:{register_id:$kinds index:{index:1} data:`
	for _, tt := range []struct{ data, want string }{
		{`{enum_value:"\x02"}`, ""},
		{`{enum_value:"\x00\x00\x07"}`, ""}, // no member has it
		{`{enum_value:"\x01\x00"}`, `OutOfRange: register I.kinds: 0x0100 does not fit 8 bits`},
		{`{bitstring:"\x02"}`, `InvalidArgument: register I.kinds: data must be an enum_value`},
	} {
		if got := r.do(v1.Update_MODIFY, kind+tt.data+`}`); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.data, got, tt.want)
		}
	}
	r.holds(`register_entry:{register_id:$kinds index:{index:1}}`, kind+`{enum_value:"\x07"}}`)
	r.holds(`register_entry:{register_id:$kinds index:{}}`,
		`register_entry:{register_id:$kinds index:{} data:{enum_value:"\x00"}}`)
}

// All other shapes that p4c lets through to a digest or a register, and the translation of packet metadata.
func TestShapesOfP4Data(t *testing.T) {
	r := newProgramRig(t, programOf(t, "shapes"))
	if want := `msg="the P4Info has what no packet meets: it is kept, and does nothing" names="[table ` +
		`ShapesIngress.gone digest inner_t]"`; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log has no %s:\n%s", want, r.log)
	}
	host, _ := r.link(1)
	r.learns("$report_t")
	r.learns("$digest_0")
	w := strings.Repeat(`\x11`, 16)
	frame := append([]byte{2, 0x9d}, unescape(t, w)...)
	for _, tt := range []struct {
		name         string
		frame        []byte
		digest, want string
	}{
		{"all there", append(slices.Clone(frame), 0xaf, 0xfe, 0), "$report_t",
			`struct:{members:{struct:{members:{bitstring:"\x02"} members:{bitstring:"\x9d"}}}
			members:{enum:"blue"} members:{enum_value:"\t"} members:{error:"NoError"} members:{bitstring:"\x01"} members:{bitstring:"1"}
			members:{bitstring:"\x01"} members:{bitstring:"` + w + `"} members:{header:{is_valid:true bitstrings:"\n" bitstrings:"\xfe"}}
			members:{bitstring:"\x9d"}}`},
		{"a header that is not", frame, "$report_t",
			`struct:{members:{struct:{members:{bitstring:"\x02"} members:{bitstring:"\x9d"}}}
			members:{enum:"blue"} members:{enum_value:"\t"} members:{error:"PacketTooShort"} members:{bitstring:"\x01"} members:{bitstring:"1"}
			members:{bitstring:"\x01"} members:{bitstring:"` + w + `"} members:{header:{}} members:{bitstring:"\x9d"}}`},
		{"a tuple", append([]byte{7}, frame[1:]...), "$digest_0",
			`tuple:{members:{bitstring:"\x07"} members:{bool:false}}`},
	} {
		host.Send(tt.frame)
		want := tt.digest + " " + dataText(t, tt.want)
		if got := r.nextDigest(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, want)
		}
	}
	wide := func(i, data string) string {
		return `register_entry:{register_id:$wide index:{` + i + `} data:{bitstring:"` + data + `"}}`
	}
	r.holds(`register_entry:{register_id:$wide}`, wide("index:1", `\x00`), wide("", w))
	if got := r.do(v1.Update_MODIFY, `register_entry:{register_id:$wide index:{index:1} `+
		`data:{bitstring:"\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"}}`); got != "" {
		t.Error(got)
	}
	host.Send(frame)
	r.nextDigest()
	r.holds(`register_entry:{register_id:$wide index:{}}`, wide("", `\x10`+strings.Repeat(`\x11`, 14)+`\x12`))
	r.holds(`register_entry:{register_id:$signed index:{}}`,
		`register_entry:{register_id:$signed index:{} data:{bitstring:"\x9d"}}`)
	for ask, want := range map[string]string{
		"$named": `bitstring:"1"`, "$numbered": `bitstring:"\x01"`, "$ports": `bitstring:"\x01"`,
		"$levels": `enum_value:"\t"`,
	} {
		r.holds(`register_entry:{register_id:`+ask+` index:{}}`,
			`register_entry:{register_id:`+ask+` index:{} data:{`+want+`}}`)
	}
	// A name of the client's for the port that packets come by.
	if got := r.do(v1.Update_MODIFY,
		`register_entry:{register_id:$named index:{index:1} data:{bitstring:"uplink"}}`); got != "" {
		t.Error(got)
	}
	r.holds(`register_entry:{register_id:$named}`,
		`register_entry:{register_id:$named index:{index:1} data:{bitstring:"uplink"}}`,
		`register_entry:{register_id:$named index:{} data:{bitstring:"1"}}`)
}

func unescape(t testing.TB, s string) []byte {
	t.Helper()
	return parse(t, &v1.P4Data{}, `bitstring:"`+s+`"`).GetBitstring()
}

// Section "PSA Metadata Translation": packet metadata, and its widths in the data plane, which P4Info does not tell.
func TestTranslatedPacketMetadata(t *testing.T) {
	r := newProgramRig(t, programOf(t, "shapes"))
	host, at1 := r.link(1)
	frame := append([]byte{1, 2}, make([]byte, 16)...)
	host.Send(frame)
	want := `metadata:{metadata_id:1 value:"1"} metadata:{metadata_id:2 value:"\x00"} metadata:{metadata_id:3 ` +
		`value:"\x01"} metadata:{metadata_id:4 value:"\x00"}`
	if got := r.nextPacket(); got != want {
		t.Errorf("packet-in:\n got %s\nwant %s", got, want)
	}
	r.stream.send(parse(t, &v1.StreamMessageRequest{},
		`packet:{payload:"\x01`+strings.Repeat(`\x00`, 17)+`" metadata:{metadata_id:1 value:"\x00"} `+
			`metadata:{metadata_id:2 value:"1"}}`))
	if got := <-at1; !slices.Equal(got, append([]byte{1}, make([]byte, 17)...)) {
		t.Errorf("packet-out: %x", got)
	}
}

// Section "User-defined types": the controller's number stands for the same number of the data plane.
func TestTranslationToBits(t *testing.T) {
	r := newProgramRig(t, programOf(t, "trans_bits"))
	host, _ := r.link(1)
	_, at5 := r.link(5)
	row := func(in, out string) string {
		return `table_entry:{table_id:$t match:{field_id:1 exact:{value:"` + in +
			`"}} action:{action:{action_id:$fwd params:{param_id:1 value:"` + out + `"}}}}`
	}
	for _, tt := range []struct{ name, entity, want string }{
		{"in range", row(`\x00\x00\x00\x01`, `\x05`), ""},
		{"no such key in the data plane", row(`\x02\x00`, `\x05`),
			`OutOfRange: table I.t: field m.inp: 0x0200 stands for nothing here: the data plane has 9 bits for it`},
		{"no such parameter in the data plane", row(`\x02`, `\xff\xff\xff\xfd`), `OutOfRange: table I.t: action ` +
			`I.fwd: parameter port: 0xfffffffd stands for nothing here: the data plane has 9 bits for it`},
		{"too large for the controller's type", row(`\x01\x00\x00\x00\x00`, `\x05`),
			`OutOfRange: table I.t: field m.inp: 0x0100000000 does not fit 32 bits`},
		{"empty", row(``, `\x05`), `OutOfRange: table I.t: field m.inp: empty, want a number of 32 bits`},
	} {
		if got := r.do(v1.Update_INSERT, tt.entity); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	r.holds(`table_entry:{table_id:$t}`, row(`\x01`, `\x05`))
	host.Send(make([]byte, 60))
	<-at5
}

// Strings stand for numbers of the data plane: a decimal number for itself, others for what is free.
func TestTranslationToStrings(t *testing.T) {
	r := newProgramRig(t, programOf(t, "trans_string"))
	host, _ := r.link(1)
	_, at5 := r.link(5)
	row := func(in, out string) string {
		return `table_entry:{table_id:$u match:{field_id:1 exact:{value:"` + in +
			`"}} action:{action:{action_id:$named params:{param_id:1 value:"` + out + `"}}}}`
	}
	key := func(in string) string {
		return `table_entry:{table_id:$u match:{field_id:1 exact:{value:"` + in + `"}}}`
	}
	for _, tt := range []struct {
		name   string
		kind   v1.Update_Type
		entity string
		want   string
	}{
		{"numbers", v1.Update_INSERT, row("1", "5"), ""},
		{"names", v1.Update_INSERT, row("Ethernet0", "Ethernet1"), ""},
		{"not decimal", v1.Update_INSERT, row("01", "5"), ""},
		{"a number that the data plane lacks", v1.Update_INSERT, row("512", "5"), ""},
		{"what a name stands for", v1.Update_INSERT, row("509", "5"), ""}, // "Ethernet0" does: 509 is another
		{"there", v1.Update_INSERT, row("Ethernet0", "5"), "AlreadyExists: table I.u: entry exists"},
		{"empty", v1.Update_INSERT, row("", "5"), "OutOfRange: table I.u: field m.nm: empty, want a string"},
		{"no such entry", v1.Update_DELETE, key("Ethernet7"), "NotFound: table I.u: no such entry"},
		{"no such entry to change", v1.Update_MODIFY, row("Ethernet7", "5"), "NotFound: table I.u: no such entry"},
		{"an entry", v1.Update_MODIFY, row("01", "Ethernet0"), ""},
	} {
		if got := r.do(tt.kind, tt.entity); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	r.holds(`table_entry:{table_id:$u}`,
		row("01", "Ethernet0"), row("1", "5"), row("509", "5"), row("512", "5"), row("Ethernet0", "Ethernet1"))
	r.holds(key("Ethernet0"), row("Ethernet0", "Ethernet1"))
	r.holds(key("Ethernet7"))
	host.Send(make([]byte, 60))
	<-at5
	if got := r.do(v1.Update_DELETE, key("Ethernet0")); got != "" {
		t.Error(got)
	}
	r.holds(key("Ethernet0"))
	// Names are as many as numbers.
	var updates []*v1.Update
	for i := range 510 {
		updates = append(updates,
			&v1.Update{Type: v1.Update_INSERT, Entity: r.entity(row(fmt.Sprintf("name %d", i), "5"))})
	}
	all := details(r.write(updates...))
	if last := all[len(all)-1]; last != "ResourceExhausted: table I.u: field m.nm: 510 strings are known, and all "+
		"other numbers of 9 bits are those of special ports" {
		t.Errorf("more names than numbers: %s", last)
	}
}

// What no packet meets is kept, so far as this target has it: action profiles have no members.
func TestActionProfilesThatNoPacketMeets(t *testing.T) {
	config := programOf(t, "profiles")
	r := newProgramRig(t, config)
	host, _ := r.link(1)
	_, at5 := r.link(5)
	if want := `names="[table I.dead action profile I.spare action profile I.choice action profile ` +
		`I.members]"`; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log has no %s:\n%s", want, r.log)
	}
	const dead = `table_entry:{table_id:$dead match:{field_id:1 exact:{value:"\x07"}} action:{`
	for _, tt := range []struct{ entity, want string }{
		{`action_profile_member:{action_profile_id:$spare member_id:1 action:{action_id:$NoAction}}`,
			"Unimplemented: this target has no action profiles"},
		{`action_profile_group:{action_profile_id:$choice group_id:1}`,
			"Unimplemented: this target has no action profiles"},
		{dead + `action_profile_member_id:1}}`, "Unimplemented: this target has no action profiles, of which table " +
			"I.dead takes its actions"},
		{dead + `action:{action_id:$NoAction}}}`, "Unimplemented: this target has no action profiles, of which table " +
			"I.dead takes its actions"},
		{`table_entry:{table_id:$live match:{field_id:1 exact:{}} action:{action_profile_member_id:1}}`,
			"OutOfRange: table I.live: field h.e.type: empty, want a number of 16 bits"},
		{`table_entry:{table_id:$live match:{field_id:1 exact:{value:"\x00"}} action:{action:{action_id:$fwd ` +
			`params:{param_id:1 value:"\x05"}}}}`, ""},
	} {
		if got := r.do(v1.Update_INSERT, tt.entity); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.entity, got, tt.want)
		}
	}
	for _, profile := range []string{"$spare", "$choice", "$members"} {
		r.holds(`action_profile_member:{action_profile_id:` + profile + `}`)
		r.holds(`action_profile_group:{action_profile_id:` + profile + `}`)
	}
	r.holds(`table_entry:{table_id:$dead}`)
	host.Send(make([]byte, 60))
	<-at5

	// One whose table packets meet is another program's.
	c := proto.CloneOf(config)
	for _, table := range c.P4Info.Tables {
		table.ImplementationId = c.P4Info.ActionProfiles[0].Preamble.Id
	}
	want := "InvalidArgument: config: p4info: table I.live: an action profile, but none in p4_device_config"
	if got := describe(r.setConfig(commit, c)); got != want {
		t.Errorf("a profile of a table in use:\n got %s\nwant %s", got, want)
	}
}

// A string has no prefix, and a range of translated numbers is none of the data plane's.
func TestTranslatedMatchKinds(t *testing.T) {
	config := programOf(t, "trans_bits")
	kinds := map[configv1.MatchField_MatchType]string{configv1.MatchField_LPM: "lpm",
		configv1.MatchField_TERNARY: "ternary", configv1.MatchField_RANGE: "range"}
	for kind, name := range kinds {
		c := proto.CloneOf(config)
		c.P4Info.Tables[0].MatchFields[0].Match = &configv1.MatchField_MatchType_{MatchType: kind}
		text := strings.ReplaceAll(string(c.P4DeviceConfig), `"match_type" : "exact",
              "name" : "m.inp"`, `"match_type" : "`+name+`",
              "name" : "m.inp"`)
		i := strings.Index(text, `"match_type" : "`+name)
		c.P4DeviceConfig = []byte(text[:i+10] + strings.Replace(text[i+10:], `"match_type" : "exact"`,
			`"match_type" : "`+name+`"`, 1))
		r := newProgramRig(t, c)
		const head, tail = `table_entry:{table_id:$t`, ` action:{action:{action_id:$NoAction}}`
		priority := ` priority:1`
		if kind == configv1.MatchField_LPM {
			priority = ""
		}
		for _, tt := range []struct{ match, want string }{
			{`lpm:{value:"\x01" prefix_len:32}`, ""},
			{`lpm:{value:"\x00" prefix_len:9}`, `InvalidArgument: table I.t: field m.inp: prefix_len is 9, want 32: ` +
				`the field is translated, and matched as a whole`},
			{`lpm:{value:"\x00" prefix_len:33}`, `InvalidArgument: table I.t: field m.inp: prefix_len is 33, want 1 ` +
				`to 32: a field that does not matter is left out`},
			{`ternary:{value:"\x01" mask:"\xff\xff\xff\xff"}`, ""},
			{`ternary:{value:"\x00" mask:"\x01\xff"}`, `InvalidArgument: table I.t: field m.inp: mask is 0x01ff, ` +
				`want all 32 bits: the field is translated, and matched as a whole`},
			{`range:{low:"\x01" high:"\x01"}`, ""},
			{`range:{low:"\x01" high:"\x02"}`, `InvalidArgument: table I.t: field m.inp: low and high differ: the ` +
				`field is translated, and matched as a whole`},
		} {
			if !strings.HasPrefix(tt.match, name) {
				continue
			}
			row := head + ` match:{field_id:1 ` + tt.match + `}` + tail + priority + `}`
			if got := r.do(v1.Update_INSERT, row); got != tt.want {
				t.Errorf("%s:\n got %s\nwant %s", tt.match, got, tt.want)
			}
			if tt.want == "" {
				r.holds(`table_entry:{table_id:$t}`, row)
			}
		}
	}
	c := programOf(t, "trans_string")
	c.P4Info.Tables[1].MatchFields[0].Match = &configv1.MatchField_MatchType_{MatchType: configv1.MatchField_RANGE}
	text := string(c.P4DeviceConfig)
	i := strings.Index(text, `"name" : "m.nm"`)
	j := strings.LastIndex(text[:i], "exact")
	c.P4DeviceConfig = []byte(text[:j] + "range" + strings.Replace(text[j+5:], `"match_type" : "exact"`,
		`"match_type" : "range"`, 1))
	r := newRig(t)
	r.primary()
	want := "InvalidArgument: config: p4info: table I.u: match field m.nm: RANGE of strings, want EXACT or OPTIONAL"
	if got := describe(r.setConfig(commit, c)); got != want {
		t.Errorf("strings in a range:\n got %s\nwant %s", got, want)
	}
}

// A table that the compiler found to be dead keeps what is written to it, and no packet sees it.
func TestTableThatNoPacketMeets(t *testing.T) {
	r := newProgramRig(t, programOf(t, "deadtable"))
	if want := `names="[table I.dead]"`; !strings.Contains(r.log.String(), want) {
		t.Errorf("the log has no %s:\n%s", want, r.log)
	}
	const row = `table_entry:{table_id:$dead match:{field_id:1 exact:{value:"\x07"}} action:{action:{action_id:$fwd ` +
		`params:{param_id:1 value:"\x05"}}}}`
	const never = `table_entry:{table_id:$dead match:{field_id:1 exact:{value:"\x07"}} ` +
		`action:{action:{action_id:$never}}}`
	for _, tt := range []struct {
		kind   v1.Update_Type
		entity string
		want   string
	}{
		{v1.Update_INSERT, row, ""},
		{v1.Update_INSERT, row, "AlreadyExists: table I.dead: entry exists"},
		{v1.Update_MODIFY, never, ""},
		{v1.Update_MODIFY, strings.Replace(row, `\x05`, `\x02\x00`, 1),
			"OutOfRange: table I.dead: action I.fwd: parameter port: 0x0200 does not fit 9 bits"},
		{v1.Update_MODIFY, `table_entry:{table_id:$dead is_default_action:true action:{action:{action_id:$never}}}`,
			""},
	} {
		if got := r.do(tt.kind, tt.entity); got != tt.want {
			t.Errorf("%v %s:\n got %s\nwant %s", tt.kind, tt.entity, got, tt.want)
		}
	}
	r.holds(`table_entry:{}`, never)
	r.holds(`table_entry:{table_id:$dead is_default_action:true}`,
		`table_entry:{table_id:$dead action:{action:{action_id:$never}} is_default_action:true}`)
	if got := r.do(v1.Update_MODIFY, `table_entry:{table_id:$dead is_default_action:true}`); got != "" {
		t.Error(got)
	}
	r.holds(`table_entry:{table_id:$dead is_default_action:true}`,
		`table_entry:{table_id:$dead action:{action:{action_id:$NoAction}} is_default_action:true}`)
	if got := r.do(v1.Update_DELETE, row); got != "" {
		t.Error(got)
	}
	r.holds(`table_entry:{}`)
}

// Section "Wildcard Reads" of "Read RPC": of what a program does not have, all is nothing.
func TestWildcardsOfNothing(t *testing.T) {
	r := newProgramRig(t, programOf(t, "trans_bits"))
	for _, ask := range []string{
		`table_entry:{}`, `table_entry:{counter_data:{} meter_config:{} time_since_last_hit:{}}`,
		`action_profile_member:{}`, `action_profile_group:{}`, `value_set_entry:{}`, `extern_entry:{}`,
		`counter_entry:{}`, `direct_counter_entry:{}`, `direct_counter_entry:{table_entry:{}}`,
		`meter_entry:{}`, `direct_meter_entry:{}`, `direct_meter_entry:{table_entry:{}}`, `register_entry:{}`,
		`digest_entry:{}`,
		`packet_replication_engine_entry:{}`, `packet_replication_engine_entry:{multicast_group_entry:{}}`,
		`packet_replication_engine_entry:{clone_session_entry:{}}`,
		`packet_replication_engine_entry:{clone_session_entry:{session_id:3}}`,
	} {
		r.holds(ask)
	}
}

// Section "Preinitialized tables": entries of the program, whose table P4Info does not call const, are a beginning.
func TestPreinitializedTable(t *testing.T) {
	config := kinds(t)
	for _, table := range config.P4Info.Tables {
		if table.Preamble.Alias == "fixed" {
			table.IsConstTable, table.HasInitialEntries, table.Size = false, true, 3
		}
	}
	r := newProgramRig(t, config)
	row := func(key, action string) string {
		return `table_entry:{table_id:$fixed match:{field_id:1 exact:{value:"\x0` + key + `"}}` + action + `}`
	}
	const forward3 = ` action:{action:{action_id:$forward params:{param_id:1 value:"\x03"}}}`
	const drop = ` action:{action:{action_id:$drop}}`
	r.holds(`table_entry:{table_id:$fixed}`, row("1", forward3), row("2", drop))
	for _, tt := range []struct {
		kind   v1.Update_Type
		entity string
		want   string
	}{
		{v1.Update_INSERT, row("1", drop), "AlreadyExists: table fixed: entry exists"},
		{v1.Update_MODIFY, row("1", drop), ""},
		{v1.Update_INSERT, row("3", forward3), ""},
		{v1.Update_INSERT, row("4", forward3), "ResourceExhausted: table fixed: table is full: it has room for 3 " +
			"entries"},
		{v1.Update_DELETE, row("2", ""), ""},
		{v1.Update_INSERT, row("4", drop), ""},
	} {
		if got := r.do(tt.kind, tt.entity); got != tt.want {
			t.Errorf("%v %s:\n got %s\nwant %s", tt.kind, tt.entity, got, tt.want)
		}
	}
	r.holds(`table_entry:{table_id:$fixed}`, row("1", drop), row("3", forward3), row("4", drop))
	if err := r.setConfig(commit, config); err != nil {
		t.Fatal(err)
	}
	r.holds(`table_entry:{table_id:$fixed}`, row("1", forward3), row("2", drop))
}

// p4c gives no width to keys that are errors: clients see the numbers of the data plane.
func TestKeysWithoutWidth(t *testing.T) {
	r := newProgramRig(t, programOf(t, "nowidth"))
	host, _ := r.link(1)
	_, at2 := r.link(2)
	const mark = ` action:{action:{action_id:$mark params:{param_id:1 value:"\x07"}}}`
	for _, tt := range []struct{ entity, want string }{
		{`table_entry:{table_id:$met match:{field_id:1 exact:{value:"\x01"}} match:{field_id:2 ternary:{value:"\x01" ` +
			`mask:"\xff"}} priority:1` + mark + `}`, ""},
		{`table_entry:{table_id:$met match:{field_id:1 exact:{value:"\x01\x00\x00\x00\x00"}} priority:1` + mark + `}`,
			"OutOfRange: table I.met: field std.parser_error: 0x0100000000 does not fit 32 bits"},
		{`table_entry:{table_id:$unmet match:{field_id:1 exact:{value:"\x01"}}` + mark + `}`, ""},
	} {
		if got := r.do(v1.Update_INSERT, tt.entity); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.entity, got, tt.want)
		} else if got == "" {
			r.holds(tt.entity, tt.entity)
		}
	}
	for _, tt := range []struct{ frame, want string }{
		{"\x01\x05", "\x01\x05"}, // no error
		{"\x01", "\x07"},         // 1: PacketTooShort
		{"\x02", "\x02"},         // another entry
	} {
		host.Send([]byte(tt.frame))
		if got := string(<-at2); got != tt.want {
			t.Errorf("of %q comes %q, want %q", tt.frame, got, tt.want)
		}
	}
}
