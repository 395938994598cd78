package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/internal/strict"
)

// valid is what most tests change one thing of.
const valid = `server:
  listen: ["192.0.2.53", "[2001:db8::53]:5353"]
regions: [{name: europe}]
data_centers:
  - {name: berlin, region: europe, controller: "http://127.0.0.1:9680"}
owners: [{name: web}]
source_lists:
  - {name: near, owner: web, prefixes: [192.0.2.0/24, 198.51.100.7, "2001:db8::/32"]}
domain_lists:
  - {name: www, owner: web, domains: [WWW.example.com, "*.app.example.com."], expressions: ['^img[0-9]+\.example\.com$']}
  - {name: dns, domains: [other.example.com]}
  - {name: cdn, domains: [cdn.example.com]}
keepalives:
  - {name: edge, kind: tcp, address: 192.0.2.10, port: 443}
answers:
  - {name: a1, kind: vip, owner: web, data_center: berlin, ipv4: 192.0.2.1, ipv6: "2001:db8::1", controller_vip: www, keepalives: [{shared: edge}, {kind: icmp}]}
  - {name: a2, kind: vip, ipv4: 192.0.2.2, keepalives: [{kind: tcp, address: 192.0.2.10, port: 443}, {kind: load_report, address: 192.0.2.250, key: 0123456789abcdef}]}
  - {name: c1, kind: cname, target: CDN.example.net}
  - {name: n1, kind: name_server, servers: [192.0.2.54, "[2001:db8::54]:5354"]}
groups:
  - {name: vips, owner: web, members: [{answer: a1, order: 20, load_threshold: 200}, {answer: a2, order: 10, weight: 3}]}
  - {name: names, members: [{answer: c1}]}
  - {name: servers, members: [{answer: n1}]}
rules:
  - name: r1
    owner: web
    sources: near
    domains: www
    clauses:
      - {group: vips, balance: least_loaded, count: 2}
      - {group: vips}
  - {name: r2, domains: dns, ttl: 60, clauses: [{group: servers, balance: ordered}], all_down: forward, forward: [192.0.2.55], unknown: up}
  - {name: r3, domains: cdn, clauses: [{group: names}], client_subnet: true, sticky: {by: domain_list, inactivity: 5m}}
zones:
  - name: example.com
    records:
      - {name: "@", type: SOA, data: ns1 hostmaster 1 7200 900 1209600 300}
      - {name: "@", type: NS, data: ns1}
      - {name: ns1, type: A, ttl: 60, data: 192.0.2.53}
  - {name: sub.example.com, soa_from: [192.0.2.54]}
`

var equate = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}),
	cmp.Transformer("expression", func(r *regexp.Regexp) string {
		if r == nil {
			return ""
		}
		return r.String()
	}),
	cmp.Transformer("record", func(rr dns.RR) string { return rr.String() }),
}

func parsed(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestParse(t *testing.T) {
	addr, endpoint, prefix := netip.MustParseAddr, netip.MustParseAddrPort, netip.MustParsePrefix
	standard := Timing{Interval: 40 * time.Second, Timeout: 20 * time.Second, Successes: 1, Failures: 1}
	want := &Config{
		Server: Server{
			Listen: []netip.AddrPort{endpoint("192.0.2.53:53"), endpoint("[2001:db8::53]:5353")}, UDPSize: 1232,
			RateLimit: RateLimit{Window: 15 * time.Second, Slip: 2},
			TCP: TCPLimits{Connections: 1000, PerClient: 100, Idle: 10 * time.Second, Query: 5 * time.Second,
				Pipeline: 64},
			Mitigation: Mitigation{Responses: true, PrivilegedPorts: true},
			Reload:     Reload{Watch: true, Settle: 10 * time.Second, MaxLoss: 20},
			NoMatch:    NoMatchRefused, ForwardTimeout: time.Second, ForwardMax: 1000,
		},
		Regions:     []Region{{"europe"}},
		Owners:      []Owner{{"web"}},
		DataCenters: []DataCenter{{Name: "berlin", Region: 0, Controller: "http://127.0.0.1:9680"}},
		SourceLists: []SourceList{
			{Name: "anywhere", Owner: None, Prefixes: []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}},
			{Name: "near", Owner: 0, Prefixes: []netip.Prefix{prefix("192.0.2.0/24"), prefix("198.51.100.7/32"),
				prefix("2001:db8::/32")}},
		},
		DomainLists: []DomainList{
			{Name: "www", Owner: 0, Domains: []Domain{{Name: "www.example.com."}, {Name: "*.app.example.com."},
				{Regexp: regexp.MustCompilePOSIX(`^img[0-9]+\.example\.com$`)}}},
			{Name: "dns", Owner: None, Domains: []Domain{{Name: "other.example.com."}}},
			{Name: "cdn", Owner: None, Domains: []Domain{{Name: "cdn.example.com."}}},
		},
		Keepalives: []Keepalive{
			{Name: "edge", Kind: TCP, Address: endpoint("192.0.2.10:443"), Timing: standard},
			{Kind: ICMP, Address: endpoint("192.0.2.1:0"), Timing: standard},
			{Kind: ICMP, Address: endpoint("[2001:db8::1]:0"), Timing: standard},
			{Kind: LoadReport, Address: endpoint("192.0.2.250:9681"), VIP: endpoint("192.0.2.2:0"),
				Key: []byte("0123456789abcdef"), Timing: standard},
		},
		Answers: []Answer{
			{Name: "a1", Kind: VIP, Owner: 0, DataCenter: 0, IPv4: addr("192.0.2.1"), IPv6: addr("2001:db8::1"),
				Keepalives: []int{0, 1, 2}, ControllerVIP: "www"},
			{Name: "a2", Kind: VIP, Owner: None, DataCenter: None, IPv4: addr("192.0.2.2"), Keepalives: []int{0, 3}},
			{Name: "c1", Kind: CNAME, Owner: None, DataCenter: None, Target: "cdn.example.net."},
			{Name: "n1", Kind: NameServer, Owner: None, DataCenter: None,
				Servers: []netip.AddrPort{endpoint("192.0.2.54:53"), endpoint("[2001:db8::54]:5354")}},
		},
		Groups: []Group{
			{Name: "vips", Owner: 0, Kind: VIP, Members: []Member{{Answer: 1, Order: 10, Weight: 3},
				{Answer: 0, Order: 20, Weight: 1, LoadThreshold: 200}}},
			{Name: "names", Owner: None, Kind: CNAME, Members: []Member{{Answer: 2, Order: 1, Weight: 1}}},
			{Name: "servers", Owner: None, Kind: NameServer, Members: []Member{{Answer: 3, Order: 1, Weight: 1}}},
		},
		Rules: []Rule{
			{Name: "r1", Owner: 0, Sources: 1, Domains: 0, TTL: 20, Unknown: Wait, MaxWait: 2 * time.Second,
				Prefix4: 32, Prefix6: 128, Clauses: []Clause{
					{Group: 0, Balance: LeastLoaded, Count: 2, AllDown: NextClause},
					{Group: 0, Balance: RoundRobin, Count: 1, AllDown: AllAnswers}}},
			{Name: "r2", Owner: None, Domains: 1, TTL: 60, Unknown: AsUp, Prefix4: 32, Prefix6: 128,
				Forward: []netip.AddrPort{endpoint("192.0.2.55:53")},
				Clauses: []Clause{{Group: 2, Balance: Ordered, Count: 1, AllDown: Forward}}},
			{Name: "r3", Owner: None, Domains: 2, TTL: 20, Unknown: Wait, MaxWait: 2 * time.Second, ClientSubnet: true,
				Prefix4: 24, Prefix6: 56,
				Sticky:  Sticky{StickyDomainList, 5 * time.Minute},
				Clauses: []Clause{{Group: 1, Balance: RoundRobin, Count: 1, AllDown: AllAnswers}}},
		},
		Zones: []Zone{
			{Name: "sub.example.com.", Records: []dns.RR{}, SOAFrom: []netip.AddrPort{endpoint("192.0.2.54:53")}},
			{Name: "example.com.", Records: []dns.RR{
				parsed(t, "example.com. 3600 IN SOA ns1.example.com. hostmaster.example.com. 1 7200 900 1209600 300"),
				parsed(t, "example.com. 3600 IN NS ns1.example.com."),
				parsed(t, "ns1.example.com. 60 IN A 192.0.2.53"),
			}},
		},
	}
	got, err := Parse("gslb.yaml", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, equate); diff != "" {
		t.Errorf("Parse (-want +got):\n%s", diff)
	}
}

// Whatever is left out of a file has a value that serves.
func TestParseDefaults(t *testing.T) {
	c, err := Parse("f", []byte("server: {}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.SourceLists) != 1 || c.Server.UDPSize != 1232 || c.Server.Listen != nil {
		t.Errorf("Parse = %+v", c)
	}
}

// change is a change of valid, and what Parse says of it.
type change struct {
	name     string
	old, new string // old is once in valid; empty: new is the file
	want     []string
}

func testChanges(t *testing.T, changes []change) {
	t.Helper()
	for _, tt := range changes {
		t.Run(tt.name, func(t *testing.T) {
			data := tt.new
			if tt.old != "" {
				if n := strings.Count(valid, tt.old); n != 1 {
					t.Fatalf("%q is %d times in the valid file, want once", tt.old, n)
				}
				data = strings.Replace(valid, tt.old, tt.new, 1)
			}
			c, err := Parse("f", []byte(data))
			if (c == nil) != (err != nil) {
				t.Fatalf("Parse = %v, %v: want one of the two", c, err)
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

func TestParseFiles(t *testing.T) {
	testChanges(t, []change{
		{"empty file", "", "", []string{"f:1: is empty"}},
		{"unknown key", "regions:", "region:", []string{"f:3: region: is not a known key: did you mean regions?",
			`f:5: data_centers[0].region: must be the name of a region (there is none), is "europe"`}},
		{"duplicate key", "owners: [{name: web}]", "owners: [{name: web, name: web2}]",
			[]string{"f:6: owners[0].name: is given twice: first on line 6"}},
		{"a list for a mapping", "server:\n  listen: [\"192.0.2.53\", \"[2001:db8::53]:5353\"]", "server: []",
			[]string{"f:1: server: must be a set of keys and values, is a list"}},
		{"an inline key of embedded fields", "{kind: icmp}", "{kind: icmp, adress: 192.0.2.1}",
			[]string{"f:16: answers[0].keepalives[1].adress: is not a known key: did you mean address?"}},
	})
}

func TestParseServer(t *testing.T) {
	server := func(text string) (string, string) {
		return "  listen: [\"192.0.2.53\", \"[2001:db8::53]:5353\"]", "  " + text
	}
	row := func(name, text string, want ...string) change {
		old, new := server(text)
		return change{name, old, new, want}
	}
	testChanges(t, []change{
		row("listen nowhere", "listen: []", "f:2: server.listen: must have at least one address"),
		row("listen on any port", "listen: [127.0.0.1:0, 127.0.0.1:0]"),
		row("listen on everything", "listen: ['0.0.0.0', '::']"),
		row("listen twice", "listen: ['192.0.2.53', '192.0.2.53:53']",
			"f:2: server.listen[1]: must be unique, 192.0.2.53:53 is server.listen[0] (line 2) too"),
		row("listen on a name", "listen: ['localhost:53', ':53', '224.0.0.1', '192.0.2.1:053']",
			`f:2: server.listen[0]: must be an address of this machine, and a port if it is not 53, such as `+
				`192.0.2.53 or [::]:5300, is "localhost:53"`,
			`f:2: server.listen[1]: must be an address of this machine, and a port if it is not 53, such as `+
				`192.0.2.53 or [::]:5300, is ":53"`,
			`f:2: server.listen[2]: must be an address of this machine, and a port if it is not 53, such as `+
				`192.0.2.53 or [::]:5300, is "224.0.0.1"`,
			`f:2: server.listen[3]: must be an address of this machine, and a port if it is not 53, such as `+
				`192.0.2.53 or [::]:5300, is "192.0.2.1:053"`),
		row("metrics for everybody", "metrics: 0.0.0.0:9682",
			`f:2: server.metrics: must be a loopback address and a port, such as 127.0.0.1:9682, or `+
				`https://host:port, is "0.0.0.0:9682": without TLS the metrics are not offered to a network`),
		row("metrics by TLS", "metrics: 'https://:9682'"),
		row("metrics in a file", "metrics: unix:/m",
			`f:2: server.metrics: must be a loopback address and a port, such as 127.0.0.1:9682, or `+
				`https://host:port, is "unix:/m": without TLS the metrics are not offered to a network`),
		row("metrics on IPv6", "metrics: '[::1]:9682'"),
		row("a socket path that is too long", "control: {socket: /"+strings.Repeat("s", 107)+"}",
			"f:2: server.control.socket: must be at most 107 bytes, is 108: the kernel takes no longer path of "+
				"a socket"),
		row("a socket path as long as can be", "control: {socket: /"+strings.Repeat("s", 106)+"}"),
		row("control for other hosts", "control: {listen: 'https://:9683'}"),
		row("control for other hosts without TLS", "control: {listen: '10.0.0.1:9683'}",
			`f:2: server.control.listen: must be https://host:port, such as https://:9683, is "10.0.0.1:9683"`),
		row("no paths", "{control: {socket: /run/}, state: ''}",
			`f:2: server.control.socket: must be the path of a file, is "/run/"`,
			`f:2: server.state: must be the path of a file, is ""`),
		row("accounts", "control: {operators: [alice, '%netops', a b, alice], viewers: ['%']}",
			`f:2: server.control.operators[2]: must be the name of a user, or of a group after %, such as alice or `+
				`%netops, is "a b"`,
			`f:2: server.control.operators[3]: must be unique, alice is server.control.operators[0] (line 2) too`,
			`f:2: server.control.viewers[0]: must be the name of a user, or of a group after %, such as alice or `+
				`%netops, is "%"`),
		row("texts", "{nsid: '', version: \"a\\nb\", id: "+strings.Repeat("x", 256)+"}",
			`f:2: server.nsid: must be 1..128 printable ASCII characters, is ""`,
			`f:2: server.version: must be 1..255 printable ASCII characters, is "a\nb"`,
			`f:2: server.id: must be 1..255 printable ASCII characters, is "`+strings.Repeat("x", 60)+`"...`),
		row("UDP size too small", "udp_size: 511", "f:2: server.udp_size: must be 512..4096, is 511"),
		row("UDP size too large", "udp_size: 4097", "f:2: server.udp_size: must be 512..4096, is 4097"),
		row("UDP sizes", "udp_size: 4096"),
		row("cookie secrets", "cookie_secrets: [0123456789abcdef0123456789abcdef, 0123456789ABCDEF0123456789ABCDEF, "+
			"0011, 0011223344556677x899aabbccddeeff]",
			"f:2: server.cookie_secrets[1]: must be unique, is that of server.cookie_secrets[0] (line 2) too",
			"f:2: server.cookie_secrets[2]: must be 32 hexadecimal digits, which are 16 bytes, has 4 characters",
			"f:2: server.cookie_secrets[3]: must be 32 hexadecimal digits, which are 16 bytes, has 32 characters"),
		// Whoever has read our documents forges a cookie of these, and no limit holds for him.
		row("published cookie secrets", "cookie_secrets: [00112233445566778899AABBCCDDEEFF, "+
			"e5e973e5a6b2a43f48e7dc849e37bfcf, 0123456789abcdef0123456789abcdef]",
			"f:2: server.cookie_secrets[0]: must be a secret of your own, as `openssl rand -hex 16` makes one: this "+
				"one was published, and who knows it forges cookies",
			"f:2: server.cookie_secrets[1]: must be a secret of your own, as `openssl rand -hex 16` makes one: this "+
				"one was published, and who knows it forges cookies"),
		row("rate limits", "rate_limit: {responses: -1, errors: 1000001, window: 500ms, slip: 11, exempt: "+
			"[192.0.2.1/24]}",
			"f:2: server.rate_limit.responses: must be 0..1000000, is -1",
			"f:2: server.rate_limit.errors: must be 0..1000000, is 1000001",
			"f:2: server.rate_limit.window: must be 1s..1h, is 500ms",
			"f:2: server.rate_limit.slip: must be 0..10, is 11",
			"f:2: server.rate_limit.exempt[0]: must have no bits behind its length, as in 192.0.2.0/24, is "+
				"192.0.2.1/24"),
		row("TCP", "tcp: {connections: 10, per_client: 11, idle: 0s, query: 1h, pipeline: 0}",
			"f:2: server.tcp.per_client: must be 1..10, is 11", "f:2: server.tcp.idle: must be 100ms..1h, is 0s",
			"f:2: server.tcp.query: must be 100ms..5m, is 1h", "f:2: server.tcp.pipeline: must be 1..10000, is 0"),
		row("NXDOMAIN for names of others", "no_match: nxdomain",
			"f:2: server.no_match: must be refused or forward, is nxdomain: what does not exist outside of this "+
				"server's zones is for others to say"),
		row("forward to nobody", "no_match: forward",
			"f:2: server.no_match: must be refused while there is no server.forward, is forward"),
		row("forward", "{no_match: forward, forward: ['192.0.2.99', '192.0.2.99:53', '0.0.0.0', '192.0.2.99:0', "+
			"host], forward_timeout: 1m, forward_max: 0}",
			"f:2: server.forward[1]: must be unique, 192.0.2.99:53 is server.forward[0] (line 2) too",
			`f:2: server.forward[2]: must be the address of a host and a port 1..65535, is "0.0.0.0"`,
			`f:2: server.forward[3]: must be the address of a host and a port 1..65535, is "192.0.2.99:0"`,
			`f:2: server.forward[4]: must be an IP address, and a port 1..65535 if it is not 53, such as `+
				`192.0.2.1:53 or [2001:db8::1]:53, is "host"`,
			"f:2: server.forward_timeout: must be 50ms..30s, is 1m",
			"f:2: server.forward_max: must be 1..100000, is 0"),
		row("forward to itself", "{listen: ['192.0.2.55', '192.0.2.54'], no_match: forward, forward: ['192.0.2.54']}",
			"f:2: server.forward: must be other servers, 192.0.2.54:53 is one that this server listens on",
			"f:19: answers[3].servers: must be other servers, 192.0.2.54:53 is one that this server listens on",
			"f:32: rules[1].forward: must be other servers, 192.0.2.55:53 is one that this server listens on",
			"f:40: zones[1].soa_from: must be other servers, 192.0.2.54:53 is one that this server listens on"),
		row("forward to itself by the loopback", "{listen: ['0.0.0.0:5300'], no_match: forward, forward: "+
			"['127.0.0.1:5301', '[::1]:5300', '192.0.2.1:5300', '127.0.0.1:5300']}",
			"f:2: server.forward: must be other servers, 127.0.0.1:5300 is one that this server listens on, as it "+
				"does at 0.0.0.0:5300"),
	})
}

func TestParsePlaces(t *testing.T) {
	testChanges(t, []change{
		{"a region twice", "[{name: europe}]", "[{name: europe}, {name: europe}]",
			[]string{`f:3: regions[1].name: must be unique, "europe" is the name of regions[0] (line 3) too`}},
		{"a bad name hides who refers to it", "[{name: europe}]", "[{name: -europe}]",
			[]string{`f:3: regions[0].name: must be 1..128 letters, digits, ".", "_" or "-", the first one a letter ` +
				`or a digit, is "-europe"`,
				`f:5: data_centers[0].region: must be the name of a region (there is none), is "europe"`}},
		{"an unknown owner", "{name: near, owner: web", "{name: near, owner: wbe",
			[]string{`f:8: source_lists[0].owner: must be the name of an owner (web), is "wbe"`}},
		{"a controller elsewhere", "http://127.0.0.1:9680", "http://192.0.2.1:9680",
			[]string{`f:5: data_centers[0].controller: must be https://host:port, a loopback address or a unix ` +
				`socket, is "http://192.0.2.1:9680": plain text stays on this machine`}},
		{"no controller's address", "http://127.0.0.1:9680", "127.0.0.1",
			[]string{`f:5: data_centers[0].controller: must be https://host:port, or unix:/path such as ` +
				`unix:/run/sluice/controller.sock, or host:port of the loopback, is "127.0.0.1"`}},
		{"a controller elsewhere, with TLS", "http://127.0.0.1:9680", "https://ctl1.example.net:9680", nil},
		{"a controller nowhere", "http://127.0.0.1:9680", "https://:9680",
			[]string{`f:5: data_centers[0].controller: must be https://host:port, or unix:/path such as ` +
				`unix:/run/sluice/controller.sock, or host:port of the loopback, is "https://:9680"`}},
		{"a controller's socket", "http://127.0.0.1:9680", "unix:/run/sluice.sock", nil},
		{"a controller's relative socket", "http://127.0.0.1:9680", "unix:sluice.sock",
			[]string{`f:5: data_centers[0].controller: must be unix: and the absolute path of a socket of at most ` +
				`107 bytes, is "unix:sluice.sock": must be an absolute path`}},
		{"a controller of another user", "http://127.0.0.1:9680", "unix:/run/sluice.sock?user=sluice", nil},
		{"anywhere is taken", "{name: near, owner: web", "{name: anywhere, owner: web",
			[]string{"f:8: source_lists[0].name: must not be anywhere: that is the list that every client is in, and " +
				"is always there",
				`f:27: rules[0].sources: must be the name of a source list (anywhere), is "near"`}},
		{"no prefixes", `[192.0.2.0/24, 198.51.100.7, "2001:db8::/32"]`, "[]",
			[]string{"f:8: source_lists[0].prefixes: must have at least one prefix"}},
		{"prefixes", `[192.0.2.0/24, 198.51.100.7, "2001:db8::/32"]`,
			`[192.0.2.0/24, 192.0.2.0/024, 192.0.2.7/24, "::ffff:192.0.2.1", 192.0.2.0/24, all]`, []string{
				`f:8: source_lists[0].prefixes[1]: must be an address or a prefix, such as 192.0.2.1, 192.0.2.0/24 ` +
					`or 2001:db8::/32, is "192.0.2.0/024"`,
				`f:8: source_lists[0].prefixes[2]: must have no bits behind its length, as in 192.0.2.0/24, is ` +
					`192.0.2.7/24`,
				`f:8: source_lists[0].prefixes[3]: must be written as IPv4, is "::ffff:192.0.2.1"`,
				`f:8: source_lists[0].prefixes[4]: must be unique, 192.0.2.0/24 is source_lists[0].prefixes[0] ` +
					`(line 8) too`,
				`f:8: source_lists[0].prefixes[5]: must be an address or a prefix, such as 192.0.2.1, 192.0.2.0/24 ` +
					`or 2001:db8::/32, is "all"`}},
	})
}

func TestParseDomains(t *testing.T) {
	const old = `domains: [WWW.example.com, "*.app.example.com."], expressions: ['^img[0-9]+\.example\.com$']`
	bad := func(i int, text, why string) string {
		return fmt.Sprintf("f:10: domain_lists[0].domains[%d]: must be a domain name such as www.example.com, or a "+
			"wildcard such as *.example.com, is %q: %s", i, text, why)
	}
	expression := func(i int, text, why string) string {
		return fmt.Sprintf(
			"f:10: domain_lists[0].expressions[%d]: must be a POSIX extended regular expression, is %s: %s", i, text,
			why)
	}
	const notInZone = "must lie in a zone (example.com., sub.example.com.), is "
	testChanges(t, []change{
		{"no domains", old, "domains: []",
			[]string{"f:10: domain_lists[0]: must have at least one name in domains, or expression in expressions"}},
		{"bad names", old, `domains: ["", ".", a..example.com, .example.com, "a b", bücher.example.com, ` +
			`"www.*.example.com", "*a.example.com", "**.example.com"]`, []string{
			bad(0, "", "it is empty"), "f:10: domain_lists[0].domains[1]: " + notInZone + "., which rules[0] balances",
			bad(2, "a..example.com", "it has an empty label"), bad(3, ".example.com", "it has an empty label"),
			bad(4, "a b", `labels have letters, digits, "-", "_" and "/"; all else is escaped, as \. or \032`),
			bad(5, "bücher.example.com", "internationalised names are written in their ASCII form, xn--bcher-kva"),
			bad(6, "www.*.example.com", `"*" may only be the whole first label`),
			bad(7, "*a.example.com", `"*" may only be the whole first label`),
			bad(8, "**.example.com", `"*" may only be the whole first label`)}},
		{"a name twice", old, `domains: [a.example.com, A.example.com., "\\097.example.com"]`, []string{
			"f:10: domain_lists[0].domains[1]: must be unique, a.example.com. is domain_lists[0].domains[0] (line " +
				"10) too",
			"f:10: domain_lists[0].domains[2]: must be unique, a.example.com. is domain_lists[0].domains[0] (line " +
				"10) too"}},
		{"names with other characters", old,
			`domains: ["_sip._tcp.example.com", "0/25.example.com", "a\\.b.example.com", "a\\032b.example.com"]`, nil},
		{"outside of the zones", old, `domains: [www.example.org, "*.com", example.com, "*.example.com", ` +
			`notexample.com]`, []string{
			"f:10: domain_lists[0].domains[0]: " + notInZone + "www.example.org., which rules[0] balances",
			"f:10: domain_lists[0].domains[1]: " + notInZone + "*.com., which rules[0] balances",
			"f:10: domain_lists[0].domains[4]: " + notInZone + "notexample.com., which rules[0] balances"}},
		{"an unused list may be outside", "  - {name: cdn, domains: [cdn.example.com]}",
			"  - {name: cdn, domains: [cdn.example.com]}\n  - {name: later, domains: [www.example.org]}", nil},
		{"expressions", old, `expressions: ['', '(a', 'a{1001}', '\d', '^WWW', 'a{2,1}', '((a{10}){10}){10}', ` +
			`'(abcdefghij|klmnopqrst){250}', 'a', 'a']`, []string{
			expression(0, `""`, "it is empty"), expression(1, `"(a"`, "missing closing ): `(a`"),
			expression(2, `"a{1001}"`, "invalid repeat count: `{1001}`"),
			expression(3, `"\\d"`, "invalid escape sequence: `\\d`"),
			expression(4, `"^WWW"`, "names are matched in lower case, and it has capital letters"),
			expression(5, `"a{2,1}"`, "invalid repeat count: `{2,1}`"),
			expression(7, `"(abcdefghij|klmnopqrst){250}"`,
				"it compiles to 5752 instructions, may have 4096: make its repetitions smaller"),
			"f:10: domain_lists[0].expressions[9]: must be unique, is domain_lists[0].expressions[8] (line 10) too"}},
		{"an expression as long as can be", old, "expressions: [" + strings.Repeat("a", 512) + "]", nil},
		{"an expression that is too long", old, "expressions: [" + strings.Repeat("a", 513) + "]",
			[]string{expression(0, `"`+strings.Repeat("a", 60)+`"...`, "it has 513 bytes, may have 512")}},
		{"expressions without zones", "", "domain_lists: [{name: d, expressions: [a]}]\n" +
			"answers: [{name: a, kind: vip, ipv4: 192.0.2.1}]\ngroups: [{name: g, members: [{answer: a}]}]\n" +
			"rules: [{name: r, domains: d, clauses: [{group: g}]}]",
			[]string{
				"f:1: domain_lists[0].expressions: must be matched against names of a zone, of which there is none"}},
	})
}

func TestParseKeepalives(t *testing.T) {
	const old = "{name: edge, kind: tcp, address: 192.0.2.10, port: 443}"
	row := func(name, text string, want ...string) change {
		return change{name, old, old + "\n  - " + text, want}
	}
	testChanges(t, []change{
		row("unknown kind", "{name: k, kind: ping}",
			`f:15: keepalives[1].kind: must be icmp, tcp, http_head, name_server, snmp, load_report or none, `+
				`is "ping"`),
		row("no kind", "{name: k}", "f:15: keepalives[1].kind: is missing: must be icmp, tcp, http_head, "+
			"name_server, snmp, load_report or none"),
		row("no name", "{kind: none}", "f:15: keepalives[1].name: is missing"),
		row("no address", "{name: k, kind: icmp}", "f:15: keepalives[1].address: is missing: a shared keepalive has "+
			"no answer to take it from"),
		row("bad address", "{name: k, kind: icmp, address: host}",
			`f:15: keepalives[1].address: must be an IP address such as 192.0.2.1 or 2001:db8::1, is "host"`),
		row("nobody's address", "{name: k, kind: icmp, address: 224.0.0.1}",
			`f:15: keepalives[1].address: must be the address of a host, is "224.0.0.1"`),
		row("no port", "{name: k, kind: tcp, address: 192.0.2.1}",
			"f:15: keepalives[1].port: is missing: must be 1..65535"),
		row("bad port", "{name: k, kind: tcp, address: 192.0.2.1, port: 65536}",
			"f:15: keepalives[1].port: must be 1..65535, is 65536"),
		row("keys of other kinds", "{name: k, kind: icmp, address: 192.0.2.1, port: 7, close: fin, path: /, oid: 1.3}",
			"f:15: keepalives[1].port: must be left out of icmp keepalives: it is for tcp, http_head, name_server, "+
				"snmp and load_report",
			"f:15: keepalives[1].close: must be left out of icmp keepalives: it is for tcp and http_head",
			"f:15: keepalives[1].path: must be left out of icmp keepalives: it is for http_head",
			"f:15: keepalives[1].oid: must be left out of icmp keepalives: it is for snmp"),
		row("a query that no request can have", "{name: k, kind: http_head, address: 192.0.2.1, path: '/up?site=a b'}",
			`f:15: keepalives[1].path: must have a query of printable ASCII without spaces, such as ?site=a%20b, is `+
				`"/up?site=a b"`),
		row("a host that no request can have", "{name: k, kind: http_head, address: 192.0.2.1, host: bücher.example}",
			`f:15: keepalives[1].host: must be a host name in ASCII, such as www.example.com or `+
				`xn--bcher-kva.example, is "bücher.example"`),
		row("a host that is none", "{name: k, kind: http_head, address: 192.0.2.1, host: 'a..b'}",
			`f:15: keepalives[1].host: must be a host name, such as www.example.com, is "a..b"`),
		row("none asks nobody", "{name: k, kind: none, address: 192.0.2.1, timing: {}}",
			"f:15: keepalives[1].address: must be left out of none keepalives: it is for icmp, tcp, http_head, "+
				"name_server, snmp and load_report",
			"f:15: keepalives[1].timing: must be left out of none keepalives: it is for icmp, tcp, http_head, "+
				"name_server, snmp and load_report"),
		row("close", "{name: k, kind: tcp, address: 192.0.2.1, port: 7, close: reset}",
			`f:15: keepalives[1].close: must be rst or fin, is "reset"`),
		row("HTTP", "{name: k, kind: http_head, address: 192.0.2.1, verify_tls: true, host: a/b, path: healthz, "+
			"expect_status: [20, 1xx, 300-200]}",
			"f:15: keepalives[1].verify_tls: must be false, or be left out, without tls: true",
			`f:15: keepalives[1].host: must be a host name, such as www.example.com, is "a/b"`,
			`f:15: keepalives[1].path: must be the path of a URL, such as /healthz, is "healthz"`,
			`f:15: keepalives[1].expect_status[0]: must be a status, 200..599, or a range of them such as 200-299, `+
				`is "20"`,
			`f:15: keepalives[1].expect_status[1]: must be a status, 200..599, or a range of them such as 200-299, `+
				`is "1xx"`,
			`f:15: keepalives[1].expect_status[2]: must be a status, 200..599, or a range of them such as 200-299, `+
				`is "300-200"`),
		row("no statuses", "{name: k, kind: http_head, address: 192.0.2.1, expect_status: []}",
			"f:15: keepalives[1].expect_status: must have at least one status"),
		row("statuses by the hundred", "{name: k, kind: http_head, address: 192.0.2.1, expect_status: ["+
			strings.Repeat("200, ", 400)+"200]}",
			"f:15: keepalives[1].expect_status: must have at most 400 elements, has 401"),
		row("name server", "{name: k, kind: name_server, address: 192.0.2.1, query_type: ANY}",
			"f:15: keepalives[1].query_name: is missing: must be the name to ask for, which must resolve",
			`f:15: keepalives[1].query_type: must be the type of a record, such as A, NS or SOA, is "ANY"`),
		row("SNMP", "{name: k, kind: snmp, address: 192.0.2.1, oid: sysUpTime, snmp_min: 3, snmp_max: 2}",
			`f:15: keepalives[1].oid: must be numbers and dots, such as 1.3.6.1.2.1.1.3.0, is "sysUpTime"`,
			"f:15: keepalives[1].snmp_max: must be at least snmp_min, 3, is 2"),
		row("a long community", "{name: k, kind: snmp, address: 192.0.2.1, oid: 1.3, community: "+strings.Repeat("x",
			128)+"}",
			`f:15: keepalives[1].community: must be 1..127 printable ASCII characters, is "`+strings.Repeat("x",
				60)+`"...`),
		row("no OID", "{name: k, kind: snmp, address: 192.0.2.1}",
			"f:15: keepalives[1].oid: is missing: must be the object to get, such as 1.3.6.1.2.1.1.3.0"),
		row("load report", "{name: k, kind: load_report}",
			"f:15: keepalives[1]: must have a tag, or a vip: there is no answer with an address of which the load "+
				"could be asked",
			"f:15: keepalives[1]: must have a key, or a key_file: load reports are authenticated",
			"f:15: keepalives[1].address: is missing: must be the address of who reports the load, such as the data "+
				"center's controller"),
		row("load report of both",
			"{name: k, kind: load_report, address: 192.0.2.1, tag: www, vip: 192.0.2.1, key: short}",
			"f:15: keepalives[1].vip: must be left out where tag is given",
			"f:15: keepalives[1].key: must hold the secret that the controller has, or base64: and its base64: line "+
				"1: a key must have at least 16 bytes, has 5"),
		row("load report of nothing", "{name: k, kind: load_report, address: 192.0.2.1, vip: www, secondary: x, key: "+
			"0123456789abcdef, key_file: k}",
			`f:15: keepalives[1].vip: must be the address of a VIP, and its port if not all are meant, such as `+
				`192.0.2.1:443, is "www"`,
			`f:15: keepalives[1].secondary: must be an IP address, and a port 1..65535 if it is not 9681, such as `+
				`192.0.2.1:9681 or [2001:db8::1]:9681, is "x"`,
			"f:15: keepalives[1].key_file: must be left out where key is given"),
	})
}

func TestParseTimings(t *testing.T) {
	row := func(name, text string, want ...string) change {
		return change{name, "192.0.2.10, port: 443}\nanswers", "192.0.2.10, port: 443, timing: " + text + "}\nanswers",
			want}
	}
	testChanges(t, []change{
		row("unknown preset", "{preset: slow}",
			`f:14: keepalives[0].timing.preset: must be standard, fast or custom, is "slow"`),
		row("standard too quick", "{interval: 39s, timeout: 19s}",
			"f:14: keepalives[0].timing.interval: must be 40s..4m15s, is 39s",
			"f:14: keepalives[0].timing.timeout: must be 20s..1m, is 19s"),
		row("standard too slow", "{interval: 256s, timeout: 61s}",
			"f:14: keepalives[0].timing.interval: must be 40s..4m15s, is 4m16s",
			"f:14: keepalives[0].timing.timeout: must be 20s..1m, is 1m1s"),
		row("standard's slowest", "{preset: standard, interval: 255s, timeout: 60s, failures: 100, successes: 100}"),
		row("keys of fast", "{preset: standard, retries: 1, response: 2s, retry: 2s}",
			"f:14: keepalives[0].timing.response: must be left out of the preset standard: they are for fast",
			"f:14: keepalives[0].timing.retry: must be left out of the preset standard: they are for fast",
			"f:14: keepalives[0].timing.retries: must be left out of the preset standard: they are for fast"),
		row("fast", "{preset: fast, retries: 10, response: 100ms, retry: 1m}"),
		row("fast out of range", "{preset: fast, retries: 11, response: 99ms, retry: 61s}",
			"f:14: keepalives[0].timing.response: must be 100ms..1m, is 99ms",
			"f:14: keepalives[0].timing.retry: must be 100ms..1m, is 1m1s",
			"f:14: keepalives[0].timing.retries: must be 0..10, is 11"),
		row("keys of standard", "{preset: fast, interval: 40s, timeout: 20s, failures: 1}",
			"f:14: keepalives[0].timing.interval: must be left out of the preset fast: they are for standard "+
				"and custom",
			"f:14: keepalives[0].timing.timeout: must be left out of the preset fast: they are for standard and custom",
			"f:14: keepalives[0].timing.failures: must be left out of the preset fast: they are for standard "+
				"and custom"),
		row("custom", "{preset: custom, interval: 100ms, timeout: 1h}"),
		row("custom needs an interval", "{preset: custom, timeout: 99ms, successes: 0, failures: 101}",
			"f:14: keepalives[0].timing.interval: is missing: the preset custom needs it, 100ms..1h",
			"f:14: keepalives[0].timing.timeout: must be 100ms..1h, is 99ms",
			"f:14: keepalives[0].timing.successes: must be 1..100, is 0",
			"f:14: keepalives[0].timing.failures: must be 1..100, is 101"),
	})
}

// Every way to say when, and what it comes to.
func TestTimings(t *testing.T) {
	for _, tt := range []struct {
		name, whole, own string
		want             Timing
	}{
		{"nothing said", "", "", Timing{Interval: 40 * time.Second, Timeout: 20 * time.Second, Successes: 1,
			Failures: 1}},
		{"fast", "", "timing: {preset: fast}", Timing{Fast: true, Response: 2 * time.Second, Retry: 2 * time.Second,
			Retries: 1, Successes: 1}},
		{"custom", "", "timing: {preset: custom, interval: 200ms}",
			Timing{Interval: 200 * time.Millisecond, Timeout: 200 * time.Millisecond, Successes: 1, Failures: 1}},
		{"from the whole file", "timing: {preset: fast, retries: 5}", "",
			Timing{Fast: true, Response: 2 * time.Second, Retry: 2 * time.Second, Retries: 5, Successes: 1}},
		{"its own goes before", "timing: {preset: fast}", "timing: {successes: 3}",
			Timing{Interval: 40 * time.Second, Timeout: 20 * time.Second, Successes: 3, Failures: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f", fmt.Appendf(nil, "%s\nkeepalives: [{name: k, kind: icmp, address: 192.0.2.1, %s}]",
				tt.whole, tt.own))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Keepalives[0].Timing); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the keepalives of an answer are, without a name and an address of their own.
func TestInlineKeepalives(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, tt := range []struct {
		name, answer string
		want         []Keepalive // without timing
	}{
		{"the answer's two addresses", "kind: vip, ipv4: 192.0.2.1, ipv6: '2001:db8::1', keepalives: [{kind: tcp, " +
			"port: 80, close: fin}]",
			[]Keepalive{{Kind: TCP, Address: at("192.0.2.1:80"), FIN: true},
				{Kind: TCP, Address: at("[2001:db8::1]:80"), FIN: true}}},
		{"another device", "kind: vip, ipv4: 192.0.2.1, ipv6: '2001:db8::1', keepalives: [{kind: icmp, address: " +
			"192.0.2.9}]", []Keepalive{{Kind: ICMP, Address: at("192.0.2.9:0")}}},
		{"none", "kind: vip, ipv4: 192.0.2.1, keepalives: [{kind: none}]", []Keepalive{{Kind: Always}}},
		{"five, mixed", "kind: vip, ipv4: 192.0.2.1, keepalives: [{kind: icmp}, {kind: tcp, port: 22}, {kind: " +
			"http_head}, {kind: http_head, tls: true, host: h, path: /x, expect_status: [204, 200-201]}, " +
			"{kind: snmp, oid: .1.3.6, snmp_min: -1}]",
			[]Keepalive{{Kind: ICMP, Address: at("192.0.2.1:0")}, {Kind: TCP, Address: at("192.0.2.1:22")},
				{Kind: HTTPHead, Address: at("192.0.2.1:80"), Path: "/", ExpectStatus: []uint16{200}},
				{Kind: HTTPHead, Address: at("192.0.2.1:443"), TLS: true, Host: "h", Path: "/x",
					ExpectStatus: []uint16{200, 201, 204}},
				{Kind: SNMP, Address: at("192.0.2.1:161"), OID: "1.3.6", Community: "public", SNMPMin: -1,
					SNMPMax: math.MaxInt64}}},
		{"a name server's port", "kind: name_server, servers: ['192.0.2.1:5353'], keepalives: [{kind: name_server, " +
			"query_name: WWW.example.com}, {kind: tcp, port: 53}]",
			[]Keepalive{{Kind: NameServerQuery, Address: at("192.0.2.1:5353"), QueryName: "www.example.com.",
				QueryType: dns.TypeA}, {Kind: TCP, Address: at("192.0.2.1:53")}}},
		{"load of another", "kind: vip, ipv4: 192.0.2.1, keepalives: [{kind: load_report, address: 192.0.2.9, port: " +
			"7, secondary: 192.0.2.8, vip: '192.0.2.7:443', key: 'base64:MDEyMzQ1Njc4OWFiY2RlZg=='}]",
			[]Keepalive{{Kind: LoadReport, Address: at("192.0.2.9:7"), Secondary: at("192.0.2.8:9681"),
				VIP: at("192.0.2.7:443"), Key: []byte("0123456789abcdef")}}},
		{"load by tag", "kind: cname, target: a.example, keepalives: [{kind: load_report, address: 192.0.2.9, tag: " +
			"www, key: 0123456789abcdef}]",
			[]Keepalive{{Kind: LoadReport, Address: at("192.0.2.9:9681"), Tag: "www",
				Key: []byte("0123456789abcdef")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f", []byte("answers: [{name: a, "+tt.answer+"}]"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, c.Keepalives, equate,
				cmpopts.IgnoreFields(Keepalive{}, "Timing")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(c.Answers[0].Keepalives) != len(tt.want) {
				t.Errorf("the answer has the keepalives %v, want all %d", c.Answers[0].Keepalives, len(tt.want))
			}
		})
	}
}

// Two answers that ask the same of the same are asked once.
func TestInlineKeepalivesAreOneByValue(t *testing.T) {
	c, err := Parse("f", []byte(`keepalives: [{name: edge, kind: icmp, address: 192.0.2.9}]
answers:
  - {name: a, kind: vip, ipv4: 192.0.2.1, keepalives: [{kind: icmp, address: 192.0.2.9}, {kind: tcp, address: 192.0.2.9, port: 80}]}
  - {name: b, kind: vip, ipv4: 192.0.2.2, keepalives: [{kind: tcp, address: 192.0.2.9, port: 80, close: rst}, {shared: edge}, {kind: tcp, address: 192.0.2.9, port: 80, close: fin}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := [][]int{c.Answers[0].Keepalives, c.Answers[1].Keepalives}
	if diff := cmp.Diff([][]int{{0, 1}, {1, 0, 2}}, got); diff != "" || len(c.Keepalives) != 3 {
		t.Errorf("%d keepalives, want 3; of the answers (-want +got):\n%s", len(c.Keepalives), diff)
	}
}

func TestParseAnswers(t *testing.T) {
	const c1, n1 = "{name: c1, kind: cname, target: CDN.example.net}",
		`{name: n1, kind: name_server, servers: [192.0.2.54, "[2001:db8::54]:5354"]}`
	const more = "  - {name: x, "
	row := func(name, text string, want ...string) change {
		return change{name, "groups:\n", more + text + "}\ngroups:\n", want}
	}
	testChanges(t, []change{
		row("unknown kind", "kind: cra", `f:20: answers[4].kind: must be vip, cname or name_server, is "cra"`),
		row("a VIP of nothing", "kind: vip", "f:20: answers[4]: must have ipv4 or ipv6, or both: it is a vip answer"),
		row("the wrong families", "kind: vip, ipv4: '2001:db8::1', ipv6: 192.0.2.1",
			`f:20: answers[4].ipv4: must be an address such as 192.0.2.1, is "2001:db8::1"`,
			`f:20: answers[4].ipv6: must be an address such as 2001:db8::1, is "192.0.2.1"`),
		row("IPv4 in IPv6", "kind: vip, ipv6: '::ffff:192.0.2.1'",
			`f:20: answers[4].ipv6: must be an address such as 2001:db8::1, is "::ffff:192.0.2.1"`),
		row("nobody's addresses", "kind: vip, ipv4: 0.0.0.0, ipv6: 'fe80::1'",
			`f:20: answers[4].ipv4: must be the address of a host, is "0.0.0.0"`,
			`f:20: answers[4].ipv6: must be the address of a host, is "fe80::1"`),
		row("broadcast", "kind: vip, ipv4: 255.255.255.255",
			`f:20: answers[4].ipv4: must be the address of a host, is "255.255.255.255"`),
		row("keys of other kinds", "kind: vip, ipv4: 192.0.2.1, target: a.example, servers: []",
			"f:20: answers[4].target: must be left out of vip answers: they have ipv4 and ipv6",
			"f:20: answers[4].servers: must be left out of vip answers: they have ipv4 and ipv6"),
		{"a CNAME to nowhere", c1, "{name: c1, kind: cname, ipv4: 192.0.2.1}", []string{
			"f:18: answers[2].ipv4: must be left out of cname answers: they have target",
			"f:18: answers[2].target: is missing: must be the name that stands for the one that is asked for"}},
		{"a CNAME to a wildcard", c1, `{name: c1, kind: cname, target: "*.example.net"}`,
			[]string{`f:18: answers[2].target: must be a domain name such as www.example.com, is "*.example.net": ` +
				`"*" may only be the whole first label`}},
		{"a CNAME to itself", c1, "{name: c1, kind: cname, target: cdn.example.com}",
			[]string{"f:12: domain_lists[2].domains[0]: must not be the target of a CNAME that rules[2] answers it " +
				"with, is that of answers[2] (line 18)"}},
		{"no servers", n1, "{name: n1, kind: name_server, target: a.example}", []string{
			"f:19: answers[3].target: must be left out of name_server answers: they have servers",
			"f:19: answers[3].servers: is missing: must be the name servers to ask, tried in order"}},
		row("a VIP of nobody", "kind: vip, ipv4: 192.0.2.1, controller_vip: www", "f:20: answers[4].controller_vip: "+
			"must be left out of answers without a data_center, whose controller it is that knows"),
		{"a VIP of a place without controller", `, controller: "http://127.0.0.1:9680"`, "",
			[]string{"f:16: answers[0].controller_vip: must be left out while data_centers[0] (line 5) has no " +
				"controller"}},
		row("an unknown data center", "kind: vip, ipv4: 192.0.2.1, data_center: bonn",
			`f:20: answers[4].data_center: must be the name of a data center (berlin), is "bonn"`),
		row("no keepalive of the name", "kind: vip, ipv4: 192.0.2.1, keepalives: [{shared: egde}]",
			`f:20: answers[4].keepalives[0].shared: must be the name of a shared keepalive (edge), is "egde"`),
		row("shared, and more", "kind: vip, ipv4: 192.0.2.1, keepalives: [{shared: edge, kind: icmp, timing: {}}]",
			"f:20: answers[4].keepalives[0].kind: must be left out where shared is given",
			"f:20: answers[4].keepalives[0].timing: must be left out where shared is given"),
		row("neither", "kind: vip, ipv4: 192.0.2.1, keepalives: [{}]",
			"f:20: answers[4].keepalives[0]: must have a kind, or shared with the name of a keepalive"),
		row("twice the same", "kind: vip, ipv4: 192.0.2.10, keepalives: [{shared: edge}, {kind: tcp, port: 443}]",
			"f:20: answers[4].keepalives[1]: must be unique: the answer has the same keepalive before"),
		row("none and others", "kind: vip, ipv4: 192.0.2.1, keepalives: [{kind: icmp}, {kind: none}]",
			"f:20: answers[4].keepalives: must not have kind none beside others, as number 2 has it: all must pass, "+
				"and none always does"),
		row("whom to ask for a name", "kind: cname, target: a.example, keepalives: [{kind: icmp}]",
			"f:20: answers[4].keepalives[0].address: is missing: a cname answer has no address of its own"),
		row("whom of several", "kind: name_server, servers: [192.0.2.1, 192.0.2.2], keepalives: [{kind: icmp}]",
			"f:20: answers[4].keepalives[0].address: is missing: the answer has several servers, of which one "+
				"is enough"),
	})
}

func TestParseGroupsAndRules(t *testing.T) {
	const a2 = "{answer: a2, order: 10, weight: 3}"
	const ll = "{group: vips, balance: least_loaded, count: 2}"
	const r2 = "ttl: 60, clauses: [{group: servers, balance: ordered}], all_down: forward, forward: [192.0.2.55], " +
		"unknown: up}"
	testChanges(t, []change{
		{"an unknown answer", a2, "{answer: a3}",
			[]string{`f:21: groups[0].members[1].answer: must be the name of an answer (a1, a2, c1, n1), is "a3"`}},
		{"an answer twice", a2, a2 + ", {answer: a2}", []string{"f:21: groups[0].members[2].answer: must be unique " +
			"in its group, a2 is that of groups[0].members[1] (line 21) too"}},
		{"two kinds", a2, a2 + ", {answer: c1}", []string{"f:21: groups[0].members[2].answer: must be of kind vip as " +
			"groups[0].members[0] (line 21), is of kind cname: a group has answers of one kind"}},
		{"no members", "[{answer: c1}]", "[]", []string{"f:22: groups[1].members: must have at least one answer"}},
		{"numbers of a member", a2, "{answer: a2, order: 0, weight: 1001, load_threshold: 1}",
			[]string{"f:21: groups[0].members[1].order: must be 1..65535, is 0",
				"f:21: groups[0].members[1].weight: must be 0..1000, is 1001",
				"f:21: groups[0].members[1].load_threshold: must be 2..254, is 1"}},
		{"a threshold of 255", a2, "{answer: a2, load_threshold: 255}",
			[]string{"f:21: groups[0].members[1].load_threshold: must be 2..254, is 255"}},
		{"least and most", a2, "{answer: a2, order: 65535, weight: 0, load_threshold: 2}", nil},
		{"most", a2, "{answer: a2, order: 1, weight: 1000, load_threshold: 254}", nil},
		{"a threshold that nobody reaches", "{answer: c1}", "{answer: c1, load_threshold: 100}",
			[]string{"f:22: groups[1].members[0].load_threshold: must be left out while nobody reports the load of " +
				"answer c1: it has neither a load_report keepalive nor a controller_vip"}},

		{"unknown balance", "least_loaded", "boomerang",
			[]string{`f:30: rules[0].clauses[0].balance: must be ordered, round_robin, weighted_round_robin, ` +
				`least_loaded, hash_source, hash_domain or hash_both, is "boomerang"`}},
		{"least loaded without loads", "{kind: load_report, address: 192.0.2.250, key: 0123456789abcdef}",
			"{kind: icmp}",
			[]string{"f:30: rules[0].clauses[0].balance: must not be least_loaded while nobody reports the load of " +
				"answer a2 of group vips: it has neither a load_report keepalive nor a controller_vip"}},
		{"least loaded name servers", "{group: servers, balance: ordered}", "{group: servers, balance: least_loaded}",
			[]string{"f:32: rules[1].clauses[0].balance: must be ordered, round_robin, weighted_round_robin, " +
				"hash_source, hash_domain or hash_both for a group of name_server answers, is least_loaded"}},
		{"too many addresses", ll, "{group: vips, count: 33}",
			[]string{"f:30: rules[0].clauses[0].count: must be 1..32, is 33"}},
		{"as many addresses as can be", ll, "{group: vips, count: 32}", nil},
		{"two names", "[{group: names}]", "[{group: names, count: 2}]",
			[]string{"f:33: rules[2].clauses[0].count: must be 1, or be left out, for a group of cname answers, is " +
				"2: a response has one of them"}},
		{"an unknown group", "[{group: names}]", "[{group: vip}]",
			[]string{`f:33: rules[2].clauses[0].group: must be the name of a group (vips, names, servers), is "vip"`}},
		{"no clause", "[{group: names}]", "[]", []string{"f:33: rules[2].clauses: must have at least one clause"}},
		{"three clauses", "[{group: names}]",
			"[{group: names, all_down: next_clause}, {group: servers}, {group: vips}]", nil},
		{"after the last clause", "[{group: names}]", "[{group: names}], all_down: next_clause",
			[]string{"f:33: rules[2].all_down: must be all_answers, no_data, refused or forward, is next_clause: " +
				"after the last clause there is none"}},
		{"after the last clause, by the clause", "[{group: names}]", "[{group: names, all_down: next_clause}]",
			[]string{"f:33: rules[2].clauses[0].all_down: must be all_answers, no_data, refused or forward, is " +
				"next_clause: there is no next one"}},
		{"both say what then", "[{group: names}]", "[{group: names, all_down: refused}], all_down: refused",
			[]string{"f:33: rules[2].clauses[0].all_down: must be left out of the last clause while the rule has " +
				"one, rules[2].all_down (line 33)"}},
		{"forward to nobody", r2, "clauses: [{group: servers}], all_down: forward}",
			[]string{
				"f:32: rules[1].forward: is missing: must be the name servers that all_down: forward forwards to"}},
		{"forward never", r2, "clauses: [{group: servers}], forward: [192.0.2.55]}",
			[]string{"f:32: rules[1].forward: must be left out while no all_down is forward"}},
		{"wait and not", r2, "clauses: [{group: servers}], unknown: down, max_wait: 1s}",
			[]string{"f:32: rules[1].max_wait: must be left out unless unknown is wait"}},
		{"waiting too long", r2, "clauses: [{group: servers}], max_wait: 31s}",
			[]string{"f:32: rules[1].max_wait: must be 10ms..30s, is 31s"}},
		{"numbers of a rule", r2, "ttl: 604801, clauses: [{group: servers}], prefix4: 33, prefix6: 0, sticky: {by: " +
			"name, inactivity: 1ms}}", []string{
			"f:32: rules[1].ttl: must be 0..604800, is 604801", "f:32: rules[1].prefix4: must be 1..32, is 33",
			"f:32: rules[1].prefix6: must be 1..128, is 0",
			`f:32: rules[1].sticky.by: must be domain or domain_list, is "name"`,
			"f:32: rules[1].sticky.inactivity: must be 1s..168h, is 1ms"}},
		{"unknown lists", "sources: near\n    domains: www", "sources: nera\n    domains: wwww",
			[]string{`f:27: rules[0].sources: must be the name of a source list (anywhere, near), is "nera"`,
				`f:28: rules[0].domains: must be the name of a domain list (www, dns, cdn), is "wwww"`}},
		{"a rule twice", "{name: r2", "{name: r1",
			[]string{`f:32: rules[1].name: must be unique, "r1" is the name of rules[0] (line 25) too`}},
	})
}

// A bad value hides no other, be it before or after, deeper or higher.
func TestParseReportsAllAtOnce(t *testing.T) {
	const file = `server: {listen: nowhere, udp_size: big}
domain_lists:
  - {name: www, domains: [www.example.com, a..b], colour: red}
answers:
  - {name: a, kind: vip, ipv4: 192.0.2.256, keepalives: [{kind: tcp, port: none, timing: {interval: 1}}]}
groups:
  - {name: g, members: [{answer: b, weight: x}]}
rules:
  - {name: r, domains: www, clauses: [{group: h, balance: best}], ttl: -1}
zones:
  - {name: example.org, records: [{name: www, type: B, data: x}]}
`
	_, err := Parse("gslb.yaml", []byte(file))
	want := `gslb.yaml:1: server.listen: must be a list, is "nowhere"
gslb.yaml:1: server.udp_size: must be a whole number, is "big"
gslb.yaml:3: domain_lists[0].colour: is not a known key: must be one of name, owner, domains, expressions
gslb.yaml:3: domain_lists[0].domains[1]: must be a domain name such as www.example.com, or a wildcard such as *.example.com, is "a..b": it has an empty label
gslb.yaml:3: domain_lists[0].domains[0]: must lie in a zone (example.org.), is www.example.com., which rules[0] balances
gslb.yaml:5: answers[0].keepalives[0].port: must be a whole number, is "none"
gslb.yaml:5: answers[0].keepalives[0].timing.interval: must be a duration with its unit, such as 500ms or 2s, is "1"
gslb.yaml:5: answers[0].ipv4: must be an address such as 192.0.2.1, is "192.0.2.256"
gslb.yaml:5: answers[0].keepalives[0].address: is missing: the answer has no good address
gslb.yaml:7: groups[0].members[0].weight: must be a whole number, is "x"
gslb.yaml:7: groups[0].members[0].answer: must be the name of an answer (a), is "b"
gslb.yaml:9: rules[0].clauses[0].balance: must be ordered, round_robin, weighted_round_robin, least_loaded, hash_source, hash_domain or hash_both, is "best"
gslb.yaml:9: rules[0].ttl: must be 0..604800, is -1
gslb.yaml:9: rules[0].clauses[0].group: must be the name of a group (g), is "h"
gslb.yaml:11: zones[0].records[0].type: must be the type of a record, such as A, MX or TYPE65280, is "B"`
	if diff := cmp.Diff(want, fmt.Sprint(err)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// write makes a directory with the files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Load names the files that count, good or bad, for who waits until they change.
func TestLoad(t *testing.T) {
	const secrets = "# new\nffeeddccbbaa99887766554433221100\n"
	config := "server: {cookie_secrets: [0123456789abcdef0123456789abcdef], cookie_secrets_file: secrets, state: " +
		"state}\n" +
		"keepalives: [{name: k, kind: load_report, address: 192.0.2.1, tag: t, key_file: key}]\n" +
		"zones: [{name: example.org, file: zone}]\n"
	dir := write(t, map[string]string{"gslb.yaml": config, "secrets": secrets,
		"key": "\n# one\n0123456789abcdef\nfedcba9876543210\n", "zone": "@ SOA ns h 1 2 3 4 5\n@ NS ns.example.net.\n"})
	in := func(name string) string { return filepath.Join(dir, name) }
	want := []string{in("gslb.yaml"), in("secrets"), in("key"), in("zone")}
	c, files, err := Load(in("gslb.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, paths(files)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(c.Server.CookieSecrets) != 2 || string(c.Keepalives[0].Key) != "0123456789abcdef" ||
		len(c.Zones[0].Records) != 2 || c.Server.State != in("state") {
		t.Errorf("Load = %+v", c)
	}

	for _, tt := range []struct {
		name string
		bad  func() error
		want string
	}{
		{"no zone file", func() error { return os.Remove(in("zone")) },
			in("gslb.yaml") + ":3: zones[0].file: must be a file that can be read: stat " + in("zone") +
				": no such file or directory"},
		{"a directory", func() error { return errors.Join(os.Remove(in("zone")), os.Mkdir(in("zone"), 0o700)) },
			in("gslb.yaml") + ":3: zones[0].file: must be a file that can be read: " + in("zone") +
				" is not a regular file"},
		{"open secrets", func() error { return os.Chmod(in("secrets"), 0o604) },
			in("gslb.yaml") + ":1: server.cookie_secrets_file: must be a file that can be read: " + in("secrets") +
				" is a secret that everybody may use, mode -rw----r--: chmod o= it"},
		{"no secrets", func() error { return os.WriteFile(in("secrets"), []byte("# none\n"), 0o600) },
			in("gslb.yaml") + ":1: server.cookie_secrets_file: must be a file with a secret on each line, has none"},
		{"bad secrets", func() error {
			return os.WriteFile(in("secrets"), []byte("0123456789abcdef0123456789abcdef\n\nx\n"), 0o600)
		},
			in("secrets") + ":1: must be unique, is that of server.cookie_secrets[0] (line 1) too\n" + in("secrets") +
				":3: must be 32 hexadecimal digits, which are 16 bytes, has 1 characters"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			zone, _ := os.ReadFile(in("zone"))
			if err := tt.bad(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				os.Remove(in("zone")) // if it is a directory
				os.WriteFile(in("zone"), zone, 0o600)
				os.WriteFile(in("secrets"), []byte(secrets), 0o600)
				os.Chmod(in("secrets"), 0o600)
			}()
			c, files, err := Load(in("gslb.yaml"))
			if c != nil || fmt.Sprint(err) != tt.want {
				t.Errorf("Load = %v, %v\nwant %s", c, err, tt.want)
			}
			if diff := cmp.Diff(want, paths(files)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
	_, files, err = Load(in("absent"))
	if want := in("absent") + ": cannot be read: no such file or directory"; fmt.Sprint(err) != want ||
		!slices.Equal(paths(files), []string{in("absent")}) {
		t.Errorf("Load of nothing = %v, %v, want %s", files, err, want)
	}
	// Neither waits for ever nor takes all memory.
	if _, _, err := Load(os.DevNull); fmt.Sprint(err) != os.DevNull+": cannot be read: "+os.DevNull+
		" is not a regular file" {
		t.Errorf("Load of a device: %v", err)
	}
}

func paths(files []File) (list []string) {
	for _, f := range files {
		list = append(list, f.Path)
	}
	return list
}

// Whoever looks at a file again and again misses no change of it, whatever it is made by.
func TestChanged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(in func(string) string) error
		want   bool
	}{
		{"nothing", func(in func(string) string) error { return nil }, false},
		{"another file", func(in func(string) string) error { return os.WriteFile(in("one/other"), nil, 0o600) },
			false},
		{"written", func(in func(string) string) error { return os.WriteFile(in("one/file"), []byte("longer"), 0o600) },
			true},
		{"replaced by one of the same size and age", func(in func(string) string) error {
			at := time.Unix(1e9, 0)
			return errors.Join(os.WriteFile(in("one/new"), []byte("1"), 0o600), os.Chtimes(in("one/new"), at, at),
				os.Rename(in("one/new"), in("one/file")))
		}, true},
		{"removed", func(in func(string) string) error { return os.Remove(in("one/file")) }, true},
		{"not for reading any more", func(in func(string) string) error { return os.Chmod(in("one/file"), 0) }, true},
		{"its directory removed", func(in func(string) string) error { return os.RemoveAll(in("one")) }, true},
		{"its directory replaced", func(in func(string) string) error {
			return errors.Join(os.Rename(in("one"), in("gone")), os.Rename(in("two"), in("one")))
		}, true},
		{"a link to its directory led elsewhere", func(in func(string) string) error {
			return errors.Join(os.Symlink("two", in("new")), os.Rename(in("new"), in("link")))
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			in := func(name string) string { return filepath.Join(dir, name) }
			at := time.Unix(1e9, 0)
			if err := errors.Join(os.Mkdir(in("one"), 0o700), os.Mkdir(in("two"), 0o700), os.Symlink("one", in("link")),
				os.WriteFile(in("one/file"), []byte("1"), 0o600), os.WriteFile(in("two/file"), []byte("1"), 0o600),
				os.Chtimes(in("one/file"), at, at), os.Chtimes(in("two/file"), at, at)); err != nil {
				t.Fatal(err)
			}
			file := Look(in("link/file"))
			if err := tt.change(in); err != nil {
				t.Fatal(err)
			}
			if got := file.Changed(); got != tt.want {
				t.Errorf("changed: %v, want %v", got, tt.want)
			}
			if Look(in("link/file")).Changed() {
				t.Error("it changes by being looked at")
			}
		})
	}
}

// FuzzParse: whatever the file holds, Parse returns a configuration or problems with a place, and never both.
func FuzzParse(f *testing.F) {
	const zone = "@ SOA ns h 1 2 3 4 5\n@ NS ns.example.net.\n"
	for _, seed := range []string{ // short ones, as the fuzzer tries to leave out each byte of what is new to it
		"", "a: &a [*a]", "server: {listen: [::1], metrics: '127.0.0.1:1', cookie_secrets_file: f}",
		"zones: [{name: a, file: z}]", "zones: [{name: ., file: z}]",
		`zones: [{name: 'a\.b', records: [{name: '\', type: TXT, data: '\'}]}]`,
		"zones: [{name: a, records: [{name: '@', type: TYPE1, data: '\\# 4 c0000201'}]}]",
		"keepalives: [{name: a, kind: load_report, address: ::1, tag: t, key: 0123456789abcdef}]",
		"keepalives: [{name: a, kind: http_head, address: ::1, expect_status: [1-2]}]",
		"answers: [{name: a, kind: vip, ipv4: 1.1.1.1, keepalives: [{kind: icmp}]}]\n" +
			"groups: [{name: a, members: [{answer: a}]}]\ndomain_lists: [{name: a, domains: [a]}]\n" +
			"rules: [{name: a, domains: a, clauses: [{group: a}]}]\nzones: [{name: a, file: z}]",
		"domain_lists: [{name: a, expressions: ['^a{2}(b|c)$']}]", "timing: {preset: custom, interval: 1s}",
	} {
		f.Add([]byte(seed), []byte(zone))
		f.Add([]byte(seed), []byte("$ORIGIN a.\n$GENERATE 1-3 b$ 1 A 192.0.2.$\n(\n"))
	}
	f.Fuzz(func(t *testing.T, data, file []byte) {
		c, files, err := parse("f", data, func(name string, _ access, _ string) ([]byte, error) {
			if len(file)%7 == 6 {
				return nil, fs.ErrNotExist
			}
			return file, nil
		})
		if len(files) == 0 || files[0] != "f" {
			t.Errorf("files %q, want f first", files)
		}
		if err == nil {
			if c == nil {
				t.Fatal("neither configuration nor error")
			}
			return
		}
		if c != nil {
			t.Fatalf("a configuration in spite of %v", err)
		}
		problems := strict.Problems(err)
		if len(problems) == 0 {
			t.Fatalf("no problem in %v", err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Message == "" || !slices.Contains(files, p.File) ||
				strings.ContainsAny(p.Error(), "\n\x00\x1b") {
				t.Errorf("%q has no place, or more than one line", p.Error())
			}
		}
	})
}
