package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	gslbconfig "github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/control"
)

// The example of the documents, served as it is, and the commands that ask it.
func TestGSLBCommands(t *testing.T) {
	dir, err := os.MkdirTemp("", "sluice") // the path of a unix socket must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "socket")
	started := make(chan struct{}, 1)
	logs := &watcher{want: "gslb started", then: func() {
		select {
		case started <- struct{}{}:
		default:
		}
	}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"sluice", "gslb", "--config", "../../docs/examples/gslb.yaml", "--listen",
			"127.0.0.1:0",
			"--socket", socket}, logs, logs)
	}()
	defer func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("gslb's exit code is %d:\n%s", code, logs.text.String())
		}
	}()
	select {
	case <-started:
	case code := <-done:
		done <- code
		t.Fatalf("gslb has ended:\n%s", logs.text.String())
	}
	check := func(wantCode int, wantOut, wantErr []string, args ...string) {
		t.Helper()
		code, stdout, stderr := sluice(t, append(args, "--socket", socket)...)
		if code != wantCode {
			t.Errorf("%v: exit code %d, want %d", args, code, wantCode)
		}
		for what, list := range map[string]struct {
			got  string
			want []string
		}{"stdout": {stdout, wantOut}, "stderr": {stderr, wantErr}} {
			for _, text := range list.want {
				if !strings.Contains(list.got, text) {
					t.Errorf("%v: %s\n%s\nhas not %q", args, what, list.got, text)
				}
			}
			if len(list.want) == 0 && list.got != "" {
				t.Errorf("%v: %s %q, want none", args, what, list.got)
			}
		}
	}
	check(0, []string{"docs/examples/gslb.yaml, loaded ", "DATA CENTER", "berlin", "www-berlin", "ANSWER", "ZONE",
		"example.com."}, nil, "gslb", "status")
	check(0, []string{"www-berlin", "up"}, nil, "gslb", "status", "--data-center", "berlin")
	check(0, []string{`"name": "www-boston"`}, nil, "gslb", "status", "--json", "--region", "america")
	check(0, []string{"rule www", "www-berlin"}, nil, "gslb", "explain", "www.example.com", "--from", "203.0.113.1")
	check(0, []string{"www.example.com.\t30\tIN\tA\t"}, nil, "gslb", "query", "www.example.com")
	check(0, []string{"NXDOMAIN", "SOA"}, nil, "gslb", "query", "nothing.example.com", "AAAA")
	check(0, []string{"NAME", "www.example.com", "legacy.example.com"}, nil, "gslb", "query")
	check(0, []string{"shop-boston"}, nil, "gslb", "query", "--answer", "shop-boston")
	check(0, []string{"www-boston is suspended\n"}, nil, "gslb", "suspend", "--answer", "www-boston")
	check(0, []string{"nothing to do: 1 answer is already suspended\n"}, nil, "gslb", "suspend", "--answer",
		"www-boston")
	check(0, []string{"suspended by an operator"}, nil, "gslb", "status", "--answer", "www-boston")
	check(0, []string{`"changed": [`, `"www-boston"`}, nil, "gslb", "activate", "--region", "america", "--json")
	check(2, nil, []string{`sluice: no owner "nobody": there are mail-team, web-team` + "\n"}, "gslb", "suspend",
		"--owner", "nobody")
	check(2, nil, []string{"sluice: which answers? --answer, --data-center, --region, --owner or --rule choose"},
		"gslb",
		"activate")
	check(2, nil, []string{"sluice: which NAME? `sluice gslb explain --help` tells the usage\n"}, "gslb", "explain")
	check(2, nil, []string{`sluice: type: must be a record type, as A, AAAA or HTTPS, is "BLA"`}, "gslb", "query",
		"www.example.com", "BLA")
	check(2, nil, []string{"sluice: --answer, --data-center, --region and --owner list what leads to answers"}, "gslb",
		"query", "www.example.com", "--owner", "web-team")
	for flag, want := range map[string]string{"data-center": "berlin\nboston\n", "region": "america\neurope\n",
		"owner": "web-team\n"} {
		if code, stdout, stderr := sluice(t, "gslb", "suspend", "--socket", socket, "--"+flag, "",
			completeFlag); code != 0 ||
			stdout != want || stderr != "" {
			t.Errorf("--%s is completed by %q, exit code %d, stderr %q, want %q", flag, stdout, code, stderr, want)
		}
	}
	if _, stdout, _ := sluice(t, "gslb", "--socket", socket, "activate", "--rule", "w",
		completeFlag); !strings.Contains(stdout, "www\n") {
		t.Errorf("--rule is completed by %q", stdout)
	}
	for _, verb := range []string{"suspend", "activate"} {
		check(2, nil, []string{`sluice: no answer has all of data center "berlin", region "america"` + "\n"}, "gslb",
			verb,
			"--region", "america", "--data-center", "berlin")
		check(2, nil, []string{`sluice: no answer has all of owner "mail-team"` + "\n"}, "gslb", verb, "--owner",
			"mail-team")
	}
	check(2, nil, []string{`sluice: --answer: must be one name, given once, is "www-boston"` + "\n"}, "gslb", "suspend",
		"--answer", "www-berlin", "--answer", "www-boston")
	check(2, nil, []string{`sluice: --answer: must be one name, given once, is ""` + "\n"}, "gslb", "suspend",
		"--answer",
		"", "--data-center", "berlin")
	check(0, []string{"www is suspended\n"}, nil, "gslb", "suspend", "--rule", "www")
	check(0, []string{"nothing to do: the rule is already suspended\n"}, nil, "gslb", "suspend", "--rule", "www")
	check(0, []string{"www is activated\n"}, nil, "gslb", "activate", "--rule", "www")
	check(0, []string{"../../docs/examples/gslb.yaml is loaded: 9 rules, 8 answers, 3 zones\n"}, nil, "gslb", "reload")
	check(0, []string{`"rules": 9`}, nil, "gslb", "reload", "--json")
	check(0, []string{"TYPE65280\t\\# 4 c0000201\n"}, nil, "gslb", "query", "raw.example.com", "type65280")
	if code, stdout, stderr := sluice(t, "gslb", "--socket", socket, "status"); code != 0 ||
		!strings.Contains(stdout, "docs/examples/gslb.yaml, loaded ") {
		t.Errorf("--socket before the subcommand: exit code %d, %s, %s", code, stdout, stderr)
	}
	if code, _, stderr := sluice(t, "gslb", "--socket", "elsewhere", "status", "--socket", socket); code != 0 {
		t.Errorf("--socket before the subcommand and behind it: exit code %d, %s", code, stderr)
	}
	code, stdout, _ := sluice(t, "gslb", "explain", "--json", "www.example.com", "--socket", socket)
	if code != 0 || !json.Valid([]byte(stdout)) {
		t.Errorf("explain --json: exit code %d:\n%s", code, stdout)
	}
}

func TestGSLBRefuses(t *testing.T) {
	dir := t.TempDir()
	faulty, none := filepath.Join(dir, "faulty.yaml"), filepath.Join(dir, "none")
	if err := os.WriteFile(faulty, []byte("rules: 7\nzoness: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	abroad := filepath.Join(dir, "abroad.yaml")
	const listens = "server: {listen: [\"127.0.0.1:0\"], control: {listen: \"https://:9683\"}}\n"
	if err := os.WriteFile(abroad, []byte(listens), 0o600); err != nil {
		t.Fatal(err)
	}
	const example = "../../docs/examples/gslb.yaml"
	for _, test := range []struct {
		args []string
		code int
		want string // in stderr
	}{
		{[]string{"gslb"}, exitUsage,
			"sluice: --config is needed: a FILE with data centers, answers, rules and zones\n"},
		{[]string{"gslb", "--config", none}, exitUsage,
			"sluice: " + none + ": cannot be read: no such file or directory\n"},
		{[]string{"gslb", "--config", faulty}, exitUsage,
			faulty + ":2: zoness: is not a known key: did you mean zones?"},
		{[]string{"gslb", "--config", example, "--listen", "here"}, exitUsage,
			`sluice: --listen: must be an address and a port, as 127.0.0.1:5300 or [::1]:5300, is "here"`},
		{[]string{"gslb", "--config", example, "--cores", "0"}, exitUsage, "sluice: --cores: must be 1..1024, is 0"},
		{[]string{"gslb", "statsu"}, exitUsage,
			"sluice: no command \"statsu\"; did you mean status? `sluice gslb --help` lists them"},
		{[]string{"gslb", "check"}, exitUsage, "sluice: which FILE? `sluice gslb check --help` tells the usage"},
		{[]string{"gslb", "check", none}, exitUsage, "no such file or directory"},
		{[]string{"gslb", "check", faulty}, exitUsage, "sluice: " + faulty + ": "},
		{[]string{"gslb", "status", "--socket", none}, exitUnreachable,
			"sluice: no gslb answers at " + none + " (dial unix " + none +
				": connect: no such file or directory); --socket names another, `sluice gslb --config FILE` " +
				"starts one\n"},
		{[]string{"gslb", "status", "--socket", "http://gslb1:9683"}, exitUsage,
			"sluice: --socket: must be the path of a socket or https://host:port, is \"http://gslb1:9683\"\n"},
		{[]string{"gslb", "--config", abroad, "--socket", none}, exitUsage,
			"sluice: server.control.listen: address \"https://:9683\": needs --tls-ca, and --tls-cert with " +
				"--tls-key: "},
		{[]string{"gslb", "--config", example, "--socket", "https://:9683"}, exitUsage,
			"sluice: --socket: must be the path of a socket, is \"https://:9683\"; for other hosts the file has " +
				"server.control.listen\n"},
	} {
		code, stdout, stderr := sluice(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("%v: exit code %d, want %d; stdout %q; stderr:\n got %q\nwant %q", test.args, code, test.code,
				stdout,
				stderr, test.want)
		}
	}
	code, stdout, stderr := sluice(t, "gslb", "check", "--json", faulty)
	var result gslbChecked
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || code != exitUsage || result.OK ||
		len(result.Problems) < 2 {
		t.Errorf("check --json: exit code %d, %v, %s\n%s", code, err, stdout, stderr)
	}
	if code, stdout, _ := sluice(t, "gslb", "check", example); code != 0 ||
		!strings.HasPrefix(stdout, example+": ok: ") {
		t.Errorf("check of the example: exit code %d, %s", code, stdout)
	}
}

// Standard input is checked as a file is, and what is odd is told and taken.
func TestGSLBCheck(t *testing.T) {
	const zone = `zones:
  - name: example.com
    records:
      - {name: "@", type: SOA, data: ns1.example.net. h 1 7200 900 1209600 60}
      - {name: "@", type: NS, data: ns1.example.net.}
      - {name: sub, type: NS, data: ns1.example.net.}
`
	const odd = `      - {name: x.sub, type: TXT, data: x}
`
	const warning = "stdin:7: zones[0].records[3]: is never given: x.sub.example.com. lies below the delegation of " +
		"zones[0].records[2] (line 6), and this is no address but TXT"
	for _, tt := range []struct {
		name, stdin, args string
		code              int
		stdout, stderr    string
	}{
		{"good", zone, "-", 0, "stdin: ok: 0 rules, 0 answers, 1 zone, 3 records\n", ""},
		{"odd", zone + odd, "-", 0, "stdin: ok: 0 rules, 0 answers, 1 zone, 4 records\n", "warning: " + warning + "\n"},
		{"bad", "zones: 7\n", "-", exitUsage, "",
			"stdin:1: zones: must be a list, is \"7\"\nsluice: stdin: 1 problem\n"},
		{"JSON", zone + odd, "--json -", 0, `{
  "file": "stdin",
  "ok": true,
  "rules": 0,
  "answers": 0,
  "zones": 1,
  "records": 4,
  "problems": [],
  "warnings": [
    {
      "file": "stdin",
      "line": 7,
      "path": "zones[0].records[3]",
      "message": "is never given: x.sub.example.com. lies below the delegation of zones[0].records[2] (line 6), and this is no address but TXT"
    }
  ]
}
`, "warning: " + warning + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			setStdin(t, tt.stdin)
			code, stdout, stderr := sluice(t, append([]string{"gslb", "check"}, strings.Fields(tt.args)...)...)
			if diff := cmp.Diff([]any{tt.code, tt.stdout, tt.stderr}, []any{code, stdout, stderr}); diff != "" {
				t.Errorf("exit code, stdout, stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGSLBStatusText(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }
	m := &control.GetStatusResponse{
		Time: timestamppb.New(now), ConfigFile: "gslb.yaml", ConfigLoadedAt: ago(time.Minute),
		Listeners:   []string{"127.0.0.1:5300"},
		ConfigError: "gslb.yaml:7: rules[0].ttl: must be 0..604800, is -1",
		Responses:   []*control.Count{{Name: "udp NOERROR", Count: 12}},
		Dropped:     []*control.Count{{Name: "dropped_responses", Count: 3}},
		DataCenters: []*control.DataCenterStatus{{Name: "fra", Region: "europe", Controller: "127.0.0.1:9680",
			Since: ago(time.Second), Error: "connection\nrefused", Answers: 2, AnswersUp: 1}},
		Answers: []*control.AnswerStatus{
			{Name: "fra-www", Kind: "vip", Values: []string{"192.0.2.1", "2001:db8::1"}, DataCenter: "fra",
				Owner: "shop",
				State: control.State_STATE_UP, Since: ago(time.Hour), HasLoad: true, Load: 20, Picked: 7},
			{Name: "fra-api", Kind: "vip", Values: []string{"192.0.2.2"}, DataCenter: "fra",
				State: control.State_STATE_DOWN,
				Since: ago(time.Minute), Reason: "icmp 192.0.2.2: no answer"},
		},
		Rules: []*control.RuleStatus{{Name: "www", Sources: "anywhere", DomainList: "www",
			Domains: []string{"www.example.com"}, DomainsTotal: 3, Ttl: 30, Suspended: true, Queries: 12,
			Clauses: []*control.ClauseStatus{{Group: "web", Balance: "ordered", Live: 1, Answers: 2, Answered: 12,
				Members: []string{"fra-www", "fra-api"}}}}},
		Zones: []*control.ZoneStatus{{Name: "example.com.", Records: 14, Whole: true, Soa: "ns1 hostmaster 1 2 3 4 5"},
			{Name: "example.net.", Error: "no SOA"}},
	}
	var b strings.Builder
	if err := writeGSLBStatus(&b, m); err != nil {
		t.Fatal(err)
	}
	if err := gslbNameTable(m).write(&b); err != nil {
		t.Fatal(err)
	}
	want := `configuration  gslb.yaml, loaded 1m0s ago
listens        127.0.0.1:5300
NOT RUNNING    the file as it is now; what ran before runs on:
gslb.yaml:7: rules[0].ttl: must be 0..604800, is -1
responses      udp NOERROR 12
dropped        dropped_responses 3

DATA CENTER  REGION  ANSWERS  UP  CONTROLLER      STATE          SINCE   ERROR
fra          europe        2   1  127.0.0.1:9680  not connected  1s ago  connection refused

ANSWER   KIND  VALUE                  DATA CENTER  OWNER  STATE  SINCE       LOAD  PICKED  REASON
fra-www  vip   192.0.2.1 2001:db8::1  fra          shop   up     1h0m0s ago    20       7  -
fra-api  vip   192.0.2.2              fra          -      down   1m0s ago       -       0  icmp 192.0.2.2: no answer

RULE             OWNER  SOURCES   DOMAINS  TTL  QUERIES  CLAUSES (GROUP METHOD LIVE/ALL ANSWERED)
www (suspended)  -      anywhere  www       30       12  web ordered 1/2 12

ZONE          RECORDS  AUTHORITY            SOA                       ERROR
example.com.       14  whole                ns1 hostmaster 1 2 3 4 5  -
example.net.        0  balanced names only  -                         no SOA
NAME             RULE  SOURCES   CLAUSE  GROUP  METHOD   ANSWERS
www.example.com  www   anywhere       1  web    ordered  fra-www up, fra-api down
and 2 more       www   anywhere       1  web    ordered  fra-www up, fra-api down
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The example asks nobody outside of this machine, or trying it would.
func TestGSLBExampleStaysHere(t *testing.T) {
	cfg, _, err := gslbconfig.Load("../../docs/examples/gslb.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asks := slices.Clone(cfg.Server.Forward)
	for _, k := range cfg.Keepalives {
		asks = append(asks, k.Address, k.Secondary)
	}
	for _, a := range cfg.Answers {
		asks = append(asks, a.Servers...)
	}
	for _, r := range cfg.Rules {
		asks = append(asks, r.Forward...)
	}
	for _, z := range cfg.Zones {
		asks = append(asks, append(z.SOAFrom, z.Forward...)...)
	}
	for _, a := range asks {
		if a.IsValid() && !a.Addr().IsLoopback() {
			t.Errorf("%v is not of this machine", a)
		}
	}
	if len(asks) < 15 {
		t.Errorf("only %d addresses were looked at", len(asks))
	}
}
