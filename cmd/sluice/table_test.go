package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
	"github.com/sluicelb/sluice/p4/softswitch"
	switchserver "github.com/sluicelb/sluice/p4/softswitch/server"
)

// sluice runs the command in this process.
func sluice(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"sluice"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func wantOutput(t *testing.T, want string, args ...string) {
	t.Helper()
	code, stdout, stderr := sluice(t, args...)
	if code != 0 || stderr != "" {
		t.Errorf("sluice %s: exit code %d, stderr %s", strings.Join(args, " "), code, stderr)
	}
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), stdout); diff != "" {
		t.Errorf("sluice %s (-want +got):\n%s", strings.Join(args, " "), diff)
	}
}

// serve runs a gRPC server until the test ends.
func serve(t *testing.T, register func(grpc.ServiceRegistrar)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(switchserver.Options()...)
	register(server)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		<-ended
	})
	return l.Addr().String()
}

// filledSwitch is an embedded switch with a VIP, as a controller would leave it.
func filledSwitch(t *testing.T) (address string) {
	t.Helper()
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	address = serve(t, sw.Register)
	session := p4rt.NewSession(p4rt.Config{
		Target: address, DeviceID: 1, Election: &p4rt.ElectionID{Low: 1},
		Pipeline: &v1.ForwardingPipelineConfig{
			P4Info:         p4.P4Info(),
			P4DeviceConfig: p4.DeviceConfig(),
			Cookie:         &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
		},
	})
	field := func(name string, v p4rt.Value) p4rt.Field { return p4rt.Field{Name: name, Value: v} }
	u := func(name string, x uint64) p4rt.Field { return field(name, p4rt.UintValue(x)) }
	vip := func(address string, port, pool uint64) p4rt.Entry {
		return p4rt.Entry{
			Table: "vip",
			Match: []p4rt.Field{field("address", p4rt.AddrValue(netip.MustParseAddr(address))), u("protocol", 6),
				u("port", port)},
			Action: "to_pool", Params: []p4rt.Field{u("pool_id", pool), u("generation", 0), u("slot_mask", 4095),
				u("secret_1", 1), u("secret_2", 2)},
			Counter: &p4rt.Counter{Packets: int64(port), Bytes: 100 * int64(port)},
		}
	}
	err := session.Run(t.Context(), func(ctx context.Context, p *p4rt.Primary) error {
		updates := []*v1.Update{
			p4rt.Insert(p4rt.MulticastGroup{ID: 1,
				Replicas: []p4rt.Replica{{Port: 2}, {Port: 1}, {Port: 3, Instance: 7}}}.Entity()),
		}
		for _, e := range []p4rt.Entry{
			vip("10.0.0.100", 443, 2), vip("10.0.0.100", 80, 1), vip("9.255.255.255", 80, 1),
			{Table: "backend", Match: []p4rt.Field{u("backend_id", 7)}, Action: "forward_to_backend",
				Params: []p4rt.Field{field("mac", p4rt.MACValue(packet.MAC{2, 0, 0, 0, 0, 0x11})), u("port", 3)}},
			{Table: "l2", Match: []p4rt.Field{field("mac", p4rt.MACValue(packet.MAC{0, 0, 0, 0, 0, 9}))},
				Action: "forward",
				Params: []p4rt.Field{u("port", 3)}},
		} {
			m, err := p.Info().EncodeEntry(e)
			if err != nil {
				return err
			}
			updates = append(updates, p4rt.Insert(p4rt.TableEntity(m)))
		}
		return p.Write(ctx, updates)
	})
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestTableList(t *testing.T) {
	address := filledSwitch(t)
	wantOutput(t, `
TABLE           ENTRIES    SIZE  MATCH                                      COUNTS         IDLE TIMEOUT  A MISS DOES
arp_guard             0    8192  sender_address:exact                       packets+bytes  -             NoAction()
arp_responder         0    8192  target_address:exact                       packets+bytes  -             NoAction()
backend               1   32768  backend_id:exact                           packets+bytes  -             NoAction()
l2                    1   16384  mac:exact                                  -              -             flood()
pin                   0   65536  flow:exact                                 packets+bytes  yes           NoAction()
pinned_arp            0   65536  sender_address:exact                       -              -             NoAction()
pinned_l2             0   65536  mac:exact                                  -              -             NoAction()
pinned_station        0   65536  mac:exact                                  packets+bytes  -             NoAction()
slot                  0  524288  pool_id:exact generation:exact slot:exact  -              -             NoAction()
station               0   16384  mac:exact                                  -              yes           NoAction()
vip                   3    8192  address:exact protocol:exact port:exact    packets+bytes  -             NoAction()
vip_address           0    8192  address:exact                              packets+bytes  -             NoAction()

COUNTER       CELLS  COUNTS
alarm_unsent    512  packets
learn_unsent    512  packets
openings          4  packets
pin_unsent        4  packets
tally            32  packets+bytes

MULTICAST GROUP  PORTS
              1  1 2 3(instance 7)
`, "table", "list", "--target", address)
}

func TestTableDump(t *testing.T) {
	address := filledSwitch(t)
	wantOutput(t, `
table vip: 3 of 8192 entries; a miss does NoAction()
address        protocol  port  ACTION                                                                                PACKETS  BYTES
9.255.255.255         6    80  to_pool(pool_id=1, generation=0, slot_mask=0x0fff, secret_1=hidden, secret_2=hidden)       80   8000
10.0.0.100            6    80  to_pool(pool_id=1, generation=0, slot_mask=0x0fff, secret_1=hidden, secret_2=hidden)       80   8000
10.0.0.100            6   443  to_pool(pool_id=2, generation=0, slot_mask=0x0fff, secret_1=hidden, secret_2=hidden)      443  44300
`, "table", "dump", "vip", "--target", address)
	wantOutput(t, `
[
  {
    "kind": "entry",
    "table": "backend",
    "match": {
      "backend_id": 7
    },
    "action": "forward_to_backend",
    "params": {
      "mac": "02:00:00:00:00:11",
      "port": 3
    },
    "packets": 0,
    "bytes": 0
  }
]
`, "table", "dump", "--json", "--target", address, "backend")
	wantOutput(t, "[]\n", "table", "dump", "--target", address, "slot", "--json")
	wantOutput(t, "counter tally: 0 of 32 cells have counted\n", "table", "dump", "tally", "--target", address)
}

func TestTableDumpOfAll(t *testing.T) {
	address := filledSwitch(t)
	code, first, stderr := sluice(t, "table", "dump", "--target", address)
	if code != 0 {
		t.Fatal(stderr)
	}
	_, second, _ := sluice(t, "table", "dump", "--target", address)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same state prints differently:\n%s", diff)
	}
	for _, want := range []string{"table arp_guard: 0 of 8192 entries", "\ncounter tally: ",
		"\nMULTICAST GROUP  PORTS\n"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is missing in\n%s", want, first)
		}
	}
}

func TestTableErrors(t *testing.T) {
	address := filledSwitch(t)
	nobody := serve(t, func(grpc.ServiceRegistrar) {}) // gRPC, but no P4Runtime
	open, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(open)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	talker := speak(t, "SSH-2.0-x\r\n")
	empty := serve(t, softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)}).Register)
	tests := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"unknown table", []string{"dump", "vips", "--target", address}, exitUsage,
			`no table or counter "vips" at the target; did you mean vip? there is: arp_guard, arp_responder, ` +
				`backend, l2, ` +
				`pin, pinned_arp, pinned_l2, pinned_station, slot, station, vip, vip_address, alarm_unsent ` +
				`(counter), learn_unsent (counter), openings (counter), pin_unsent (counter), tally (counter)`},
		{"no pipeline", []string{"list", "--target", empty}, exitFailure,
			"device 1 at " + empty + " runs no P4 program yet: a controller pushes one when it connects. " +
				"If the switch has another id, --device-id names it (bmv2's own default is 0)"},
		{"another device", []string{"list", "--target", address, "--device-id", "7"}, exitUsage,
			"the switch at " + address + " has no device 7; --device-id names another"},
		{"nobody listens", []string{"list", "--target", closed.Addr().String()}, exitUnreachable,
			"cannot reach a switch at " + closed.Addr().String() +
				": nothing listens there (connection refused). Is it running? --target names another address"},
		{"no answer", []string{"list", "--target", silent.Addr().String()}, exitUnreachable,
			"cannot reach a switch at " + silent.Addr().String() +
				": no answer within 3s. Is it running? --target names another address"},
		{"another service", []string{"list", "--target", nobody}, exitUnreachable,
			"what answers at " + nobody + " is not a P4Runtime server; --target names another address"},
		{"no port", []string{"list", "--target", "localhost"}, exitUsage,
			`--target: address "localhost": must be unix:/path, host:port or https://host:port`},
		{"no port behind the colon", []string{"list", "--target", "127.0.0.1:"}, exitUsage,
			`--target: address "127.0.0.1:": the port must be 1..65535, is ""`},
		{"port too large", []string{"list", "--target", "127.0.0.1:99999"}, exitUsage,
			`--target: address "127.0.0.1:99999": the port must be 1..65535, is "99999"`},
		{"unix socket", []string{"list", "--target", "unix:/no/socket"}, exitUnreachable,
			"cannot reach a switch at unix:/no/socket: there is no such socket. Is it running? --target names " +
				"another address"},
		{"a socket that anybody could have put there", []string{"list", "--target", "unix:" + open + "/switch"},
			exitUnreachable,
			"cannot reach a switch at unix:" + open + "/switch: " + open +
				"/switch is not trusted: everybody may write to its directory. Is it running? --target names another " +
				"address"},
		{"no path", []string{"list", "--target", "unix:"}, exitUsage,
			`--target: address "unix:": must name a socket, as unix:/path`},
		{"not gRPC", []string{"list", "--target", talker.Addr().String()}, exitUnreachable,
			"cannot reach a switch at " + talker.Addr().String() +
				": it answers, but not as a P4Runtime server does. Is it running? --target names another address"},
		{"bad flag", []string{"list", "--device-id", "-1"}, exitUsage,
			`--device-id: must be a whole number, 0..18446744073709551615, is "-1"`},
		{"flag alone", []string{"list", "--target"}, exitUsage, "--target needs a value"},
		{"bool flag", []string{"list", "--json=maybe"}, exitUsage, `--json: must be true or false, is "maybe"`},
		{"bool flag behind an argument", []string{"dump", "vip", "--json=maybe"}, exitUsage,
			`--json: must be true or false, is "maybe"`},
		{"unknown flag", []string{"list", "--jsno"}, exitUsage,
			"no flag --jsno; did you mean --json? `sluice table list --help` lists them"},
		{"unknown flag behind an argument", []string{"dump", "vip", "--jsno"}, exitUsage,
			"no flag --jsno; did you mean --json? `sluice table dump --help` lists them"},
		{"flag without its argument", []string{"dump", "vip", "--target"}, exitUsage, "--target needs a value"},
		{"bad flag behind an argument", []string{"dump", "vip", "--device-id=x"}, exitUsage,
			`--device-id: must be a whole number, 0..18446744073709551615, is "x"`},
		{"too many arguments", []string{"dump", "vip", "slot"}, exitUsage,
			"unexpected argument \"slot\"; `sluice table dump --help` tells the usage"},
		{"unknown command", []string{"show"}, exitUsage, "no command \"show\"; `sluice table --help` lists them"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			code, stdout, stderr := sluice(t, append([]string{"table"}, tt.args...)...)
			if code != tt.code || stdout != "" {
				t.Errorf("exit code %d, want %d; stdout %q", code, tt.code, stdout)
			}
			if want := "sluice: " + tt.want + "\n"; stderr != want {
				t.Errorf("stderr is\n%swant\n%s", stderr, want)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// speak greets whoever connects, and hangs up.
func speak(t *testing.T, greeting string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, greeting)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l
}

// foreign is a target with a program that is not Sluice's, which cannot tell everything.
type foreign struct {
	v1.UnimplementedP4RuntimeServer
	info    *configv1.P4Info
	entries []*v1.Entity
	profile []*v1.Entity // nil: it does not tell
	miss    *v1.Entity   // the default entry of every table; nil: it does not tell
}

const foreignInfo = `
tables {
  preamble { id: 10 name: "ingress.acl" alias: "acl" }
  match_fields { id: 1 name: "port" bitwidth: 9 match_type: OPTIONAL }
  match_fields { id: 2 name: "dst" annotations: "@format(IPV4_ADDRESS)" bitwidth: 32 match_type: TERNARY }
  match_fields { id: 3 name: "l4" bitwidth: 16 match_type: RANGE }
  match_fields { id: 4 name: "mark" bitwidth: 64 match_type: OPTIONAL }
  action_refs { id: 20 }
  direct_resource_ids: 70
  size: 64
}
tables {
  preamble { id: 11 name: "ingress.route" alias: "route" }
  match_fields { id: 1 name: "vrf" type_name { name: "vrf_t" } match_type: EXACT }
  match_fields { id: 2 name: "dst" annotations: "@format(IPV6_ADDRESS)" bitwidth: 128 match_type: LPM }
  action_refs { id: 20 }
  implementation_id: 40
  size: 1024
  idle_timeout_behavior: NOTIFY_CONTROL
}
actions { preamble { id: 20 name: "ingress.forward" alias: "forward" } params { id: 1 name: "port" bitwidth: 9 } }
direct_counters { preamble { id: 70 name: "ingress.hits" } spec { unit: PACKETS } direct_table_id: 10 }
type_info { new_types { key: "vrf_t" value { translated_type { uri: "vrf" sdn_string {} } } } }
`

const foreignEntries = `
entities { table_entry { table_id: 10 priority: 5 counter_data { packet_count: 3 byte_count: 9 }
  match { field_id: 2 ternary { value: "\n\x00\x00\x00" mask: "\xff\x00\x00\x00" } }
  match { field_id: 4 optional { value: "\xff\xff\xff\xff\xff\xff\xff\xff" } }
  action { action { action_id: 20 params { param_id: 1 value: "\x01" } } } } }
entities { table_entry { table_id: 10 priority: 50 counter_data { }
  match { field_id: 1 optional { value: "\x03" } } match { field_id: 3 range { low: "\x00" high: "\x03\xff" } }
  action { action { action_id: 20 params { param_id: 1 value: "\x01\x00" } } } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "red" } } action { action_profile_group_id: 4 } idle_timeout_ns: 60000000000 time_since_last_hit { elapsed_ns: 1500000 } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "blue" } }
  match { field_id: 2 lpm { value: "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" prefix_len: 32 } }
  action { action_profile_action_set {
    action_profile_actions { action { action_id: 20 params { param_id: 1 value: "\x01" } } weight: 2 }
    action_profile_actions { action { action_id: 20 params { param_id: 1 value: "\x02" } } weight: 1 } } } } }
`

func newForeign(t *testing.T) *foreign {
	f := &foreign{info: new(configv1.P4Info)}
	response := new(v1.ReadResponse)
	if err := errors.Join(prototext.Unmarshal([]byte(foreignInfo), f.info),
		prototext.Unmarshal([]byte(foreignEntries), response)); err != nil {
		t.Fatal(err)
	}
	f.entries = response.Entities
	return f
}

func (f *foreign) GetForwardingPipelineConfig(
	context.Context, *v1.GetForwardingPipelineConfigRequest,
) (*v1.GetForwardingPipelineConfigResponse, error) {
	return &v1.GetForwardingPipelineConfigResponse{Config: &v1.ForwardingPipelineConfig{P4Info: f.info}}, nil
}

func (f *foreign) Read(r *v1.ReadRequest, stream v1.P4Runtime_ReadServer) error {
	if kind := r.GetEntities()[0].GetEntity(); f.profile != nil {
		var told []*v1.Entity
		for _, e := range f.profile {
			if reflect.TypeOf(e.GetEntity()) == reflect.TypeOf(kind) {
				told = append(told, e)
			}
		}
		if len(told) > 0 {
			return stream.Send(&v1.ReadResponse{Entities: told})
		}
	}
	asked := r.GetEntities()[0].GetTableEntry()
	if asked.GetIsDefaultAction() && f.miss != nil {
		return stream.Send(&v1.ReadResponse{Entities: []*v1.Entity{f.miss}})
	}
	if asked == nil || asked.GetIsDefaultAction() {
		return status.Error(codes.Unimplemented, "not here")
	}
	for _, e := range f.entries {
		if e.GetTableEntry().GetTableId() == asked.GetTableId() {
			if err := stream.Send(&v1.ReadResponse{Entities: []*v1.Entity{e}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestTableOfAForeignTarget(t *testing.T) {
	f := newForeign(t)
	address := serve(t, func(r grpc.ServiceRegistrar) { v1.RegisterP4RuntimeServer(r, f) })
	wantOutput(t, `
TABLE  ENTRIES  SIZE  MATCH                                             COUNTS   IDLE TIMEOUT  A MISS DOES
acl          2    64  port:optional dst:ternary l4:range mark:optional  packets  -             -
route        2  1024  vrf:exact dst:lpm                                 -        yes           -
`, "table", "list", "--target", address)
	wantOutput(t, `
table acl: 2 of 64 entries
port  dst                 l4                       mark  PRIORITY  ACTION             PACKETS
   3  *                   0..1023                     *        50  forward(port=256)        0
   *  10.0.0.0&255.0.0.0  *        18446744073709551615         5  forward(port=1)          3

table route: 2 of 1024 entries
vrf     dst            ACTION                                            IDLE TIMEOUT  SINCE HIT
"blue"  2001:db8::/32  2*forward(port=1), 1*forward(port=2)              -             -
"red"   *              group 4 (the target does not tell what it holds)  1m0s          2ms
`, "table", "dump", "--target", address)
	for _, command := range []string{"dump", "list"} {
		want, err := os.ReadFile("testdata/table_" + command + ".json")
		if err != nil {
			t.Fatal(err)
		}
		wantOutput(t, string(want), "table", command, "--json", "--target", address)
	}
}

// What entries mean by a group or a member, from a target that tells; addresses of a program without
// @format; and a default that cannot change prints as others do.
func TestTableOfATargetThatTells(t *testing.T) {
	f := newForeign(t)
	f.info, f.entries = new(configv1.P4Info), nil
	answer, profile := new(v1.ReadResponse), new(v1.ReadResponse)
	if err := errors.Join(prototext.Unmarshal([]byte(`
tables { preamble { id: 11 name: "route" } match_fields { id: 1 name: "hdr.ipv4.dstAddr" bitwidth: 32 match_type: EXACT }
  action_refs { id: 20 } action_refs { id: 21 scope: DEFAULT_ONLY } const_default_action_id: 21 implementation_id: 40 size: 8 }
actions { preamble { id: 20 name: "set" } params { id: 1 name: "dmac" bitwidth: 48 } }
actions { preamble { id: 21 name: "drop" } }`), f.info), prototext.Unmarshal([]byte(`
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\n\x00\x00\x01" } } action { action_profile_group_id: 4 } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\n\x00\x00\x02" } } action { action_profile_member_id: 2 } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\n\x00\x00\x03" } } action { action_profile_group_id: 5 } } }`), answer),
		prototext.Unmarshal([]byte(`
entities { action_profile_member { action_profile_id: 40 member_id: 1 action { action_id: 20 params { param_id: 1 value: "\x02\x00\x00\x00\x00\x01" } } } }
entities { action_profile_member { action_profile_id: 40 member_id: 2 action { action_id: 20 params { param_id: 1 value: "\x02\x00\x00\x00\x00\x02" } } } }
entities { action_profile_group { action_profile_id: 40 group_id: 4 members { member_id: 1 weight: 2 } members { member_id: 2 weight: 1 } } }
entities { action_profile_group { action_profile_id: 40 group_id: 5 } }`), profile)); err != nil {
		t.Fatal(err)
	}
	f.entries, f.profile = answer.Entities, profile.Entities
	address := serve(t, func(r grpc.ServiceRegistrar) { v1.RegisterP4RuntimeServer(r, f) })
	wantOutput(t, `
table route: 3 of 8 entries; a miss does drop()
hdr.ipv4.dstAddr  ACTION
10.0.0.1          group 4: 2*set(dmac=02:00:00:00:00:01), 1*set(dmac=02:00:00:00:00:02)
10.0.0.2          member 2: set(dmac=02:00:00:00:00:02)
10.0.0.3          group 5 (empty)
`, "table", "dump", "--target", address)
	code, stdout, _ := sluice(t, "table", "list", "--json", "--target", address)
	if !strings.Contains(stdout, `"miss": "drop()"`) || code != 0 {
		t.Errorf("exit code %d, the miss is not drop() in %s", code, stdout)
	}
	code, stdout, _ = sluice(t, "table", "dump", "--json", "--target", address)
	var entries []struct {
		Match map[string]string
		Group int
		Holds []struct {
			Action string
			Params map[string]string
			Weight int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &entries); err != nil || code != 0 {
		t.Fatalf("%v, exit code %d: %s", err, code, stdout)
	}
	if e := entries[0]; e.Group != 4 || len(e.Holds) != 2 || e.Holds[0].Weight != 2 ||
		e.Holds[1].Params["dmac"] != "02:00:00:00:00:02" || e.Match["hdr.ipv4.dstAddr"] != "10.0.0.1" {
		t.Errorf("group 4 is %+v", e)
	}
}

func TestTextTable(t *testing.T) {
	text := newTextTable("NAME", "N", "NOTE")
	text.row("ä", "7", "")
	text.row("bcdef", "10", "x ")
	var b bytes.Buffer
	if err := text.write(&b); err != nil {
		t.Fatal(err)
	}
	const want = "NAME    N  NOTE\nä       7  -\nbcdef  10  x\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := text.write(brokenPipe{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing to a closed pipe: %v", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// What the P4Info does not explain is printed as it came, and the rest as ever.
func TestTableDumpOfWhatIsNotUnderstood(t *testing.T) {
	f := newForeign(t)
	f.info = new(configv1.P4Info)
	answer, profile := new(v1.ReadResponse), new(v1.ReadResponse)
	if err := errors.Join(prototext.Unmarshal([]byte(`
tables { preamble { id: 11 name: "route" } match_fields { id: 1 name: "dst" bitwidth: 16 match_type: EXACT }
  action_refs { id: 20 } implementation_id: 40 size: 8 }
actions { preamble { id: 20 name: "set" } params { id: 1 name: "port" bitwidth: 9 } }
counters { preamble { id: 60 name: "hits" } spec { unit: PACKETS } size: 2 }`), f.info), prototext.Unmarshal([]byte(`
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\x01" } } action { action_profile_member_id: 2 } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\x03" } } action { action { action_id: 99 } } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\x02" } } action { action { action_id: 20 params { param_id: 1 value: "\x02\x00" } } } } }
entities { table_entry { table_id: 11 match { field_id: 1 exact { value: "\x04" } } action { action_profile_member_id: 3 } } }`), answer),
		prototext.Unmarshal([]byte(`
entities { action_profile_member { action_profile_id: 40 member_id: 2 action { action_id: 20 params { param_id: 1 value: "\x05" } } } }
entities { action_profile_member { action_profile_id: 40 member_id: 3 action { action_id: 98 } } }
entities { counter_entry { counter_id: 60 index { index: 1 } data { packet_count: 4 } } }
entities { counter_entry { counter_id: 61 index { } data { packet_count: 4 } } }
entities { packet_replication_engine_entry { multicast_group_entry { multicast_group_id: 1 replicas { port: "\x01" } } } }
entities { packet_replication_engine_entry { multicast_group_entry { multicast_group_id: 2 replicas { port: "  \" \x01\x00\x00\x00\x00" } } } }`), profile)); err != nil {
		t.Fatal(err)
	}
	f.entries, f.profile, f.miss = answer.Entities, profile.Entities, new(v1.Entity)
	if err := prototext.Unmarshal([]byte(`table_entry { table_id: 11 is_default_action: true action { action { `+
		`action_id: 97 } } }`), f.miss); err != nil {
		t.Fatal(err)
	}
	address := serve(t, func(r grpc.ServiceRegistrar) { v1.RegisterP4RuntimeServer(r, f) })
	wantOutput(t, `
table route: 4 of 8 entries; a miss does action:{action_id:97}
dst  ACTION
  1  member 2: set(port=5)
  4  member 3 (the target does not tell what it holds)

NOT UNDERSTOOD                                                                                    AS THE TARGET TELLS IT
decoding member 3 of the action profile of table route: action id 98 is not one of the table's    action_profile_member:{action_profile_id:40 member_id:3 action:{action_id:98}}
decoding an entry of table route: action set: parameter port: 512 needs 10 bits, must fit bit<9>  table_entry:{table_id:11 match:{field_id:1 exact:{value:"\x02"}} action:{action:{action_id:20 params:{param_id:1 value:"\x02\x00"}}}}
decoding an entry of table route: action id 99 is not one of the table's                          table_entry:{table_id:11 match:{field_id:1 exact:{value:"\x03"}} action:{action:{action_id:99}}}

counter hits: 1 of 2 cells have counted
CELL  PACKETS
   1        4

NOT UNDERSTOOD                                 AS THE TARGET TELLS IT
decoding a counter cell: no counter has id 61  counter_entry:{counter_id:61 index:{} data:{packet_count:4}}

MULTICAST GROUP  PORTS
              1      1

NOT UNDERSTOOD                                                                                     AS THE TARGET TELLS IT
decoding multicast group 2: replica 0: port: 0x202022200100000000 needs 70 bits, must fit bit<32>  packet_replication_engine_entry:{multicast_group_entry:{multicast_group_id:2 replicas:{port:" \" \x01\x00\x00\x00\x00"}}}
`, "table", "dump", "--target", address)
	code, stdout, stderr := sluice(t, "table", "dump", "--json", "--target", address)
	var all, got []struct{ Kind, Table, Counter, Error, Text string }
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || code != 0 {
		t.Fatalf("%v, exit code %d: %s%s", err, code, stdout, stderr)
	}
	for _, o := range all {
		if o.Kind == "raw" {
			o.Error = ""
			got = append(got, o)
		}
	}
	want := []struct{ Kind, Table, Counter, Error, Text string }{
		{"raw", "route", "", "", `action_profile_member:{action_profile_id:40 member_id:3 action:{action_id:98}}`},
		{"raw", "route", "", "", `table_entry:{table_id:11 match:{field_id:1 exact:{value:"\x02"}} ` +
			`action:{action:{action_id:20 params:{param_id:1 value:"\x02\x00"}}}}`},
		{"raw", "route", "", "",
			`table_entry:{table_id:11 match:{field_id:1 exact:{value:"\x03"}} action:{action:{action_id:99}}}`},
		{"raw", "", "hits", "", `counter_entry:{counter_id:61 index:{} data:{packet_count:4}}`},
		{"raw", "", "", "", `packet_replication_engine_entry:{multicast_group_entry:{multicast_group_id:2 ` +
			`replicas:{port:"  \" \x01\x00\x00\x00\x00"}}}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("raw objects (-want +got):\n%s", diff)
	}
	if len(all) != len(want)+4 {
		t.Errorf("%d objects, want %d: two entries, a cell and a group beside what is raw", len(all), len(want)+4)
	}
}
