package control_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
)

// Over a network a caller may do what the roles of its certificate allow.
func TestRolesOverTLS(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	l, err := rpc.Listen("https://127.0.0.1:0", control.Access([]string{"0"}, nil),
		rpc.Security{Identity: lab.Server(t, "gslb1")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, service{}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	want := []string{
		"/sluice.gslb.v1.ControlService/Explain: operator viewer controller",
		"/sluice.gslb.v1.ControlService/GetStatus: operator viewer controller",
		"/sluice.gslb.v1.ControlService/Query: operator viewer controller",
		"/sluice.gslb.v1.ControlService/Reload: operator",
		"/sluice.gslb.v1.ControlService/SetSuspended: operator",
	}
	if diff := cmp.Diff(want, lab.Allowed(t, l.Address(), control.Methods)); diff != "" {
		t.Errorf("who may call what (-want +got):\n%s", diff)
	}
	c, err := control.Dial(l.Address(), rpc.Security{Identity: lab.Caller(t, "alice", rpc.Viewer)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.SetSuspended(t.Context(), &control.SetSuspendedRequest{})
	if got := fmt.Sprint(err); got != `permission_denied: the certificate of "alice" has the role viewer and this `+
		`needs operator` {
		t.Errorf("a viewer suspends: %s", got)
	}
}
