package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

var metricsAre = regexp.MustCompile(`msg="metrics are shown" address=(\S+)`)

// showing is the log of a role: at gets where its metrics are, once.
type showing struct {
	mu   sync.Mutex
	text strings.Builder
	at   chan string
}

func (s *showing) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	if found := metricsAre.FindStringSubmatch(s.text.String()); found != nil {
		select {
		case s.at <- found[1]:
		default:
		}
	}
	return len(p), nil
}

// Every role shows its metrics, with its name, in a form that promlint accepts, and promtool where there is one.
func TestShownMetrics(t *testing.T) {
	dir, err := os.MkdirTemp("", "sluice") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	intent := write("sluice.yaml", fmt.Sprintf(controllerIntent, "127.0.0.1:1"))
	gslb := write("gslb.yaml",
		"server: {listen: [\"127.0.0.1:0\"], metrics: \"127.0.0.1:0\", control: {socket: "+dir+"/gslb}}\n")
	promtool, noTool := exec.LookPath("promtool")
	const loopback = "127.0.0.1:0"
	for role, tt := range map[string]struct {
		args  []string
		shows string
	}{
		"switch": {[]string{"--grpc", loopback, "--metrics", loopback}, "sluice_switch_programmed 0\n"},
		"healthd": {[]string{"--controller", "unix:" + dir + "/nobody", "--metrics", loopback},
			"sluice_healthd_controller_connected 0\n"},
		"controller": {[]string{"--config", intent, "--data-dir", dir + "/data", "--listen", "unix:" + dir + "/api",
			"--metrics", loopback}, "sluice_controller_leader 1\n"},
		"gslb": {[]string{"--config", gslb}, "sluice_gslb_config_refused 0\n"},
	} {
		t.Run(role, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			log := &showing{at: make(chan string, 1)}
			done := make(chan int, 1)
			go func() { done <- run(ctx, append([]string{"sluice", role}, tt.args...), log, log) }()
			defer func() {
				cancel()
				if code := <-done; code != 0 {
					t.Errorf("exit code %d:\n%s", code, log.text.String())
				}
			}()
			var at string
			select {
			case at = <-log.at:
			case code := <-done:
				done <- code
				t.Fatal("it has ended")
			}
			text := ""
			for end := time.Now().Add(time.Minute); !strings.Contains(text, tt.shows); {
				response, err := http.Get("http://" + at + "/metrics")
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || time.Now().After(end) {
					t.Fatalf("there is no %q, %v:\n%s", tt.shows, err, data)
				}
				text = string(data)
			}
			for _, want := range []string{`role="` + role + `"`, "go_goroutines "} {
				if !strings.Contains(text, want) {
					t.Errorf("there is no %q in\n%s", want, text)
				}
			}
			problems, err := promlint.New(strings.NewReader(text)).Lint()
			if err != nil || len(problems) > 0 {
				t.Errorf("promlint: %v %v", problems, err)
			}
			if noTool == nil {
				check := exec.Command(promtool, "check", "metrics")
				check.Stdin = strings.NewReader(text)
				if out, err := check.CombinedOutput(); err != nil {
					t.Errorf("promtool: %v\n%s", err, out)
				}
			}
		})
	}
}

func TestMetricsRefuse(t *testing.T) {
	const form = "must be loopback host:port or https://host:port, Prometheus reads no unix socket"
	const far = "plain text stays on this machine: must be https://host:port, a unix socket or a loopback address"
	const noFiles = "needs --tls-ca, and --tls-cert with --tls-key: without them nobody is known there"
	for _, role := range [][]string{{"switch"}, {"healthd"}, {"controller", "--data-dir", t.TempDir()}} {
		for address, want := range map[string]string{
			"unix:/run/metrics": `address "unix:/run/metrics": ` + form,
			"0.0.0.0:9684":      `address "0.0.0.0:9684": ` + far,
			"https://:9684":     `address "https://:9684": ` + noFiles,
			"":                  `address "": must be unix:/path, host:port or https://host:port`,
		} {
			code, _, stderr := sluice(t, append(role, "--metrics", address)...)
			if code != exitUsage || stderr != "sluice: --metrics: "+want+"\n" {
				t.Errorf("%v --metrics %q: exit code %d, want %d, stderr:\n got %q\nwant %q", role, address, code,
					exitUsage,
					stderr, "sluice: --metrics: "+want+"\n")
			}
		}
	}
}
