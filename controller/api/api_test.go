package api_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
)

type fake struct {
	api.UnimplementedControllerServiceHandler
	api.UnimplementedHealthServiceHandler
}

func (fake) GetStatus(context.Context, *api.GetStatusRequest) (*api.GetStatusResponse, error) {
	return &api.GetStatusResponse{IntentRevision: 7}, nil
}

func (fake) WatchChecks(ctx context.Context, _ *api.WatchChecksRequest, s *connect.ServerStream[api.Checks]) error {
	if err := s.Send(&api.Checks{IntentRevision: 7}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (fake) ApplyIntent(context.Context, *api.ApplyIntentRequest) (*api.ApplyIntentResponse, error) {
	err := connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("2 problems"))
	for _, p := range []*api.Problem{
		{File: "sluice.yaml", Line: 12, Path: "pools[2].weight", Message: "must be 1..1000, is 0"},
		{Message: "no pools"},
	} {
		d, _ := connect.NewErrorDetail(p)
		err.AddDetail(d)
	}
	return nil, err
}

func (fake) ReportVerdicts(_ context.Context, r *api.ReportVerdictsRequest) (*api.ReportVerdictsResponse, error) {
	m := new(api.ReportVerdictsResponse)
	for _, v := range r.Verdicts {
		m.Unknown = append(m.Unknown, v.Pool+"/"+v.Backend)
	}
	return m, nil
}

// serve starts a server and returns its address; it ends with the test.
func serve(t *testing.T, address string) string {
	t.Helper()
	l, err := rpc.Listen(address, nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, fake{}, fake{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Address()
}

// Every procedure has a line in the table of who may call it, and no line is for another.
func TestMethods(t *testing.T) {
	var want []string
	services := api.File_sluice_proto.Services()
	for i := range services.Len() {
		methods := services.Get(i).Methods()
		for k := range methods.Len() {
			want = append(want, "/"+string(services.Get(i).FullName())+"/"+string(methods.Get(k).Name()))
			if m := api.Methods[want[len(want)-1]]; m.Stream != methods.Get(k).IsStreamingServer() {
				t.Errorf("%s: stream %v", want[len(want)-1], m.Stream)
			}
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(api.Methods))); diff != "" {
		t.Errorf("procedures (-want +got):\n%s", diff)
	}
}

func TestOnePortServesEveryProtocol(t *testing.T) {
	socket := "unix:" + filepath.Join(t.TempDir(), "api.sock")
	for _, address := range []string{serve(t, "127.0.0.1:0"), serve(t, socket)} {
		c, err := api.Dial(address, rpc.Security{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		status, err := c.GetStatus(t.Context(), &api.GetStatusRequest{})
		if err != nil || status.IntentRevision != 7 {
			t.Errorf("%s: Connect: %v, %v", address, status, err)
		}
		stream, err := c.WatchChecks(t.Context(), &api.WatchChecksRequest{})
		if err != nil || !stream.Receive() || stream.Msg().IntentRevision != 7 {
			t.Errorf("%s: stream: %v", address, err)
		}
	}

	address := serve(t, "127.0.0.1:0")
	resp, err := http.Post("http://"+address+"/sluice.v1.ControllerService/GetStatus", "application/json",
		strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if got, want := string(body), `{"intentRevision":"7"}`; got != want {
		t.Errorf("JSON over HTTP/1.1: got %s, want %s", got, want)
	}

	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var status api.GetStatusResponse
	if err := conn.Invoke(t.Context(), api.ControllerServiceGetStatusProcedure, &api.GetStatusRequest{},
		&status); err != nil || status.IntentRevision != 7 {
		t.Errorf("gRPC: %v, %v", &status, err)
	}
}

func TestProblems(t *testing.T) {
	c, _ := api.Dial(serve(t, "127.0.0.1:0"), rpc.Security{})
	defer c.Close()
	_, err := c.ApplyIntent(t.Context(), &api.ApplyIntentRequest{})
	var got []string
	for _, p := range api.Problems(err) {
		got = append(got, p.Text())
	}
	want := "sluice.yaml:12: pools[2].weight: must be 1..1000, is 0; no pools"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	for _, address := range []string{address, "unix:" + filepath.Join(t.TempDir(), "none")} {
		c, _ := api.Dial(address, rpc.Security{})
		_, err := c.GetStatus(t.Context(), &api.GetStatusRequest{})
		if !api.Unreachable(err) {
			t.Errorf("%s: got %v, want an unreachable controller", address, err)
		}
	}
}
