// Package p4 holds the Sluice pipeline: its source, and what p4c made of it, embedded. It knows
// nothing of who runs it; the controller pushes it, the tests and tools read names from it.
package p4

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"fmt"
	"sync"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

//go:generate sh build.sh

//go:embed build/sluice.json
var deviceConfig []byte

//go:embed build/sluice.p4info.txt
var p4InfoText []byte

// DeviceConfig returns the compiled program in bmv2's JSON format. The caller must not change it.
func DeviceConfig() []byte { return deviceConfig }

var parsed = sync.OnceValue(func() *configv1.P4Info {
	info := new(configv1.P4Info)
	if err := prototext.Unmarshal(p4InfoText, info); err != nil {
		panic(fmt.Sprintf("p4: embedded P4Info: %v", err))
	}
	return info
})

// P4Info returns a copy of the program's P4Info.
func P4Info() *configv1.P4Info { return proto.Clone(parsed()).(*configv1.P4Info) }

// Cookie identifies this build of the pipeline: the first 8 bytes of the SHA-256 of what is pushed.
// A target whose cookie equals it is running the same program.
func Cookie() uint64 {
	h := sha256.New()
	h.Write(deviceConfig)
	h.Write(p4InfoText)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
