package ports

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/openconfig/gnmi/proto/gnmi"
)

// at is the path "interfaces/interface[name=eth1]/state/id" as gNMI has it.
func at(text string) *gnmi.Path {
	p := new(gnmi.Path)
	if text == "" {
		return p
	}
	for _, name := range strings.Split(text, "/") {
		e := &gnmi.PathElem{}
		if before, key, ok := strings.Cut(name, "[name="); ok {
			name, e.Key = before, map[string]string{"name": strings.TrimSuffix(key, "]")}
		}
		e.Name = name
		p.Elem = append(p.Elem, e)
	}
	return p
}

func ietf(s string) *gnmi.TypedValue {
	return &gnmi.TypedValue{Value: &gnmi.TypedValue_JsonIetfVal{JsonIetfVal: []byte(s)}}
}

func plainJSON(s string) *gnmi.TypedValue {
	return &gnmi.TypedValue{Value: &gnmi.TypedValue_JsonVal{JsonVal: []byte(s)}}
}

func str(s string) *gnmi.TypedValue {
	return &gnmi.TypedValue{Value: &gnmi.TypedValue_StringVal{StringVal: s}}
}

func uint(n uint64) *gnmi.TypedValue {
	return &gnmi.TypedValue{Value: &gnmi.TypedValue_UintVal{UintVal: n}}
}

func update(path string, v *gnmi.TypedValue) *gnmi.Update {
	return &gnmi.Update{Path: at(path), Val: v}
}

// eth1 has the id 1, and is up.
func eth1() []*gnmi.Update {
	return []*gnmi.Update{
		update("interfaces/interface[name=eth1]/state/id", uint(1)),
		update("interfaces/interface[name=eth1]/state/oper-status", str("UP")),
		update("interfaces/interface[name=eth1]/state/counters/in-pkts", uint(7)),
	}
}

// Targets say the same in many ways, and some things not at all; later words stand.
func TestMerge(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	up := Port{ID: 1, Name: "eth1", State: "up", Received: 7}
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name  string
		news  []*gnmi.Notification
		want  []Port
		signs bool // of the last
		note  string
	}{
		{"scalars", []*gnmi.Notification{{Update: eth1()}}, []Port{up}, true, ""},
		{"again", []*gnmi.Notification{{Update: eth1()}, {Update: eth1()}}, []Port{up}, false, ""},
		{"counters are no sign", []*gnmi.Notification{{Update: eth1()}, {Update: []*gnmi.Update{
			update("interfaces/interface[name=eth1]/state/counters/in-pkts", uint(8))}}},
			[]Port{{ID: 1, Name: "eth1", State: "up", Received: 8}}, false, ""},
		{"down", []*gnmi.Notification{{Update: eth1()}, {Prefix: at("interfaces/interface[name=eth1]"),
			Update: []*gnmi.Update{
				update("state/oper-status", str("LOWER_LAYER_DOWN")), update("state/oper-status-reason",
					str("no carrier"))}}},
			[]Port{{ID: 1, Name: "eth1", State: "lower_layer_down", Received: 7, Reason: "no carrier"}}, true, ""},
		{"the id moves", []*gnmi.Notification{{Update: eth1()}, {Update: []*gnmi.Update{
			update("interfaces/interface[name=eth1]/state/id", uint(700))}}},
			[]Port{{ID: 700, Name: "eth1", State: "up", Received: 7}}, true, ""},
		{"the id as configured counts where no other is told", []*gnmi.Notification{{Update: []*gnmi.Update{
			update("interfaces/interface[name=eth1]/config/id", uint(9)),
			update("interfaces/interface[name=eth2]/config/id", uint(9)),
			update("interfaces/interface[name=eth2]/state/id", uint(2))}}},
			[]Port{{ID: 2, Name: "eth2"}, {ID: 9, Name: "eth1"}}, true, ""},
		{"JSON_IETF, a node",
			[]*gnmi.Notification{{Update: []*gnmi.Update{update("interfaces/interface[name=eth1]/state", ietf(
				`{"openconfig-interfaces:oper-status":"openconfig-interfaces:UP","openconfig-p4rt:id":3,"counters":{"in-pkts":"18446744073709551615",
			"in-discards":"1","out-pkts":"2","out-discards":"x"},"sluice-interfaces:last-discard":"5","sluice-interfaces:last-discard-reason":"too long"}`))}}},
			[]Port{{ID: 3, Name: "eth1", State: "up", Received: math.MaxUint64, ReceiveDropped: 1, Sent: 2,
				Reason: "too long", ReasonAt: time.Unix(0, 5)}}, true, ""},
		{"JSON, a list", []*gnmi.Notification{{Update: []*gnmi.Update{update("", plainJSON(
			`{"interfaces":{"interface":[{"name":"eth1","state":{"id":3,"oper-status":"DOWN"}},{"name":"eth2","config":{"id":4}},{"state":{"id":5}}]}}`))}}},
			[]Port{{ID: 3, Name: "eth1", State: "down"}, {ID: 4, Name: "eth2"}}, true, ""},
		{"the sum of kinds",
			[]*gnmi.Notification{{Update: []*gnmi.Update{update("interfaces/interface[name=eth1]/state", plainJSON(
				`{"id":3,"counters":{"in-unicast-pkts":1,"in-multicast-pkts":2,"in-broadcast-pkts":4,"out-unicast-pkts":8}}`))}}},
			[]Port{{ID: 3, Name: "eth1", Received: 7, Sent: 8}}, true, ""},
		{"no port of P4Runtime",
			[]*gnmi.Notification{{Update: []*gnmi.Update{update("interfaces/interface[name=mgmt0]/state/oper-status",
				str("UP"))}}},
			nil, true, ""},
		{"a leaf is deleted", []*gnmi.Notification{{Update: eth1()},
			{Delete: []*gnmi.Path{at("interfaces/interface[name=eth1]/state/oper-status")}}},
			[]Port{{ID: 1, Name: "eth1", Received: 7}}, true, ""},
		{"a node is deleted", []*gnmi.Notification{{Update: eth1()}, {Prefix: at("interfaces"),
			Delete: []*gnmi.Path{at("interface[name=*]/state/counters")}}},
			[]Port{{ID: 1, Name: "eth1", State: "up"}}, false, ""},
		{"an interface is deleted", []*gnmi.Notification{{Update: eth1()},
			{Delete: []*gnmi.Path{at("interfaces/interface[name=eth1]")}}}, nil, true, ""},
		{"another is deleted", []*gnmi.Notification{{Update: eth1()},
			{Delete: []*gnmi.Path{at("interfaces/interface[name=eth2]"), at("components")}}}, []Port{up}, false, ""},
		{"all is deleted", []*gnmi.Notification{{Update: eth1()}, {Delete: []*gnmi.Path{at("")}}}, nil, true, ""},
		{"atomic: what is not told again is gone", []*gnmi.Notification{{Update: eth1()}, {Atomic: true,
			Prefix: at("interfaces/interface[name=eth1]/state"),
			Update: []*gnmi.Update{update("id", uint(1))}}}, []Port{{ID: 1, Name: "eth1"}}, true, ""},
		{"other paths, keys and kinds", []*gnmi.Notification{{Update: append(eth1(),
			update("interfaces/interface/state/id", uint(2)), update("interfaces/interface[name=*]/state/id", uint(2)),
			update("interfaces/interface[name=eth1]/ethernet/state/id", uint(2)), update("system/state/id", uint(2)),
			update("interfaces/interface[name=eth1]/state/oper-status",
				&gnmi.TypedValue{Value: &gnmi.TypedValue_LeaflistVal{}}),
			update("interfaces/interface[name=eth1]/state", plainJSON(`{"id":null,"counters":[]}`)),
			update("a/b/c/d/e/f/g/h/i/j", uint(1)), &gnmi.Update{})}}, []Port{up}, true, ""},
		{"an id that is none", []*gnmi.Notification{{Update: append(eth1(),
			update("interfaces/interface[name=eth1]/state/id", uint(1<<16)))}}, nil, true, ""},
		{"an id of 0", []*gnmi.Notification{{Update: append(eth1(),
			update("interfaces/interface[name=eth1]/state/id", uint(0)))}}, nil, true, ""},
		{"half a document", []*gnmi.Notification{{Update: append(eth1(),
			update("interfaces/interface[name=eth1]/state", ietf(`{"id":`)))}}, []Port{up}, true,
			"some of what it tells cannot be read: a JSON document: unexpected EOF"},
		{"a bomb", []*gnmi.Notification{{Update: append(eth1(), update("interfaces/interface[name=eth1]/state",
			ietf(`[`+strings.Repeat(`{},`, maxItems)+`{}]`)))}}, []Port{up}, true,
			"some of what it tells cannot be read: a JSON document of 131074 items: must be at most 65536"},
		{"texts are cut", []*gnmi.Notification{{Update: append(eth1(),
			update("interfaces/interface[name=eth1]/state/oper-status", str("DOWN")),
			update("interfaces/interface[name=eth1]/state/oper-status-reason", str(long)),
			update("interfaces/interface[name="+long+"]/state/id", uint(4)))}},
			[]Port{{ID: 1, Name: "eth1", State: "down", Received: 7, Reason: long[:256] + "... (300 bytes)"}}, true,
			"it tells of more than 4096 interfaces, or of names of more than 256 bytes: the others are left out"},
		{"one id, two ports", []*gnmi.Notification{{Update: append(eth1(),
			update("interfaces/interface[name=eth2]/state/id", uint(1)))}},
			[]Port{up, {ID: 1, Name: "eth2"}}, true, "it gives two interfaces one id of P4Runtime"},
	} {
		tab := newTable()
		var signs bool
		for _, n := range tt.news {
			_, signs = tab.apply(n, now)
		}
		v := tab.view(now, often, nil, ladder{}, time.Time{})
		for i := range v.Ports {
			if !v.Ports[i].Heard.Equal(now) {
				t.Errorf("%s: heard %v", tt.name, v.Ports[i].Heard)
			}
			v.Ports[i].Heard = time.Time{}
		}
		if diff := cmp.Diff(tt.want, v.Ports); diff != "" || signs != tt.signs || v.Note != tt.note {
			t.Errorf("%s: signs %v, note %q (-want +got):\n%s", tt.name, signs, v.Note, diff)
		}
	}
}

// However many interfaces a target tells of, so many are kept.
func TestMergeIsBounded(t *testing.T) {
	tab := newTable()
	for i := range 2 * maxInterfaces {
		tab.apply(&gnmi.Notification{
			Update: []*gnmi.Update{update(fmt.Sprintf("interfaces/interface[name=e%d]/state/id", i), uint(uint64(i)))}},
			time.Now())
	}
	if len(tab.entries) != maxInterfaces || tab.left != maxInterfaces {
		t.Errorf("%d are kept and %d left out, want %d each", len(tab.entries), tab.left, maxInterfaces)
	}
}

// What is told at each sample is stale when samples stay away; what is told when it changes, when the target does.
func TestStale(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	tab := newTable()
	tab.apply(&gnmi.Notification{Update: append(eth1(), update("interfaces/interface[name=eth2]/state/id", uint(2)))},
		start)
	for _, tt := range []struct {
		name       string
		now, heard time.Duration
		want       string
	}{
		{"at once", 0, 0, "eth1 false, eth2 false"},
		{"after three intervals", 6 * time.Second, 0, "eth1 false, eth2 false"},
		{"and a moment", 6*time.Second + 1, 0, "eth1 true, eth2 true"},
		{"the target is there, without samples", 9 * time.Second, 8 * time.Second, "eth1 true, eth2 false"},
	} {
		tab.heard = start.Add(tt.heard)
		var got []string
		for _, p := range tab.view(start.Add(tt.now), often, nil, ladder{}, time.Time{}).Ports {
			got = append(got, fmt.Sprint(p.Name, " ", p.Stale))
		}
		if s := strings.Join(got, ", "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
	}
}

// A state that says nothing of the port says nothing bad.
func TestDown(t *testing.T) {
	for state, want := range map[string]bool{
		"up": false, "down": true, "lower_layer_down": true, "not_present": true, "dormant": true, "unknown": false,
		"testing": false, "": false,
	} {
		if got := (Port{State: state}).Down(); got != want {
			t.Errorf("%q: %v, want %v", state, got, want)
		}
	}
}

// Whatever a target sends, reading it ends, and what is kept is bounded.
func FuzzMerge(f *testing.F) {
	f.Add("interfaces/interface[name=eth1]/state", `{"id":1}`)
	f.Add("", `{"interfaces":{"interface":[{"name":"a","state":{"id":"1"}}]}}`)
	f.Fuzz(func(t *testing.T, path, document string) {
		tab := newTable()
		tab.apply(&gnmi.Notification{Update: []*gnmi.Update{update(path, ietf(document)), update(path,
			str(document))}, Delete: []*gnmi.Path{at(document)}}, time.Now())
		for name, e := range tab.entries {
			if len(name) > 256 || len(e.oper) > 300 || len(e.reason) > 300 {
				t.Errorf("%d, %d, %d bytes are kept", len(name), len(e.oper), len(e.reason))
			}
		}
	})
}
