package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

const (
	verify    = v1.SetForwardingPipelineConfigRequest_VERIFY
	save      = v1.SetForwardingPipelineConfigRequest_VERIFY_AND_SAVE
	commit    = v1.SetForwardingPipelineConfigRequest_VERIFY_AND_COMMIT
	commitOld = v1.SetForwardingPipelineConfigRequest_COMMIT
	reconcile = v1.SetForwardingPipelineConfigRequest_RECONCILE_AND_COMMIT
)

// Section "SetForwardingPipelineConfig RPC".
func TestSetConfigErrors(t *testing.T) {
	config := kinds(t)
	damaged := func(change func(*v1.ForwardingPipelineConfig)) *v1.ForwardingPipelineConfig {
		c := proto.CloneOf(config)
		change(c)
		return c
	}
	for _, tt := range []struct {
		name   string
		action v1.SetForwardingPipelineConfigRequest_Action
		config *v1.ForwardingPipelineConfig
		want   string
	}{
		{"VERIFY without config", verify, nil, "InvalidArgument: VERIFY needs a config"},
		{"COMMIT with config", commitOld, config, "InvalidArgument: COMMIT takes no config: it commits the saved one"},
		{"COMMIT of nothing", commitOld, nil, "NotFound: no saved config to commit"},
		{"RECONCILE", reconcile, config, "Unimplemented: this target has no RECONCILE_AND_COMMIT: read the entries, " +
			"VERIFY_AND_COMMIT, and write them"},
		{"no action", 0, config, "InvalidArgument: action UNSPECIFIED is not one of VERIFY, VERIFY_AND_SAVE, " +
			"VERIFY_AND_COMMIT, COMMIT"},
		{"no P4Info", commit, damaged(func(c *v1.ForwardingPipelineConfig) { c.P4Info = nil }),
			"InvalidArgument: config: p4info is not set"},
		{"no device config", commit, damaged(func(c *v1.ForwardingPipelineConfig) { c.P4DeviceConfig = nil }),
			"InvalidArgument: config: p4_device_config is empty"},
		{"not JSON", save, damaged(func(c *v1.ForwardingPipelineConfig) { c.P4DeviceConfig = []byte("{") }),
			"InvalidArgument: config: p4_device_config: "},
		{"P4Info of another program", commit, damaged(func(c *v1.ForwardingPipelineConfig) {
			c.P4Info.Tables[0].Preamble.Name = "elsewhere"
			c.P4Info.Tables[1].MatchFields[0].Bitwidth = 17
			c.P4Info.Tables[2].ActionRefs[0].Id = 3
			c.P4Info.Tables[3].MatchFields = nil
			c.P4Info.Actions[1].Params = nil
			c.P4Info.Counters[0].Preamble.Name = "nothing"
			c.P4Info.Registers[0].Preamble.Name = "nothing"
			c.P4Info.ControllerPacketMetadata[0].Metadata[0].Bitwidth = 10
		}), strings.Join([]string{
			"InvalidArgument: config: p4info: table rules: match field b: 17 bits in p4info, but 16 in " +
				"p4_device_config",
			"p4info: table small: action 3: not in p4info",
			"p4info: table fixed: 0 match fields, but 1 keys in p4_device_config",
			"p4info: table keyless: action forward: 0 parameters, but 1 in p4_device_config",
			"p4info: table elsewhere: not in p4_device_config, whose table prefixes is not in p4info",
			"p4info: counter nothing: not in p4_device_config",
			"p4info: register nothing: not in p4_device_config",
			"p4info: controller_packet_metadata packet_in: its width is not a multiple of 8 bits",
		}, "\n")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.primary()
			err := r.setConfig(tt.action, tt.config)
			if got := describe(err); !strings.HasPrefix(got, tt.want) {
				t.Errorf("SetForwardingPipelineConfig:\n got %s\nwant %s", got, tt.want)
			}
			got, err := r.client.GetForwardingPipelineConfig(t.Context(),
				&v1.GetForwardingPipelineConfigRequest{DeviceId: device})
			if err != nil || got.Config != nil {
				t.Errorf("GetForwardingPipelineConfig: %v, %v; want no config", got, err)
			}
		})
	}
}

func TestSetConfigNeedsPrimary(t *testing.T) {
	r := newRig(t)
	if got, want := describe(r.setConfig(commit, kinds(t))),
		"PermissionDenied: not primary: there is no primary"; got != want {
		t.Errorf("SetForwardingPipelineConfig: %s, want %s", got, want)
	}
}

// Section "GetForwardingPipelineConfig RPC".
func TestGetConfig(t *testing.T) {
	r := newRig(t)
	config := kinds(t)
	r.configured(config)
	for kind, want := range map[v1.GetForwardingPipelineConfigRequest_ResponseType]*v1.ForwardingPipelineConfig{
		v1.GetForwardingPipelineConfigRequest_ALL:               config,
		v1.GetForwardingPipelineConfigRequest_COOKIE_ONLY:       {Cookie: config.Cookie},
		v1.GetForwardingPipelineConfigRequest_P4INFO_AND_COOKIE: {Cookie: config.Cookie, P4Info: config.P4Info},
		v1.GetForwardingPipelineConfigRequest_DEVICE_CONFIG_AND_COOKIE: {Cookie: config.Cookie,
			P4DeviceConfig: config.P4DeviceConfig},
	} {
		got, err := r.client.GetForwardingPipelineConfig(t.Context(),
			&v1.GetForwardingPipelineConfigRequest{DeviceId: device, ResponseType: kind})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Config, protocmp.Transform()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", kind, diff)
		}
	}
	_, err := r.client.GetForwardingPipelineConfig(t.Context(), &v1.GetForwardingPipelineConfigRequest{DeviceId: 4})
	if got, want := describe(err), "NotFound: no device 4 here, only 1"; got != want {
		t.Errorf("device 4: %s, want %s", got, want)
	}
}

// VERIFY changes nothing; VERIFY_AND_SAVE leaves packets alone and takes reads and writes; COMMIT makes
// them real; VERIFY_AND_COMMIT starts empty.
func TestConfigActions(t *testing.T) {
	r := newRig(t)
	host, _ := r.link(1)
	_, at5 := r.link(5)
	_, at7 := r.link(7)
	const forward5 = `table_entry:{table_id:$small match:{field_id:1 exact:{value:"\x02"}} ` +
		`action:{action:{action_id:$forward_counted params:{param_id:1 value:"\x05"}}}}`
	frame := append([]byte{0, 0, 0, 0, 0, 2}, make([]byte, 54)...)

	r.configured(kinds(t))
	if err := r.setConfig(verify, kinds(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.setConfig(commitOld, nil); describe(err) != "NotFound: no saved config to commit" {
		t.Errorf("COMMIT after VERIFY: %v", err)
	}
	if err := r.setConfig(save, kinds(t)); err != nil {
		t.Fatal(err)
	}
	r.mustWrite(insert(t, forward5))
	host.Send(frame)
	<-at7 // by the default action of the program that still runs
	if err := r.setConfig(commitOld, nil); err != nil {
		t.Fatal(err)
	}
	if got := r.mustRead(entry(t, `table_entry:{table_id:$small}`)); len(got) != 1 {
		t.Errorf("%d entries after COMMIT, want 1", len(got))
	}
	host.Send(frame)
	<-at5
	if err := r.setConfig(commit, kinds(t)); err != nil {
		t.Fatal(err)
	}
	if got := r.mustRead(entry(t, `table_entry:{table_id:$small}`)); len(got) != 0 {
		t.Errorf("%d entries after VERIFY_AND_COMMIT, want none", len(got))
	}
	host.Send(frame)
	<-at7
}
