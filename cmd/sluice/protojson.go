package main

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// jsonMessage prints a message in protobuf's JSON form with the names of the .proto and without
// leaving out zeros, so that programs find every key.
type jsonMessage struct{ proto.Message }

func (m jsonMessage) MarshalJSON() ([]byte, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m.Message)
	if err != nil {
		return nil, err
	}
	// protojson puts spaces at random, to keep anybody from relying on its bytes. Here they are to be the same.
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
