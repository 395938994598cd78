package metrics

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
)

var (
	numberDesc = prometheus.NewDesc("sluice_test_number", "A number.", []string{"of"}, nil)
	stateDesc  = prometheus.NewDesc("sluice_test_state", "1 for the state.", []string{"of", "state"}, nil)
	timeDesc   = prometheus.NewDesc("sluice_test_seconds", "Times.", nil, nil)
)

// source has a number of each name.
type source struct{ names *atomic.Pointer[[]string] }

func (source) Describe(chan<- *prometheus.Desc) {}

func (s source) Collect(ch chan<- prometheus.Metric) {
	w := Writer{To: ch}
	for i, name := range *s.names.Load() {
		w.Gauge(numberDesc, float64(i), name)
		w.States(stateDesc, "STATE_", map[int32]string{0: "STATE_UNSPECIFIED", 1: "STATE_UP", 2: "STATE_DOWN"}, 1, name)
	}
	counts := make([]uint64, len(Buckets())+1)
	counts[0], counts[len(counts)-1] = 3, 1
	w.Histogram(timeDesc, counts, 61.5)
}

func page(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// serve shows names until the test ends.
func serve(t *testing.T, address string, identity *rpc.Identity) (base string, names *atomic.Pointer[[]string]) {
	t.Helper()
	l, err := Listen(address, identity, nil)
	if err != nil {
		t.Fatal(err)
	}
	names = new(atomic.Pointer[[]string])
	names.Store(&[]string{"a", "b"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, "tester", source{names}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), names
}

// ours are the lines of a page that this test's source has.
func ours(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "sluice_test") && !strings.Contains(line, "_bucket") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestServe(t *testing.T) {
	at, names := serve(t, "127.0.0.1:0", nil)
	_, text := page(t, http.DefaultClient, "http://"+at+"/metrics")
	if diff := cmp.Diff([]string{
		`sluice_test_number{of="a"} 0`, `sluice_test_number{of="b"} 1`,
		`sluice_test_seconds_sum 61.5`, `sluice_test_seconds_count 4`,
		`sluice_test_state{of="a",state="down"} 0`, `sluice_test_state{of="a",state="up"} 1`,
		`sluice_test_state{of="b",state="down"} 0`, `sluice_test_state{of="b",state="up"} 1`,
	}, ours(text)); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	for _, want := range []string{`sluice_build_info{`, `role="tester"`, "go_goroutines ", "process_open_fds ",
		`sluice_test_seconds_bucket{le="0.0001"} 3`, `sluice_test_seconds_bucket{le="60"} 3`,
		`sluice_test_seconds_bucket{le="+Inf"} 4`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	// What is gone is gone from the next page, and what does not change is there again.
	names.Store(&[]string{"a"})
	for range 3 {
		if _, text = page(t, http.DefaultClient, "http://"+at+"/metrics"); strings.Contains(text, `"b"`) ||
			!strings.Contains(text, `sluice_test_number{of="a"} 0`) {
			t.Errorf("after b has gone:\n%s", text)
		}
	}
	if code, _ := page(t, http.DefaultClient, "http://"+at+"/"); code != http.StatusNotFound {
		t.Errorf("another path: status %d, want 404", code)
	}
}

// Through a network it is for viewers.
func TestServeTLS(t *testing.T) {
	lab := rpctest.NewLab(t, "lab")
	at, _ := serve(t, "https://127.0.0.1:0", lab.Server(t, "switch1"))
	for _, tt := range []struct {
		role rpc.Role
		code int
		says string
	}{
		{rpc.Viewer, 200, "sluice_test_number"},
		{rpc.Operator, 200, "sluice_test_number"},
		{rpc.Healthd, 403, "viewer"},
	} {
		t.Run(string(tt.role), func(t *testing.T) {
			files := lab.Issue(t, cert.Request{Name: "some-" + string(tt.role), Roles: []string{string(tt.role)}})
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: rpctest.Config(t, files)}}
			defer client.CloseIdleConnections()
			if code, text := page(t, client, "https://"+at+"/metrics"); code != tt.code ||
				!strings.Contains(text, tt.says) {
				t.Errorf("status %d, want %d, with %q:\n%s", code, tt.code, tt.says, text)
			}
		})
	}
	nobody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer nobody.CloseIdleConnections()
	if response, err := nobody.Get("https://" + at + "/metrics"); err == nil {
		response.Body.Close()
		t.Errorf("without a certificate: %s", response.Status)
	}
}

func TestCheck(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9684":        "",
		"http://127.0.0.1:9684": "",
		"10.0.0.1:9684": `address "10.0.0.1:9684": plain text stays on this machine: must be ` +
			`https://host:port, a unix ` +
			`socket ` +
			"or a loopback address",
		"https://:9684": `address "https://:9684": needs --tls-ca, and --tls-cert with --tls-key: without them ` +
			`nobody is ` +
			`known there`,
	} {
		if got := fmt.Sprint(Check(address, nil)); got != want && (want != "" || got != "<nil>") {
			t.Errorf("%s: got  %s\nwant %s", address, got, want)
		}
	}
}

func TestLint(t *testing.T) {
	names := new(atomic.Pointer[[]string])
	names.Store(&[]string{"a"})
	problems, err := testutil.CollectAndLint(source{names})
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
