package p4rt_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sluicelb/sluice/p4/p4rt"
)

// detailed is the status of a batch RPC with one p4.v1.Error for each request.
func detailed(t *testing.T, messages ...*v1.Error) error {
	st := &rpcstatus.Status{Code: int32(codes.Unknown), Message: "Write failure."}
	for _, m := range messages {
		detail, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		st.Details = append(st.Details, detail)
	}
	return status.ErrorProto(st)
}

func refusal(code codes.Code, message string) *v1.Error {
	return &v1.Error{CanonicalCode: int32(code), Message: message}
}

// groups makes n updates that tell themselves apart.
func groups(n int) []*v1.Update {
	var updates []*v1.Update
	for i := range n {
		updates = append(updates, p4rt.Insert(p4rt.MulticastGroup{ID: uint32(i + 1)}.Entity()))
	}
	return updates
}

func groupID(u *v1.Update) uint32 {
	return u.GetEntity().GetPacketReplicationEngineEntry().GetMulticastGroupEntry().GetMulticastGroupId()
}

func TestWriteInBatches(t *testing.T) {
	f := newFake(t)
	c := f.client(t, p4rt.WithMaxBatch(4))
	updates := groups(10)
	given := slices.Clone(updates)
	copies := make([]*v1.Update, len(updates))
	for i, u := range updates {
		copies[i] = proto.Clone(u).(*v1.Update)
	}
	if err := c.Write(t.Context(), updates[:10:10]); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range f.writes {
		if w.DeviceId != deviceID || w.ElectionId != nil {
			t.Errorf("write is for device %d, election %v", w.DeviceId, w.ElectionId)
		}
		var ids []uint32
		for _, u := range w.Updates {
			ids = append(ids, groupID(u))
		}
		got = append(got, fmt.Sprint(ids))
	}
	want := []string{"[1 2 3 4]", "[5 6 7 8]", "[9 10]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	for i := range updates {
		if updates[i] != given[i] || !proto.Equal(updates[i], copies[i]) {
			t.Errorf("update %d of the caller's slice was modified", i)
		}
	}
	if err := c.Write(t.Context(), nil); err != nil || len(f.writes) != 3 {
		t.Errorf("writing nothing: %v, %d RPCs", err, len(f.writes)-3)
	}
}

// Every gRPC server takes messages of 4 MB, by default no more.
func TestWriteBoundsBytes(t *testing.T) {
	f := newFake(t)
	c := f.client(t)
	var updates []*v1.Update
	for range 10 {
		updates = append(updates, p4rt.Insert(p4rt.TableEntity(&v1.TableEntry{Metadata: make([]byte, 1<<20)})))
	}
	if err := c.Write(t.Context(), updates); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, w := range f.writes {
		total += len(w.Updates)
	}
	if total != len(updates) {
		t.Errorf("%d updates arrived, want %d", total, len(updates))
	}
}

// What a target says of an update may be of any length; it is kept for each refused one.
func TestMessagesOfTargetsAreCut(t *testing.T) {
	f := newFake(t)
	c := f.client(t)
	garbage := strings.Repeat("x", 60<<10)
	f.write = func(*v1.WriteRequest) error { return detailed(t, refusal(codes.Unknown, garbage)) }
	batch, ok := errors.AsType[*p4rt.BatchError](c.Write(t.Context(), groups(1)))
	if want := garbage[:256] + "... (61440 bytes)"; !ok || batch.Failed[0].Message != want {
		t.Errorf("a message of %d bytes", len(batch.Error()))
	}
}

// Section "Error Reporting" of Write: one detail for each update, OKs among them.
func TestBatchError(t *testing.T) {
	f := newFake(t)
	c := f.client(t, p4rt.WithMaxBatch(3))
	f.write = func(w *v1.WriteRequest) error {
		var details []*v1.Error
		failed := false
		for _, u := range w.Updates {
			switch groupID(u) {
			case 2:
				details, failed = append(details, refusal(codes.ResourceExhausted, "full")), true
			case 7:
				details, failed = append(details, refusal(codes.AlreadyExists, "")), true
			default:
				details = append(details, refusal(codes.OK, ""))
			}
		}
		if failed {
			return detailed(t, details...)
		}
		return nil
	}
	updates := groups(8)
	err := c.Write(t.Context(), updates)
	batch, ok := errors.AsType[*p4rt.BatchError](err)
	if !ok {
		t.Fatalf("error is %v, want a *BatchError", err)
	}
	type failure struct {
		Index   int
		ID      uint32
		Code    codes.Code
		Message string
	}
	var got []failure
	for _, u := range batch.Failed {
		if u.Update != updates[u.Index] {
			t.Errorf("failure at %d holds another update", u.Index)
		}
		got = append(got, failure{u.Index, groupID(u.Update), u.Code, u.Message})
	}
	want := []failure{{1, 2, codes.ResourceExhausted, "full"}, {6, 7, codes.AlreadyExists, ""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	const text = "2 of 8 updates refused: update 1, INSERT multicast group 2: ResourceExhausted: full; update 6, " +
		"INSERT multicast group 7: AlreadyExists"
	if err.Error() != text {
		t.Errorf("message is\n%s\nwant\n%s", err, text)
	}
	if len(f.writes) != 3 {
		t.Errorf("%d batches, want 3: a refused update does not hold up later ones", len(f.writes))
	}
}

// Section "gRPC Metadata Maximum Size".
func TestDetailsOfAFullBatchFit(t *testing.T) {
	f := newFake(t)
	c := f.client(t)
	f.write = func(w *v1.WriteRequest) error {
		details := make([]*v1.Error, len(w.Updates))
		for i := range details {
			details[i] = refusal(codes.AlreadyExists, strings.Repeat("x", 500))
			details[i].Space = "targetX-psa-vendorY"
		}
		return detailed(t, details...)
	}
	err := c.Write(t.Context(), groups(p4rt.DefaultMaxBatch))
	batch, ok := errors.AsType[*p4rt.BatchError](err)
	if !ok || len(batch.Failed) != p4rt.DefaultMaxBatch {
		t.Fatalf("error is %.300v, want a *BatchError with %d failures", err, p4rt.DefaultMaxBatch)
	}
	if n := len(err.Error()); n > 2000 {
		t.Errorf("the message has %d bytes", n)
	}
}

func TestFailedWriteRPC(t *testing.T) {
	tests := []struct {
		name       string
		err        error
		want       string
		notPrimary bool
	}{
		{
			"not primary", status.Error(codes.PermissionDenied, "no"),
			"writing updates 0..2 of 3 to device 1: this client is not primary: rpc error: code = PermissionDenied " +
				"desc = no",
			true,
		},
		{
			"no pipeline is not the same as not primary", status.Error(codes.FailedPrecondition, "no pipeline"),
			"writing updates 0..2 of 3 to device 1: rpc error: code = FailedPrecondition desc = no pipeline", false,
		},
		{
			"unknown, without details", status.Error(codes.Unknown, "oops"),
			"writing updates 0..2 of 3 to device 1: rpc error: code = Unknown desc = oops", false,
		},
		{
			"too few details", detailed(t, refusal(codes.NotFound, "")),
			"writing updates 0..2 of 3 to device 1: the target gives 1 error details for 3 requests: rpc " +
				"error: code = " +
				"Unknown desc = Write failure.", false,
		},
		{
			"all details are OK", detailed(t, refusal(0, ""), refusal(0, ""), refusal(0, "")),
			"writing updates 0..2 of 3 to device 1: the target gives 3 error details that all say OK: rpc error: " +
				"code = " +
				"Unknown desc = Write failure.", false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.write = func(*v1.WriteRequest) error { return tt.err }
			err := f.client(t).Write(t.Context(), groups(3))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is\n%v\nwant\n%s", err, tt.want)
			}
			if _, ok := errors.AsType[*p4rt.BatchError](err); ok {
				t.Error("error is a *BatchError")
			}
			if got := errors.Is(err, p4rt.ErrNotPrimary); got != tt.notPrimary {
				t.Errorf("errors.Is(err, ErrNotPrimary) is %v", got)
			}
			if status.Code(err) != status.Code(tt.err) {
				t.Errorf("code is %v", status.Code(err))
			}
		})
	}
}

func TestDetailOfAnotherType(t *testing.T) {
	f := newFake(t)
	detail, err := anypb.New(&emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	f.write = func(*v1.WriteRequest) error {
		return status.ErrorProto(&rpcstatus.Status{Code: int32(codes.Unknown), Details: []*anypb.Any{detail}})
	}
	err = f.client(t).Write(t.Context(), groups(1))
	if want := "error detail 0 of 1 is no p4.v1.Error"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestNothingIsSentAfterAFailedRPC(t *testing.T) {
	f := newFake(t)
	c := f.client(t, p4rt.WithMaxBatch(2))
	f.write = func(w *v1.WriteRequest) error {
		if groupID(w.Updates[0]) == 3 {
			return status.Error(codes.Unavailable, "restarting")
		}
		return nil
	}
	err := c.Write(t.Context(), groups(6))
	if want := "writing updates 2..3 of 6 to device 1: rpc error: code = Unavailable desc = restarting"; err == nil ||
		err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
	if len(f.writes) != 2 {
		t.Errorf("%d batches were sent, want 2", len(f.writes))
	}
}

func page(ids ...uint32) *v1.ReadResponse {
	r := new(v1.ReadResponse)
	for _, id := range ids {
		r.Entities = append(r.Entities, p4rt.TableEntity(&v1.TableEntry{TableId: id}))
	}
	return r
}

func TestRead(t *testing.T) {
	tests := []struct {
		name  string
		pages []*v1.ReadResponse
		err   error
		want  []uint32
		text  string
		code  codes.Code
	}{
		{"nothing", nil, nil, nil, "", codes.OK},
		{"pages, one of them empty", []*v1.ReadResponse{page(1, 2), page(), page(3)}, nil, []uint32{1, 2, 3}, "",
			codes.OK},
		{"an error after a page", []*v1.ReadResponse{page(1, 2)}, status.Error(codes.Unavailable, "gone"),
			[]uint32{1, 2},
			"reading from device 1: rpc error: code = Unavailable desc = gone", codes.Unavailable},
		{"one of two requests refused", []*v1.ReadResponse{page(1)},
			detailed(t, refusal(codes.OK, ""), refusal(codes.Unimplemented, "not yet")), []uint32{1},
			"reading from device 1: request 1: rpc error: code = Unimplemented desc = not yet", codes.Unimplemented},
		{"details without an error", nil, detailed(t, refusal(codes.OK, ""), refusal(codes.OK, "")), nil,
			"reading from device 1: rpc error: code = Unknown desc = Write failure.", codes.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.read = func(r *v1.ReadRequest, s v1.P4Runtime_ReadServer) error {
				for _, p := range tt.pages {
					if err := s.Send(p); err != nil {
						return err
					}
				}
				return tt.err
			}
			var got []uint32
			var failure error
			for e, err := range f.client(t).Read(t.Context(), &v1.Entity{}, &v1.Entity{}) {
				if failure != nil {
					t.Fatal("the sequence goes on after an error")
				}
				if err != nil {
					failure = err
					continue
				}
				got = append(got, e.GetTableEntry().GetTableId())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("entities (-want +got):\n%s", diff)
			}
			if text := fmt.Sprint(failure); tt.text != "" && text != tt.text || tt.text == "" && failure != nil {
				t.Errorf("error is\n%s\nwant\n%s", text, tt.text)
			}
			if status.Code(failure) != tt.code {
				t.Errorf("code is %v, want %v", status.Code(failure), tt.code)
			}
		})
	}
}

// Entities are there before the target has sent all of them; who has seen enough ends the call.
func TestReadIsStreamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		ended := make(chan error, 1)
		f.read = func(r *v1.ReadRequest, s v1.P4Runtime_ReadServer) error {
			if err := s.Send(page(1)); err != nil {
				return err
			}
			<-s.Context().Done() // never sends the second page
			ended <- s.Context().Err()
			return nil
		}
		for e, err := range f.client(t).Read(t.Context(), &v1.Entity{}) {
			if err != nil || e.GetTableEntry().GetTableId() != 1 {
				t.Errorf("got %v, %v", e, err)
			}
			break
		}
		if err := <-ended; err == nil {
			t.Error("the call is still open")
		}
	})
}

func TestPipelineOfADevice(t *testing.T) {
	f := newFake(t)
	c := f.client(t)
	if got, err := c.Pipeline(t.Context()); got != nil || err != nil {
		t.Errorf("a device that runs nothing: %v, %v; want nil, nil", got, err)
	}
	f.pipeline = pipeline()
	if got, err := c.Pipeline(t.Context()); err != nil || !proto.Equal(got, pipeline()) {
		t.Errorf("got %.100v, %v", got, err)
	}
}
