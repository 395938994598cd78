// Package wire says what a protobuf message costs before it is decoded. A message of two bytes becomes a struct of
// a hundred, so a limit on bytes alone lets a message of some megabytes fill the memory. Both ends of every
// connection use it; it knows no message.
package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth is how deep messages are looked into; protobuf itself refuses deeper ones.
const maxDepth = 100

// Check returns an error when the encoded message has more than most items: messages within it, at any depth, and
// elements of lists. What is not well-formed is left to the decoder.
func Check(data []byte, message protoreflect.MessageDescriptor, most int) error {
	if left := count(data, message, most, maxDepth); left < 0 {
		return fmt.Errorf("too many items in a %s: must be at most %d", message.FullName(), most)
	}
	return nil
}

// count returns how many items are left of so many, less than 0 when there are too few.
func count(data []byte, message protoreflect.MessageDescriptor, left, depth int) int {
	fields := message.Fields()
	for len(data) > 0 && left >= 0 && depth > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return left
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return left
		}
		value := data[:n]
		data = data[n:]
		field := fields.ByNumber(number)
		switch {
		case field == nil:
		case field.Message() != nil:
			left--
			if kind == protowire.BytesType {
				inner, _ := protowire.ConsumeBytes(value)
				left = count(inner, field.Message(), left, depth-1)
			}
		case field.IsList() && kind == protowire.BytesType && field.IsPacked():
			left -= (len(value) + 7) / 8 // a byte on the wire is eight at most
		case field.IsList():
			left--
		}
	}
	return left
}
