package main

import (
	"testing"

	"github.com/sluicelb/sluice/controller/api"
)

func TestPortText(t *testing.T) {
	by := func(ports map[string]uint32) *api.BackendStatus { return &api.BackendStatus{SwitchPorts: ports} }
	for _, tt := range []struct {
		name string
		b    *api.BackendStatus
		want string
	}{
		{"one of all switches", &api.BackendStatus{SwitchPort: 3}, "3"},
		{"by switch", by(map[string]uint32{"leaf2": 5, "leaf1": 3}), "leaf1:3 leaf2:5"},
		{"by many switches", by(map[string]uint32{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}),
			"a:1 b:2 c:3 d:4 and 1 more"},
		{"none", by(nil), "0"},
	} {
		if got := portText(tt.b); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A drain that is complete says which switch has not heard of it.
func TestDrainedWithoutASwitch(t *testing.T) {
	b := &api.BackendStatus{Pool: "web", Name: "web1", Drained: true,
		Unwritten: []string{"switch leaf2 may still send connections there"}}
	const want = "web/web1 is drained: no slot leads there any more; not in effect yet: switch leaf2 may still send " +
		"connections there"
	if got := adminText(b); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
