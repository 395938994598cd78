package check_test

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/sluicelb/sluice/healthd/check"
)

const uptime = ".1.3.6.1.2.1.1.3.0"

// agent answers gets of version 2c over UDP, with what change makes of the bare response, until the test ends.
// Nil messages are not sent.
func agent(t *testing.T, change func(*gosnmp.SnmpPacket) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	go func() {
		defer close(done)
		in := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(in)
			if err != nil {
				return // closed by Cleanup
			}
			p, err := (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(in[:n])
			if err != nil || p.Version != gosnmp.Version2c || p.PDUType != gosnmp.GetRequest {
				t.Errorf("asked %v, %v", p, err)
				continue
			}
			p.PDUType = gosnmp.GetResponse
			for _, out := range change(p) {
				c.WriteTo(out, from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func packed(p *gosnmp.SnmpPacket) []byte {
	b, err := p.MarshalMsg()
	if err != nil {
		panic(err)
	}
	return b
}

// says answers whatever is asked with one value.
func says(kind gosnmp.Asn1BER, value any) func(*gosnmp.SnmpPacket) [][]byte {
	return func(p *gosnmp.SnmpPacket) [][]byte {
		p.Variables = []gosnmp.SnmpPDU{{Name: p.Variables[0].Name, Type: kind, Value: value}}
		return [][]byte{packed(p)}
	}
}

func TestSNMP(t *testing.T) {
	tests := []struct {
		name     string
		answer   func(*gosnmp.SnmpPacket) [][]byte
		min, max int64
		want     string
	}{
		{"integer at the lower end", says(gosnmp.Integer, 10), 10, 20, "passed"},
		{"integer at the upper end", says(gosnmp.Integer, 20), 10, 20, "passed"},
		{"integer below", says(gosnmp.Integer, 9), 10, 20, "SNMP " + uptime + " at ADDR: value 9, want 10 to 20"},
		{"integer above", says(gosnmp.Integer, 21), 10, 20, "SNMP " + uptime + " at ADDR: value 21, want 10 to 20"},
		{"negative", says(gosnmp.Integer, -1), -1, 1, "passed"},
		{"gauge", says(gosnmp.Gauge32, uint32(math.MaxUint32)), 0, math.MaxUint32, "passed"},
		{"time ticks", says(gosnmp.TimeTicks, uint32(100)), 1, math.MaxInt64, "passed"},
		{"integer below the least", says(gosnmp.Integer, 9), 10, math.MaxInt64,
			"SNMP " + uptime + " at ADDR: value 9, want at least 10"},
		{"integer above the most", says(gosnmp.Integer, 21), math.MinInt64, 20,
			"SNMP " + uptime + " at ADDR: value 21, want at most 20"},
		{"counter", says(gosnmp.Counter32, uint32(5)), 6, 7, "SNMP " + uptime + " at ADDR: value 5, want 6 to 7"},
		{"64 bits", says(gosnmp.Counter64, uint64(math.MaxInt64)), math.MaxInt64, math.MaxInt64, "passed"},
		{"64 bits beyond", says(gosnmp.Counter64, uint64(math.MaxUint64)), 0, math.MaxInt64,
			"SNMP " + uptime + " at ADDR: value 18446744073709551615 is too large"},
		{"number as a string", says(gosnmp.OctetString, []byte("12\n")), 10, 20, "passed"},
		{"string", says(gosnmp.OctetString, []byte("fine")), 10, 20,
			`SNMP ` + uptime + ` at ADDR: value "fine" is no number`},
		{"address", says(gosnmp.IPAddress, "192.0.2.1"), 10, 20,
			"SNMP " + uptime + " at ADDR: the value is no number but of type IPAddress"},
		{"no such object", says(gosnmp.NoSuchObject, nil), 10, 20,
			"SNMP " + uptime + " at ADDR: the agent has no such object"},
		{"no such instance", says(gosnmp.NoSuchInstance, nil), 10, 20,
			"SNMP " + uptime + " at ADDR: the agent has no such object"},
		{"refused", func(p *gosnmp.SnmpPacket) [][]byte {
			p.Error, p.ErrorIndex = gosnmp.NoAccess, 1
			return [][]byte{packed(p)}
		}, 10, 20, "SNMP " + uptime + " at ADDR: the agent says NoAccess"},
		{"another object", func(p *gosnmp.SnmpPacket) [][]byte {
			p.Variables = []gosnmp.SnmpPDU{{Name: ".1.3.6.1.2.1.1.4.0", Type: gosnmp.Integer, Value: 15}}
			return [][]byte{packed(p)}
		}, 10, 20, "SNMP " + uptime + " at ADDR: the answer is about something else"},
		{"answers to others first", func(p *gosnmp.SnmpPacket) [][]byte {
			all := [][]byte{[]byte("no SNMP"), {}}
			right := *p
			p.RequestID++
			all = append(all, packed(p))
			p.RequestID, p.Community = right.RequestID, "private"
			all = append(all, packed(p))
			p.Community, p.PDUType = right.Community, gosnmp.GetRequest
			all = append(all, packed(p))
			return append(all, says(gosnmp.Integer, 15)(&right)...)
		}, 10, 20, "passed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := agent(t, tt.answer)
			c := check.SNMP{Network: check.Kernel{}, Address: address, Community: "public", OID: uptime, Min: tt.min,
				Max: tt.max}
			if got := message(run(t, c, patience), address); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// startSNMPD runs net-snmp's agent until the test ends, and returns once answers says that it is there. An agent
// whose port was taken by somebody else in the meantime ends by itself, and another one is started.
func startSNMPD(t *testing.T, program, configuration string, answers func(netip.AddrPort) bool) netip.AddrPort {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "snmpd.conf")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		t.Fatal(err)
	}
	late := time.Now().Add(3 * patience)
	for {
		port := closedUDP(t)
		var log bytes.Buffer
		daemon := exec.Command(program, "-f", "-Lo", "-C", "-c", file, "-p", filepath.Join(dir, "pid"),
			"udp:"+port.String())
		daemon.Env = append(os.Environ(), "SNMP_PERSISTENT_DIR="+dir)
		daemon.Stdout, daemon.Stderr = &log, &log
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			daemon.Wait()
			close(ended)
		}()
		t.Cleanup(func() {
			daemon.Process.Kill()
			<-ended
		})
		for again := true; again; {
			if answers(port) {
				return port
			}
			select {
			case <-ended:
				again = false
			case <-time.After(10 * time.Millisecond):
			}
			if time.Now().After(late) {
				daemon.Process.Kill()
				<-ended
				t.Fatalf("snmpd does not answer: %s", log.String())
			}
		}
	}
}

// net-snmp's agent, as it comes with a distribution, understands what is asked.
func TestSNMPAgentOfNetSNMP(t *testing.T) {
	program, err := exec.LookPath("snmpd")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/snmpd"); err != nil {
			t.Skip("snmpd is not installed")
		}
	}
	const services = "1.3.6.1.2.1.1.7.0"
	ask := func(port netip.AddrPort, oid, community string, low, high int64, timeout time.Duration) string {
		return message(run(t, check.SNMP{Network: check.Kernel{}, Address: port, Community: community, OID: oid,
			Min: low,
			Max: high}, timeout), port)
	}
	port := startSNMPD(t, program, "rocommunity sesame 127.0.0.1\nsysServices 72\n", func(port netip.AddrPort) bool {
		return ask(port, services, "sesame", 72, 72, time.Second) == "passed"
	})
	for _, tt := range []struct{ got, want string }{
		{ask(port, uptime, "sesame", 0, math.MaxInt64, patience), "passed"},
		{ask(port, services, "sesame", 0, 71, patience), fmt.Sprintf("SNMP .%s at ADDR: value 72, want 0 to 71",
			services)},
		{ask(port, "1.3.6.1.2.1.1.99.0", "sesame", 0, 71, patience),
			"SNMP .1.3.6.1.2.1.1.99.0 at ADDR: the agent has no such object"},
		{ask(port, services, "wrong", 72, 72, 50*time.Millisecond),
			fmt.Sprintf("SNMP .%s at ADDR: asking: no answer within 50ms", services)},
	} {
		if tt.got != tt.want {
			t.Errorf("got  %q\nwant %q", tt.got, tt.want)
		}
	}
}
