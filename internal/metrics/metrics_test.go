package metrics

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
)

var (
	numberDesc = NewDesc("sluice_test_number", "A number.", "of")
	stateDesc  = NewDesc("sluice_test_state", "1 for the state.", "of", "state")
	timeDesc   = NewDesc("sluice_test_seconds", "Times.")
	states     = StatesOf("STATE_", map[int32]string{0: "STATE_UNSPECIFIED", 1: "STATE_UP", 2: "STATE_DOWN"})
)

// source has a number of each name.
type source struct{ names *atomic.Pointer[[]string] }

func (s source) Show(p *Page) {
	for i, name := range *s.names.Load() {
		p.Gauge(numberDesc, float64(i), name)
		p.States(stateDesc, states, 1, name)
	}
	counts := make([]uint64, len(Buckets())+1)
	counts[0], counts[len(counts)-1] = 3, 1
	p.Histogram(timeDesc, counts, 61.5)
}

// more is what another page has.
type more struct{}

func (more) Show(p *Page) { p.Counter(NewDesc("sluice_test_more_total", "More."), 1) }

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
	go func() { done <- Serve(ctx, l, "tester", source{names}, map[string]Source{"more": more{}}) }()
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
		`sluice_test_state{of="a",state="up"} 1`, `sluice_test_state{of="a",state="down"} 0`,
		`sluice_test_state{of="b",state="up"} 1`, `sluice_test_state{of="b",state="down"} 0`,
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
	code, text := page(t, http.DefaultClient, "http://"+at+"/metrics/more")
	if want := "# HELP sluice_test_more_total More.\n# TYPE sluice_test_more_total counter\n" +
		"sluice_test_more_total 1\n"; code != http.StatusOK || text != want {
		t.Errorf("the other page: status %d:\n%s\nwant\n%s", code, text, want)
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
	problems, err := testutil.GatherAndLint(gatherer(source{names}))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// shows is a Source.
type shows func(*Page)

func (s shows) Show(p *Page) { s(p) }

func gatherer(s Source) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return Gather(s) })
}

func TestPage(t *testing.T) {
	ofTwo := NewDesc("sluice_test_two", "Of two.", "zone", "name")
	taken := prometheus.NewCounter(prometheus.CounterOpts{Name: "sluice_test_a_total", Help: "Its own."})
	for _, tt := range []struct {
		name string
		show shows
		want string
	}{
		{"nothing", func(*Page) {}, ""},
		{"labels are sorted, and series as they came", func(p *Page) {
			p.Gauge(ofTwo, 2.5, "b", "x")
			p.Truth(ofTwo, false, "a", "x")
		}, `# HELP sluice_test_two Of two.
# TYPE sluice_test_two gauge
sluice_test_two{name="x",zone="b"} 2.5
sluice_test_two{name="x",zone="a"} 0
`},
		{"what comes from outside is made what can be sent", func(p *Page) { p.Gauge(ofTwo, 1, "a\xffb", "\"\n\\") },
			`# HELP sluice_test_two Of two.
# TYPE sluice_test_two gauge
sluice_test_two{name="\"\n\\",zone="a\uFFFDb"} 1
`},
		{"names are sorted, those of others too", func(p *Page) {
			p.Gauge(ofTwo, 1, "a", "x")
			p.Collect(taken)
		}, `# HELP sluice_test_a_total Its own.
# TYPE sluice_test_a_total counter
sluice_test_a_total 0
# HELP sluice_test_two Of two.
# TYPE sluice_test_two gauge
sluice_test_two{name="x",zone="a"} 1
`},
		{"a state without a value", func(p *Page) { p.States(stateDesc, states, 0, "x") },
			`# HELP sluice_test_state 1 for the state.
# TYPE sluice_test_state gauge
sluice_test_state{of="x",state="unspecified"} 1
sluice_test_state{of="x",state="up"} 0
sluice_test_state{of="x",state="down"} 0
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			families, err := Gather(tt.show)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, f := range families {
				if _, err := expfmt.MetricFamilyToText(&got, f); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(strings.ReplaceAll(tt.want, `\uFFFD`, "\uFFFD"), got.String()); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
	defer func() {
		const want = `metrics: 1 values for sluice_test_two, whose labels are ["name" "zone"]`
		if got := recover(); got != want {
			t.Errorf("too few labels: got %v, want %s", got, want)
		}
	}()
	_, _ = Gather(shows(func(p *Page) { p.Gauge(ofTwo, 1, "a") }))
}

// Those who come while a Source is asked wait, and share what it says next: that is of after they came.
func TestSharedPage(t *testing.T) {
	asked, answer := make(chan int), make(chan struct{})
	n := 0
	s := &shared{source: shows(func(p *Page) {
		n++
		asked <- n
		<-answer
		p.Gauge(numberDesc, float64(n), "x")
	})}
	var mu sync.Mutex
	got := make(map[float64]int)
	var wait sync.WaitGroup
	ask := func() {
		families, err := s.Gather()
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got[families[0].Metric[0].GetGauge().GetValue()]++
	}
	wait.Go(ask)
	<-asked
	for range 5 {
		wait.Go(ask)
	}
	for s.waiting.Load() < 5 {
		runtime.Gosched()
	}
	answer <- struct{}{}
	<-asked
	answer <- struct{}{}
	wait.Wait()
	if diff := cmp.Diff(map[float64]int{1: 1, 2: 5}, got); diff != "" {
		t.Errorf("readers by what they were told (-want +got):\n%s", diff)
	}
	if s.page != nil {
		t.Error("a page is kept that nobody waits for")
	}
}

// More readers than there may be are refused, and those that stand still do not hold on to a page for ever.
func TestStandingReaders(t *testing.T) {
	let := make(chan struct{})
	h := handler(100*time.Millisecond, gatherer(shows(func(p *Page) {
		<-let
		for i := range 6000 { // more than sockets hold
			p.Gauge(numberDesc, 1, fmt.Sprintf("%01000d", i))
		}
	})))
	ended := make(chan struct{}, readers)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if r.URL.Path == "/stands" {
			ended <- struct{}{}
		}
	}))
	defer s.Close()
	for range readers {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /stands HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	const refused = "Limit of concurrent requests reached (8), try again later.\n"
	for { // until all of them are in
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err == nil {
			text, err := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode == http.StatusServiceUnavailable && string(text) == refused {
				cancel()
				break
			}
			t.Errorf("%s, %v, %.100q, want 503, %q", response.Status, err, text, refused)
		}
		cancel()
	}
	close(let)
	for range readers {
		<-ended
	}
}
