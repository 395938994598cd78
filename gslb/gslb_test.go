package gslb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
)

// two data centers, each with a web server that a keepalive asks; the first is preferred.
const twoSites = `
server: {metrics: "127.0.0.1:0", reload: {settle: 300ms}}
regions: [{name: europe}]
data_centers:
  - {name: fra, region: europe}
  - {name: ams, region: europe}
  - {name: nyc}
owners: [{name: shop}]
answers:
  - {name: fra-www, kind: vip, ipv4: 192.0.2.1, data_center: fra, owner: shop, keepalives: [{kind: tcp, address: %s, port: %d, timing: {preset: custom, interval: 100ms, timeout: 1s}}]}
  - {name: ams-www, kind: vip, ipv4: 192.0.2.2, data_center: ams, owner: shop}
  - {name: nyc-www, kind: vip, ipv4: 192.0.2.3, data_center: nyc}
groups:
  - {name: web, members: [{answer: fra-www}, {answer: ams-www}, {answer: nyc-www}]}
domain_lists: [{name: www, domains: [www.example.com]}]
rules:
  - {name: www, domains: www, ttl: 5, unknown: down, all_down: no_data, clauses: [{group: web, balance: ordered}]}
zones:
  - name: example.com
    records:
      - {name: "@", type: SOA, ttl: 300, data: ns1 hostmaster 1 7200 3600 1209600 60}
      - {name: "@", type: NS, ttl: 300, data: ns1}
      - {name: ns1, type: A, ttl: 300, data: 192.0.2.53}
`

// rig is a daemon that runs, and who asks it.
type rig struct {
	*Daemon
	t    *testing.T
	file string
	log  *syncBuffer
	web  net.Listener // what fra's keepalive asks
	api  *control.Client
	slow atomic.Pointer[func()] // what a reload waits for
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T) *rig {
	t.Helper()
	return startWith(t, func(text string) string { return text })
}

// startWith starts a daemon whose configuration is twoSites as change leaves it, with those settings.
func startWith(t *testing.T, change func(string) string, settings ...func(*Config)) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "gslb") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, file: filepath.Join(dir, "gslb.yaml"), log: new(syncBuffer)}
	if r.web, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.web.Close() })
	go accept(r.web)
	r.write(change(r.config()))
	c := Config{
		File: r.file, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		Socket: filepath.Join(dir, "socket"), Cores: 1,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, set := range settings {
		set(&c)
	}
	if r.Daemon, err = New(c); err != nil {
		t.Fatal(err)
	}
	read := r.load
	r.load = func(file string) (*compiled, error) {
		if slow := r.slow.Load(); slow != nil {
			(*slow)()
		}
		return read(file)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if r.api, err = control.Dial("unix:"+r.Socket(), rpc.Security{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.api.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		c.Close()
	}
}

func (r *rig) config() string {
	return fmt.Sprintf(twoSites, r.web.Addr().(*net.TCPAddr).IP, r.web.Addr().(*net.TCPAddr).Port)
}

func (r *rig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(r.file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// ask is the response to a real client.
func (r *rig) ask(name string, qtype uint16) *dns.Msg {
	r.t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	c := dns.Client{Timeout: 30 * time.Second}
	reply, _, err := c.ExchangeContext(r.t.Context(), m, r.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	return reply
}

func (r *rig) address(name string) string {
	r.t.Helper()
	reply := r.ask(name, dns.TypeA)
	if len(reply.Answer) == 0 {
		return dns.RcodeToString[reply.Rcode]
	}
	return reply.Answer[0].(*dns.A).A.String()
}

// eventually waits until ok, which looks at another process or goroutine.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within a minute: %s\nlog:\n%s", what, r.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestAnswersFollowHealth(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	r.web.Close()
	r.eventually("ams answers once fra is down", func() bool { return r.address("www.example.com.") == "192.0.2.2" })
	m, err := r.api.GetStatus(t.Context(), &control.GetStatusRequest{Selector: &control.Selector{Answer: "fra-www"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Answers) != 1 || m.Answers[0].State != control.State_STATE_DOWN ||
		!strings.Contains(m.Answers[0].Reason, "connection refused") {
		t.Errorf("status %v", m.Answers)
	}
	if reply := r.ask("www.example.com.", dns.TypeAAAA); reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 0 ||
		len(reply.Ns) != 1 {
		t.Errorf("AAAA: %v", reply)
	}
	if reply := r.ask("nowhere.example.com.", dns.TypeA); reply.Rcode != dns.RcodeNameError {
		t.Errorf("a name that is not there: %v", reply)
	}
	if n := strings.Count(r.log.String(), `msg="answer down" answer=fra-www`); n != 1 {
		t.Errorf("the death of fra is logged %d times:\n%s", n, r.log)
	}
}

func TestReload(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	status := func() *control.GetStatusResponse {
		m, err := r.api.GetStatus(t.Context(), &control.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}

	// A file that changes is taken over, without a signal; what is known of what stays, stays.
	r.write(strings.Replace(r.config(), "192.0.2.1,", "198.51.100.1,", 1))
	r.eventually("the new address", func() bool {
		a := r.address("www.example.com.")
		if a != "192.0.2.1" && a != "198.51.100.1" {
			t.Fatalf("between two configurations the answer is %s", a)
		}
		return a == "198.51.100.1"
	})

	// A bad file changes nothing and says why: in the log, once for each change, and in the status.
	bad := strings.Replace(r.config(), "balance: ordered", "balance: sideways", 1)
	bad = strings.Replace(bad, "ttl: 5", "tttl: 5", 1)
	r.write(bad)
	r.eventually("the refusal", func() bool { return status().ConfigError != "" })
	why := status().ConfigError
	for _, want := range []string{"rules[0].clauses[0].balance: ", `"sideways"`, "rules[0].tttl: "} {
		if !strings.Contains(why, want) {
			t.Errorf("%q is not in\n%s", want, why)
		}
	}
	if a := r.address("www.example.com."); a != "198.51.100.1" {
		t.Errorf("with a bad file the answer is %s", a)
	}
	refusals := func() int { return strings.Count(r.log.String(), "configuration refused") }
	if n := refusals(); n != 1 {
		t.Errorf("the refusal is logged %d times:\n%s", n, r.log)
	}
	r.Reload() // SIGHUP: who sends it reads in the log that it is refused still
	r.eventually("the refusal of what was asked for", func() bool { return refusals() == 2 })
	r.write(r.config())
	r.eventually("the old address", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	if why := status().ConfigError; why != "" {
		t.Errorf("a good file is still refused: %s", why)
	}
	if n := refusals(); n != 2 {
		t.Errorf("refusals are logged %d times:\n%s", n, r.log)
	}

	loaded := strings.Count(r.log.String(), "configuration loaded")
	r.Reload() // SIGHUP
	r.eventually("a reload that was asked for",
		func() bool { return strings.Count(r.log.String(), "configuration loaded") > loaded })

	// Files are replaced by renaming, too.
	next := r.file + ".new"
	if err := os.WriteFile(next, []byte(strings.Replace(r.config(), "192.0.2.1,", "198.51.100.7,", 1)),
		0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, r.file); err != nil {
		t.Fatal(err)
	}
	r.eventually("the renamed file", func() bool { return r.address("www.example.com.") == "198.51.100.7" })
}

// Health and operators do not wait for a configuration that takes long to read.
func TestReloadIsNotWaitedFor(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	reading, goOn := make(chan struct{}), make(chan struct{})
	r.slow.Store(new(func() { close(reading); <-goOn }))
	defer close(goOn)
	r.Reload()
	<-reading
	r.web.Close()
	r.eventually("ams answers once fra is down", func() bool { return r.address("www.example.com.") == "192.0.2.2" })
	if _, err := r.api.SetSuspended(t.Context(),
		&control.SetSuspendedRequest{Selector: &control.Selector{Answer: "ams-www"}, Suspended: true}); err != nil {
		t.Fatal(err)
	}
	if got := r.address("www.example.com."); got != "192.0.2.3" {
		t.Errorf("after the suspension the answer is %s", got)
	}
}

// A start with thousands of answers, and the loss of all of them, take few lines of the log.
func TestFewLines(t *testing.T) {
	const n = 10_000
	r := startWith(t, func(text string) string {
		var answers strings.Builder
		for i := range n {
			fmt.Fprintf(&answers, "  - {name: a%d, kind: vip, ipv4: 198.51.100.1, data_center: fra, keepalives: "+
				"[{kind: tcp, address: %s, port: %d}]}\n",
				i, "127.0.0.1", 1+i%3)
		}
		return strings.Replace(text, "groups:\n", answers.String()+"groups:\n", 1)
	})
	r.eventually("all are down", func() bool {
		m, err := r.api.GetStatus(t.Context(),
			&control.GetStatusRequest{Selector: &control.Selector{DataCenter: "fra"}})
		if err != nil {
			t.Fatal(err)
		}
		down := 0
		for _, a := range m.Answers {
			if a.State == control.State_STATE_DOWN {
				down++
			}
		}
		return down == n
	})
	if lines := strings.Count(r.log.String(), "\n"); lines > 2*mostTold {
		t.Errorf("%d lines for %d answers:\n%.2000s", lines, n, r.log)
	}
}

// The file is followed through links to its directory, and through times when it or its directory is not there.
func TestFileIsFollowed(t *testing.T) {
	r := start(t)
	text := r.config()
	version := func(address string) string { return strings.Replace(text, "192.0.2.2,", address+",", 1) }
	dir := filepath.Dir(r.file)
	r.api.SetSuspended(t.Context(), &control.SetSuspendedRequest{Selector: &control.Selector{Answer: "fra-www"},
		Suspended: true})
	answers := func(address string) {
		t.Helper()
		r.eventually(address, func() bool { return r.address("www.example.com.") == address })
	}
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	answers("192.0.2.2")
	do(os.MkdirAll(in("v1/conf"), 0o700), os.MkdirAll(in("v2/conf"), 0o700), os.Symlink("v1", in("current")),
		os.WriteFile(in("v1/conf/gslb.yaml"), []byte(version("198.51.100.1")), 0o600),
		os.WriteFile(in("v2/conf/gslb.yaml"), []byte(version("198.51.100.2")), 0o600),
		os.Symlink("current/conf/gslb.yaml", in("link")), os.Rename(in("link"), r.file))
	answers("198.51.100.1")
	do(os.Symlink("v2", in("next")), os.Rename(in("next"), in("current")))
	answers("198.51.100.2")
	do(os.WriteFile(in("v2/conf/gslb.yaml"), []byte(version("198.51.100.3")), 0o600))
	answers("198.51.100.3")
	do(os.RemoveAll(in("v2")))
	r.eventually("the refusal", func() bool { return strings.Contains(r.log.String(), "no such file or directory") })
	do(os.MkdirAll(in("v2/conf"), 0o700), os.WriteFile(in("v2/conf/gslb.yaml"), []byte(version("198.51.100.4")), 0o600))
	answers("198.51.100.4")
}

func TestSuspendAndActivate(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	set := func(on bool, s *control.Selector) *control.SetSuspendedResponse {
		t.Helper()
		m, err := r.api.SetSuspended(t.Context(), &control.SetSuspendedRequest{Selector: s, Suspended: on})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, tt := range []struct {
		name    string
		on      bool
		of      *control.Selector
		changed []string
		answer  string // at once
	}{
		{"an answer", true, &control.Selector{Answer: "fra-www"}, []string{"fra-www"}, "192.0.2.2"},
		{"a region, of which one is suspended already", true, &control.Selector{Region: "europe"}, []string{"ams-www"},
			"192.0.2.3"},
		{"a data center of it", false, &control.Selector{DataCenter: "ams"}, []string{"ams-www"}, "192.0.2.2"},
		{"an owner", false, &control.Selector{Owner: "shop"}, []string{"fra-www"}, "192.0.2.1"},
		{"an owner's answers in one data center", true, &control.Selector{Owner: "shop", DataCenter: "fra"},
			[]string{"fra-www"}, "192.0.2.2"},
		{"the same again", true, &control.Selector{Owner: "shop", DataCenter: "fra"}, nil, "192.0.2.2"},
		{"a rule", true, &control.Selector{Rule: "www"}, []string{"www"}, "NOERROR"},
		{"the rule back", false, &control.Selector{Rule: "www"}, []string{"www"}, "192.0.2.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := set(tt.on, tt.of)
			if diff := cmp.Diff(tt.changed, m.Changed); diff != "" {
				t.Errorf("changed (-want +got)\n%s", diff)
			}
			if got := r.address("www.example.com."); got != tt.answer {
				t.Errorf("the answer is %s, want %s", got, tt.answer)
			}
		})
	}
	for _, tt := range []struct {
		name string
		of   *control.Selector
		code connect.Code
		want string
	}{
		{"nothing", &control.Selector{}, connect.CodeInvalidArgument,
			"the selector must name an answer, a data center, a region, an owner or a rule"},
		{"a data center that is not there", &control.Selector{DataCenter: "par"}, connect.CodeNotFound,
			`no data center "par": there are ams, fra, nyc`},
		{"a data center, nearly", &control.Selector{DataCenter: "FAR"}, connect.CodeNotFound,
			`no data center "FAR": there are ams, fra, nyc; did you mean fra?`},
		{"an answer, nearly", &control.Selector{Answer: "fra_www"}, connect.CodeNotFound,
			`no answer "fra_www": there are ams-www, fra-www, nyc-www; did you mean fra-www?`},
		{"a rule, nearly", &control.Selector{Rule: "wwww"}, connect.CodeNotFound,
			`no rule "wwww": there are www; did you mean www?`},
		{"a data center and an owner without an answer in common", &control.Selector{DataCenter: "nyc", Owner: "shop"},
			connect.CodeNotFound, `no answer has all of data center "nyc", owner "shop"`},
		{"a rule and more", &control.Selector{Rule: "www", Owner: "shop"}, connect.CodeInvalidArgument,
			"a rule is chosen alone, without answer, data center, region and owner"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.api.SetSuspended(t.Context(), &control.SetSuspendedRequest{Selector: tt.of, Suspended: true})
			if connect.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %v: %s", err, tt.code, tt.want)
			}
		})
	}
}

// An operator hears at the start, not when it matters, that nothing can be suspended.
func TestStateThatCannotBeKept(t *testing.T) {
	r := startWith(t, func(text string) string {
		return strings.Replace(text, "server: {", "server: {state: missing/state, ", 1)
	})
	if log := r.log.String(); !strings.Contains(log, "suspend and activate will be refused") ||
		!strings.Contains(log, "missing/") {
		t.Errorf("log:\n%s", log)
	}
	if _, err := r.api.SetSuspended(t.Context(),
		&control.SetSuspendedRequest{Selector: &control.Selector{Answer: "fra-www"}, Suspended: true}); connect.CodeOf(
		err) != connect.CodeInternal {
		t.Errorf("suspended all the same: %v", err)
	}
}

func TestExplainAndQuery(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	m, err := r.api.Explain(t.Context(), &control.ExplainRequest{Name: "www.example.com", From: "203.0.113.9"})
	if err != nil {
		t.Fatal(err)
	}
	story := strings.Join(m.Lines, "\n")
	for _, want := range []string{"rule www", "fra-www", "anywhere", "192.0.2.1"} {
		if !strings.Contains(story, want) {
			t.Errorf("%q is not in the story:\n%s", want, story)
		}
	}
	q, err := r.api.Query(t.Context(), &control.QueryRequest{Name: "www.example.com", Type: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(q.Text, "www.example.com.\t5\tIN\tA\t192.0.2.1") {
		t.Errorf("the response:\n%s", q.Text)
	}
	for _, tt := range []struct {
		name string
		of   *control.QueryRequest
		want string
	}{
		{"no name", &control.QueryRequest{}, `name: must be a domain name, as www.example.com, is ""`},
		{"a type that is not one", &control.QueryRequest{Name: "x.example.com", Type: "AAAAA"},
			`type: must be a record type, as A, AAAA or HTTPS, is "AAAAA"`},
		{"no address", &control.QueryRequest{Name: "x.example.com", From: "here"},
			`from: must be an IPv4 or IPv6 address, is "here"`},
		{"no prefix", &control.QueryRequest{Name: "x.example.com", ClientSubnet: "10.0.0.1/8"},
			`client subnet: must be a prefix without bits set behind its length, as 192.0.2.0/24, is "10.0.0.1/8"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := r.api.Query(t.Context(), tt.of); connect.CodeOf(err) != connect.CodeInvalidArgument ||
				!strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	scrape := func() string {
		response, err := http.Get("http://" + r.Metrics().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := scrape()
	for _, want := range []string{
		`sluice_gslb_answer_state{answer="fra-www",data_center="fra",state="up"} 1`,
		`sluice_gslb_answer_state{answer="fra-www",data_center="fra",state="down"} 0`,
		`sluice_gslb_clause_live_answers{clause="1",group="web",rule="www"} 3`,
		`sluice_gslb_config_refused 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	for _, name := range []string{"queries_total", "responses_total", "clause_responses_total", "rule_responses_total",
		"answer_responses_total"} {
		if !strings.Contains(text, "\nsluice_gslb_"+name+"{") {
			t.Errorf("there is no %s", name)
		}
	}
	r.api.SetSuspended(t.Context(), &control.SetSuspendedRequest{Selector: &control.Selector{Answer: "fra-www"},
		Suspended: true})
	if text := scrape(); !strings.Contains(text,
		`sluice_gslb_answer_state{answer="fra-www",data_center="fra",state="suspended"} 1`) {
		t.Errorf("the suspended answer is not:\n%s", text)
	}
}

func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "gslb.yaml")
	if _, err := New(Config{File: file}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("without a file: %v", err)
	}
	if err := os.WriteFile(file, []byte("rules: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{File: file}); err == nil || !strings.Contains(err.Error(), "gslb.yaml:1: rules: ") {
		t.Errorf("a bad file: %v", err)
	}
}
