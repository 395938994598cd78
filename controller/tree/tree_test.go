package tree

import (
	"context"
	"maps"
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
	sw.Tallies = map[string]*api.PacketCount{"text": {Packets: 1}}
	pool := whole(new(api.PoolStatus))
	pool.Backends = []*api.BackendStatus{whole(new(api.BackendStatus))}
	m.Switches, m.Vips, m.Pools = []*api.SwitchStatus{sw}, []*api.VIPStatus{whole(new(api.VIPStatus))},
		[]*api.PoolStatus{pool}
	var want []string
	counted := map[string]Counted{"text": {
		VIPs:     map[string]*api.PacketCount{"text": {Packets: 1}},
		Backends: map[Backend]*api.PacketCount{{"text", "text"}: {Packets: 1}},
	}}
	keys := strings.NewReplacer("[pool][name]", "[name=text][pool=text]", "[name]", "[name=text]", "[id]", "[id=1]")
	for _, l := range Schema.Leaves() {
		want = append(want, keys.Replace(l.Path()))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(leaves(t, m, counted)))); diff != "" {
		t.Errorf("(-schema +served):\n%s", diff)
	}
}

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
