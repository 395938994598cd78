package server

import (
	"errors"
	"fmt"
	"slices"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/p4/backlog"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// controllerHeader is a header that stands before a frame on the CPU port (section
// "ControllerPacketMetadata").
type controllerHeader struct {
	fields []headerField
	length int // in bytes
}

type headerField struct {
	id   uint32
	name string
	at   int // in bits
	valueType
}

func (r *resolver) controllerHeader(m *configv1.ControllerPacketMetadata) (*controllerHeader, error) {
	h := &controllerHeader{}
	widths, err := r.headerWidths(m)
	if err != nil {
		return nil, err
	}
	at := 0
	for i, f := range m.GetMetadata() {
		typ, err := r.types.of(f.GetTypeName(), f.GetBitwidth(), widths[i])
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.GetName(), err)
		}
		h.fields = append(h.fields, headerField{id: f.GetId(), name: f.GetName(), at: at, valueType: typ})
		at += typ.bits
	}
	if at%8 != 0 {
		return nil, errors.New("its width is not a multiple of 8 bits")
	}
	h.length = at / 8
	return h, nil
}

// headerWidths returns the widths in the data plane of the fields of a controller header. P4Info does not tell those
// of translated types, and not which header of the device configuration it means: that is one whose fields have the
// same names.
func (r *resolver) headerWidths(m *configv1.ControllerPacketMetadata) ([]int, error) {
	var widths []int
	var names []string
	var translated []bool
	for _, f := range m.GetMetadata() {
		is := r.types.translation(f.GetTypeName()) != nil
		if !is && f.GetBitwidth() <= 0 {
			return nil, fmt.Errorf("field %s has no width", f.GetName())
		}
		names, widths, translated = append(names, f.GetName()), append(widths, int(f.GetBitwidth())),
			append(translated, is)
	}
	if !slices.Contains(translated, true) {
		return widths, nil
	}
	var found []int
	for _, candidate := range r.program.HeaderWidths(names) {
		fits := true
		for i, bits := range candidate {
			fits = fits && bits > 0 && (translated[i] || bits == widths[i])
		}
		switch {
		case !fits:
		case found == nil:
			found = candidate
		case !slices.Equal(found, candidate):
			return nil, errors.New("p4_device_config has several headers with such fields, of different widths")
		}
	}
	if found == nil {
		return nil, errors.New("p4_device_config has no header with such fields")
	}
	return found, nil
}

// PacketIn gives the clients what left by the CPU port: the frame behind the controller header, and the
// header's fields as metadata. It does not keep the frame, and never waits.
func (s *Server) PacketIn(frame []byte) {
	p := s.running.Load()
	if p == nil {
		return
	}
	// What the header says alike, the port above all, is one class: whoever floods displaces itself.
	class := ""
	if h := p.packetIn; h != nil {
		if len(frame) < h.length {
			return // too short for its header: the program's fault
		}
		class = string(frame[:h.length])
	}
	var m *v1.StreamMessageResponse
	for _, st := range s.arbiter.primary() {
		if st.data.Full(backlog.Packet, class, len(frame)) {
			continue
		}
		if m == nil {
			m = p.packetIn.decode(frame)
		}
		st.offer(class, m)
	}
}

// decode makes the message of a frame, which is no shorter than the header.
func (h *controllerHeader) decode(frame []byte) *v1.StreamMessageResponse {
	in := &v1.PacketIn{}
	if h != nil {
		for _, f := range h.fields {
			value := f.toBytes(getBits(frame, f.at, f.bits))
			in.Metadata = append(in.Metadata, &v1.PacketMetadata{MetadataId: f.id, Value: value})
		}
		frame = frame[h.length:]
	}
	in.Payload = append(in.Payload, frame...)
	return &v1.StreamMessageResponse{Update: &v1.StreamMessageResponse_Packet{Packet: in}}
}

// packetOut sends a client's packet into the CPU port (section "Packet I/O").
func (s *Server) packetOut(st *stream, m *v1.PacketOut) error {
	if err := s.requirePrimary(st); err != nil {
		return err
	}
	p := s.running.Load()
	if p == nil {
		return errNoPipeline
	}
	frame, err := p.packetOut.encode(m)
	if err != nil {
		return err
	}
	s.cfg.Plane.Inject(frame)
	return nil
}

// encode puts the header before the payload. There must be precisely one value for every field.
func (h *controllerHeader) encode(m *v1.PacketOut) ([]byte, error) {
	if len(m.GetPayload()) > port.MaxFrame {
		return nil, invalid("packet-out of %d bytes, want %d at most", len(m.GetPayload()), port.MaxFrame)
	}
	var fields []headerField
	length := 0
	if h != nil {
		fields, length = h.fields, h.length
	}
	frame := make([]byte, length, length+len(m.GetPayload()))
	seen := make([]bool, len(fields))
	for _, v := range m.GetMetadata() {
		i := fieldByID(fields, v.GetMetadataId())
		if i < 0 {
			return nil, invalid("packet-out: metadata_id %d is not in the P4Info", v.GetMetadataId())
		}
		if seen[i] {
			return nil, invalid("packet-out: metadata %s is there twice", fields[i].name)
		}
		seen[i] = true
		what := func() string { return "packet-out: metadata " + fields[i].name }
		value, err := fields[i].fromBytes(v.GetValue(), true, what)
		if err != nil {
			return nil, invalid("%s", status.Convert(err).Message())
		}
		putBits(frame, fields[i].at, fields[i].bits, value)
	}
	for i, ok := range seen {
		if !ok {
			return nil, invalid("packet-out: metadata %s is missing", fields[i].name)
		}
	}
	return append(frame, m.GetPayload()...), nil
}

func fieldByID(fields []headerField, id uint32) int {
	for i := range fields {
		if fields[i].id == id {
			return i
		}
	}
	return -1
}

// getBits reads a number of some bits at a bit offset, as ceil(bits/8) bytes.
func getBits(b []byte, at, bits int) []byte {
	out := make([]byte, byteLen(bits))
	pad := len(out)*8 - bits
	for i := range bits {
		if b[(at+i)/8]&(0x80>>((at+i)%8)) != 0 {
			out[(pad+i)/8] |= 0x80 >> ((pad + i) % 8)
		}
	}
	return out
}

// putBits is the inverse of getBits, over zeros.
func putBits(b []byte, at, bits int, value []byte) {
	pad := len(value)*8 - bits
	for i := range bits {
		if value[(pad+i)/8]&(0x80>>((pad+i)%8)) != 0 {
			b[(at+i)/8] |= 0x80 >> ((at + i) % 8)
		}
	}
}
