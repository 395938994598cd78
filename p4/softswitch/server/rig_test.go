package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	configv1 "github.com/p4lang/p4runtime/go/p4/config/v1"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

const device = 1

// rig is a whole switch, and clients that talk to it over loopback TCP.
type rig struct {
	t       testing.TB
	sw      *softswitch.Switch
	address string
	client  v1.P4RuntimeClient
	log     *logBuffer
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	log := &logBuffer{}
	r := &rig{t: t, log: log, sw: softswitch.New(softswitch.Config{
		DeviceID: device, Log: slog.New(slog.NewTextHandler(log, nil)),
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.sw.RunAndServe(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("RunAndServe: %v", err)
		}
	})
	r.client = v1.NewP4RuntimeClient(r.dial())
	return r
}

func (r *rig) dial(options ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient(r.address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// link plugs a host into a port; the frames that reach it come by the channel.
func (r *rig) link(id uint16) (*port.End, <-chan []byte) {
	r.t.Helper()
	p, host := port.NewLink()
	if err := r.sw.AddPort(id, p); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { host.Close() })
	frames := make(chan []byte, 4096)
	host.Receive(func(frame []byte) { frames <- append([]byte(nil), frame...) })
	return host, frames
}

// stream is a StreamChannel of a client.
type stream struct {
	t      testing.TB
	rpc    v1.P4Runtime_StreamChannelClient
	cancel context.CancelFunc
}

func (r *rig) stream() *stream {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	r.t.Cleanup(cancel)
	rpc, err := r.client.StreamChannel(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return &stream{t: r.t, rpc: rpc, cancel: cancel}
}

func (s *stream) send(m *v1.StreamMessageRequest) {
	s.t.Helper()
	if err := s.rpc.Send(m); err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
}

func (s *stream) arbitrate(m *v1.MasterArbitrationUpdate) {
	s.t.Helper()
	s.send(&v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_Arbitration{Arbitration: m}})
}

// next returns the next message in one line, or the error that ended the stream.
func (s *stream) next() string {
	s.t.Helper()
	m, err := s.rpc.Recv()
	if err != nil {
		return "ended: " + describe(err)
	}
	return text(m)
}

func (s *stream) want(want string) {
	s.t.Helper()
	if got := s.next(); got != want {
		s.t.Errorf("stream message:\n got %s\nwant %s", got, want)
	}
}

// text prints a message in one line, the same every time.
func text(m proto.Message) string {
	out := prototext.MarshalOptions{}.Format(m)
	return strings.Join(strings.Fields(out), " ")
}

func describe(err error) string {
	return fmt.Sprintf("%v: %s", status.Code(err), status.Convert(err).Message())
}

func election(low uint64) *v1.Uint128 { return &v1.Uint128{Low: low} }

// primary makes a client primary, with election id 1.
func (r *rig) primary() *stream {
	r.t.Helper()
	s := r.stream()
	s.arbitrate(&v1.MasterArbitrationUpdate{DeviceId: device, ElectionId: election(1)})
	s.want(`arbitration:{device_id:1 election_id:{low:1} status:{message:"you are primary"}}`)
	return s
}

// configured is primary with a pipeline committed.
func (r *rig) configured(config *v1.ForwardingPipelineConfig) *stream {
	r.t.Helper()
	s := r.primary()
	if err := r.setConfig(v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT, config); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *rig) setConfig(action v1.SetForwardingPipelineConfigRequest_Action,
	config *v1.ForwardingPipelineConfig,
) error {
	_, err := r.client.SetForwardingPipelineConfig(r.t.Context(), &v1.SetForwardingPipelineConfigRequest{
		DeviceId: device, ElectionId: election(1), Action: action, Config: config,
	})
	return err
}

func (r *rig) write(updates ...*v1.Update) error {
	_, err := r.client.Write(r.t.Context(), &v1.WriteRequest{DeviceId: device, ElectionId: election(1),
		Updates: updates})
	return err
}

// mustWrite fails the test when an update fails.
func (r *rig) mustWrite(updates ...*v1.Update) {
	r.t.Helper()
	if err := r.write(updates...); err != nil {
		r.t.Fatalf("Write: %v\n%s", err, strings.Join(details(err), "\n"))
	}
}

// writeOne does one update and returns its error as "CODE: message", "" for none.
func (r *rig) writeOne(u *v1.Update) string {
	r.t.Helper()
	err := r.write(u)
	if err == nil {
		return ""
	}
	all := details(err)
	if status.Code(err) != codes.Unknown || len(all) != 1 {
		r.t.Fatalf("Write: %v with %d details, want UNKNOWN with one", err, len(all))
	}
	return all[0]
}

// details returns the p4.Error details of an error, each as "CODE: message", OK as "OK".
func details(err error) []string {
	var out []string
	for _, d := range status.Convert(err).Details() {
		e := d.(*v1.Error)
		if e.CanonicalCode == 0 {
			out = append(out, "OK")
			continue
		}
		out = append(out, fmt.Sprintf("%v: %s", codes.Code(e.CanonicalCode), e.Message))
	}
	return out
}

func (r *rig) read(entities ...*v1.Entity) ([]*v1.Entity, error) {
	r.t.Helper()
	rpc, err := r.client.Read(r.t.Context(), &v1.ReadRequest{DeviceId: device, Entities: entities})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []*v1.Entity
	for {
		m, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, m.Entities...)
	}
}

func (r *rig) mustRead(entities ...*v1.Entity) []*v1.Entity {
	r.t.Helper()
	out, err := r.read(entities...)
	if err != nil {
		r.t.Fatalf("Read: %v\n%s", err, strings.Join(details(err), "\n"))
	}
	return out
}

// readOne reads one request and returns its error as writeOne does.
func (r *rig) readError(e *v1.Entity) string {
	r.t.Helper()
	_, err := r.read(e)
	if err == nil {
		return ""
	}
	all := details(err)
	if status.Code(err) != codes.Unknown || len(all) != 1 {
		r.t.Fatalf("Read: %v with %d details, want UNKNOWN with one", err, len(all))
	}
	return all[0]
}

// parse reads a message in text format.
func parse[M proto.Message](t testing.TB, m M, s string) M {
	t.Helper()
	if err := prototext.Unmarshal([]byte(s), m); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return m
}

// entry is a table entry in text format; names of tables, actions and the like stand for their ids.
func entry(t testing.TB, s string) *v1.Entity {
	t.Helper()
	return parse(t, &v1.Entity{}, named.Replace(s))
}

func update(t testing.TB, kind v1.Update_Type, s string) *v1.Update {
	t.Helper()
	return &v1.Update{Type: kind, Entity: entry(t, s)}
}

func insert(t testing.TB, s string) *v1.Update { t.Helper(); return update(t, v1.Update_INSERT, s) }
func modify(t testing.TB, s string) *v1.Update { t.Helper(); return update(t, v1.Update_MODIFY, s) }
func remove(t testing.TB, s string) *v1.Update { t.Helper(); return update(t, v1.Update_DELETE, s) }

// texts prints entities, sorted, with names for ids.
func texts(entities []*v1.Entity) []string {
	var out []string
	for _, e := range entities {
		out = append(out, unnamed.Replace(text(e)))
	}
	return out
}

// The ids in testdata/kinds.p4info.txt and p4/build/sluice.p4info.txt.
var ids = []string{
	"$prefixes", "47522605", "$rules", "39855334", "$small", "49306912", "$fixed", "49899811",
	"$keyless", "36695338", "$forward_counted", "31883734", "$forward", "32868228", "$drop", "18759588",
	"$NoAction", "21257015", "$cells", "306161202", "$words", "375451367",
	"$station", "38098225", "$known", "24523086", "$l2", "48032186", "$learn_t", "398033514",
	"$marked", "44970181", "$mark", "26869640", "$rates", "346186195",
	"$pin", "38320832", "$slot", "44497391", "$to_backend", "17234410", "$pin_to", "31264258",
}

var named, unnamed = strings.NewReplacer(ids...), strings.NewReplacer(reversed(ids)...)

func reversed(pairs []string) []string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, pairs[i+1], pairs[i])
	}
	return out
}

func kinds(t testing.TB) *v1.ForwardingPipelineConfig {
	t.Helper()
	program, err := os.ReadFile("testdata/kinds.json")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile("testdata/kinds.p4info.txt")
	if err != nil {
		t.Fatal(err)
	}
	return &v1.ForwardingPipelineConfig{
		P4Info:         parse(t, &configv1.P4Info{}, string(info)),
		P4DeviceConfig: program,
		Cookie:         &v1.ForwardingPipelineConfig_Cookie{Cookie: 7},
	}
}

func sluice() *v1.ForwardingPipelineConfig {
	return &v1.ForwardingPipelineConfig{
		P4Info: p4.P4Info(), P4DeviceConfig: p4.DeviceConfig(),
		Cookie: &v1.ForwardingPipelineConfig_Cookie{Cookie: p4.Cookie()},
	}
}
