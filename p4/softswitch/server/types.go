package server

import (
	"errors"
	"fmt"
	"slices"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// valueKind is the form in which clients see a value.
type valueKind int

const (
	unsigned valueKind = iota // bit<W>
	signed                    // int<W>, in two's complement
	boolean
	serializable // an enum with numbers: seen as its number
	member       // an enum without numbers, or an error: seen as the name of its member
	text         // translated to SDN strings
)

// valueType is the type of one value: what it is in the data plane, and what clients see of it.
type valueType struct {
	kind    valueKind
	bits    int      // in the data plane, where the value has ceil(bits/8) bytes
	sdn     int      // unsigned: the width that clients know. Another than bits where the type is translated
	members []string // member: by number
	isError bool     // member: an error, not an enum
	names   *names   // text
}

// bitType is bit<W>.
func bitType(bits int) valueType { return valueType{kind: unsigned, bits: bits, sdn: bits} }

// translated says whether clients see other values than the data plane (section "User-defined types").
func (t valueType) translated() bool {
	return t.kind == text || t.kind == unsigned && t.sdn != t.bits
}

// fromBytes converts a client's value that stands alone: of a match field, a parameter, packet metadata. what names
// it in errors. invent lets a string that is new get a number; without, it is errNoSuchName.
func (t valueType) fromBytes(value []byte, invent bool, what func() string) ([]byte, error) {
	switch {
	case t.kind == text:
		return t.names.number(string(value), invent, what)
	case t.kind == signed:
		return fixedSigned(value, t.bits, what)
	case t.translated():
		if _, err := fixed(value, t.sdn, what); err != nil {
			return nil, err
		}
		out, err := fixed(value, t.bits, what)
		if err != nil {
			return nil, status.Errorf(codes.OutOfRange,
				"%s: %s stands for nothing here: the data plane has %d bits for it", what(), shown(value), t.bits)
		}
		return out, nil
	}
	return fixed(value, t.bits, what)
}

// toBytes is the inverse of fromBytes. A number of the data plane that is too large for the client is cut.
func (t valueType) toBytes(value []byte) []byte {
	switch {
	case t.kind == text:
		return []byte(t.names.text(value))
	case t.kind == signed:
		return shortestSigned(value, t.bits)
	case t.sdn < t.bits:
		value = slices.Clone(value[len(value)-byteLen(t.sdn):])
		if over := t.sdn % 8; over != 0 {
			value[0] &= 1<<over - 1
		}
	}
	return shortest(value)
}

// fromData converts a client's P4Data (section "Representation of Arbitrary P4 Types").
func (t valueType) fromData(data *v1.P4Data, what func() string) ([]byte, error) {
	mismatch := func(must string) ([]byte, error) { return nil, invalid("%s: data must be %s", what(), must) }
	switch t.kind {
	case boolean:
		b, ok := data.GetData().(*v1.P4Data_Bool)
		if !ok {
			return mismatch("a bool")
		}
		if b.Bool {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	case serializable:
		e, ok := data.GetData().(*v1.P4Data_EnumValue)
		if !ok {
			return mismatch("an enum_value")
		}
		return fixed(e.EnumValue, t.bits, what)
	case member:
		e, ok := data.GetData().(*v1.P4Data_Enum)
		name, must := "", "an enum"
		if ok {
			name = e.Enum
		}
		if t.isError {
			e, isError := data.GetData().(*v1.P4Data_Error)
			ok, must = isError, "an error"
			if ok {
				name = e.Error
			}
		}
		if !ok {
			return mismatch(must)
		}
		i := slices.Index(t.members, name)
		if i < 0 {
			return nil, invalid("%s: there is no %s %q", what(), must[3:], name)
		}
		return fixed([]byte{byte(i >> 8), byte(i)}, t.bits, what)
	}
	b, ok := data.GetData().(*v1.P4Data_Bitstring)
	if !ok {
		return mismatch("a bitstring")
	}
	return t.fromBytes(b.Bitstring, true, what)
}

// toData is the inverse of fromData.
func (t valueType) toData(value []byte) *v1.P4Data {
	switch t.kind {
	case boolean:
		return &v1.P4Data{Data: &v1.P4Data_Bool{Bool: !isZero(value)}}
	case serializable:
		return &v1.P4Data{Data: &v1.P4Data_EnumValue{EnumValue: slices.Clone(shortest(value))}}
	case member:
		name := t.memberName(value)
		if t.isError {
			return &v1.P4Data{Data: &v1.P4Data_Error{Error: name}}
		}
		return &v1.P4Data{Data: &v1.P4Data_Enum{Enum: name}}
	}
	return &v1.P4Data{Data: &v1.P4Data_Bitstring{Bitstring: slices.Clone(t.toBytes(value))}}
}

// memberName returns the name of a number; a number that no member has, which a program can make by a header that was
// never valid, is "".
func (t valueType) memberName(value []byte) string {
	n := 0
	for _, b := range value {
		if n = n<<8 | int(b); n >= len(t.members) {
			return ""
		}
	}
	return t.members[n]
}

// dataType is the type of P4Data that the data plane sends: a value, or a shape of others.
type dataType struct {
	value   valueType // when shape is noShape
	shape   shape
	members []dataType
}

type shape int

const (
	noShape shape = iota
	structShape
	tupleShape
	headerShape
)

// encode makes P4Data of values, and returns those that are left. valid tells of each value whether its header is
// valid.
func (t *dataType) encode(values [][]byte, valid []bool) (data *v1.P4Data, restValues [][]byte, restValid []bool) {
	switch t.shape {
	case noShape:
		return t.value.toData(values[0]), values[1:], valid[1:]
	case headerShape:
		h := &v1.P4Header{IsValid: len(t.members) > 0 && valid[0]}
		for i := range t.members {
			if h.IsValid {
				h.Bitstrings = append(h.Bitstrings, slices.Clone(t.members[i].value.toBytes(values[i])))
			}
		}
		return &v1.P4Data{Data: &v1.P4Data_Header{Header: h}}, values[len(t.members):], valid[len(t.members):]
	}
	like := &v1.P4StructLike{}
	for i := range t.members {
		var m *v1.P4Data
		m, values, valid = t.members[i].encode(values, valid)
		like.Members = append(like.Members, m)
	}
	if t.shape == tupleShape {
		return &v1.P4Data{Data: &v1.P4Data_Tuple{Tuple: like}}, values, valid
	}
	return &v1.P4Data{Data: &v1.P4Data_Struct{Struct: like}}, values, valid
}

// types resolves the types of a P4Info.
type types struct {
	info  *configv1.P4TypeInfo
	names map[string]*names // by translation: types with the same URI share one
	// special are ports that no string stands for.
	special []uint64
}

func newTypes(info *configv1.P4Info, cpuPort uint16) *types {
	return &types{info: info.GetTypeInfo(), names: map[string]*names{}, special: []uint64{dropPort, uint64(cpuPort)}}
}

// of resolves the type of a match field, a parameter or packet metadata: width and name as P4Info has them, and the
// width in the data plane. p4c gives no width to match fields that are errors, of which P4Runtime says nothing:
// clients see the number that the data plane has.
func (ts *types) of(name *configv1.P4NamedType, width int32, bits int) (valueType, error) {
	if to := ts.translation(name); to != nil {
		return ts.translate(name.GetName(), to, bits)
	}
	if width != 0 && int(width) != bits {
		return valueType{}, fmt.Errorf("%d bits in p4info, but %d in p4_device_config", width, bits)
	}
	return bitType(bits), nil
}

// translation returns that of a type, nil when it has none.
func (ts *types) translation(name *configv1.P4NamedType) *configv1.P4NewTypeTranslation {
	return ts.info.GetNewTypes()[name.GetName()].GetTranslatedType()
}

// width chooses the width in the data plane for a value that the data plane does not have.
func (ts *types) width(name *configv1.P4NamedType, width int32) int {
	to := ts.translation(name)
	if to == nil && width == 0 {
		return 32 // of errors, in bmv2
	}
	if to == nil || to.GetSdnString() == nil {
		return int(width)
	}
	if n := ts.names[translationOf(name.GetName(), to)]; n != nil {
		return n.bits
	}
	return 64
}

// translationOf names the translation of a type.
func translationOf(name string, to *configv1.P4NewTypeTranslation) string {
	if to.GetUri() != "" {
		return "URI " + to.GetUri()
	}
	return "type " + name
}

func (ts *types) translate(name string, to *configv1.P4NewTypeTranslation, bits int) (valueType, error) {
	if to.GetSdnString() == nil {
		if to.GetSdnBitwidth() < 1 {
			return valueType{}, fmt.Errorf("type %s: translated to %d bits, want 1 or more", name, to.GetSdnBitwidth())
		}
		return valueType{kind: unsigned, bits: bits, sdn: int(to.GetSdnBitwidth())}, nil
	}
	if bits > 64 {
		return valueType{}, fmt.Errorf("type %s: strings for %d bits, want 64 at most", name, bits)
	}
	key := translationOf(name, to)
	if ts.names[key] == nil {
		ts.names[key] = newNames(bits, ts.special)
	}
	if n := ts.names[key]; n.bits != bits {
		return valueType{}, fmt.Errorf("type %s: strings for %d bits, but %s is for %d bits elsewhere", name, bits, key,
			n.bits)
	}
	return valueType{kind: text, bits: bits, names: ts.names[key]}, nil
}

// errShape says that a type is none of those that the data plane sends.
var errShape = errors.New("want bit, int, bool, enum, error, struct, tuple or header")

// planeValues are the values of a register cell or a digest in the data plane.
type planeValues struct {
	widths []int // of those that are left, in order
	nodes  int   // of the type that were resolved: it may contain itself
}

// maxNodes bounds the type of one register or digest.
const maxNodes = 4096

// data resolves the type of a register or a digest, and takes its values from plane.
func (ts *types) data(spec *configv1.P4DataTypeSpec, plane *planeValues) (dataType, error) {
	if plane.nodes++; plane.nodes > maxNodes {
		return dataType{}, fmt.Errorf("a type of more than %d parts", maxNodes)
	}
	next := func(want int) (int, error) {
		if len(plane.widths) == 0 {
			return 0, errors.New("more values in p4info than in p4_device_config")
		}
		bits := plane.widths[0]
		plane.widths = plane.widths[1:]
		if want != 0 && bits != want {
			return 0, fmt.Errorf("a value of %d bits, but %d in p4_device_config", want, bits)
		}
		return bits, nil
	}
	value := func(v valueType, want int) (dataType, error) {
		var err error
		v.bits, err = next(want)
		v.sdn = v.bits
		return dataType{value: v}, err
	}
	compound := func(s shape, specs []*configv1.P4DataTypeSpec) (dataType, error) {
		out := dataType{shape: s}
		for _, spec := range specs {
			m, err := ts.data(spec, plane)
			if err != nil {
				return out, err
			}
			out.members = append(out.members, m)
		}
		return out, nil
	}
	bitstring := func(b *configv1.P4BitstringLikeTypeSpec) (dataType, error) {
		switch {
		case b.GetBit() != nil:
			return value(valueType{kind: unsigned}, int(b.GetBit().GetBitwidth()))
		case b.GetInt() != nil:
			return value(valueType{kind: signed}, int(b.GetInt().GetBitwidth()))
		}
		return dataType{}, errShape
	}
	switch x := spec.GetTypeSpec().(type) {
	case *configv1.P4DataTypeSpec_Bitstring:
		return bitstring(x.Bitstring)
	case *configv1.P4DataTypeSpec_Bool:
		return value(valueType{kind: boolean}, 1)
	case *configv1.P4DataTypeSpec_SerializableEnum:
		e := ts.info.GetSerializableEnums()[x.SerializableEnum.GetName()]
		if e == nil {
			return dataType{}, fmt.Errorf("no enum %q in type_info", x.SerializableEnum.GetName())
		}
		return value(valueType{kind: serializable}, int(e.GetUnderlyingType().GetBitwidth()))
	case *configv1.P4DataTypeSpec_Enum:
		e := ts.info.GetEnums()[x.Enum.GetName()]
		if e == nil {
			return dataType{}, fmt.Errorf("no enum %q in type_info", x.Enum.GetName())
		}
		v := valueType{kind: member}
		for _, m := range e.GetMembers() {
			v.members = append(v.members, m.GetName())
		}
		return value(v, 0)
	case *configv1.P4DataTypeSpec_Error:
		return value(valueType{kind: member, isError: true, members: ts.info.GetError().GetMembers()}, 0)
	case *configv1.P4DataTypeSpec_Tuple:
		return compound(tupleShape, x.Tuple.GetMembers())
	case *configv1.P4DataTypeSpec_Struct:
		s := ts.info.GetStructs()[x.Struct.GetName()]
		if s == nil {
			return dataType{}, fmt.Errorf("no struct %q in type_info", x.Struct.GetName())
		}
		var specs []*configv1.P4DataTypeSpec
		for _, m := range s.GetMembers() {
			specs = append(specs, m.GetTypeSpec())
		}
		return compound(structShape, specs)
	case *configv1.P4DataTypeSpec_Header:
		h := ts.info.GetHeaders()[x.Header.GetName()]
		if h == nil {
			return dataType{}, fmt.Errorf("no header %q in type_info", x.Header.GetName())
		}
		out := dataType{shape: headerShape}
		for _, m := range h.GetMembers() {
			field, err := bitstring(m.GetTypeSpec())
			if err != nil {
				return out, err
			}
			out.members = append(out.members, field)
		}
		return out, nil
	case *configv1.P4DataTypeSpec_NewType:
		n := ts.info.GetNewTypes()[x.NewType.GetName()]
		switch {
		case n.GetTranslatedType() != nil:
			bits, err := next(0)
			if err != nil {
				return dataType{}, err
			}
			v, err := ts.translate(x.NewType.GetName(), n.GetTranslatedType(), bits)
			return dataType{value: v}, err
		case n.GetOriginalType() != nil:
			return ts.data(n.GetOriginalType(), plane)
		}
		return dataType{}, fmt.Errorf("no type %q in type_info", x.NewType.GetName())
	}
	return dataType{}, errShape
}
