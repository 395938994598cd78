package softswitch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/openconfig/gnmi/proto/gnmi"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/alloctest"
	"github.com/sluicelb/sluice/internal/rpc"
)

// served runs a switch at a unix socket and returns its path.
func served(t *testing.T, access *rpc.Access) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "switch") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := rpc.Listen("unix:"+path, access, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	return path
}

// clientAs connects as another user: the kernel knows users by thread.
func clientAs(t *testing.T, uid int, path string) v1.P4RuntimeClient {
	t.Helper()
	return v1.NewP4RuntimeClient(connectAs(t, uid, path))
}

func connectAs(t *testing.T, uid int, path string) *grpc.ClientConn {
	t.Helper()
	dial := func(context.Context, string) (net.Conn, error) { return net.Dial("unix", path) }
	if uid != os.Geteuid() {
		if os.Geteuid() != 0 {
			t.Skip("only root can be another user")
		}
		dial = func(context.Context, string) (c net.Conn, err error) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				runtime.LockOSThread() // and never unlocked: the thread ends
				if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
					err = errno
					return
				}
				if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid),
					uintptr(uid)); errno != 0 {
					err = errno
					return
				}
				c, err = net.Dial("unix", path)
			}()
			<-done
			return c, err
		}
	}
	conn, err := grpc.NewClient("passthrough:///switch", grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// arbitrate asks to be primary and returns the answer, or why there is none.
func arbitrate(t *testing.T, c v1.P4RuntimeClient, id *v1.Uint128) (*v1.MasterArbitrationUpdate, error) {
	t.Helper()
	s, err := c.StreamChannel(t.Context())
	if err != nil {
		return nil, err
	}
	_ = s.Send(&v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_Arbitration{
		Arbitration: &v1.MasterArbitrationUpdate{DeviceId: 1, ElectionId: id},
	}})
	m, err := s.Recv()
	return m.GetArbitration(), err
}

// One arbitration of a stranger, with the highest election id that there is, would lock the controller out for good.
func TestStrangersDoNotArbitrate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user") // a stranger may be this user, whose switch it is
	}
	const stranger, viewer, owner = 65534, 4001, 4005
	path := served(t, rpc.NewAccess(map[rpc.Role][]string{rpc.Viewer: {"4001"}, rpc.Controller: {"4005"}}, nil))
	most := &v1.Uint128{High: ^uint64(0), Low: ^uint64(0)}
	for _, uid := range []int{stranger, viewer} {
		_, err := arbitrate(t, clientAs(t, uid, path), most)
		if status.Code(err) != codes.PermissionDenied || !strings.HasSuffix(status.Convert(err).Message(),
			"and this needs controller") {
			t.Errorf("user %d arbitrates: %v", uid, err)
		}
	}
	want := map[string]map[int]codes.Code{
		"Capabilities": {stranger: codes.PermissionDenied, viewer: codes.OK, owner: codes.OK},
		"Get":          {stranger: codes.PermissionDenied, viewer: codes.OK, owner: codes.OK},
		// no pipeline
		"Read": {stranger: codes.PermissionDenied, viewer: codes.FailedPrecondition,
			owner: codes.FailedPrecondition},
		// not primary
		"Write":    {stranger: codes.PermissionDenied, viewer: codes.PermissionDenied, owner: codes.PermissionDenied},
		"Set":      {stranger: codes.PermissionDenied, viewer: codes.PermissionDenied, owner: codes.PermissionDenied},
		"gNMI Get": {stranger: codes.PermissionDenied, viewer: codes.OK, owner: codes.OK},
		"gNMI Set": {stranger: codes.PermissionDenied, viewer: codes.Unimplemented, owner: codes.Unimplemented},
		// to nothing
		"Subscribe": {stranger: codes.PermissionDenied, viewer: codes.InvalidArgument, owner: codes.InvalidArgument},
	}
	for _, uid := range []int{stranger, viewer, owner} {
		conn := connectAs(t, uid, path)
		c, ports := v1.NewP4RuntimeClient(conn), gnmi.NewGNMIClient(conn)
		for name, call := range map[string]func() error{
			"Capabilities": func() error {
				_,
					err := c.Capabilities(t.Context(), &v1.CapabilitiesRequest{})
				return err
			},
			"Get": func() error {
				_, err := c.GetForwardingPipelineConfig(t.Context(),
					&v1.GetForwardingPipelineConfigRequest{DeviceId: 1})
				return err
			},
			"Read": func() error {
				s, err := c.Read(t.Context(), &v1.ReadRequest{DeviceId: 1})
				if err == nil {
					_, err = s.Recv()
				}
				return err
			},
			"Write": func() error {
				_, err := c.Write(t.Context(), &v1.WriteRequest{DeviceId: 1, ElectionId: most})
				return err
			},
			"gNMI Get": func() error {
				_, err := ports.Get(t.Context(),
					&gnmi.GetRequest{Path: []*gnmi.Path{{Elem: []*gnmi.PathElem{{Name: "interfaces"}}}}})
				return err
			},
			"gNMI Set": func() error { _, err := ports.Set(t.Context(), &gnmi.SetRequest{}); return err },
			"Subscribe": func() error {
				s, err := ports.Subscribe(t.Context())
				if err == nil {
					_ = s.Send(new(gnmi.SubscribeRequest))
					_, err = s.Recv()
				}
				return err
			},
			"Set": func() error {
				_, err := c.SetForwardingPipelineConfig(t.Context(), &v1.SetForwardingPipelineConfigRequest{DeviceId: 1,
					ElectionId: most})
				return err
			},
		} {
			if err := call(); status.Code(err) != want[name][uid] {
				t.Errorf("user %d, %s: %v, want %v", uid, name, err, want[name][uid])
			} else if uid != owner && status.Code(err) == codes.PermissionDenied && !strings.Contains(err.Error(),
				"has the role") {
				t.Errorf("user %d, %s: %v does not name the role", uid, name, err)
			}
		}
	}
	for _, uid := range []int{owner, os.Geteuid()} {
		a, err := arbitrate(t, clientAs(t, uid, path), &v1.Uint128{Low: uint64(uid) + 1})
		if err != nil || a.GetDeviceId() != 1 {
			t.Errorf("user %d arbitrates: %v, %v", uid, a, err)
		}
		if uid == owner && a.GetStatus().GetCode() != 0 {
			t.Errorf("user %d is not primary: %v", uid, a)
		}
	}
}

// asIs sends bytes as they are.
type asIs struct{ encoding.CodecV2 }

func (asIs) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (asIs) Unmarshal(mem.BufferSlice, any) error { return nil }
func (asIs) Name() string                         { return "proto" }

// What a client sends costs no more than the message that it may be, and updates of one that is not primary nothing.
func TestBombs(t *testing.T) {
	path := served(t, nil)
	conn, err := grpc.NewClient("passthrough:///switch", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return net.Dial("unix", path) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(asIs{}), grpc.UseCompressor("gzip")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	updates := bytes.Repeat([]byte("\x22\x00"), 2<<20) // of a WriteRequest
	primary := append([]byte("\x08\x01\x1a\x02\x10\x05"), updates...)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(updates)
	_ = w.Close()
	if z.Len() > 64<<10 {
		t.Fatalf("the bomb has %d bytes", z.Len())
	}
	call := func(method string, message []byte) error {
		var out []byte
		return conn.Invoke(t.Context(), "/p4.v1.P4Runtime/"+method, message, &out)
	}
	check := func(name string, most int, code codes.Code, message, method string, body []byte) {
		t.Helper()
		var err error
		used := alloctest.AtMost(most, func() { err = call(method, body) })
		if status.Code(err) != code || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: got %v, want %v: %s", name, err, code, message)
		}
		if used > most {
			t.Errorf("%s: took %d MiB, want %d at most", name, used, most)
		}
	}
	check("updates of nobody", 48, codes.NotFound, "no device 0 here, only 1", "Write", updates)
	check("updates without a primary", 48, codes.PermissionDenied, "not primary: there is no primary", "Write", primary)
	check("more than the server takes", 48, codes.ResourceExhausted, "after decompression larger than max", "Write",
		bytes.Repeat(updates, 5))
	check("entities to read", 48, codes.Internal, "too many items in a p4.v1.ReadRequest: must be at most 16384",
		"Read", bytes.Repeat([]byte("\x12\x00"), 2<<20))
	if _, err := arbitrate(t, clientAs(t, os.Geteuid(), path), &v1.Uint128{Low: 5}); err != nil {
		t.Fatal(err)
	}
	check("too many updates of the primary", 48, codes.ResourceExhausted,
		"too many items in a p4.v1.WriteRequest: must be at most 1048576", "Write", primary)
}
