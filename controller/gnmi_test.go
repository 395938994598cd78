package controller_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/packet"
)

// dialGNMI is a client of gRPC at a controller's address.
func dialGNMI(t testing.TB, address string, as credentials.TransportCredentials) pb.GNMIClient {
	t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(address, "https://"), grpc.WithTransportCredentials(as))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewGNMIClient(conn)
}

// sluicePath is a path of elements, where "name=key" is a list's with its key.
func sluicePath(elems ...string) *pb.Path {
	p := &pb.Path{Origin: "sluice", Elem: []*pb.PathElem{{Name: "sluice"}}}
	for _, e := range elems {
		name, key, keyed := strings.Cut(e, "=")
		elem := &pb.PathElem{Name: name}
		if keyed {
			elem.Key = map[string]string{"name": key}
		}
		p.Elem = append(p.Elem, elem)
	}
	return p
}

// What the loop decides is told to who subscribes to it when it is decided, and what switches count when it is sampled.
func TestControllerTree(t *testing.T) {
	tg, d, _ := setup(t)
	client := dialGNMI(t, d.Address(), insecure.NewCredentials())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := client.Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	onChange := func(p *pb.Path) *pb.Subscription {
		return &pb.Subscription{Path: p, Mode: pb.SubscriptionMode_ON_CHANGE}
	}
	err = stream.Send(&pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: &pb.SubscriptionList{
		Encoding: pb.Encoding_PROTO, Subscription: []*pb.Subscription{
			onChange(sluicePath("pools", "pool", "backends", "backend", "health")),
			onChange(sluicePath("pools", "pool", "backends", "backend", "slots")),
			onChange(sluicePath("vips", "vip", "state")),
			onChange(sluicePath("switches", "switch", "state")),
			onChange(sluicePath("controller", "health-connected")),
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	now := make(map[string]string) // as the client knows it
	until := func(what string, is func() bool) {
		t.Helper()
		for !is() {
			m, err := stream.Recv()
			if err != nil {
				t.Fatalf("waiting until %s: %v; %v", what, err, now)
			}
			if m.GetSyncResponse() {
				now["synced"] = "true"
			}
			for _, u := range m.GetUpdate().GetUpdate() {
				var keys []string
				for _, e := range u.Path.Elem {
					for _, k := range e.Key {
						keys = append(keys, k)
					}
				}
				value := u.Val.GetStringVal()
				switch v := u.Val.GetValue().(type) {
				case *pb.TypedValue_UintVal:
					value = map[bool]string{true: "some", false: "0"}[v.UintVal > 0]
				case *pb.TypedValue_BoolVal:
					value = strconv.FormatBool(v.BoolVal)
				}
				now[strings.Join(keys, "/")+" "+u.Path.Elem[len(u.Path.Elem)-1].Name] = value
			}
		}
	}
	until("all is known", func() bool { return now["synced"] != "" })
	want := map[string]string{
		"synced": "true", " health-connected": "false", "leaf1 state": "SYNCED", "www state": "ACTIVE",
		"web/web1 health": "UNSPECIFIED", "web/web2 health": "UNSPECIFIED", "web/web3 health": "UNSPECIFIED",
		"web/web1 slots": "some", "web/web2 slots": "some", "web/web3 slots": "some",
	}
	if diff := cmp.Diff(want, now); diff != "" {
		t.Errorf("at first (-want +got):\n%s", diff)
	}
	// Neither changes what is told of a VIP, nor what a switch holds.
	d.verdict("web1", api.Health_HEALTH_UP)
	until("web1 has a verdict", func() bool { return now["web/web1 health"] == "UP" })
	checks, err := d.WatchChecks(ctx, new(api.WatchChecksRequest))
	if err != nil {
		t.Fatal(err)
	}
	until("a healthd watches", func() bool { return now[" health-connected"] == "true" })
	checks.Close()
	until("none does", func() bool { return now[" health-connected"] == "false" })
	d.verdict("web2", api.Health_HEALTH_DOWN)
	until("web2 is down", func() bool { return now["web/web2 health"] == "DOWN" && now["web/web2 slots"] == "0" })
	d.verdict("web2", api.Health_HEALTH_UP)
	until("web2 is up", func() bool { return now["web/web2 health"] == "UP" && now["web/web2 slots"] == "some" })
	tg.StopSwitch()
	until("the switch is away", func() bool {
		return now["leaf1 state"] == "DISCONNECTED" && now["www state"] == "UNPROGRAMMED"
	})
	tg.start()
	until("the switch is back", func() bool { return now["leaf1 state"] == "SYNCED" && now["www state"] == "ACTIVE" })
	m, err := client.Get(t.Context(), &pb.GetRequest{Encoding: pb.Encoding_PROTO, Path: []*pb.Path{
		sluicePath("switches", "switch=leaf1", "ports", "port", "state"),
		sluicePath("switches", "switch=leaf1", "vips", "vip=www", "packets"),
		sluicePath("switches", "switch=leaf1", "backends", "backend=web1", "packets"),
		sluicePath("controller", "leader"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range m.Notification {
		for _, u := range n.Update {
			got = append(got, strings.ReplaceAll(u.Val.String(), "  ", " "))
		}
	}
	if diff := cmp.Diff([]string{`string_val:"up"`, `string_val:"up"`, `string_val:"up"`, `string_val:"up"`,
		"uint_val:0", "uint_val:0", "bool_val:true"}, got); diff != "" {
		t.Errorf("sampled (-want +got):\n%s", diff)
	}
	_, err = client.Set(t.Context(), new(pb.SetRequest))
	const readOnly = "gNMI is read-only here: the configuration is applied by `sluice config apply`, and backends " +
		"are drained by `sluice backend drain`"
	if status.Code(err) != codes.Unimplemented || status.Convert(err).Message() != readOnly {
		t.Errorf("Set: %v, want %s", err, readOnly)
	}
}

// At a controller's network address the tree is for those who may look, by the roles of their certificates.
func TestControllerTreeByRoles(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	tg := newTarget(t)
	dir := t.TempDir()
	d := startController(t, options{
		dir: dir, file: writeFile(t, dir, intent(tg.Target())), identity: lab.Server(t, "ctl"),
		also: "https://127.0.0.1:0",
	})
	address := d.Addresses()[1]
	got := make(map[string]string)
	for _, role := range rpc.Known() {
		client := dialGNMI(t, address, credentials.NewTLS(rpctest.Config(t, lab.Issue(t,
			cert.Request{Name: "as-" + string(role), Roles: []string{string(role)}}))))
		stream, err := client.Subscribe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: &pb.SubscriptionList{
			Mode:         pb.SubscriptionList_ONCE,
			Subscription: []*pb.Subscription{{Path: sluicePath("controller", "leader")}},
		}}})
		_, subscribed := stream.Recv()
		_, gets := client.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{sluicePath("controller", "leader")}})
		for what, err := range map[string]error{"Subscribe": subscribed, "Get": gets} {
			got[string(role)+" "+what] = status.Code(err).String()
			if refusal := "the certificate of \"as-" + string(role) + "\" has the role " + string(role) +
				" and this needs viewer"; err != nil &&
				status.Convert(err).Message() != refusal {
				t.Errorf("%s, %s: %v, want %s", role, what, err, refusal)
			}
		}
	}
	want := make(map[string]string)
	for _, role := range rpc.Known() {
		code := "PermissionDenied"
		if slices.Contains([]rpc.Role{rpc.Operator, rpc.Viewer, rpc.Controller}, role) {
			code = "OK"
		}
		want[string(role)+" Subscribe"], want[string(role)+" Get"] = code, code
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// However many subscriptions viewers hold, operators have theirs.
func TestViewersLeaveRoomForOperators(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	tg := newTarget(t)
	dir := t.TempDir()
	d := startController(t, options{
		dir: dir, file: writeFile(t, dir, intent(tg.Target())), identity: lab.Server(t, "ctl"),
		also: "https://127.0.0.1:0",
	})
	as := func(role rpc.Role) pb.GNMIClient {
		files := lab.Issue(t, cert.Request{Name: "as-" + string(role), Roles: []string{string(role)}})
		return dialGNMI(t, d.Addresses()[1], credentials.NewTLS(rpctest.Config(t, files)))
	}
	subscribe := func(client pb.GNMIClient) error {
		stream, err := client.Subscribe(t.Context())
		if err != nil {
			return err
		}
		_ = stream.Send(&pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: &pb.SubscriptionList{
			Subscription: []*pb.Subscription{{Path: sluicePath("controller", "leader")}},
		}}})
		_, err = stream.Recv()
		return err
	}
	viewer := as(rpc.Viewer)
	for n := range 64 {
		if err := subscribe(viewer); err != nil {
			t.Fatalf("the viewer's subscription %d: %v", n+1, err)
		}
	}
	const full = "rpc error: code = ResourceExhausted desc = 64 subscriptions are under way: must be at most 64"
	if err := subscribe(as(rpc.Controller)); err == nil || err.Error() != full {
		t.Errorf("one more of who may only look: %v, want %s", err, full)
	}
	if err := subscribe(as(rpc.Operator)); err != nil {
		t.Errorf("the operator's: %v", err)
	}
}

// gets returns the leaves below a path by Get: their paths with sorted keys, and their values.
func gets(t *testing.T, client pb.GNMIClient, path *pb.Path) map[string]string {
	t.Helper()
	m, err := client.Get(t.Context(), &pb.GetRequest{Encoding: pb.Encoding_PROTO, Path: []*pb.Path{path}})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, n := range m.Notification {
		for _, u := range n.Update {
			var b strings.Builder
			for _, e := range slices.Concat(n.GetPrefix().GetElem(), u.Path.Elem) {
				b.WriteString("/" + e.Name)
				for _, k := range slices.Sorted(maps.Keys(e.Key)) {
					fmt.Fprintf(&b, "[%s=%s]", k, e.Key[k])
				}
			}
			_, all[b.String()], _ = strings.Cut(strings.ReplaceAll(u.Val.String(), "  ", " "), ":")
		}
	}
	return all
}

// What a switch reports and counts is in the tree as in the status: who claims VIPs, how full its tables are, what was
// opened on moving slots and what follows from it, and how its ports are.
func TestTreeOfASwitch(t *testing.T) {
	tg := newTarget(t)
	dir := t.TempDir()
	d := startController(t, options{dir: dir, file: writeFile(t, dir,
		strings.Replace(intent(tg.Target()), "drain_idle: 500ms", "drain_idle: 1h", 1))})
	d.synced()
	d.atRest()
	client := dialGNMI(t, d.Address(), insecure.NewCredentials())
	server := packet.MAC{2, 0, 0, 0, 0, 0x12}
	tg.End(3).Inject(packet.NewARPReply(server, netip.MustParseAddr("10.0.0.100"), packet.MAC{2, 0, 0, 0, 0, 1},
		netip.MustParseAddr("10.0.0.1")))
	d.wait("the claim is reported", func(e *api.Event) bool { return e.GetArpClaim() != nil })
	d.admin("web3", api.Admin_ADMIN_DRAIN)
	d.quiet()
	gets(t, client, sluicePath("switches")) // sees the epoch
	d.open(tg, 1000)
	d.until("how the ports are is known",
		func(m *api.GetStatusResponse) bool { return len(m.Switches[0].Ports) == 4 && m.ArpClaims != nil })
	sw := d.status().Switches[0]
	want := map[string]string{
		"claims/claim[port=3][vip-address=10.0.0.100]/vip-address": `"10.0.0.100"`,
		"claims/claim[port=3][vip-address=10.0.0.100]/port":        "3",
		"claims/claim[port=3][vip-address=10.0.0.100]/claims":      "1",
		"claims/claim[port=3][vip-address=10.0.0.100]/disowned":    "0",
		"claims/claim[port=3][vip-address=10.0.0.100]/backends":    `{element:{string_val:"web/web2"}}`,

		"ports/port[id=4]/id": "4", "ports/port[id=4]/name": `"port4"`, "ports/port[id=4]/state": `"up"`,
		"ports/port[id=4]/stale": "false",
		"ports-way":              `"gNMI, streamed"`,

		"tables/table[name=vip]/name": `"vip"`, "tables/table[name=vip]/rows": "1",
		"tables/table[name=vip]/size":     fmt.Sprint(limits.VIPSize),
		"tables/table[name=backend]/rows": "3", "tables/table[name=slot]/rows": "256",
	}
	opened := uint64(0)
	for _, b := range sw.Banks {
		opened += b.Openings
		at := fmt.Sprintf("banks/bank[id=%d]/", b.Id)
		want[at+"id"], want[at+"epoch"] = fmt.Sprint(b.Id), fmt.Sprint(b.Epoch)
		want[at+"openings"] = fmt.Sprint(b.Openings)
		predicted := math.Pow(1-math.Exp(-float64(b.Openings)/65536), 4)
		want[at+"false-positives"] = fmt.Sprint(math.Round(predicted*1e12) / 1e12)
	}
	if opened < 300 || opened > 700 {
		t.Errorf("%d openings, want about half of 1000: %v", opened, sw.Banks)
	}
	deadline := time.Now().Add(patience)
	for { // a sample may be of up to 100 ms ago
		all := gets(t, client, sluicePath("switches", "switch=leaf1"))
		got := make(map[string]string)
		for path := range want {
			got[path] = all["/sluice/switches/switch[name=leaf1]/"+path]
		}
		diff := cmp.Diff(want, got)
		if diff == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// A controller that stands by tells so, and who leads, and refuses all else with that. When it leads it tells the rest.
func TestTreeOfAStandby(t *testing.T) {
	t.Parallel()
	tg := newTarget(t)
	store, _ := etcd(t)
	dir := t.TempDir()
	o := options{endpoints: []string{store}, file: writeFile(t, dir, intent(tg.Target()))}
	first := startController(t, o)
	first.synced()
	o.also = "unix:" + dir + "/second.sock"
	log, ready := standBy(t, o)
	log.wait(t, `msg="gNMI is served while this controller stands by" listen=`+o.also)

	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(o.also, "unix:"), grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pb.NewGNMIClient(conn)
	all := gets(t, client, sluicePath())
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	leads := fmt.Sprintf("another controller has the store: process %d on %s, since ", os.Getpid(), host)
	if why := all["/sluice/controller/stands-by"]; !strings.HasPrefix(why, `"`+leads) {
		t.Errorf("it stands by because %s, want %s...", why, leads)
	}
	want := []string{"/sluice/controller/leader", "/sluice/controller/stands-by", "/sluice/controller/started"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(all))); diff != "" || all[want[0]] != "false" {
		t.Errorf("leader %s, leaves (-want +got):\n%s", all[want[0]], diff)
	}
	stream, err := client.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&pb.SubscribeRequest{Request: &pb.SubscribeRequest_Subscribe{Subscribe: &pb.SubscriptionList{
		Mode: pb.SubscriptionList_STREAM, Subscription: []*pb.Subscription{
			{Path: sluicePath("controller", "leader"), Mode: pb.SubscriptionMode_ON_CHANGE},
			{Path: sluicePath("switches", "switch", "vips"), Mode: pb.SubscriptionMode_SAMPLE},
		},
	}}})
	for synced := false; !synced; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		synced = m.GetSyncResponse()
	}
	standing, err := api.Dial(o.also, rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer standing.Close()
	_, err = standing.GetStatus(t.Context(), new(api.GetStatusRequest))
	if want := "unavailable: this controller stands by: " + leads; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("GetStatus: %v, want %s...", err, want)
	}
	events, err := standing.WatchEvents(t.Context(), new(api.WatchEventsRequest))
	if err == nil {
		for events.Receive() {
		}
		err = events.Err()
	}
	if want := "unavailable: this controller stands by: " + leads; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("WatchEvents: %v, want %s...", err, want)
	}

	first.kill()
	second := <-ready
	if second == nil {
		return
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream of the standby goes on")
	}
	second.synced()
	if got := gets(t, client, sluicePath("controller", "leader"))["/sluice/controller/leader"]; got != "true" {
		t.Errorf("leader is %s", got)
	}
}

// Where the leader has its sockets, as one on the same host may, a controller stands by without, and has them when it
// leads.
func TestStandbyWithoutSockets(t *testing.T) {
	t.Parallel()
	tg := newTarget(t)
	store, _ := etcd(t)
	dir := t.TempDir()
	o := options{
		endpoints: []string{store}, file: writeFile(t, dir, intent(tg.Target())), also: "unix:" + dir + "/one.sock",
	}
	first := startController(t, o)
	first.synced()
	log, ready := standBy(t, o)
	log.wait(t, `msg="nothing is served while this controller stands by" err=`)
	first.kill()
	if second := <-ready; second != nil {
		second.synced()
	}
}
