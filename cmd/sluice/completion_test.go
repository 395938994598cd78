package main

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
)

// fewBackends is a controller that tells of backends, in its own order.
type fewBackends struct {
	api.UnimplementedControllerServiceHandler
	api.UnimplementedHealthServiceHandler
}

func (fewBackends) ListBackends(_ context.Context, r *api.ListBackendsRequest) (*api.ListBackendsResponse, error) {
	m := new(api.ListBackendsResponse)
	for _, b := range []*api.BackendStatus{
		{Pool: "web", Name: "web2"}, {Pool: "web", Name: "web1"}, {Pool: "db", Name: "db1"}, {Pool: "db", Name: "web1"},
		{Pool: "db", Name: "$(touch pwned)"}, {Pool: "my pool", Name: "--wait"},
	} {
		if r.Pool == "" || r.Pool == b.Pool {
			m.Backends = append(m.Backends, b)
		}
	}
	return m, nil
}

// serveController serves handlers at a socket of its own, and returns its address.
func serveController(t *testing.T, h interface {
	api.ControllerServiceHandler
	api.HealthServiceHandler
}) string {
	t.Helper()
	l, err := rpc.Listen("unix:"+filepath.Join(t.TempDir(), "api"), nil, rpc.Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, h, h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Address()
}

// What may stand for the last word of a line: commands, flags, and names that the daemons have; nothing where none
// answers.
func TestComplete(t *testing.T) {
	controller, target := serveController(t, fewBackends{}), filledSwitch(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, by the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	const tables = "alarm_unsent arp_guard arp_responder backend l2 learn_unsent openings pin pin_unsent pinned_arp " +
		"pinned_l2 pinned_station slot station tally vip vip_address"
	t.Setenv("SLUICE_CONTROLLER", controller)
	t.Setenv("SLUICE_TARGET", target)
	t.Setenv("SLUICE_GSLB_SOCKET", "/no/socket")
	for _, tt := range []struct {
		line string
		want string
	}{
		{"", "backend cert completion config controller demo gslb healthd help status switch table"},
		{"--", "--help --version"},
		{"-", "--help --version"},
		{"backend ", "list drain undrain"},
		{"backend dr", "list drain undrain"}, // the shell chooses
		{"completion ", "bash zsh"},
		{"completion bash ", ""},
		{"help ", "backend cert completion config controller demo gslb healthd help status switch table"},
		{"help st", "backend cert completion config controller demo gslb healthd help status switch table"},
		{"help backend ", "list drain undrain"},
		{"help nosuch ", ""},
		{"backend drain --", "--controller --tls-cert --tls-key --tls-ca --pool --json --wait --help"},
		{"backend drain --w", "--controller --tls-cert --tls-key --tls-ca --pool --json --wait --help"},
		{"backend drain web1 --", "--controller --tls-cert --tls-key --tls-ca --pool --json --wait --help"},
		{"backend drain ", "db1 web1 web2"},
		{"backend undrain w", "db1 web1 web2"},
		{"backend drain --wait ", "db1 web1 web2"},
		{"backend drain --pool web ", "web1 web2"},
		{"backend drain --pool=web ", "web1 web2"},
		{"backend drain --pool ", "db web"},
		{"backend drain --pool=w", "db web"},
		{"backend drain --pool web1 --pool=", "db web"},
		{"backend drain --nosuch=", "--controller --tls-cert --tls-key --tls-ca --pool --json --wait --help"},
		{"backend drain -- --pool=", "db1 web1 web2"},
		{"backend drain -- ", "db1 web1 web2"},
		{"backend drain web1 ", ""},
		{"backend drain --nosuch ", "db1 web1 web2"},
		{"backend drain --pool nosuch ", ""},
		{"backend drain --controller unix:/no/socket ", ""},
		{"backend drain --controller " + silent.Addr().String() + " ", ""},
		{"backend drain --controller x ", ""},
		{"table dump ", tables},
		{"table dump --json v", tables},
		{"table dump --target unix:/no/socket ", ""},
		{"table dump --target " + silent.Addr().String() + " ", ""},
		{"table dump --device-id x ", ""},
		{"table list ", ""},
		{"gslb suspend --answer ", ""},
		{"gslb --socket /no/socket/either suspend --answer ", ""},
		{"healthd --log-level ", "debug error info warn"},
		{"config check ", ""}, // files, which shells know
		{"nosuch ", ""},
	} {
		code, stdout, stderr := sluice(t, append(strings.Split(tt.line, " "), completeFlag)...)
		if diff := cmp.Diff(tt.want, strings.Join(strings.Fields(stdout), " ")); code != 0 || stderr != "" ||
			diff != "" {
			t.Errorf("%q: exit code %d, stderr %q, stdout (-want +got):\n%s", tt.line, code, stderr, diff)
		}
	}
}

// What the printed script makes of a line is what bash gets when somebody presses the key.
func TestCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not on PATH")
	}
	controller := serveController(t, fewBackends{})
	t.Setenv("SLUICE_CONTROLLER", controller)
	_, script, _ := sluice(t, "completion", "bash")
	binary := build(t)
	for _, tt := range []struct{ line, want string }{
		{"st", "status"},
		{"backend ", "list drain undrain"},
		{"backend drain --w", "--wait"},
		{"backend drain --", "--controller --tls-cert --tls-key --tls-ca --pool --json --wait --help"},
		{"backend drain web", "web1 web2"},
		{"backend  drain  --pool  db web", "web1"},
		{"backend drain --pool=d", "db"},
		{"backend drain --pool=", "db web"},
		{"backend drain --pool=web ", "web1 web2"},
		{"backend drain --controller " + controller + " ", "db1 web1 web2"},
		{"backend drain --controller=" + controller + " --pool=db w", "web1"},
		{"backend drain --controller unix:/no/s", ""}, // a file
		{"completion ", "bash zsh"},
		{"help st", "status"},
		{"gslb exp", "explain"},
		{"config check refer", ""}, // files, which bash itself knows
	} {
		// The words are what bash makes of the line: COMP_WORDBREAKS has ":" and "=" (bash(1)). Some users have an IFS
		// of their own.
		const press = `COMP_LINE=$1 COMP_POINT=${#1}; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); IFS=/ _sluice; ` +
			`echo "${COMPREPLY[*]}"`
		line := binary + " " + tt.line
		words := regexp.MustCompile(`[:=]|[^:= ]+|$`).FindAllString(line, -1)
		out, err := exec.Command(bash, append([]string{"-c", script + press, "bash", line},
			words...)...).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%q: %v, %q, want %q", tt.line, err, got, tt.want)
		}
	}
}

// The same for zsh, which chooses by itself from all that fit the place: what the script hands it is looked at.
func TestCompletionOfZsh(t *testing.T) {
	zsh, err := exec.LookPath("zsh")
	if err != nil {
		t.Skip("zsh is not on PATH")
	}
	controller := serveController(t, fewBackends{})
	t.Setenv("SLUICE_CONTROLLER", controller)
	_, script, _ := sluice(t, "completion", "zsh")
	binary := build(t)
	for _, tt := range []struct{ line, want string }{
		{"backend ", "list drain undrain"},
		{"backend drain --", "--controller --tls-cert --tls-key --tls-ca --pool --json --wait --help"},
		{"backend drain w", "db1 web1 web2"},
		{"backend  drain  --pool  db w", "db1 web1"},
		{"backend drain --pool=", "db web"},
		{"backend drain --controller=" + controller + " --pool=db w", "db1 web1"},
		{"backend drain --controller unix:/no/s", "files"},
		{"completion ", "bash zsh"},
		{"help st", "backend cert completion config controller demo gslb healthd help status switch table"},
		{"config check refer", "files"},
	} {
		// In place of what zsh has only while a key is pressed (zshcompwid(1)).
		const around = `compdef() { }; compset() { }; _files() { echo files }; compadd() { shift; echo "$@" }; `
		const press = `words=("$@") CURRENT=$# PREFIX=${@[-1]}; _sluice`
		line := binary + " " + tt.line
		words := regexp.MustCompile(`[^ ]+|$`).FindAllString(line, -1)
		out, err := exec.Command(zsh, append([]string{"-f", "-c", around + script + press, "zsh"}, words...)...).
			CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
			t.Errorf("%q: %v, %q, want %q", tt.line, err, got, tt.want)
		}
	}
}
