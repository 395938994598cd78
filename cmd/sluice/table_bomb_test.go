package main

import (
	"context"
	"fmt"
	"net"
	"testing"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc"

	"github.com/sluicelb/sluice/internal/alloctest"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
)

// endless is a target whose tables, counters and groups have no end.
type endless struct {
	v1.UnimplementedP4RuntimeServer
	pipeline *v1.ForwardingPipelineConfig
	page     func(asked *v1.Entity) *v1.Entity
}

func (endless) Capabilities(context.Context, *v1.CapabilitiesRequest) (*v1.CapabilitiesResponse, error) {
	return &v1.CapabilitiesResponse{}, nil
}

func (e endless) GetForwardingPipelineConfig(
	context.Context, *v1.GetForwardingPipelineConfigRequest,
) (*v1.GetForwardingPipelineConfigResponse, error) {
	return &v1.GetForwardingPipelineConfigResponse{Config: e.pipeline}, nil
}

func (e endless) Read(r *v1.ReadRequest, s v1.P4Runtime_ReadServer) error {
	one := e.page(r.Entities[0])
	page := &v1.ReadResponse{}
	for range 1000 {
		page.Entities = append(page.Entities, one)
	}
	for {
		if err := s.Send(page); err != nil {
			return err
		}
	}
}

func TestTableDumpOfAnEndlessSwitch(t *testing.T) {
	pipeline := &v1.ForwardingPipelineConfig{P4Info: p4.P4Info()}
	info, err := p4rt.NewInfo(pipeline.P4Info)
	if err != nil {
		t.Fatal(err)
	}
	vip, err := info.Table("vip")
	if err != nil {
		t.Fatal(err)
	}
	tally, err := info.Counter("tally")
	if err != nil {
		t.Fatal(err)
	}
	u := func(name string, x uint64) p4rt.Field { return p4rt.Field{Name: name, Value: p4rt.UintValue(x)} }
	row, err := info.EncodeEntry(p4rt.Entry{
		Table: "vip", Match: []p4rt.Field{u("address", 1), u("protocol", 6), u("port", 80)},
		Action: "to_pool", Params: []p4rt.Field{u("pool_id", 1), u("generation", 0), u("slot_mask", 4095),
			u("secret_1", 1), u("secret_2", 2)},
	})
	if err != nil {
		t.Fatal(err)
	}
	group := &v1.MulticastGroupEntry{MulticastGroupId: 1}
	for range 100 {
		group.Replicas = append(group.Replicas, &v1.Replica{Instance: 1})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	v1.RegisterP4RuntimeServer(s, endless{pipeline: pipeline, page: func(asked *v1.Entity) *v1.Entity {
		switch e := asked.Entity.(type) {
		case *v1.Entity_TableEntry:
			if e.TableEntry.TableId == vip.ID {
				return p4rt.TableEntity(row)
			}
		case *v1.Entity_PacketReplicationEngineEntry:
			return &v1.Entity{Entity: &v1.Entity_PacketReplicationEngineEntry{
				PacketReplicationEngineEntry: &v1.PacketReplicationEngineEntry{
					Type: &v1.PacketReplicationEngineEntry_MulticastGroupEntry{MulticastGroupEntry: group}}}}
		}
		return asked
	}})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	defer func() {
		s.Stop()
		<-ended
	}()
	for _, test := range []struct {
		args []string
		want string
		most int // MiB
	}{
		{[]string{"vip"}, fmt.Sprintf("sluice: table vip: the target tells of more than %d, and should have no more: "+
			"given up\n", vip.Size), 64},
		{[]string{"tally"}, fmt.Sprintf("sluice: counter tally: the target tells of more than %d, and should have no "+
			"more: given up\n", tally.Size), 64},
		{nil, "sluice: list of multicast groups: the target tells of more than 524288, and should have no more: " +
			"given up\n",
			128},
	} {
		var code int
		var stderr string
		used := alloctest.AtMost(test.most, func() {
			code, _, stderr = sluice(t, append([]string{"table", "dump", "--target", l.Addr().String()},
				test.args...)...)
		})
		if code != exitFailure || stderr != test.want {
			t.Errorf("dump %v: exit code %d, stderr %q, want %q", test.args, code, stderr, test.want)
		}
		if used > test.most {
			t.Errorf("dump %v: took %d MiB, want %d at most", test.args, used, test.most)
		}
	}
}
