package tree

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/gnmi/yangtest"
)

// The module is valid, and what it has is what is served, with the same types.
func TestYANG(t *testing.T) {
	want := yangtest.Leaves(t, "sluice", "sluice.yang")
	if diff := cmp.Diff(want, yangtest.Served(Schema, "sluice")); diff != "" || len(want) == 0 {
		t.Errorf("(-module +served):\n%s", diff)
	}
}

// source serves one status.
type source struct {
	m       *api.GetStatusResponse
	counted map[string]Counted
}

func (s source) Changed() <-chan struct{}                     { return nil }
func (s source) Events(_ context.Context, t *gnmi.Tree) error { Events(s.m, t); return nil }
func (s source) Samples(_ context.Context, t *gnmi.Tree) error {
	Samples(s.m, s.counted, t)
	return nil
}

// leaves returns all that is served of a status, by path.
func leaves(t *testing.T, m *api.GetStatusResponse, counted map[string]Counted) map[string]*pb.TypedValue {
	t.Helper()
	s := gnmi.New(gnmi.Config{Schema: Schema, Source: source{m, counted}, Lowest: time.Second})
	r, err := s.Get(t.Context(), &pb.GetRequest{Path: []*pb.Path{{Origin: "sluice"}}, Encoding: pb.Encoding_PROTO})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*pb.TypedValue)
	for _, u := range r.Notification[0].Update {
		var b strings.Builder
		for _, e := range u.Path.Elem {
			b.WriteString("/" + e.Name)
			for _, k := range slices.Sorted(maps.Keys(e.Key)) {
				b.WriteString("[" + k + "=" + e.Key[k] + "]")
			}
		}
		all[b.String()] = u.Val
	}
	return all
}

// whole fills in every field of a message that has none of another, so that nothing of it counts as not there.
func whole[M protoreflect.ProtoMessage](m M) M {
	r := m.ProtoReflect()
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
		case f.IsList() && f.Kind() == protoreflect.StringKind:
			r.Mutable(f).List().Append(protoreflect.ValueOfString("text"))
		case f.IsList():
		case f.Kind() == protoreflect.StringKind:
			r.Set(f, protoreflect.ValueOfString("text"))
		case f.Kind() == protoreflect.BoolKind:
			r.Set(f, protoreflect.ValueOfBool(true))
		case f.Kind() == protoreflect.Uint32Kind:
			r.Set(f, protoreflect.ValueOfUint32(1))
		case f.Kind() == protoreflect.Uint64Kind:
			r.Set(f, protoreflect.ValueOfUint64(1))
		case f.Kind() == protoreflect.Int64Kind:
			r.Set(f, protoreflect.ValueOfInt64(1))
		case f.Kind() == protoreflect.DoubleKind:
			r.Set(f, protoreflect.ValueOfFloat64(1))
		case f.Kind() == protoreflect.EnumKind:
			r.Set(f, protoreflect.ValueOfEnum(1))
		case f.Message() != nil && f.Message().Name() == "Timestamp":
			r.Set(f, protoreflect.ValueOfMessage(timestamppb.New(time.Unix(1, 0)).ProtoReflect()))
		case f.Message() != nil && f.Message().Name() == "PacketCount":
			r.Set(f, protoreflect.ValueOfMessage((&api.PacketCount{Packets: 1, Bytes: 1}).ProtoReflect()))
		}
	}
	return m
}

// A status that lacks nothing has a value for each leaf of the schema.
func TestEveryLeaf(t *testing.T) {
	m := whole(new(api.GetStatusResponse))
	sw := whole(new(api.SwitchStatus))
	sw.Ports = []*api.PortStatus{whole(new(api.PortStatus))}
	sw.Tables = []*api.TableStatus{whole(new(api.TableStatus))}
	sw.Banks = []*api.BankStatus{whole(new(api.BankStatus))}
	sw.MeterDrops = []*api.MeterDrops{whole(new(api.MeterDrops))}
	sw.Tallies = map[string]*api.PacketCount{"text": {Packets: 1}}
	pool := whole(new(api.PoolStatus))
	b := whole(new(api.BackendStatus))
	b.SwitchPorts = map[string]uint32{"text": 1}
	pool.Backends = []*api.BackendStatus{b}
	m.Switches, m.Pools = []*api.SwitchStatus{sw}, []*api.PoolStatus{pool}
	m.Vips = []*api.VIPStatus{whole(new(api.VIPStatus))}
	m.ArpClaims, m.Spoofs = []*api.ARPClaim{whole(new(api.ARPClaim))}, []*api.Spoof{whole(new(api.Spoof))}
	counted := map[string]Counted{"text": {
		VIPs:     map[string]*api.PacketCount{"text": {Packets: 1}},
		Backends: map[Backend]*api.PacketCount{{"text", "text"}: {Packets: 1}},
	}}
	var want []string
	numbers := strings.NewReplacer("[id=text]", "[id=1]", "[port=text]", "[port=1]")
	for _, l := range Schema.Leaves() {
		if l == standsBy {
			continue // a controller that stands by has it, and no status
		}
		want = append(want, numbers.Replace(keys.ReplaceAllStringFunc(l.Path(), func(list string) string {
			names := strings.FieldsFunc(list, func(r rune) bool { return r == '[' || r == ']' })
			slices.Sort(names)
			return "[" + strings.Join(names, "=text][") + "=text]"
		})))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(leaves(t, m, counted)))); diff != "" {
		t.Errorf("(-schema +served):\n%s", diff)
	}
}

// keys are those of a list, by name.
var keys = regexp.MustCompile(`(\[[a-z-]+\])+`)

// Each value that an enumeration of the API has is one of the module's.
func TestEnumerations(t *testing.T) {
	for path, e := range map[string]struct {
		values map[int32]string
		prefix string
		zero   bool // means something
	}{
		"/sluice/switches/switch[name]/state":                    {api.SwitchStatus_State_name, "STATE_", false},
		"/sluice/vips/vip[name]/state":                           {api.VIPStatus_State_name, "STATE_", false},
		"/sluice/pools/pool[name]/backends/backend[name]/admin":  {api.Admin_name, "ADMIN_", false},
		"/sluice/pools/pool[name]/backends/backend[name]/health": {api.Health_name, "HEALTH_", true},
	} {
		var want []string
		for n, name := range e.values {
			if n != 0 || e.zero {
				want = append(want, strings.TrimPrefix(name, e.prefix))
			}
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, yangtest.Enum(t, path, "sluice.yang")); diff != "" {
			t.Errorf("%s (-API +module):\n%s", path, diff)
		}
	}
}

// What is not there has no leaf, and of two backends with a name the one of the configuration counts.
func TestAbsent(t *testing.T) {
	got := leaves(t, &api.GetStatusResponse{
		StartedAt: timestamppb.New(time.Unix(2, 5)), IntentAppliedAt: timestamppb.New(time.Unix(3, 0)),
		Vips: []*api.VIPStatus{{Name: "web", State: api.VIPStatus_STATE_NO_BACKEND, Load: 255}},
		Pools: []*api.PoolStatus{{Name: "web", Backends: []*api.BackendStatus{
			{Name: "web1", Admin: api.Admin_ADMIN_DRAIN}, {Name: "web1", Reason: "removed"},
		}}},
	}, map[string]Counted{"leaf1": {VIPs: map[string]*api.PacketCount{"web": {Packets: 7}}}, "leaf2": {}})
	for path, want := range map[string]string{
		"/sluice/controller/started":         "2000000005",
		"/sluice/controller/frozen":          "",
		"/sluice/controller/health-reported": "",
		"/sluice/vips/vip[name=web]/state":   "NO_BACKEND",
		"/sluice/vips/vip[name=web]/reason":  "",
		"/sluice/vips/vip[name=web]/load":    "255",

		"/sluice/switches/switch[name=leaf1]/vips/vip[name=web]/packets": "7",
		"/sluice/switches/switch[name=leaf2]/vips/vip[name=web]/packets": "",

		"/sluice/pools/pool[name=web]/backends/backend[name=web1]/admin":     "DRAIN",
		"/sluice/pools/pool[name=web]/backends/backend[name=web1]/reason":    "",
		"/sluice/pools/pool[name=web]/backends/backend[name=web1]/unwritten": "",
	} {
		v, there := got[path]
		text := v.GetStringVal()
		if n, ok := v.GetValue().(*pb.TypedValue_UintVal); ok {
			text = strconv.FormatUint(n.UintVal, 10)
		}
		if there != (want != "") || text != want {
			t.Errorf("%s: %v, want %q", path, v, want)
		}
	}
}

// What somebody claimed, or who passed for whom, is told by place, whoever it was: MACs can be invented.
func TestPlacesAddUp(t *testing.T) {
	at := func(s int64) *timestamppb.Timestamp { return timestamppb.New(time.Unix(s, 0)) }
	claim := func(port uint32, mac, backend string, disowned bool, count uint64, last int64) *api.ARPClaim {
		return &api.ARPClaim{
			Switch: "leaf1", VipAddress: "10.0.0.1", Port: port, Mac: mac, Backend: backend, Disowned: disowned,
			Count: count, Last: at(last),
		}
	}
	all := leaves(t, &api.GetStatusResponse{
		Switches: []*api.SwitchStatus{{Name: "leaf1"}},
		ArpClaims: []*api.ARPClaim{
			claim(3, "02:00:00:00:00:01", "web/web1", false, 2, 7), claim(3, "", "", false, 5, 9),
			claim(3, "02:00:00:00:00:01", "web/web1", true, 11, 8), claim(4, "02:00:00:00:00:02", "", true, 1, 1),
		},
		Spoofs: []*api.Spoof{
			{Switch: "leaf1", Port: 3, Mac: "02:00:00:00:00:01", Station: "router1", Frames: 2, Last: at(7)},
			{Switch: "leaf1", Port: 3, Address: "10.0.0.9", Station: "router1", Frames: 3, Last: at(6)},
		},
	}, nil)
	got := make(map[string]string)
	for path, v := range all {
		path, ok := strings.CutPrefix(path, "/sluice/switches/switch[name=leaf1]/")
		if leaf := path[strings.LastIndexByte(path, '/')+1:]; ok && path != "name" && !slices.Contains(
			[]string{"port", "vip-address", "station"}, leaf) && strings.Contains(path, "[port=") {
			got[path] = strings.ReplaceAll(v.String(), "  ", " ")
		}
	}
	want := map[string]string{
		"claims/claim[port=3][vip-address=10.0.0.1]/claims":   "uint_val:7",
		"claims/claim[port=3][vip-address=10.0.0.1]/disowned": "uint_val:11",
		"claims/claim[port=3][vip-address=10.0.0.1]/last":     "uint_val:9000000000",
		"claims/claim[port=3][vip-address=10.0.0.1]/backends": `leaflist_val:{element:{string_val:"web/web1"}}`,
		"claims/claim[port=4][vip-address=10.0.0.1]/claims":   "uint_val:0",
		"claims/claim[port=4][vip-address=10.0.0.1]/disowned": "uint_val:1",
		"claims/claim[port=4][vip-address=10.0.0.1]/last":     "uint_val:1000000000",
		"spoofs/spoof[port=3][station=router1]/frames":        "uint_val:5",
		"spoofs/spoof[port=3][station=router1]/last":          "uint_val:7000000000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
