package controller

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkStatus is how long the decisions wait while a status is made of a configuration at its limits, for GetStatus
// or for gNMI: 4,000 VIPs, 100 pools, 10,000 backends.
func BenchmarkStatus(b *testing.B) {
	var y strings.Builder
	y.WriteString("vip_mac: 02:53:4c:00:00:01\nswitches:\n")
	for i := range 10 {
		fmt.Fprintf(&y, "  - {name: leaf%d, address: \"127.0.0.1:%d\", device_id: 1, ports: [1, 2]}\n", i, i+1)
	}
	y.WriteString("pools:\n")
	for p := range 100 {
		fmt.Fprintf(&y, "  - name: pool%d\n    checks: [{type: tcp, port: 80}]\n    backends:\n", p)
		for i := range 100 {
			n := p*100 + i
			fmt.Fprintf(&y,
				"      - {name: b%d, address: 10.1.%d.%d, mac: \"02:00:00:01:%02x:%02x\", switch_port: 1}\n",
				n, n/250, n%250+1, n/256, n%256)
		}
	}
	y.WriteString("vips:\n")
	for v := range 4000 {
		fmt.Fprintf(&y, "  - {name: v%d, address: 10.2.%d.%d, port: 80, pool: pool%d}\n", v, v/250, v%250+1, v%100)
	}
	l := newTestLoop(b, &fakeStore{})
	p := parse("sluice.yaml", y.String())
	if _, err := l.apply(p); err != nil {
		b.Fatal(err)
	}
	b.Run("status", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.statusMessage()
		}
	})
	b.Run("sampled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			l.sampledMessage()
		}
	})
}
