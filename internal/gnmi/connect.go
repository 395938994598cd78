package gnmi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/rpc"
)

// Methods is who may call what, and what a request may cost. A viewer may also hear why Set is refused.
var Methods = rpc.Methods{
	pb.GNMI_Capabilities_FullMethodName: {Role: rpc.Viewer},
	pb.GNMI_Get_FullMethodName:          {Role: rpc.Viewer, Items: mostItems},
	pb.GNMI_Set_FullMethodName:          {Role: rpc.Viewer},
	pb.GNMI_Subscribe_FullMethodName:    {Role: rpc.Viewer, Stream: true, Talks: true, Items: mostItems},
}

// mostItems is what a request for as many paths as there may be has: elements of ten names, half with a key.
const mostItems = mostPaths * 32

// Services are for rpc.Serve, beside others on one port: clients of gRPC are served there too.
func (s *Server) Services() []rpc.Service {
	return []rpc.Service{
		unary(pb.GNMI_Capabilities_FullMethodName, s.Capabilities),
		unary(pb.GNMI_Get_FullMethodName, s.Get),
		unary(pb.GNMI_Set_FullMethodName, s.Set),
		rpc.Mount(pb.GNMI_Subscribe_FullMethodName, cuttable(connect.NewBidiStreamHandler(
			pb.GNMI_Subscribe_FullMethodName,
			func(ctx context.Context, stream *connect.BidiStream[pb.SubscribeRequest, pb.SubscribeResponse]) error {
				recv := func() (*pb.SubscribeRequest, error) {
					r, err := stream.Receive()
					return r, fromConnect(err)
				}
				cut, _ := ctx.Value(cutKey{}).(func())
				return toConnect(s.subscribe(ctx, recv, stream.Send, cut))
			}, Methods.Options()))),
	}
}

type cutKey struct{}

// cuttable gives calls of a handler what makes writes fail that wait for the client: a handler must not end while it
// writes.
func cuttable(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cut := func() { _ = http.NewResponseController(w).SetWriteDeadline(time.Now()) } // HTTP/2 has it
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), cutKey{}, cut)))
	})
}

func unary[Req, Res any](procedure string, method func(context.Context, *Req) (*Res, error)) rpc.Service {
	handle := func(ctx context.Context, r *Req) (*Res, error) {
		m, err := method(ctx, r)
		return m, toConnect(err)
	}
	return rpc.Mount(procedure, connect.NewUnaryHandlerSimple(procedure, handle, Methods.Options()))
}

// toConnect makes an error of gRPC one of Connect, whose codes are the same.
func toConnect(err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	return connect.NewError(connect.Code(s.Code()), errors.New(s.Message()))
}

func fromConnect(err error) error {
	if e, ok := errors.AsType[*connect.Error](err); ok && !errors.Is(err, io.EOF) {
		return status.Error(codes.Code(e.Code()), e.Message())
	}
	return err
}
