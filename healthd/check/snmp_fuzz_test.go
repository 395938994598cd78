package check

import (
	"testing"

	"github.com/gosnmp/gosnmp"
)

// FuzzSNMPAnswer takes anything for an agent's answer: it ends, and not with a panic.
func FuzzSNMPAnswer(f *testing.F) {
	for _, v := range []gosnmp.SnmpPDU{
		{Name: ".1.3.6.1.2.1.1.3.0", Type: gosnmp.Integer, Value: 15},
		{Name: ".1.3.6.1.2.1.1.3.0", Type: gosnmp.Counter64, Value: uint64(15)},
		{Name: ".1.3.6.1.2.1.1.3.0", Type: gosnmp.OctetString, Value: []byte("15")},
	} {
		p := &gosnmp.SnmpPacket{Version: gosnmp.Version2c, Community: "public", PDUType: gosnmp.GetResponse,
			Variables: []gosnmp.SnmpPDU{v}}
		b, err := p.MarshalMsg()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{0x30, 0x82, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err != nil {
			return
		}
		for _, v := range p.Variables {
			number(v)
		}
	})
}
