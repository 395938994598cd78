package api_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
)

// Over a network a caller may do what the roles of its certificate allow.
func TestRolesOverTLS(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	l, err := rpc.Listen("https://127.0.0.1:0", nil, rpc.Security{Identity: lab.Server(t, "ctl")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, fake{}, fake{}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	want := []string{
		"/sluice.v1.ControllerService/ApplyIntent: operator",
		"/sluice.v1.ControllerService/GetIntent: operator viewer controller",
		"/sluice.v1.ControllerService/GetStatus: operator viewer controller",
		"/sluice.v1.ControllerService/ListBackends: operator viewer controller",
		"/sluice.v1.ControllerService/SetBackendAdmin: operator",
		"/sluice.v1.ControllerService/WatchEvents: operator viewer controller",
		"/sluice.v1.ControllerService/WatchVIPs: operator viewer gslb",
		"/sluice.v1.HealthService/ReportVerdicts: healthd",
		"/sluice.v1.HealthService/WatchChecks: healthd",
	}
	if diff := cmp.Diff(want, lab.Allowed(t, l.Address(), api.Methods)); diff != "" {
		t.Errorf("who may call what (-want +got):\n%s", diff)
	}

	// What each end says of the other reaches who called.
	dial := func(i *rpc.Identity) *api.Client {
		c, err := api.Dial(l.Address(), rpc.Security{Identity: i})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	healthd := dial(lab.Caller(t, "healthd1", rpc.Healthd))
	stream, err := healthd.WatchChecks(t.Context(), &api.WatchChecksRequest{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() || stream.Msg().IntentRevision != 7 {
		t.Errorf("healthd watches: %v, %v", stream.Msg(), stream.Err())
	}
	_, err = healthd.GetStatus(t.Context(), &api.GetStatusRequest{})
	if got := fmt.Sprint(err); got != `permission_denied: the certificate of "healthd1" has the role healthd and `+
		`this needs viewer` {
		t.Errorf("healthd asks for the status: %s", got)
	}
	other := rpctest.NewLab(t, "other")
	_, err = dial(other.Caller(t, "x", rpc.Operator)).GetStatus(t.Context(), &api.GetStatusRequest{})
	want1 := l.Address() + ` is not trusted: its certificate is of the authority "lab", which is not in ` +
		other.Dir + "/ca.crt"
	if refused, ok := errors.AsType[*rpc.RefusedError](err); !ok || refused.Error() != want1 ||
		connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a caller of another lab: %v, want %s", err, want1)
	}
}
