package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// jsonMessage prints a message in protobuf's JSON form but for what makes that form hard to use: keys
// are the names of the .proto, numbers are numbers (the API's are all below 2^53, which is what jq and
// JavaScript hold), and every key is there: what is unset is 0, "", [], {} or, if it is a message, null.
// Only of a oneof, nothing but the one that is set is there.
type jsonMessage struct{ proto.Message }

func (m jsonMessage) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	err := writeMessage(&b, m.ProtoReflect())
	return b.Bytes(), err
}

func writeMessage(b *bytes.Buffer, m protoreflect.Message) error {
	if m.Descriptor().ParentFile().Package() == "google.protobuf" { // timestamps and durations: text
		text, err := protojson.Marshal(m.Interface())
		b.Write(text)
		return err
	}
	b.WriteByte('{')
	for i, first := 0, true; i < m.Descriptor().Fields().Len(); i++ {
		field := m.Descriptor().Fields().Get(i)
		if field.ContainingOneof() != nil && !m.Has(field) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(strconv.Quote(string(field.Name())) + ":")
		if err := writeField(b, m, field); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeField(b *bytes.Buffer, m protoreflect.Message, field protoreflect.FieldDescriptor) error {
	value := m.Get(field)
	switch {
	case field.IsList():
		b.WriteByte('[')
		for i := range value.List().Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeValue(b, field, value.List().Get(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case field.IsMap():
		return writeMap(b, field, value.Map())
	case field.HasPresence() && !m.Has(field):
		b.WriteString("null")
		return nil
	}
	return writeValue(b, field, value)
}

func writeMap(b *bytes.Buffer, field protoreflect.FieldDescriptor, m protoreflect.Map) error {
	var keys []protoreflect.MapKey
	for key := range m.Range {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y protoreflect.MapKey) int { return cmp.Compare(x.String(), y.String()) })
	b.WriteByte('{')
	for i, key := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeJSONValue(b, key.String()); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := writeValue(b, field.MapValue(), m.Get(key)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeValue(b *bytes.Buffer, field protoreflect.FieldDescriptor, value protoreflect.Value) error {
	switch field.Kind() {
	case protoreflect.MessageKind:
		return writeMessage(b, value.Message())
	case protoreflect.EnumKind:
		if name := field.Enum().Values().ByNumber(value.Enum()); name != nil {
			return writeJSONValue(b, name.Name())
		}
		return writeJSONValue(b, value.Enum()) // from a newer controller
	}
	return writeJSONValue(b, value.Interface())
}

func writeJSONValue(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
