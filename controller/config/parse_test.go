package config

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// valid is what most tests change one thing of.
const valid = `switches:
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [3, 1, 2]}
vip_mac: 02:53:4c:00:00:01
pools:
  - name: web
    checks:
      - {type: http, path: /healthz}
    backends:
      - {name: web1, address: 10.0.0.11, mac: "02:00:00:00:00:11", switch_port: 1}
      - {name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2, weight: 50}
vips:
  - {name: www, address: 10.0.0.100, port: 80, pool: web}
`

var equateAddrs = cmpopts.EquateComparable(netip.Addr{})

func mac(t *testing.T, s string) packet.MAC {
	t.Helper()
	m, err := packet.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParse(t *testing.T) {
	vipMAC := mac(t, "02:53:4c:00:00:01")
	want := &Intent{
		Switches: []Switch{{Name: "leaf1", Address: "127.0.0.1:9559", DeviceID: 1, Ports: []uint16{1, 2, 3},
			GNMI: GNMI{Address: "127.0.0.1:9559"}}},
		VIPMAC: vipMAC,
		Floor:  Floor{50, 30 * time.Second},
		Pools: []Pool{{
			Name: "web", Slots: 4096, DrainIdle: time.Minute, AllDown: Drop,
			Grace: 6 * time.Second, Floor: Floor{50, 30 * time.Second}, Failing: FailingDrain,
			Checks: []Check{{
				Type: CheckHTTP, Port: 80, Path: "/healthz", Interval: 2 * time.Second,
				FastInterval: 500 * time.Millisecond,
				Timeout:      time.Second, Jitter: 200 * time.Millisecond, Rise: 2, Fall: 3,
			}},
			Backends: []Backend{
				{Name: "web1", Address: netip.MustParseAddr("10.0.0.11"), MAC: mac(t, "02:00:00:00:00:11"),
					SwitchPort: SwitchPorts{All: 1}, Weight: 100, Enabled: true},
				{Name: "web2", Address: netip.MustParseAddr("10.0.0.12"), MAC: mac(t, "02:00:00:00:00:12"),
					SwitchPort: SwitchPorts{All: 2}, Weight: 50, Enabled: true},
			},
		}},
		VIPs: []VIP{{Name: "www", Address: netip.MustParseAddr("10.0.0.100"), Protocol: TCP, Port: 80, Pool: "web",
			MAC: vipMAC, Enabled: true}},
	}
	got, err := Parse("sluice.yaml", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, equateAddrs); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

func TestParseProblems(t *testing.T) {
	const web2 = `{name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2, weight: 50}`
	const secondPool = "\n  - {name: other, backends: [{name: b, address: %s, mac: \"%s\", switch_port: %d}]}\nvips:"
	const router1 = "stations:\n  - {name: router1, mac: \"02:00:00:00:00:01\", switch_port: 3}\n"
	tests := []struct {
		name     string
		old, new string // in valid; old is empty: new is the file
		want     []string
	}{
		{"empty file", "", "", []string{`f:1: is empty`}},
		{"only a comment", "", "# later\n", []string{`f:1: is empty`}},
		{"not YAML", "pools:\n", "pools: [\n", []string{`f:4: is not YAML: did not find expected node content`}},
		{"two documents", "vips:", "---\nvips:", []string{`f:11: has a second document: must be one`,
			`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
				`1..65535`}},
		{"a list", "", "- 1", []string{`f:1: must be a set of keys and values, is a list`}},
		{"unknown key", "weight: 50", "wieght: 50",
			[]string{`f:10: pools[0].backends[1].wieght: is not a known key: did you mean weight?`}},
		{"unknown key, far from all", "vips:", "colour: red\nvips:",
			[]string{`f:11: colour: is not a known key: must be one of switches, vip_mac, floor_percent, ` +
				`floor_within, stations, pools, vips`}},
		{"duplicate key", "weight: 50", "weight: 50, weight: 60",
			[]string{`f:10: pools[0].backends[1].weight: is given twice: first on line 10`}},
		{"duplicate section", "vips:", "pools: []\nvips:", []string{`f:11: pools: is given twice: first on line 4`}},
		{"missing keys", "name: www, address: 10.0.0.100, port: 80, ", "", []string{
			`f:12: vips[0].name: is missing`, `f:12: vips[0].address: is missing`, `f:12: vips[0].port: is missing`,
			// What depends on them is said too.
			`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
				`1..65535`}},
		{"nothing but a pool", "", "pools: [{name: a, backends: []}]", []string{
			`f:1: switches: is missing`, `f:1: vip_mac: is missing`,
			`f:1: pools[0].backends: must name at least one backend`}},
		{"no value", "path: /healthz", "path: ",
			[]string{`f:7: pools[0].checks[0].path: has no value: give it one, or leave the key out`}},
		{"an alias", "name: web2", "name: &n web2",
			[]string{`f:10: pools[0].backends[1].name: anchors and aliases are not allowed: write the value out`}},
		{"a tag", "weight: 50", "weight: !!int 50",
			[]string{`f:10: pools[0].backends[1].weight: the tag !!int is not allowed: leave it out`}},
		{"a map for a list", "  - {name: www, address: 10.0.0.100, port: 80, pool: web}", "  www: {}",
			[]string{`f:11: vips: must be a list, is a set of keys and values`,
				`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
					`1..65535`}},
		{"a list for a text", "pool: web}", "pool: [web]}", []string{`f:12: vips[0].pool: must be text, is a list`,
			`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
				`1..65535`}},
		{"text for a number", "weight: 50", "weight: half",
			[]string{`f:10: pools[0].backends[1].weight: must be a whole number, is "half"`}},
		{"a fraction", "weight: 50", "weight: 0.5",
			[]string{`f:10: pools[0].backends[1].weight: must be a whole number, is "0.5"`}},
		{"a huge number", "weight: 50", "weight: 99999999999999999999",
			[]string{`f:10: pools[0].backends[1].weight: must be 1..1000, is 99999999999999999999`}},
		{"huge slots", "weight: 50}", "weight: 50}\n    slots: 99999999999999999999",
			[]string{`f:11: pools[0].slots: must be a power of two, 64..65536, is 99999999999999999999`}},
		{"a huge capacity", "pool: web}", "pool: web, capacity: 99999999999999999999}",
			[]string{`f:12: vips[0].capacity: must be 1..1000000000, is 99999999999999999999`}},
		{"a huge port", "ports: [", "ports: [99999999999999999999, ",
			[]string{`f:2: switches[0].ports[0]: must be 1..509, is 99999999999999999999`}},
		{"a huge negative number", "weight: 50", "weight: -99999999999999999999",
			[]string{`f:10: pools[0].backends[1].weight: must be 1..1000, is -99999999999999999999`}},
		{"not a bool", "weight: 50", "enabled: maybe",
			[]string{`f:10: pools[0].backends[1].enabled: must be true or false, is "maybe"`}},

		{"no switches", `
  - {name: leaf1, address: "127.0.0.1:9559", device_id: 1, ports: [3, 1, 2]}`, " []", []string{`f:1: switches: must name at least one switch`}},
		{"gNMI without a password", "ports: [3", `gnmi: {username: admin}, ports: [3`,
			[]string{`f:2: switches[0].gnmi.password_file: is missing: username needs it`}},
		{"gNMI without a user", "ports: [3", `gnmi: {password_file: /x}, ports: [3`,
			[]string{`f:2: switches[0].gnmi.username: is missing: password_file needs it`}},
		{"gNMI by a relative path", "ports: [3", `gnmi: {username: admin, password_file: x}, ports: [3`,
			[]string{`f:2: switches[0].gnmi.password_file: must be an absolute path, is "x"`}},
		{"gNMI by an odd user", "ports: [3", `gnmi: {username: "a b", password_file: /x}, ports: [3`, []string{
			`f:2: switches[0].gnmi.username: must be 1..64 printable ASCII characters without spaces, is "a b"`}},
		{"a password in plain text", "ports: [3",
			`gnmi: {address: "leaf1:9339", username: admin, password_file: /x}, ports: [3`, []string{
				`f:2: switches[0].gnmi.username: must be left out, as leaf1:9339 is in plain text: a password ` +
					`is sent by https:// or within this machine`}},
		{"a password in plain text, at P4Runtime's address", `"127.0.0.1:9559"`,
			`"leaf1:9559", gnmi: {username: admin, password_file: /x}`, []string{
				`f:2: switches[0].gnmi.username: must be left out, as leaf1:9559 is in plain text: a password ` +
					`is sent by https:// or within this machine`}},
		{"gNMI nowhere", "ports: [3", `gnmi: {address: nowhere}, ports: [3`, []string{
			`f:2: switches[0].gnmi.address: must be https://host:port, host:port such as 127.0.0.1:9559, the port ` +
				`1..65535, or unix:/path, is "nowhere"`}},
		{"switch address", "127.0.0.1:9559", "127.0.0.1",
			[]string{`f:2: switches[0].address: must be https://host:port, host:port such as 127.0.0.1:9559, the ` +
				`port 1..65535, or unix:/path, is "127.0.0.1"`}},
		{"switch port out of range", "127.0.0.1:9559", "leaf1:99999",
			[]string{`f:2: switches[0].address: must be https://host:port, host:port such as 127.0.0.1:9559, the ` +
				`port 1..65535, or unix:/path, is "leaf1:99999"`}},
		{"switch port with a sign", "127.0.0.1:9559", "127.0.0.1:+22559",
			[]string{`f:2: switches[0].address: must be https://host:port, host:port such as 127.0.0.1:9559, the ` +
				`port 1..65535, or unix:/path, is "127.0.0.1:+22559"`}},
		{"switch host is none", "127.0.0.1:9559", "foo bar!:1",
			[]string{`f:2: switches[0].address: must be https://host:port, host:port such as 127.0.0.1:9559, the ` +
				`port 1..65535, or unix:/path, is "foo bar!:1"`}},
		{"switch by name", "127.0.0.1:9559", "leaf-1.example.net:9559", nil},
		{"switch at a unix socket", "127.0.0.1:9559", "unix:/run/sluice/switch.sock", nil},
		{"switch at another user's unix socket", "127.0.0.1:9559", "unix:/run/switch.sock?user=sluice", nil},
		{"switch at a relative unix socket", "127.0.0.1:9559", "unix:switch.sock", []string{
			`f:2: switches[0].address: must be a unix socket such as unix:/run/sluice/switch.sock, is ` +
				`"unix:switch.sock": must be an absolute path`}},
		{"switch at no unix socket", "127.0.0.1:9559", "unix:", []string{
			`f:2: switches[0].address: must be a unix socket such as unix:/run/sluice/switch.sock, is "unix:": must ` +
				`name a socket, as unix:/path`}},
		{"switch by IPv6 address", "127.0.0.1:9559", "[::1]:9559", nil},
		{"VIP port with a sign", "port: 80, pool: web", "port: \"+80\", pool: web",
			[]string{`f:12: vips[0].port: must be 1..65535, is "+80"`,
				`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
					`1..65535`}},
		{"octal weight", "weight: 50", "weight: 017",
			[]string{`f:10: pools[0].backends[1].weight: must be a whole number in plain decimal digits, is "017"`}},
		{"signed weight", "weight: 50", "weight: +17",
			[]string{`f:10: pools[0].backends[1].weight: must be a whole number in plain decimal digits, is "+17"`}},
		{"device id", "device_id: 1", "device_id: -1",
			[]string{`f:2: switches[0].device_id: must be 0 or more, is -1`}},
		{"switch twice", "vip_mac", "  - {name: leaf1, address: \"127.0.0.1:9559\", device_id: 1, ports: [1, 2]}\n" +
			"vip_mac", []string{
			`f:3: switches[1].name: must be unique, "leaf1" is the name of switches[0] (line 2) too`,
			`f:3: switches[1].address: must differ from that of every other switch, 127.0.0.1:9559 with ` +
				`device_id 1 is switches[0] (line 2) too`}},
		{"switch twice, once with TLS", "vip_mac",
			"  - {name: leaf2, address: \"https://127.0.0.1:9559\", device_id: 1, ports: [1, 2]}\nvip_mac", []string{
				`f:3: switches[1].address: must differ from that of every other switch, ` +
					`https://127.0.0.1:9559 with device_id 1 is switches[0] (line 2) too`}},
		{"switch with TLS and no host", "127.0.0.1:9559", "https://:9559", []string{
			`f:2: switches[0].address: must be https://host:port, host:port such as 127.0.0.1:9559, the port ` +
				`1..65535, or unix:/path, is "https://:9559"`}},
		{"flood ports", "[3, 1, 2]", "[3, 1, 2, 1, 0, 510]", []string{
			`f:2: switches[0].ports[3]: must be unique, 1 is in the list before`,
			`f:2: switches[0].ports[4]: must be 1..509, is 0`, `f:2: switches[0].ports[5]: must be 1..509, is 510`}},
		{"no flood ports", "[3, 1, 2]", "[]", []string{`f:2: switches[0].ports: must name at least one port`}},
		{"VIP MAC is a group address", "02:53:4c:00:00:01", "03:53:4c:00:00:01",
			[]string{`f:3: vip_mac: must be the MAC address of one station (an even first byte), is the group ` +
				`address 03:53:4c:00:00:01`}},

		{"pool name", "name: web\n", "name: my pool\n", []string{
			`f:5: pools[0].name: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a digit, ` +
				`is "my pool"`,
			`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
				`1..65535`,
			`f:12: vips[0].pool: must be the name of a pool (my pool), is "web"`}},
		{"slots", "    checks:", "    slots: 4095\n    checks:",
			[]string{`f:6: pools[0].slots: must be a power of two, 64..65536, is 4095`}},
		{"slots too many", "    checks:", "    slots: 131072\n    checks:",
			[]string{`f:6: pools[0].slots: must be a power of two, 64..65536, is 131072`}},
		{"slots not positive", "    checks:", "    slots: 0\n    checks:",
			[]string{`f:6: pools[0].slots: must be a power of two, 64..65536, is 0`}},
		{"drain without unit", "    checks:", "    drain_idle: 60\n    checks:",
			[]string{`f:6: pools[0].drain_idle: must be a duration with its unit, such as 500ms or 2s, is "60"`}},
		{"drain too short", "    checks:", "    drain_idle: 100ms\n    checks:",
			[]string{`f:6: pools[0].drain_idle: must be 500ms..24h, is 100ms`}},
		{"limit too long", "    checks:", "    drain_limit: 169h\n    checks:",
			[]string{`f:6: pools[0].drain_limit: must be 1s..168h, is 169h`}},
		{"limit below drain", "    checks:", "    drain_limit: 59s\n    checks:",
			[]string{`f:6: pools[0].drain_limit: must be at least drain_idle, 1m, is 59s`}},
		{"no limit", "    checks:", "    drain_limit: 0s\n    checks:", nil},
		{"all_down", "    checks:", "    all_down: panic\n    checks:",
			[]string{`f:6: pools[0].all_down: must be drop or forward, is "panic"`}},
		{"grace", "    checks:", "    grace: 2h\n    checks:", []string{`f:6: pools[0].grace: must be 0s..1h, is 2h`}},
		{"floor", "    checks:", "    floor_percent: 0\n    floor_within: 2ms\n    checks:", []string{
			`f:6: pools[0].floor_percent: must be 1..100, is 0`, `f:7: pools[0].floor_within: must be 1s..1h, is 2ms`}},
		{"floor of all", "pools:", "floor_percent: 101\npools:",
			[]string{`f:4: floor_percent: must be 1..100, is 101`}},
		{"failing", "    checks:", "    failing: up\n    checks:",
			[]string{`f:6: pools[0].failing: must be drain or down, is "up"`}},
		{"pool twice", "vips:", "  - {name: web, backends: [{name: b, address: 10.0.0.13, mac: " +
			"\"02:00:00:00:00:13\", switch_port: 1}]}\nvips:",
			[]string{`f:11: pools[1].name: must be unique, "web" is the name of pools[0] (line 5) too`}},

		{"weight out of range", "weight: 50", "weight: 0",
			[]string{`f:10: pools[0].backends[1].weight: must be 1..1000, is 0`}},
		{"weight worth no slot", "    checks:", "    slots: 64\n    checks:", nil},
		{"weights too uneven", "weight: 50}", "weight: 1}\n      - {name: web3, address: 10.0.0.13, mac: " +
			"\"02:00:00:00:00:13\", switch_port: 1, weight: 1000}\n    slots: 64",
			[]string{`f:10: pools[0].backends[1].weight: must be worth one of the pool's 64 slots, and 1 of ` +
				`1101 in all is worth less: raise it, or slots`}},
		{"backend name twice", "name: web2", "name: web1",
			[]string{`f:10: pools[0].backends[1].name: must be unique, "web1" is the name of pools[0].backends[0] ` +
				`(line 9) too`}},
		{"backend address twice", "10.0.0.12", "10.0.0.11",
			[]string{`f:10: pools[0].backends[1].address: must be unique in its pool, 10.0.0.11 is the address of ` +
				`pools[0].backends[0] (line 9) too`}},
		{"backend MAC twice", "00:00:12", "00:00:11", []string{`f:10: pools[0].backends[1].mac: must be unique in ` +
			`its pool, 02:00:00:00:00:11 is the MAC of pools[0].backends[0] (line 9) too: to send one server more, ` +
			`give it a greater weight`}},
		{"backend MAC multicast", `"02:00:00:00:00:12"`, "01:00:5e:00:00:12",
			[]string{`f:10: pools[0].backends[1].mac: must be the MAC address of one station (an even first byte), ` +
				`is the group address 01:00:5e:00:00:12`}},
		{"backend MAC zero", "02:00:00:00:00:12", "00:00:00:00:00:00",
			[]string{`f:10: pools[0].backends[1].mac: must be a MAC address that is not zero`}},
		{"backend MAC malformed", "02:00:00:00:00:12", "02-00-00-00-00-12",
			[]string{`f:10: pools[0].backends[1].mac: must be a MAC address such as 02:53:4c:00:00:01, is ` +
				`"02-00-00-00-00-12"`}},
		{"backend MAC is the VIPs'", "02:00:00:00:00:12", "02:53:4c:00:00:01",
			[]string{
				`f:10: pools[0].backends[1].mac: must be the server's own, 02:53:4c:00:00:01 is vip_mac (line 3)`}},
		{"backend MAC is one VIP's own", "pool: web}", `pool: web, mac: "02:00:00:00:00:12"}`,
			[]string{`f:10: pools[0].backends[1].mac: must be the server's own, 02:00:00:00:00:12 is vips[0].mac ` +
				`(line 12)`}},
		{"backend port out of range", "switch_port: 2", "switch_port: 0",
			[]string{`f:10: pools[0].backends[1].switch_port: must be 1..509, is 0`}},
		{"backend on a port that is not there", "switch_port: 2", "switch_port: 7",
			[]string{
				`f:10: pools[0].backends[1].switch_port: must be one of the ports of switch leaf1, 1, 2, 3, is 7`}},
		{"a port by a name that is not there", "switch_port: 2", "switch_port: eth9", []string{
			`f:10: pools[0].backends[1].switch_port: must be one of the ports of switch leaf1, 1, 2, 3, is "eth9"`}},
		{"a port by a name that is none", "switch_port: 2", "switch_port: \"eth 9\"", []string{
			`f:10: pools[0].backends[1].switch_port: must be 1..509, or the name that the switch has for it: ` +
				`1..63 letters, digits, ".", "_", ":", "/" or "-", is "eth 9"`}},
		{"a port with a sign", "switch_port: 2", "switch_port: +2",
			[]string{`f:10: pools[0].backends[1].switch_port: must be 1..509, is +2`}},
		{"a named port twice", "ports: [3", "ports: [eth9, eth9, 3",
			[]string{`f:2: switches[0].ports[1]: must be unique, eth9 is in the list before`}},
		{"one port by switch", "switch_port: 2", "switch_port: {leaf1: 2}", nil},
		{"ports of switches", "switch_port: 2", "switch_port: {leaf1: 7, leaf9: 2, leaf1: 3, leaf2: x}", []string{
			`f:10: pools[0].backends[1].switch_port.leaf1: is given twice: first on line 10`,
			`f:10: pools[0].backends[1].switch_port.leaf1: must be one of the ports of switch leaf1, 1, 2, 3, is 7`,
			`f:10: pools[0].backends[1].switch_port.leaf9: is not the name of a switch: must be one of leaf1`,
			`f:10: pools[0].backends[1].switch_port.leaf2: is not the name of a switch: must be one of leaf1`}},
		{"a port of a switch out of range", "switch_port: 2", "switch_port: {leaf1: 510}",
			[]string{`f:10: pools[0].backends[1].switch_port.leaf1: must be 1..509, is 510`}},
		{"ports of no switch", "switch_port: 2", "switch_port: {}", []string{
			`f:10: pools[0].backends[1].switch_port: must be a port, or a set of switches (leaf1) with a port each, ` +
				`is empty`}},
		{"a list of ports", "switch_port: 2", "switch_port: [2]", []string{
			`f:10: pools[0].backends[1].switch_port: must be one value, or a set of names with a value each, ` +
				`is a list`}},
		{"IPv6 backend", "10.0.0.12", "\"2001:db8::12\"",
			[]string{`f:10: pools[0].backends[1].address: must be an IPv4 address, is "2001:db8::12": IPv6 is not ` +
				`supported yet`}},
		{"loopback backend", "10.0.0.12", "127.0.0.1",
			[]string{`f:10: pools[0].backends[1].address: must be the address of a host, is 127.0.0.1`}},
		{"not an address", "10.0.0.12", "10.0.0.012",
			[]string{
				`f:10: pools[0].backends[1].address: must be an IPv4 address such as 10.0.0.100, is "10.0.0.012"`}},
		{"port translation", web2,
			`{name: web2, address: 10.0.0.12, mac: "02:00:00:00:00:12", switch_port: 2, port: 8080}`,
			[]string{`f:10: pools[0].backends[1].port: must be 80, the port of the VIP, or be left out, is 8080: ` +
				`Direct Server Return leaves the packet as the client sent it, so the port cannot be translated`}},
		{"the same port", "weight: 50", "port: 80", nil},
		{"a port, and VIPs with several", "weight: 50}\nvips:",
			"port: 80}\nvips:\n  - {name: alt, address: 10.0.0.101, port: 8080, pool: web}",
			[]string{`f:10: pools[0].backends[1].port: must be left out, is 80: the pool's VIPs have the ports 80, ` +
				`8080, and Direct Server Return leaves the packet as the client sent it, so the port cannot be ` +
				`translated`,
				`f:7: pools[0].checks[0].port: is missing, and the pool's VIPs have several ports (80, 8080): must ` +
					`be 1..65535`}},
		{"no backends", "pools:\n", "pools:\n  - {name: none, backends: []}\n",
			[]string{`f:5: pools[0].backends: must name at least one backend`}},
		{"one machine, two MACs", "\nvips:", fmt.Sprintf(secondPool, "10.0.0.11", "02:00:00:00:00:13", 1),
			[]string{`f:11: pools[1].backends[0].mac: must be 02:00:00:00:00:11, the MAC that pools[0].backends[0] ` +
				`(line 9) gives for 10.0.0.11, is 02:00:00:00:00:13`}},
		{"one MAC, two ports", "\nvips:", fmt.Sprintf(secondPool, "10.0.0.11", "02:00:00:00:00:11", 2),
			[]string{`f:11: pools[1].backends[0].switch_port: must be 1, the port that pools[0].backends[0] (line 9) ` +
				`gives for 02:00:00:00:00:11, is 2`}},
		{"one MAC, another port of one switch", "\nvips:",
			strings.Replace(fmt.Sprintf(secondPool, "10.0.0.11", "02:00:00:00:00:11", 2), "switch_port: 2",
				"switch_port: {leaf1: 2}", 1),
			[]string{`f:11: pools[1].backends[0].switch_port: must be 1, the port that pools[0].backends[0] (line 9) ` +
				`gives for 02:00:00:00:00:11, is {leaf1: 2}`}},
		{"one MAC, the same port written otherwise", "\nvips:",
			strings.Replace(fmt.Sprintf(secondPool, "10.0.0.11", "02:00:00:00:00:11", 1), "switch_port: 1",
				"switch_port: {leaf1: 1}", 1), nil},
		{"a station's ports of switches", "pools:",
			"stations:\n  - {name: r, mac: \"02:00:00:00:00:01\", switch_port: {leaf2: 1}}\npools:", []string{
				`f:5: stations[0].switch_port.leaf2: is not the name of a switch: must be one of leaf1`}},
		{"one machine in two pools", "\nvips:", fmt.Sprintf(secondPool, "10.0.0.11", "02:00:00:00:00:11", 1), nil},

		{"check type", "type: http", "type: ping",
			[]string{`f:7: pools[0].checks[0].type: must be tcp, http, https or icmp, is "ping"`}},
		{"check path", "path: /healthz", "path: healthz",
			[]string{`f:7: pools[0].checks[0].path: must be the path of a URL, such as /healthz, is "healthz"`}},
		{"check host", "path: /healthz", "host: a/b",
			[]string{`f:7: pools[0].checks[0].host: must be a host name, such as www.example.com, is "a/b"`}},
		{"check path that no request can carry", "path: /healthz", `path: "/health z?x=ä", host: bücher.example`,
			[]string{
				`f:7: pools[0].checks[0].path: must have a query of printable ASCII without spaces, such as ` +
					`?site=a%20b, is "/health z?x=ä"`,
				`f:7: pools[0].checks[0].host: must be a host name in ASCII, such as www.example.com or ` +
					`xn--bcher-kva.example, is "bücher.example"`}},
		{"check path with a line end", "path: /healthz", `path: "/a\r\nX: y"`,
			[]string{`f:7: pools[0].checks[0].path: must be the path of a URL, such as /healthz, is "/a\r\nX: y"`}},
		{"check path to be escaped", "path: /healthz", "path: /is it/ä, host: '2001:db8::1'", nil},
		{"check host is none", "path: /healthz", `host: "a..b:0"`,
			[]string{`f:7: pools[0].checks[0].host: must be a host name, such as www.example.com, is "a..b:0"`}},
		{"too many checks", "path: /healthz", "path: /healthz" + strings.Repeat("}\n      - {type: tcp", 32),
			[]string{`f:6: pools[0].checks: must have at most 32 checks, has 33`}},
		{"check timeout over interval", "path: /healthz", "interval: 1s, timeout: 3s",
			[]string{`f:7: pools[0].checks[0].timeout: must be at most interval, 1s, is 3s`}},
		{"check fast interval over interval", "path: /healthz", "interval: 1s, fast_interval: 1m",
			[]string{`f:7: pools[0].checks[0].fast_interval: must be at most interval, 1s, is 1m`}},
		{"check interval zero", "path: /healthz", "interval: 0s, rise: 0, fall: -1", []string{
			`f:7: pools[0].checks[0].interval: must be 10ms..1h, is 0s`,
			`f:7: pools[0].checks[0].rise: must be 1..100, is 0`,
			`f:7: pools[0].checks[0].fall: must be 1..100, is -1`}},
		{"check jitter", "path: /healthz", "interval: 1s, jitter: 2s",
			[]string{`f:7: pools[0].checks[0].jitter: must be at most interval, 1s, is 2s`}},
		{"check statuses", "path: /healthz", "expect_status: [20, 299-200, ok, 600, 1xx]", []string{
			`f:7: pools[0].checks[0].expect_status[0]: must be a status, 200..599, or a range of them such as ` +
				`200-299, is "20"`,
			`f:7: pools[0].checks[0].expect_status[1]: must be a status, 200..599, or a range of them such as ` +
				`200-299, is "299-200"`,
			`f:7: pools[0].checks[0].expect_status[2]: must be a status, 200..599, or a range of them such as ` +
				`200-299, is "ok"`,
			`f:7: pools[0].checks[0].expect_status[3]: must be a status, 200..599, or a range of them such as ` +
				`200-299, is "600"`,
			`f:7: pools[0].checks[0].expect_status[4]: must be a status, 200..599, or a range of them such as ` +
				`200-299, is "1xx"`}},
		{"no check statuses", "path: /healthz", "expect_status: []",
			[]string{`f:7: pools[0].checks[0].expect_status: must have at least one status`}},
		{"check statuses by the hundred", "path: /healthz", "expect_status: [" + strings.Repeat("200, ", 400) + "200]",
			[]string{`f:7: pools[0].checks[0].expect_status: must have at most 400 elements, has 401`}},
		{"check keys of another type", "type: http, path: /healthz",
			"type: icmp, path: /, port: 7, verify_certificate: true", []string{
				`f:7: pools[0].checks[0].port: must be left out of icmp checks: ICMP has no ports`,
				`f:7: pools[0].checks[0].path: must be left out of icmp checks: it is for http and https`,
				`f:7: pools[0].checks[0].verify_certificate: must be left out of icmp checks: it is for https`}},
		{"check port", "path: /healthz", "port: 0", []string{`f:7: pools[0].checks[0].port: must be 1..65535, is 0`}},
		{"check port of two VIPs", "vips:", "vips:\n  - {name: tls, address: 10.0.0.100, port: 443, pool: web}",
			[]string{`f:7: pools[0].checks[0].port: is missing, and the pool's VIPs have several ports (80, 443): ` +
				`must be 1..65535`}},

		{"VIP twice", "vips:", "vips:\n  - {name: www, address: 10.0.0.100, port: 80, pool: web}", []string{
			`f:13: vips[1].name: must be unique, "www" is the name of vips[0] (line 12) too`,
			`f:13: vips[1].address: must be unique together with protocol and port, 10.0.0.100 tcp 80 is vips[0] ` +
				`(line 12) too`}},
		{"VIP of an unknown pool", "pool: web}", "pool: wbe}", []string{
			`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
				`1..65535`,
			`f:12: vips[0].pool: must be the name of a pool (web), is "wbe"`}},
		{"VIP with a backend's address", "10.0.0.100", "10.0.0.12",
			[]string{`f:12: vips[0].address: must not be a backend's own address, 10.0.0.12 is that of ` +
				`pools[0].backends[1] (line 10)`}},
		{"IPv6 VIP", "10.0.0.100", "\"2001:db8::1\"",
			[]string{`f:12: vips[0].address: must be an IPv4 address, is "2001:db8::1": IPv6 is not supported yet`}},
		{"multicast VIP", "10.0.0.100", "224.0.0.1",
			[]string{`f:12: vips[0].address: must be the address of a host, is 224.0.0.1`}},
		{"UDP", "pool: web}", "pool: web, protocol: udp}",
			[]string{`f:12: vips[0].protocol: must be tcp, is udp, which is not supported yet`}},
		{"unknown protocol", "pool: web}", "pool: web, protocol: tpc}",
			[]string{`f:12: vips[0].protocol: must be tcp, is "tpc"`}},
		{"any port", "port: 80", "port: any",
			[]string{`f:12: vips[0].port: must be 1..65535, is any, which is not supported yet`,
				`f:7: pools[0].checks[0].port: is missing, and no VIP uses the pool whose port it could be: must be ` +
					`1..65535`}},
		{"port out of range", "path: /healthz", "port: 65536",
			[]string{`f:7: pools[0].checks[0].port: must be 1..65535, is 65536`}},
		{"L7 persistence", "pool: web}", "pool: web, persistence: cookie}",
			[]string{`f:12: vips[0].persistence: must be none, is "cookie": under Direct Server Return the balancer ` +
				`never sees a reply and reads no request beyond addresses and ports, so it cannot know cookies, ` +
				`URLs, headers or TLS sessions`}},
		{"source persistence", "pool: web}", "pool: web, persistence: source_ip}",
			[]string{`f:12: vips[0].persistence: must be none, is "source_ip": persistence by source address is not ` +
				`supported yet`}},
		{"tags and capacity", "pool: web}", "pool: web, tags: [shop, shop.tls], capacity: 1000000000}", nil},
		{"tags that are none", "pool: web}", "pool: web, tags: [shop, a b, shop, \"\"]}", []string{
			`f:12: vips[0].tags[1]: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a ` +
				`digit, is "a b"`,
			`f:12: vips[0].tags[2]: must be unique, shop is in the list before`,
			`f:12: vips[0].tags[3]: must be 1..63 letters, digits, ".", "_" or "-", the first one a letter or a ` +
				`digit, is ""`}},
		{"too many tags", "pool: web}", "pool: web, tags: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]}",
			[]string{`f:12: vips[0].tags: must be at most 16, are 17`}},
		{"one tag as text", "pool: web}", "pool: web, tags: shop}",
			[]string{`f:12: vips[0].tags: must be a list, is "shop"`}},
		{"no capacity at all", "pool: web}", "pool: web, capacity: 0}",
			[]string{`f:12: vips[0].capacity: must be 1..1000000000, is 0`}},
		{"too much capacity", "pool: web}", "pool: web, capacity: 1000000001}",
			[]string{`f:12: vips[0].capacity: must be 1..1000000000, is 1000000001`}},
		{"no persistence", "pool: web}", "pool: web, persistence: none}", nil},
		{"a router", "pools:", router1 + "pools:", nil},
		{"no stations", "pools:", "stations: []\npools:", nil},
		{"station without keys", "pools:", "stations: [{}]\npools:", []string{
			`f:4: stations[0].name: is missing`, `f:4: stations[0].mac: is missing`,
			`f:4: stations[0].switch_port: is missing`}},
		{"station twice", "pools:", router1 + "  - {name: router1, mac: \"02:00:00:00:00:01\", switch_port: 3}\npools:",
			[]string{
				`f:6: stations[1].name: must be unique, "router1" is the name of stations[0] (line 5) too`,
				`f:6: stations[1].mac: must be unique, 02:00:00:00:00:01 is the MAC of stations[0] (line 5) too`}},
		{"station at a port that is not there", "pools:",
			"stations:\n  - {name: r, mac: \"02:00:00:00:00:01\", switch_port: 4}\npools:", []string{
				`f:5: stations[0].switch_port: must be one of the ports of switch leaf1, 1, 2, 3, is 4`}},
		{"station with the VIPs' MAC", "pools:", "stations:\n  - {name: r, mac: \"02:53:4c:00:00:01\", switch_port: " +
			"3}\npools:", []string{
			`f:5: stations[0].mac: must be the station's own, 02:53:4c:00:00:01 is vip_mac (line 3)`}},
		{"station that is a backend", "pools:", "stations:\n  - {name: r, mac: \"02:00:00:00:00:12\", switch_port: " +
			"2}\npools:", []string{
			`f:5: stations[0].mac: must not be a backend's, 02:00:00:00:00:12 is that of pools[0].backends[1] (line ` +
				`12): backends keep their port without being named here`}},
		{"station's addresses", "pools:", "stations:\n  - {name: r, mac: \"02:00:00:00:00:01\", switch_port: 3, " +
			"addresses: [10.0.0.1, 10.0.0.1, 10.0.0.11, 10.0.0.100, router]}\npools:", []string{
			`f:5: stations[0].addresses[1]: must be unique, 10.0.0.1 is that of stations[0] (line 5) too`,
			`f:5: stations[0].addresses[2]: must not be a backend's, 10.0.0.11 is that of pools[0].backends[0] ` +
				`(line 11)`,
			`f:5: stations[0].addresses[3]: must be the station's own, 10.0.0.100 is vips[0].address (line 14)`,
			`f:5: stations[0].addresses[4]: must be an IPv4 address such as 10.0.0.100, is "router"`}},
		{"station with a group address", "pools:",
			"stations:\n  - {name: r, mac: \"03:00:00:00:00:12\", switch_port: 2}\npools:", []string{
				`f:5: stations[0].mac: must be the MAC address of one station (an even first byte), is the group ` +
					`address 03:00:00:00:00:12`}},
		{"one address, two MACs", "vips:", "vips:\n  - {name: tls, address: 10.0.0.100, port: 80, pool: web, mac: " +
			"\"02:53:4c:00:00:02\", protocol: udp}", []string{
			`f:12: vips[0].protocol: must be tcp, is udp, which is not supported yet`,
			`f:13: vips[1].address: must have the MAC that vips[0] (line 12) has for 10.0.0.100, 02:53:4c:00:00:02, ` +
				`has 02:53:4c:00:00:01: an address has one MAC`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data := tt.new
			if tt.old != "" {
				if strings.Count(valid, tt.old) != 1 && tt.old != "vips:" {
					t.Fatalf("%q is not once in the valid file", tt.old)
				}
				data = strings.Replace(valid, tt.old, tt.new, 1)
			}
			intent, err := Parse("f", []byte(data))
			if (intent == nil) != (err != nil) {
				t.Fatalf("Parse = %v, %v: want one of the two", intent, err)
			}
			var got []string
			for _, p := range strict.Problems(err) {
				got = append(got, p.Error())
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// A bad value hides no other, be it before or after, deeper or higher.
func TestParseReportsAllAtOnce(t *testing.T) {
	const file = `switches:
  - {name: leaf1, address: nowhere, device_id: one, ports: [1, x!]}
vip_mac: 02:53
pools:
  - name: web
    slots: many
    colour: red
    checks: [{type: http, port: 0, interval: 1}]
    backends:
      - {name: web1, address: 10.0.0.256, mac: "01:00:00:00:00:11", switch_port: 0, weight: 1001}
vips:
  - {name: www, address: 10.0.0.100, port: 0, pool: wbe}
`
	_, err := Parse("sluice.yaml", []byte(file))
	want := `sluice.yaml:2: switches[0].device_id: must be a whole number, is "one"
sluice.yaml:2: switches[0].address: must be https://host:port, host:port such as 127.0.0.1:9559, the port 1..65535, or unix:/path, is "nowhere"
sluice.yaml:2: switches[0].ports[1]: must be 1..509, or the name that the switch has for it: 1..63 letters, digits, ".", "_", ":", "/" or "-", is "x!"
sluice.yaml:3: vip_mac: must be a MAC address such as 02:53:4c:00:00:01, is "02:53"
sluice.yaml:6: pools[0].slots: must be a whole number, is "many"
sluice.yaml:7: pools[0].colour: is not a known key: must be one of name, slots, drain_idle, drain_limit, all_down, grace, floor_percent, floor_within, failing, checks, backends
sluice.yaml:8: pools[0].checks[0].interval: must be a duration with its unit, such as 500ms or 2s, is "1"
sluice.yaml:8: pools[0].checks[0].port: must be 1..65535, is 0
sluice.yaml:10: pools[0].backends[0].address: must be an IPv4 address such as 10.0.0.100, is "10.0.0.256"
sluice.yaml:10: pools[0].backends[0].mac: must be the MAC address of one station (an even first byte), is the group address 01:00:00:00:00:11
sluice.yaml:10: pools[0].backends[0].switch_port: must be 1..509, is 0
sluice.yaml:10: pools[0].backends[0].weight: must be 1..1000, is 1001
sluice.yaml:12: vips[0].port: must be 1..65535, is "0"
sluice.yaml:12: vips[0].pool: must be the name of a pool (web), is "wbe"`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseRefusesWhatNoSwitchHolds(t *testing.T) {
	var file strings.Builder
	file.WriteString("switches: [{name: s, address: \"s:1\", device_id: 1, ports: [1]}]\nvip_mac: 02:53:4c:00:00:01\n" +
		"pools:\n")
	for i := range 8 {
		fmt.Fprintf(&file, "- {name: p%d, slots: 65536, backends: [{name: b, address: 10.0.0.%d, mac: "+
			"\"02:00:00:00:00:%02x\", switch_port: 1}]}\n", i, i, i)
	}
	file.WriteString("vips:\n")
	for i := range maxVIPs + 1 {
		fmt.Fprintf(&file, "- {name: v%d, address: 10.1.%d.%d, port: 80, pool: p0}\n", i, i/256, i%256)
	}
	_, err := Parse("f", []byte(file.String()))
	want := `f:3: pools: must have at most 524288 slots together, counting the largest pool twice (to change its slots takes room for both tables), have 589824: a switch holds no more
f:12: vips: must be at most 8192, are 8193: a switch holds no more`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseRefusesTooManyBackends(t *testing.T) {
	var file strings.Builder
	file.WriteString("switches: [{name: s, address: \"s:1\", device_id: 1, ports: [1]}]\nvip_mac: 02:53:4c:00:00:01\n" +
		"pools:\n  - name: p\n    slots: 32768\n    backends:\n")
	for i := range maxBackends {
		fmt.Fprintf(&file, "    - {name: b%d, address: 10.1.%d.%d, mac: \"02:00:00:00:%02x:%02x\", switch_port: 1}\n",
			i, i/256, i%256, i/256, i%256)
	}
	if _, err := Parse("f", []byte(file.String())); err != nil {
		t.Errorf("as many as a switch holds: %v", err)
	}
	file.WriteString("    - {name: more, address: 10.2.0.1, mac: \"02:00:00:01:00:01\", switch_port: 1}\n")
	_, err := Parse("f", []byte(file.String()))
	want := "f:3: pools: must have at most 16384 backends together, have 16385: a switch holds no more"
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseRefusesTooManyChecks(t *testing.T) {
	file := func(pools, checks, backends int) string {
		var b strings.Builder
		b.WriteString("switches: [{name: s, address: \"s:1\", device_id: 1, ports: [1]}]\n" +
			"vip_mac: 02:53:4c:00:00:01\npools:\n")
		for p := range pools {
			fmt.Fprintf(&b, "  - {name: p%d, slots: 512, checks: [%s], backends: [", p,
				strings.Repeat("{type: icmp}, ", checks))
			for i := range backends {
				n := p*backends + i
				fmt.Fprintf(&b, "{name: b%d, address: 10.%d.%d.%d, mac: \"02:00:00:%02x:%02x:%02x\", switch_port: 1}, ",
					i, 1+n>>16, n>>8&255, n&255, n>>16, n>>8&255, n&255)
			}
			b.WriteString("]}\n")
		}
		return b.String()
	}
	for _, tt := range []struct {
		pools, checks, backends int
		want                    string
	}{
		{256, 32, 1, "<nil>"},
		{257, 32, 1, "f:3: pools: must have at most 8192 checks together, have 8224"},
		{16, 32, 512, "<nil>"},
		{17, 32, 512, "f:3: pools: must have at most 262144 checks of backends together, each check of a pool times " +
			"each of its backends, " +
			"have 278528: healthd takes no more"},
	} {
		if _, err := Parse("f", []byte(file(tt.pools, tt.checks, tt.backends))); fmt.Sprint(err) != tt.want {
			t.Errorf("%d pools, %d checks, %d backends: %v, want %s", tt.pools, tt.checks, tt.backends, err, tt.want)
		}
	}
}

// The words that others read of all VIPs have room for them.
func TestWordsHaveRoomForAllVIPs(t *testing.T) {
	if api.MaxVIPs != maxVIPs {
		t.Errorf("a word has room for %d VIPs, an intent for %d", api.MaxVIPs, maxVIPs)
	}
}

// What an intent may pin: backends, stations, and the MACs of VIPs. vip_mac is one more, and the rest of the tables is
// for backends and MACs of VIPs that have just left the intent.
func TestPinnedStationsHaveRoom(t *testing.T) {
	if most := 2*maxBackends + maxVIPs + 1 + maxStations; most > limits.PinnedSize*7/8 {
		t.Errorf("%d stations can be pinned, the pipeline has %d rows", most, limits.PinnedSize)
	}
}

func reference(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("reference.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReferenceParses(t *testing.T) {
	intent, err := Parse("reference.yaml", reference(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(intent.VIPs); got != 1 {
		t.Fatalf("the reference has %d VIPs, want 1", got)
	}
	want := []Station{{Name: "router1", MAC: mac(t, "02:00:00:00:00:01"), SwitchPort: SwitchPorts{All: 1},
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}}}
	if diff := cmp.Diff(want, intent.Stations, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("the reference's stations (-want +got):\n%s", diff)
	}
	if v := intent.VIPs[0]; v.Capacity != 200000 || !slices.Equal(v.Tags, []string{"shop"}) {
		t.Errorf("the reference's VIP has capacity %d and tags %q", v.Capacity, v.Tags)
	}
}

func TestReferenceNamesEveryKey(t *testing.T) {
	if missing := strict.Missing(reference(t), rawIntent{}); len(missing) > 0 {
		t.Errorf("reference.yaml lacks %s", strings.Join(missing, ", "))
	}
}

// The defaults that the reference states in brackets are those of the code.
func TestReferenceDefaults(t *testing.T) {
	text := string(reference(t))
	for key, want := range map[string]string{
		"slots": fmt.Sprint(defaultSlots), "drain_idle": "60s",
		"drain_limit": "0s: none", "all_down": string(Drop),
		"grace": "3 intervals of the checks, 5s at least", "floor_percent": fmt.Sprint(defaultFloorPercent),
		"floor_within": strict.Short(defaultFloorWithin), "failing": string(FailingDrain),
		"interval":      strict.Short(defaultInterval),
		"fast_interval": strict.Short(defaultFastInterval) + ", or interval",
		"timeout":       strict.Short(defaultTimeout) + ", or interval",
		"rise":          fmt.Sprint(defaultRise), "fall": fmt.Sprint(defaultFall), "weight": fmt.Sprint(defaultWeight),
	} {
		line := text[strings.Index(text, " "+key+": "):]
		line, _, _ = strings.Cut(line, "\n")
		if !strings.Contains(line, "["+want+"]") {
			t.Errorf("%s: the reference says %q, the default is %s", key, line, want)
		}
	}
}

// FuzzParse: whatever the file holds, Parse returns an intent or problems with a place, and never both.
func FuzzParse(f *testing.F) {
	f.Add([]byte(valid))
	f.Add(reference(f))
	for _, seed := range []string{"", "a: &a [*a]", "? {a: b}\n: c", "---\n---\n", "pools: [{name: !!binary aGk=}]",
		"\x00", "%YAML 3.0\n---\n", "<<: {}", "vips: [{port: 1e3}]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		intent, err := Parse("f", data)
		if err == nil {
			if intent == nil {
				t.Fatal("neither intent nor error")
			}
			return
		}
		if intent != nil {
			t.Fatalf("an intent in spite of %v", err)
		}
		problems := strict.Problems(err)
		if len(problems) == 0 {
			t.Fatalf("no problem in %v", err)
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data),
			"\u2028") +
			strings.Count(string(data), "\u2029") + strings.Count(string(data), "\u0085") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+1 || p.Message == "" {
				t.Errorf("%v has no place in a file of %d lines", p, lines)
			}
		}
	})
}
