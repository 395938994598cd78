package controller_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
	"github.com/sluicelb/sluice/p4/softswitch"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

// A switch on another host is owned over TLS, and why it cannot be is in the status.
func TestSwitchOverTLS(t *testing.T) {
	lab, other := rpctest.NewLab(t, "lab"), rpctest.NewLab(t, "other")
	l, err := rpc.Listen("https://127.0.0.1:0", nil, rpc.Security{Identity: lab.Server(t, "sw1")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	sw := softswitch.New(softswitch.Config{DeviceID: 1, Log: slog.New(slog.DiscardHandler)})
	link, _ := port.NewLink()
	if err := sw.AddPort(1, link); err != nil {
		t.Fatal(err)
	}
	go func() { done <- sw.RunAndServe(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	needs := "needs --tls-ca, and --tls-cert with --tls-key: without them nobody is known there"
	for _, test := range []struct {
		name, address string
		identity      *rpc.Identity
		plain         bool
		want          string // in the switch's error; "": it is synced
	}{
		{"a controller", l.Address(), lab.Caller(t, "ctl", rpc.Controller), false, ""},
		{"a viewer", l.Address(), lab.Caller(t, "guest", rpc.Viewer), false,
			`the certificate of "guest" has the role viewer and this needs controller`},
		{"another authority", l.Address(), other.Caller(t, "ctl", rpc.Controller), false,
			` is not trusted: its certificate is of the authority "lab"`},
		{"no files", l.Address(), nil, false, needs},
		{"plain text beyond this machine", "192.0.2.1:9559", nil, false,
			`address "192.0.2.1:9559": plain text stays on this machine: ` +
				"must be https://host:port, a unix socket or a loopback address; for a switch without TLS the " +
				"controller's --insecure-plaintext allows it"},
		{"plain text that is allowed, where nobody is", "0.0.0.0:1", nil, true, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			d := startController(t, options{
				dir: dir, file: writeFile(t, dir, intent(test.address)), identity: test.identity, plain: test.plain,
			})
			if test.want == "" {
				d.synced()
				d.until("its ports are told, by the same certificate", func(s *api.GetStatusResponse) bool {
					return len(s.Switches[0].Ports) == 1 && s.Switches[0].PortsUntold == ""
				})
				return
			}
			d.until(test.want, func(s *api.GetStatusResponse) bool {
				return strings.Contains(s.Switches[0].Error, test.want)
			})
		})
	}
}
