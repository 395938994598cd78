package p4rt

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/internal/alloctest"
	"github.com/sluicelb/sluice/internal/rpc"
)

// hostile answers each read with the same bytes, over and over.
type hostile struct{ page atomic.Pointer[[]byte] }

func (h *hostile) serve(_ any, s grpc.ServerStream) error {
	if method, _ := grpc.MethodFromServerStream(s); !strings.HasSuffix(method, "/Read") {
		return s.SendMsg([]byte(nil))
	}
	page := *h.page.Load()
	for {
		if err := s.SendMsg(page); err != nil {
			return err
		}
	}
}

// bytesCodec sends bytes as they are, and reads nothing.
type bytesCodec struct{ encoding.CodecV2 }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (bytesCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (bytesCodec) Name() string                         { return protocodec.Name }

// dialHostile returns a client of it.
func dialHostile(t *testing.T, h *hostile) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "p4rt") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(h.serve), grpc.ForceServerCodecV2(bytesCodec{}))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		<-ended
	})
	c, err := Dial(t.Context(), "unix:"+l.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A target may answer with a single message for a whole table, as bmv2 does. Beside what it sent, only the entities
// that somebody keeps are in memory.
func TestReadKeepsNoEntities(t *testing.T) {
	const rows = 200_000
	entity, err := proto.Marshal(&v1.ReadResponse{Entities: []*v1.Entity{TableEntity(&v1.TableEntry{
		TableId: 1,
		Match: []*v1.FieldMatch{
			{FieldId: 1, FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: []byte{1, 2}}}},
			{FieldId: 2, FieldMatchType: &v1.FieldMatch_Exact_{Exact: &v1.FieldMatch_Exact{Value: []byte{1, 2}}}},
		},
	})}})
	if err != nil {
		t.Fatal(err)
	}
	all := bytes.Repeat(entity, rows)
	var h hostile
	h.page.Store(&all)
	c := dialHostile(t, &h)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, n := heap(), 0
	for _, err := range c.Read(t.Context(), &v1.Entity{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == rows { // the server sends the same again
			break
		} else if n != 2 {
			continue
		}
		if took, limit := heap()-before, uint64(3*len(all)); took > limit {
			t.Errorf("a page of %d bytes takes %d of the heap, want %d at most", len(all), took, limit)
		}
	}
	if n != rows {
		t.Errorf("%d entities were read, want %d", n, rows)
	}
}

// A target that means ill takes no more of the memory than the largest one may.
func TestBombs(t *testing.T) {
	var h hostile
	c := dialHostile(t, &h)
	for _, test := range []struct {
		name string
		page []byte
		want string
		most int // MiB
	}{
		{"a page of nothing", bytes.Repeat([]byte("\x0a\x00"), 9<<20),
			"too many items in a p4.v1.ReadResponse: must be at most 8388608", 80},
		{"half an entity", []byte("\x0a\x04\x0a"), "decoding a ReadResponse: unexpected EOF", 8},
		{"a broken entity", []byte("\x0a\x02\xff\xff"), "decoding an entity: ", 8},
		{"pages without an end", bytes.Repeat([]byte("\x0a\x00"), 4096),
			"reading from device 1: more than 2097152 entities, which no table holds", 512},
	} {
		h.page.Store(&test.page)
		var last error
		used := alloctest.AtMost(test.most, func() {
			for _, err := range c.Read(t.Context(), &v1.Entity{}) {
				last = err
			}
		})
		if last == nil || !strings.Contains(last.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.name, last, test.want)
		}
		if used > test.most {
			t.Errorf("%s: took %d MiB, want %d at most", test.name, used, test.most)
		}
	}
}

// A unix socket is a target like any other, if who serves it may be trusted.
func TestDialUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "p4rt")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	address := "unix:" + filepath.Join(dir, "socket")
	l, err := rpc.Listen(address, nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	v1.RegisterP4RuntimeServer(s, &v1.UnimplementedP4RuntimeServer{})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		s.Stop()
		<-ended
	}()
	c, err := Dial(t.Context(), address, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pipeline(t.Context()); status.Code(err) != codes.Unimplemented {
		t.Errorf("the target's answer: %v", err)
	}
	c.Close()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err = Dial(t.Context(), address, 1)
	if err == nil || !strings.Contains(err.Error(), "is not trusted: everybody may write to its directory") {
		t.Errorf("a socket that anybody could have put there: %v", err)
	}
	for address, want := range map[string]string{"unix:": `address "unix:": must name a socket, as unix:/path`} {
		if _, err := Dial(context.Background(), address, 1); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", address, err, want)
		}
	}
}
