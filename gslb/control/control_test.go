package control_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
)

type service struct {
	control.UnimplementedControlServiceHandler
}

func (service) GetStatus(context.Context, *control.GetStatusRequest) (*control.GetStatusResponse, error) {
	return &control.GetStatusResponse{ConfigFile: "gslb.yaml"}, nil
}

func (service) SetSuspended(_ context.Context, r *control.SetSuspendedRequest) (*control.SetSuspendedResponse, error) {
	return &control.SetSuspendedResponse{Changed: []string{r.GetSelector().GetAnswer()}}, nil
}

// Every procedure has a line in the table of who may call it, and no line is for another.
func TestMethods(t *testing.T) {
	methods := control.File_control_proto.Services().ByName("ControlService").Methods()
	var want []string
	for i := range methods.Len() {
		want = append(want, "/sluice.gslb.v1.ControlService/"+string(methods.Get(i).Name()))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(control.Methods))); diff != "" {
		t.Errorf("procedures (-want +got):\n%s", diff)
	}
}

func TestServe(t *testing.T) {
	dir, err := os.MkdirTemp("", "gslb") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := rpc.Listen("unix:"+filepath.Join(dir, "socket"), control.Access(nil, nil), rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- control.Serve(ctx, l, service{}) }()
	c, err := control.Dial(l.Address(), rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status, err := c.GetStatus(t.Context(), &control.GetStatusRequest{})
	if err != nil || status.ConfigFile != "gslb.yaml" {
		t.Errorf("the process's own user: status %v, error %v", status, err)
	}
	changed, err := c.SetSuspended(t.Context(), &control.SetSuspendedRequest{Selector: &control.Selector{Answer: "fra"},
		Suspended: true})
	if err != nil || len(changed.Changed) != 1 {
		t.Errorf("the process's own user: suspended %v, error %v", changed, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.GetStatus(t.Context(), &control.GetStatusRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a process that is gone: %v", err)
	}
}
