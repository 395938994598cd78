package gslb

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/gslb/config"
)

// What sockets and files were opened by is told when a reload changes it, unless the command line goes before it.
func TestNeedRestart(t *testing.T) {
	address := netip.MustParseAddrPort("127.0.0.1:53")
	for _, test := range []struct {
		name   string
		change func(*config.Server)
		given  Config
		want   []string
	}{
		{"nothing", func(*config.Server) {}, Config{}, nil},
		{"addresses", func(s *config.Server) { s.Listen = []netip.AddrPort{address} }, Config{}, []string{"listen"}},
		{"addresses in place of the file's", func(s *config.Server) { s.Listen = []netip.AddrPort{address} },
			Config{Listen: []netip.AddrPort{address}}, nil},
		{"the control socket", func(s *config.Server) { s.Control.Socket = "/a" }, Config{}, []string{"control"}},
		{"the control socket in place of the file's", func(s *config.Server) { s.Control.Socket = "/a" },
			Config{Socket: "/b"}, nil},
		{"control for other hosts", func(s *config.Server) { s.Control.Listen = "https://:1" }, Config{Socket: "/b"},
			[]string{"control"}},
		{"roles", func(s *config.Server) { s.Control.Viewers = []string{"alice"} }, Config{}, []string{"control"}},
		{"metrics and state", func(s *config.Server) { s.Metrics, s.State = address.String(), "/s" }, Config{},
			[]string{"metrics", "state"}},
	} {
		want := &config.Config{}
		test.change(&want.Server)
		got := (&Daemon{cfg: test.given}).needRestart(&config.Config{}, want)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
