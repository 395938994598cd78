package server_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluicelb/sluice/p4/softswitch/server"
)

const (
	notPrimary = `status:{code:6 message:"another client is primary"}}`
	noPrimary  = `status:{code:5 message:"there is no primary"}}`
	isPrimary  = `status:{message:"you are primary"}}`
)

func arbitration(id *v1.Uint128) *v1.MasterArbitrationUpdate {
	return &v1.MasterArbitrationUpdate{DeviceId: device, ElectionId: id}
}

func wide(high, low uint64) *v1.Uint128 { return &v1.Uint128{High: high, Low: low} }

// Section "Client Arbitration and Controller Replication".
func TestArbitration(t *testing.T) {
	r := newRig(t)
	a, b, c := r.stream(), r.stream(), r.stream()

	// Before anybody was primary the notice has no election id.
	c.arbitrate(arbitration(nil))
	c.want(`arbitration:{device_id:1 ` + noPrimary)

	a.arbitrate(arbitration(wide(0, 0))) // 0 is an id
	a.want(`arbitration:{device_id:1 election_id:{} ` + isPrimary)
	c.want(`arbitration:{device_id:1 election_id:{} ` + notPrimary)

	// All 128 bits count.
	b.arbitrate(arbitration(wide(1, 0)))
	b.want(`arbitration:{device_id:1 election_id:{high:1} ` + isPrimary)
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + notPrimary)
	c.want(`arbitration:{device_id:1 election_id:{high:1} ` + notPrimary)

	// A backup that stays a backup is told alone.
	a.arbitrate(arbitration(wide(0, 1<<63)))
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + notPrimary)

	// The primary leaves: nobody is primary, whatever ids the others have.
	b.cancel()
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + noPrimary)
	c.want(`arbitration:{device_id:1 election_id:{high:1} ` + noPrimary)
	a.arbitrate(arbitration(wide(0, 1<<63+1))) // below the highest ever seen
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + noPrimary)
	a.arbitrate(arbitration(wide(1, 0))) // as high as the highest
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + isPrimary)
	c.want(`arbitration:{device_id:1 election_id:{high:1} ` + notPrimary)

	// The primary says the same again: all are told.
	a.arbitrate(arbitration(wide(1, 0)))
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + isPrimary)
	c.want(`arbitration:{device_id:1 election_id:{high:1} ` + notPrimary)

	// The primary steps down, by a lower id or by none.
	a.arbitrate(arbitration(nil))
	a.want(`arbitration:{device_id:1 election_id:{high:1} ` + noPrimary)
	c.want(`arbitration:{device_id:1 election_id:{high:1} ` + noPrimary)
	c.arbitrate(arbitration(wide(1, 1)))
	c.want(`arbitration:{device_id:1 election_id:{high:1 low:1} ` + isPrimary)
	a.want(`arbitration:{device_id:1 election_id:{high:1 low:1} ` + notPrimary)
	c.arbitrate(arbitration(wide(0, 9)))
	c.want(`arbitration:{device_id:1 election_id:{high:1 low:1} ` + noPrimary)
	a.want(`arbitration:{device_id:1 election_id:{high:1 low:1} ` + noPrimary)
}

// Section "Rules for Handling MasterArbitrationUpdate Messages Received from Controllers".
func TestArbitrationRefused(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second *v1.MasterArbitrationUpdate
		want          string
	}{
		{
			name:  "unknown device",
			first: &v1.MasterArbitrationUpdate{DeviceId: 9},
			want:  "ended: NotFound: no device 9 here, only 1",
		}, {
			name:   "device changes",
			first:  arbitration(election(5)),
			second: &v1.MasterArbitrationUpdate{DeviceId: 9, ElectionId: election(5)},
			want:   "ended: FailedPrecondition: this stream is for device 1, not 9",
		}, {
			name:   "role changes",
			first:  arbitration(election(5)),
			second: &v1.MasterArbitrationUpdate{DeviceId: device, ElectionId: election(5), Role: &v1.Role{Name: "acl"}},
			want:   `ended: FailedPrecondition: this stream is for role "", not "acl"`,
		}, {
			name:  "id of a live client",
			first: arbitration(election(1)),
			want:  "ended: InvalidArgument: election id {0 1} is in use by another client",
		}, {
			name:   "id of a live client, later",
			first:  arbitration(nil),
			second: arbitration(election(1)),
			want:   "ended: InvalidArgument: election id {0 1} is in use by another client",
		}, {
			name:  "role name too long",
			first: &v1.MasterArbitrationUpdate{DeviceId: device, Role: &v1.Role{Name: strings.Repeat("x", 257)}},
			want:  "ended: InvalidArgument: role.name has 257 bytes, want 256 at most",
		}, {
			name:  "role config",
			first: &v1.MasterArbitrationUpdate{DeviceId: device, Role: &v1.Role{Name: "acl", Config: &anypb.Any{}}},
			want:  "ended: InvalidArgument: role.config: no scheme is agreed upon; leave it unset for full access",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.primary()
			s := r.stream()
			s.arbitrate(tt.first)
			if tt.second != nil {
				s.next()
				s.arbitrate(tt.second)
			}
			s.want(tt.want)
		})
	}
}

// Each role has a primary of its own, and an unset role.config is full access (section "Role Config").
func TestRoles(t *testing.T) {
	r := newRig(t)
	r.configured(kinds(t))
	acl := r.stream()
	acl.arbitrate(&v1.MasterArbitrationUpdate{DeviceId: device, Role: &v1.Role{Name: "acl"}, ElectionId: election(1)})
	acl.want(`arbitration:{device_id:1 role:{name:"acl"} election_id:{low:1} ` + isPrimary)
	write := func(role string) string {
		_, err := r.client.Write(t.Context(), &v1.WriteRequest{
			DeviceId: device, Role: role, ElectionId: election(1),
			Updates: []*v1.Update{modify(t, `table_entry:{table_id:$keyless is_default_action:true}`)},
		})
		if err == nil {
			return ""
		}
		return describe(err)
	}
	for role, want := range map[string]string{"": "", "acl": "", "other": `NotFound: no role "other"`} {
		if got := write(role); got != want {
			t.Errorf("Write as role %q: %q, want %q", role, got, want)
		}
	}
}

// blockingPlane holds up every write.
type blockingPlane struct {
	idlePlane
	entered, leave chan struct{}
}

func (p blockingPlane) Now() time.Duration {
	p.entered <- struct{}{}
	<-p.leave
	return 0
}

// A new primary waits for the writes that have begun; the former one is told before, and its next write
// is refused.
func TestTakeoverWaitsForWrites(t *testing.T) {
	plane := blockingPlane{entered: make(chan struct{}), leave: make(chan struct{})}
	srv := server.New(server.Config{DeviceID: device, Plane: plane, Log: slog.New(slog.DiscardHandler)})
	open := func(id uint64) *fakeStream {
		s := &fakeStream{ctx: t.Context(), requests: make(chan *v1.StreamMessageRequest, 1),
			answers: make(chan *v1.StreamMessageResponse, 1)}
		go func() { _ = srv.StreamChannel(s) }() // ends with the test's context
		s.requests <- &v1.StreamMessageRequest{
			Update: &v1.StreamMessageRequest_Arbitration{Arbitration: arbitration(election(id))}}
		return s
	}
	write := func(id uint64) error {
		_, err := srv.Write(t.Context(), &v1.WriteRequest{
			DeviceId: device, ElectionId: election(id),
			Updates: []*v1.Update{insert(t, `table_entry:{table_id:$rules priority:1`+drop+`}`)},
		})
		return err
	}
	former := open(1)
	<-former.answers
	_, err := srv.SetForwardingPipelineConfig(t.Context(), &v1.SetForwardingPipelineConfigRequest{
		DeviceId: device, ElectionId: election(1), Action: commit, Config: kinds(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- write(1) }()
	<-plane.entered

	next := open(2)
	if got, want := text(<-former.answers), `arbitration:{device_id:1 election_id:{low:2} `+notPrimary; got != want {
		t.Errorf("the former primary got %s, want %s", got, want)
	}
	select {
	case m := <-next.answers:
		t.Fatalf("the new primary was told %s while a write ran", text(m))
	case <-time.After(50 * time.Millisecond): // time to do it wrong; nothing waits for it
	}
	refused := make(chan error)
	go func() { refused <- write(1) }()
	close(plane.leave)
	if err := <-done; err != nil {
		t.Errorf("the write that had begun: %v", err)
	}
	if got, want := text(<-next.answers), `arbitration:{device_id:1 election_id:{low:2} `+isPrimary; got != want {
		t.Errorf("the new primary got %s, want %s", got, want)
	}
	if got, want := describe(<-refused),
		"PermissionDenied: not primary: election id {0 1} is not the primary's"; got != want {
		t.Errorf("the former primary's next write: %s, want %s", got, want)
	}
}

func TestTooManyStreams(t *testing.T) {
	r := newRig(t)
	for range 64 {
		s := r.stream()
		s.arbitrate(arbitration(nil)) // many may have no id
		s.next()
	}
	s := r.stream()
	s.arbitrate(arbitration(nil))
	s.want(`ended: ResourceExhausted: role "" has 64 clients already`)
}

// Section "Write RPC": the checks come in this order.
func TestWriteChecks(t *testing.T) {
	r := newRig(t)
	write := func(req *v1.WriteRequest) string {
		_, err := r.client.Write(t.Context(), req)
		if n := len(details(err)); n != 0 {
			t.Errorf("an error of the whole RPC has %d details, want none", n)
		}
		return describe(err)
	}
	for _, tt := range []struct {
		name  string
		setUp func()
		req   *v1.WriteRequest
		want  string
	}{
		{"device", nil, &v1.WriteRequest{DeviceId: 2}, "NotFound: no device 2 here, only 1"},
		{"role", nil, &v1.WriteRequest{DeviceId: device, Role: "x"}, `NotFound: no role "x"`},
		{"nobody is primary", nil, &v1.WriteRequest{DeviceId: device, ElectionId: election(1)},
			"PermissionDenied: not primary: there is no primary"},
		{"no pipeline", func() { r.primary() }, &v1.WriteRequest{DeviceId: device, ElectionId: election(1)},
			"FailedPrecondition: no forwarding pipeline config is set"},
		{"no id", nil, &v1.WriteRequest{DeviceId: device}, "PermissionDenied: not primary: no election id"},
		{"other id", nil, &v1.WriteRequest{DeviceId: device, ElectionId: wide(1, 1)},
			"PermissionDenied: not primary: election id {1 1} is not the primary's"},
		{"atomicity", func() {
			if err := r.setConfig(v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT, kinds(t)); err != nil {
				t.Fatal(err)
			}
		}, &v1.WriteRequest{DeviceId: device, ElectionId: election(1), Atomicity: v1.WriteRequest_DATAPLANE_ATOMIC},
			"Unimplemented: this target has no batches other than CONTINUE_ON_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.setUp != nil {
				tt.setUp()
			}
			if got := write(tt.req); got != tt.want {
				t.Errorf("Write: %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	r := newRig(t)
	got, err := r.client.Capabilities(t.Context(), &v1.CapabilitiesRequest{DeviceId: device})
	if err != nil || got.P4RuntimeApiVersion != "1.5.0" {
		t.Errorf("Capabilities: %v, %v", got, err)
	}
	_, err = r.client.Capabilities(t.Context(), &v1.CapabilitiesRequest{DeviceId: 3})
	if want := "NotFound: no device 3 here, only 1"; describe(err) != want {
		t.Errorf("Capabilities of device 3: %v, want %s", err, want)
	}
}

func TestPrimaryIsLogged(t *testing.T) {
	r := newRig(t)
	s := r.primary()
	s.cancel()
	other := r.stream()
	other.arbitrate(arbitration(election(2)))
	for !strings.Contains(other.next(), isPrimary) {
	}
	for _, want := range []string{`msg="new primary"`, "election_low=1", "election_low=2"} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, r.log)
		}
	}
}
