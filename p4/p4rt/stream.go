package p4rt

import (
	"errors"
	"fmt"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// DigestConfig says how the target bundles digests (section "DigestEntry").
type DigestConfig struct {
	MaxTimeout  time.Duration // the longest that a digest waits for company
	MaxListSize int32         // the most digests in one list; 0: any number
	AckTimeout  time.Duration // how long an unacknowledged digest suppresses its duplicates; 0: not at all
}

// DigestEntity enables the digest of that name, or changes how it is bundled.
func (i *Info) DigestEntity(name string, c DigestConfig) (*v1.Entity, error) {
	d, err := i.digests.named(name)
	if err != nil {
		return nil, err
	}
	return &v1.Entity{Entity: &v1.Entity_DigestEntry{DigestEntry: &v1.DigestEntry{
		DigestId: d.ID,
		Config: &v1.DigestEntry_Config{
			MaxTimeoutNs: c.MaxTimeout.Nanoseconds(),
			MaxListSize:  c.MaxListSize,
			AckTimeoutNs: c.AckTimeout.Nanoseconds(),
		},
	}}}, nil
}

// DigestList is a list of digests of one kind.
type DigestList struct {
	Digest   string
	Time     time.Time // when the target made the list
	Messages [][]Field // each with the digest's fields in their order
}

// DecodeDigests names what a digest list holds. The list still has to be acknowledged.
func (i *Info) DecodeDigests(list *v1.DigestList) (DigestList, error) {
	d, err := i.digests.withID(list.GetDigestId())
	if err != nil {
		return DigestList{}, fmt.Errorf("decoding digests: %w", err)
	}
	out := DigestList{Digest: d.Name, Time: time.Unix(0, list.GetTimestamp())}
	for _, data := range list.GetData() {
		fields, err := d.decode(data)
		if err != nil {
			return DigestList{}, fmt.Errorf("decoding a digest %s: %w", d.Name, err)
		}
		out.Messages = append(out.Messages, fields)
	}
	return out, nil
}

func (d *Digest) decode(data *v1.P4Data) ([]Field, error) {
	var members []*v1.P4Data
	switch x := data.GetData().(type) {
	case *v1.P4Data_Struct:
		members = x.Struct.GetMembers()
	case *v1.P4Data_Tuple:
		members = x.Tuple.GetMembers()
	default:
		members = []*v1.P4Data{data}
	}
	if len(members) != len(d.Fields) {
		return nil, fmt.Errorf("%d members, must be %d", len(members), len(d.Fields))
	}
	fields := make([]Field, len(members))
	for k, m := range members {
		b, err := leaf(m, d.Fields[k].typed)
		if err == nil {
			fields[k].Name = d.Fields[k].Name
			fields[k].Value, err = d.Fields[k].decode(b)
		}
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", d.Fields[k].Name, err)
		}
	}
	return fields, nil
}

// leaf returns the bytes of a value of type t.
func leaf(data *v1.P4Data, t typed) ([]byte, error) {
	switch x := data.GetData().(type) {
	case *v1.P4Data_Bitstring:
		return x.Bitstring, nil
	case *v1.P4Data_Bool:
		if x.Bool {
			return []byte{1}, nil
		}
		return []byte{0}, nil
	case *v1.P4Data_EnumValue:
		return x.EnumValue, nil
	case *v1.P4Data_Enum:
		if t.text {
			return []byte(x.Enum), nil
		}
		return nil, fmt.Errorf("the name of a member, must be %v", t)
	case *v1.P4Data_Error:
		if t.text {
			return []byte(x.Error), nil
		}
		return nil, fmt.Errorf("the name of an error, must be %v", t)
	}
	return nil, fmt.Errorf("a %T is not supported; bitstrings, booleans, enums and errors are", data.GetData())
}

// digest resolves the members of a digest's type.
func (b *builder) digest(d *configv1.Digest) {
	digest := &Digest{ID: d.GetPreamble().GetId(), Name: nameOf(d.GetPreamble())}
	member := func(name string, spec *configv1.P4DataTypeSpec) {
		t, err := b.leafType(spec)
		if err != nil {
			b.add(fmt.Errorf("digest %q: member %s: %w", digest.Name, name, err))
		}
		digest.Fields = append(digest.Fields, Param{Name: name, typed: t.named(name)})
	}
	switch spec := d.GetTypeSpec(); x := spec.GetTypeSpec().(type) {
	case *configv1.P4DataTypeSpec_Struct:
		s := b.types.GetStructs()[x.Struct.GetName()]
		if s == nil {
			b.add(fmt.Errorf("digest %q: no struct %q", digest.Name, x.Struct.GetName()))
		}
		for _, m := range s.GetMembers() {
			member(m.GetName(), m.GetTypeSpec())
		}
	case *configv1.P4DataTypeSpec_Tuple:
		for k, m := range x.Tuple.GetMembers() {
			member(fmt.Sprint(k), m)
		}
	default:
		member(digest.Name, spec)
	}
	b.add(b.digests.add(d.GetPreamble(), digest))
}

// leafType resolves the type of a digest member. A member of another shape is no error here: it only
// matters when such a digest arrives.
func (b *builder) leafType(spec *configv1.P4DataTypeSpec) (typed, error) {
	switch x := spec.GetTypeSpec().(type) {
	case *configv1.P4DataTypeSpec_Bitstring:
		return typed{
			bits: x.Bitstring.GetBit().GetBitwidth() + x.Bitstring.GetInt().GetBitwidth() +
				x.Bitstring.GetVarbit().GetMaxBitwidth(),
			format: formatOf(x.Bitstring.GetAnnotations()),
			signed: x.Bitstring.GetInt() != nil,
		}, nil
	case *configv1.P4DataTypeSpec_Bool:
		return typed{bits: 1}, nil
	case *configv1.P4DataTypeSpec_Enum, *configv1.P4DataTypeSpec_Error:
		return typed{text: true, format: Text}, nil
	case *configv1.P4DataTypeSpec_SerializableEnum:
		e := b.types.GetSerializableEnums()[x.SerializableEnum.GetName()]
		return typed{bits: e.GetUnderlyingType().GetBitwidth()}, nil
	case *configv1.P4DataTypeSpec_NewType:
		n := b.types.GetNewTypes()[x.NewType.GetName()]
		switch {
		case n == nil:
			return typed{}, fmt.Errorf("no type %q", x.NewType.GetName())
		case n.GetTranslatedType() != nil:
			return b.typed(0, x.NewType, n.GetAnnotations()), nil
		}
		original := n.GetOriginalType()
		if original.GetNewType() != nil { // section "User-defined types": it is a built-in type
			return typed{}, fmt.Errorf("type %q: its original type is %q, which is none of P4's",
				x.NewType.GetName(), original.GetNewType().GetName())
		}
		return b.leafType(original)
	}
	return typed{}, nil
}

// PacketIn is a packet that the data plane handed to the controller.
type PacketIn struct {
	Payload  []byte
	Metadata []Field
}

// Field returns the named metadata, the zero Value when the packet does not have it.
func (p PacketIn) Field(name string) Value { return valueOf(p.Metadata, name) }

// DecodePacketIn names a packet's metadata. Payload is that of p, not a copy.
func (i *Info) DecodePacketIn(p *v1.PacketIn) (PacketIn, error) {
	if i.packetIn == nil {
		return PacketIn{}, errors.New("decoding a packet-in: the P4 program has no header packet_in")
	}
	in := PacketIn{Payload: p.GetPayload()}
	for k := range i.packetIn.Fields {
		f := &i.packetIn.Fields[k]
		var m *v1.PacketMetadata
		for _, candidate := range p.GetMetadata() {
			if candidate.GetMetadataId() == f.ID {
				m = candidate
			}
		}
		if m == nil {
			return PacketIn{}, fmt.Errorf("decoding a packet-in: metadata %s: missing", f.Name)
		}
		v, err := f.decode(m.GetValue())
		if err != nil {
			return PacketIn{}, fmt.Errorf("decoding a packet-in: metadata %s: %w", f.Name, err)
		}
		in.Metadata = append(in.Metadata, Field{Name: f.Name, Value: v})
	}
	return in, nil
}

// EncodePacketOut makes the message for a packet-out. It needs precisely the metadata that the P4Info
// lists (section "Packet I/O"). The message refers to payload.
func (i *Info) EncodePacketOut(payload []byte, metadata ...Field) (*v1.PacketOut, error) {
	if i.packetOut == nil {
		return nil, errors.New("packet-out: the P4 program has no header packet_out")
	}
	out := &v1.PacketOut{Payload: payload}
	for k := range i.packetOut.Fields {
		f := &i.packetOut.Fields[k]
		at := fieldNamed(metadata, f.Name, k)
		if at < 0 {
			return nil, fmt.Errorf("packet-out: metadata %s: missing", f.Name)
		}
		b, err := f.encode(metadata[at].Value)
		if err != nil {
			return nil, fmt.Errorf("packet-out: metadata %s: %w", f.Name, err)
		}
		out.Metadata = append(out.Metadata, &v1.PacketMetadata{MetadataId: f.ID, Value: b})
	}
	if len(metadata) == len(out.Metadata) {
		return out, nil
	}
	err := extra("metadata", metadata, i.packetOut.field)
	return nil, fmt.Errorf("packet-out: %w", err)
}

// field says whether the header has a field of that name.
func (h *Header) field(name string) error {
	for i := range h.Fields {
		if h.Fields[i].Name == name {
			return nil
		}
	}
	return unknown("metadata", name, h.Fields, func(p Param) string { return p.Name })
}
