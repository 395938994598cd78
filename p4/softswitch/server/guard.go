package server

import (
	"context"
	"fmt"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/wire"
)

// Methods is who may call what: a viewer looks, and what changes a switch or who owns it is the controller's.
var Methods = rpc.Methods{
	v1.P4Runtime_Capabilities_FullMethodName:                {Role: rpc.Viewer},
	v1.P4Runtime_Read_FullMethodName:                        {Role: rpc.Viewer, Items: 1 << 14},
	v1.P4Runtime_GetForwardingPipelineConfig_FullMethodName: {Role: rpc.Viewer},
	// An update has about ten items.
	v1.P4Runtime_Write_FullMethodName:                       {Role: rpc.Controller, Items: 1 << 20},
	v1.P4Runtime_SetForwardingPipelineConfig_FullMethodName: {Role: rpc.Controller, Items: 1 << 20},
	v1.P4Runtime_StreamChannel_FullMethodName:               {Role: rpc.Controller, Stream: true, Items: 1 << 12},
}

// Guard lets callers of an rpc.Listener do what their role allows. It looks before anything of a request is read. Those
// who may control the switch have places of their own at gNMI.
func Guard(access *rpc.Access) grpc.ServerOption {
	return grpc.InTapHandle(func(ctx context.Context, call *tap.Info) (context.Context, error) {
		method, known := Methods[call.FullMethodName]
		if !known {
			method, known = gnmi.Methods[call.FullMethodName] // which stands beside P4Runtime on the same port
		}
		if !known {
			method.Role = rpc.Controller // who may ask is told by gRPC that there is no such method
		}
		p, ok := peer.FromContext(ctx)
		if !ok {
			return nil, status.Error(codes.PermissionDenied, "the caller is not known")
		}
		if err := access.Permit(rpc.CallerAt(p.Addr), method.Role); err != nil {
			return nil, status.Error(codes.PermissionDenied, err.Error())
		}
		if access.Permit(rpc.CallerAt(p.Addr), rpc.Controller) == nil {
			ctx = rpc.Owner(ctx)
		}
		return ctx, nil
	})
}

// codec is gRPC's for protobuf, and refuses messages of too many items before they are built. A WriteRequest stays
// encoded: see decodeWrite.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(protocodec.Name)} }

// encoded is a message that has not been decoded. Who gets it frees it.
type encoded struct{ mem.Buffer }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	if e, ok := v.(*encoded); ok {
		e.Buffer = buffer
		return nil
	}
	defer buffer.Free()
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no protobuf message", v)
	}
	if err := wire.Check(buffer.ReadOnlyData(), m.ProtoReflect().Descriptor(), itemsOf(m)); err != nil {
		return err
	}
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}

// itemsOf returns how many items a request of this kind may have.
func itemsOf(m proto.Message) int {
	switch m.(type) {
	case *v1.ReadRequest:
		return Methods[v1.P4Runtime_Read_FullMethodName].Items
	case *v1.SetForwardingPipelineConfigRequest:
		return Methods[v1.P4Runtime_SetForwardingPipelineConfig_FullMethodName].Items
	}
	return Methods[v1.P4Runtime_StreamChannel_FullMethodName].Items
}

// service is the P4Runtime service with a Write of its own.
func service() *grpc.ServiceDesc {
	desc := v1.P4Runtime_ServiceDesc
	desc.Methods = append([]grpc.MethodDesc(nil), desc.Methods...)
	for i := range desc.Methods {
		if "/"+desc.ServiceName+"/"+desc.Methods[i].MethodName == v1.P4Runtime_Write_FullMethodName {
			desc.Methods[i].Handler = decodeWrite
		}
	}
	return &desc
}

// decodeWrite looks at who writes before it builds the updates: those of a client that is not primary are not worth
// their memory. Write looks again, when no other write runs.
func decodeWrite(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any,
	error) {
	s := srv.(*Server)
	var e encoded
	if err := decode(&e); err != nil {
		return nil, err
	}
	req, err := s.admitWrite(e.ReadOnlyData())
	e.Free()
	if err != nil {
		return nil, err
	}
	if interceptor == nil {
		return s.Write(ctx, req)
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: v1.P4Runtime_Write_FullMethodName}
	return interceptor(ctx, req, info, func(ctx context.Context, req any) (any, error) {
		return s.Write(ctx, req.(*v1.WriteRequest))
	})
}

func (s *Server) admitWrite(data []byte) (*v1.WriteRequest, error) {
	req := &v1.WriteRequest{}
	if err := proto.Unmarshal(withoutUpdates(data), req); err == nil {
		if err := s.mayWrite(req); err != nil {
			return nil, err
		}
	}
	if err := wire.Check(data, req.ProtoReflect().Descriptor(),
		Methods[v1.P4Runtime_Write_FullMethodName].Items); err != nil {
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	if err := proto.Unmarshal(data, req); err != nil {
		return nil, status.Errorf(codes.Internal, "decoding a WriteRequest: %v", err)
	}
	return req, nil
}

// updatesField is the number of WriteRequest.updates.
var updatesField = (&v1.WriteRequest{}).ProtoReflect().Descriptor().Fields().ByName("updates").Number()

// withoutUpdates returns the other fields of an encoded WriteRequest, as far as it is well-formed.
func withoutUpdates(data []byte) []byte {
	var rest []byte
	for len(data) > 0 {
		number, kind, tag := protowire.ConsumeTag(data)
		if tag < 0 {
			break
		}
		value := protowire.ConsumeFieldValue(number, kind, data[tag:])
		if value < 0 {
			break
		}
		if number != updatesField {
			rest = append(rest, data[:tag+value]...)
		}
		data = data[tag+value:]
	}
	return rest
}
