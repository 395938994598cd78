package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/testing/protocmp"
)

// The tables "Examples of Valid Bytestring Encoding" and "Examples of Invalid Bytestring Encoding" of the
// specification, and what lies at their borders.
func TestBytestrings(t *testing.T) {
	bit := bitType
	integer := func(w int) valueType { return valueType{kind: signed, bits: w} }
	for _, tt := range []struct {
		name        string
		typ         valueType
		value, back string
		want        string // the error
	}{
		{"bit<8> 99", bit(8), "\x63", "\x63", ""},
		{"bit<16> 99, long", bit(16), "\x00\x63", "\x63", ""},
		{"bit<16> 99", bit(16), "\x63", "\x63", ""},
		{"bit<16> 12388", bit(16), "\x30\x64", "\x30\x64", ""},
		{"bit<16> 12388, long", bit(16), "\x00\x30\x64", "\x30\x64", ""},
		{"bit<12> 99, longer", bit(12), "\x00\x00\x63", "\x63", ""},
		{"int<8> 99", integer(8), "\x63", "\x63", ""},
		{"int<8> -99", integer(8), "\x9d", "\x9d", ""},
		{"int<8> -99, long", integer(8), "\xff\x9d", "\x9d", ""},
		{"int<12> -739", integer(12), "\xfd\x1d", "\xfd\x1d", ""},
		{"int<16> 0, long", integer(16), "\x00\x00", "\x00", ""},
		{"int<16> 0", integer(16), "\x00", "\x00", ""},
		{"int<16> 200", integer(16), "\x00\xc8", "\x00\xc8", ""},
		{"int<16> -1", integer(16), "\xff", "\xff", ""},
		{"int<12> -2048", integer(12), "\xf8\x00", "\xf8\x00", ""},
		{"int<12> 2047", integer(12), "\x07\xff", "\x07\xff", ""},
		{"int<1> -1", integer(1), "\xff", "\xff", ""},
		{"int<9> 255", integer(9), "\x00\xff", "\x00\xff", ""},
		{"int<100> -2", integer(100), "\xff\xff\xfe", "\xfe", ""},
		{"bit<8> invalid", bit(8), "\x01\x63", "", "x: 0x0163 does not fit 8 bits"},
		{"bit<8> empty", bit(8), "", "", "x: empty, want a number of 8 bits"},
		{"bit<16> invalid", bit(16), "\x01\x00\x63", "", "x: 0x010063 does not fit 16 bits"},
		{"bit<12> invalid", bit(12), "\x10\x63", "", "x: 0x1063 does not fit 12 bits"},
		{"int<8> invalid", integer(8), "\x00\x9d", "", "x: 0x009d does not fit int<8>"},
		{"int<12> invalid", integer(12), "\x8d\x1d", "", "x: 0x8d1d does not fit int<12>"},
		{"int<16> empty", integer(16), "", "", "x: empty, want a number of int<16>"},
		{"int<12> 2048", integer(12), "\x08\x00", "", "x: 0x0800 does not fit int<12>"},
		{"int<12> -2049", integer(12), "\xf7\xff", "", "x: 0xf7ff does not fit int<12>"},
		{"int<1> 1", integer(1), "\x01", "", "x: 0x01 does not fit int<1>"},
		{"int<8> very long", integer(8), "\x01" + string(make([]byte, 80)), "",
			"x: a number of 81 bytes does not fit int<8>"},
		{"translated to fewer bits", valueType{kind: unsigned, bits: 12, sdn: 4}, "\x0f", "\x0f", ""},
		{"translated to fewer bits, too large", valueType{kind: unsigned, bits: 12, sdn: 4}, "\x10", "",
			"x: 0x10 does not fit 4 bits"},
		{"translated to more bits", valueType{kind: unsigned, bits: 9, sdn: 32}, "\x01\xff", "\x01\xff", ""},
		{"translated to more bits, too large", valueType{kind: unsigned, bits: 9, sdn: 32}, "\x02\x00", "",
			"x: 0x0200 stands for nothing here: the data plane has 9 bits for it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inside, err := tt.typ.fromBytes([]byte(tt.value), false, func() string { return "x" })
			if err != nil {
				if want := "rpc error: code = OutOfRange desc = " + tt.want; err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				return
			}
			if tt.want != "" {
				t.Errorf("no error, want %s", tt.want)
			}
			if n := byteLen(tt.typ.bits); len(inside) != n {
				t.Errorf("%x inside, want %d bytes", inside, n)
			}
			if back := string(tt.typ.toBytes(inside)); back != tt.back {
				t.Errorf("%x is returned, want %x", back, tt.back)
			}
		})
	}
	if got := (valueType{kind: unsigned, bits: 12, sdn: 4}).toBytes([]byte{0x0a, 0xbc}); string(got) != "\x0c" {
		t.Errorf("a number of the data plane beyond the client's width is %x, want it cut to c", got)
	}
}

// Section "Representation of Arbitrary P4 Types", in both directions.
func TestP4Data(t *testing.T) {
	colors := valueType{kind: member, bits: 32, members: []string{"red", "green"}}
	errs := valueType{kind: member, isError: true, bits: 32, members: []string{"NoError", "NoMatch"}}
	for _, tt := range []struct {
		name   string
		typ    valueType
		data   string
		inside string
		want   string // the error
	}{
		{"true", valueType{kind: boolean, bits: 1}, `bool:true`, "\x01", ""},
		{"false", valueType{kind: boolean, bits: 1}, `bool:false`, "\x00", ""},
		{"no bool", valueType{kind: boolean, bits: 1}, `bitstring:"\x01"`, "", "data must be a bool"},
		{"nothing", valueType{kind: boolean, bits: 1}, ``, "", "data must be a bool"},
		{"enum with numbers", valueType{kind: serializable, bits: 12}, `enum_value:"\x09"`, "\x00\x09", ""},
		{"no enum with numbers", valueType{kind: serializable, bits: 12}, `enum:"x"`, "", "data must be an enum_value"},
		{"enum", colors, `enum:"green"`, "\x00\x00\x00\x01", ""},
		{"no such member", colors, `enum:"blue"`, "", `there is no enum "blue"`},
		{"no enum", colors, `error:"NoMatch"`, "", "data must be an enum"},
		{"error", errs, `error:"NoMatch"`, "\x00\x00\x00\x01", ""},
		{"no such error", errs, `error:"Oops"`, "", `there is no error "Oops"`},
		{"no error", errs, `enum:"NoMatch"`, "", "data must be an error"},
		{"signed", valueType{kind: signed, bits: 12}, `bitstring:"\xff"`, "\x0f\xff", ""},
		{"unsigned", bitType(12), `bitstring:"\xff"`, "\x00\xff", ""},
		{"no number", bitType(12), `enum_value:"\xff"`, "", "data must be a bitstring"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := &v1.P4Data{}
			if err := prototext.Unmarshal([]byte(tt.data), data); err != nil {
				t.Fatal(err)
			}
			inside, err := tt.typ.fromData(data, func() string { return "x" })
			if err != nil || tt.want != "" {
				if want := "rpc error: code = InvalidArgument desc = x: " + tt.want; err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				return
			}
			if string(inside) != tt.inside {
				t.Errorf("%x inside, want %x", inside, tt.inside)
			}
			if diff := cmp.Diff(data, tt.typ.toData(inside), protocmp.Transform()); diff != "" {
				t.Errorf("returned (-want +got):\n%s", diff)
			}
		})
	}
	if got := colors.toData([]byte{9, 0, 0, 0}).GetEnum(); got != "" {
		t.Errorf("a number that no member has is %q, want none", got)
	}
}

// A P4Info whose types are not those of the device configuration is refused, whichever way they differ.
func TestTypeErrors(t *testing.T) {
	for _, tt := range []struct {
		name, spec string
		widths     []int
		want       string
	}{
		{"width", `bitstring { bit { bitwidth: 8 } }`, []int{9}, "a value of 8 bits, but 9 in p4_device_config"},
		{"varbit", `bitstring { varbit { max_bitwidth: 8 } }`, []int{8},
			"want bit, int, bool, enum, error, struct, tuple or header"},
		{"union", `header_union { name: "u" }`, []int{8}, "want bit, int, bool, enum, error, struct, tuple or header"},
		{"nothing", ``, []int{8}, "want bit, int, bool, enum, error, struct, tuple or header"},
		{"too few", `tuple { members { bool { } } members { bool { } } }`, []int{1},
			"more values in p4info than in p4_device_config"},
		{"struct", `struct { name: "s" }`, nil, `no struct "s" in type_info`},
		{"header", `header { name: "h" }`, nil, `no header "h" in type_info`},
		{"enum", `enum { name: "e" }`, nil, `no enum "e" in type_info`},
		{"enum with numbers", `serializable_enum { name: "e" }`, nil, `no enum "e" in type_info`},
		{"new type", `new_type { name: "n" }`, nil, `no type "n" in type_info`},
		{"strings for too many bits", `new_type { name: "wide" }`, []int{65},
			`type wide: strings for 65 bits, want 64 at most`},
		{"one translation for two widths", `tuple { members { new_type { name: "wide" } } members { new_type { name: ` +
			`"other" } } }`, []int{8, 9},
			`type other: strings for 9 bits, but URI x is for 8 bits elsewhere`},
		{"struct of itself", `struct { name: "endless" }`, []int{8}, "a type of more than 4096 parts"},
		{"type of itself", `new_type { name: "endless" }`, []int{8}, "a type of more than 4096 parts"},
		{"translated to no bits", `new_type { name: "none" }`, []int{8},
			`type none: translated to 0 bits, want 1 or more`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			info, spec := &configv1.P4Info{}, &configv1.P4DataTypeSpec{}
			const text = `type_info {
				new_types { key: "wide" value { translated_type { uri: "x" sdn_string { } } } }
				new_types { key: "other" value { translated_type { uri: "x" sdn_string { } } } }
				structs { key: "endless" value { members { type_spec { struct { name: "endless" } } } } }
				new_types { key: "endless" value { original_type { new_type { name: "endless" } } } }
				new_types { key: "none" value { translated_type { uri: "y" } } }
			}`
			if err := prototext.Unmarshal([]byte(text), info); err != nil {
				t.Fatal(err)
			}
			if err := prototext.Unmarshal([]byte(tt.spec), spec); err != nil {
				t.Fatal(err)
			}
			if _, err := newTypes(info, 510).data(spec, &planeValues{widths: tt.widths}); err == nil ||
				err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
