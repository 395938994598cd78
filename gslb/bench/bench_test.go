//go:build linux

package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// Output of dnsperf 2.10.0.
const (
	loaded = `DNS Performance Testing Tool
Version 2.10.0

[Status] Command line: dnsperf -s 127.0.0.1 -p 5391 -d q -e -l 3 -c 1 -q 400 -t 1
[Status] Sending queries (to 127.0.0.1:5391)
[Status] Started at: Sun Nov 22 16:36:32 2026
[Status] Stopping after 3.000000 seconds
[Timeout] Query timed out: msg id 660
[Timeout] Query timed out: msg id 661
[Status] Testing complete (time limit)

Statistics:

  Queries sent:         401721
  Queries completed:    401286 (99.89%)
  Queries lost:         435 (0.11%)

  Response codes:       NOERROR 365170 (91.00%), NXDOMAIN 36116 (9.00%)
  Average packet size:  request 46, response 65
  Run time (s):         3.010463
  Queries per second:   133297.104133

  Average Latency (s):  0.000970 (min 0.000014, max 0.033767)
  Latency StdDev (s):   0.001905

`
	silent = `DNS Performance Testing Tool
Version 2.10.0

[Status] Command line: dnsperf -s 127.0.0.1 -p 5399 -d q -e -l 1 -q 2 -t 1
[Status] Sending queries (to 127.0.0.1:5399)
[Status] Started at: Sun Nov 22 16:52:02 2026
[Status] Stopping after 1.000000 seconds
[Timeout] Query timed out: msg id 0
[Timeout] Query timed out: msg id 1
[Status] Testing complete (time limit)

Statistics:

  Queries sent:         2
  Queries completed:    0 (0.00%)
  Queries lost:         2 (100.00%)

  Response codes:       
  Average packet size:  request 46, response 0
  Run time (s):         1.001116
  Queries per second:   0.000000

  Average Latency (s):  0.000000 (min 0.000000, max 0.000000)

`
)

func TestParseDnsperf(t *testing.T) {
	for _, tt := range []struct {
		name, out string
		want      asked
		err       string
	}{
		{"loaded", loaded, asked{sent: 401721, completed: 401286, lost: 435, qps: 133297.104133}, ""},
		{"no answers", silent, asked{sent: 2, lost: 2}, ""},
		{"cut", loaded[:strings.Index(loaded, "  Queries per")], asked{sent: 401721, completed: 401286, lost: 435},
			`dnsperf does not say "Queries per second"`},
		{"nothing", "", asked{}, `dnsperf does not say "Queries sent"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseDnsperf(tt.out)
			if diff := cmp.Diff(tt.err, message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseStat(t *testing.T) {
	// A gdnsd that has answered for a while, and a program that is called "a) R 1 (b".
	const (
		gdnsd = "2401 (gdnsd) S 1 2395 4247 0 -1 4194560 341 0 4 0 49 1196 0 0 10 -10 3 0 1613278 155959296 828 " +
			"18446744073709551615 94323189092352 94323189319533 140723741181952 0 0 0 0 69636 18946 0 0 0 17 1 0 0 0 " +
			"0 0 94323189445328 94323189450424 94323515097088 140723741190636 140723741190665 140723741190665 " +
			"140723741192168 0\n"
		nasty = "7895 (a) R 1 (b) S 7854 7816 29016 0 -1 4194304 77 0 0 0 0 0 0 0 20 0 1 0 1652778 2990080 415 " +
			"18446744073709551615 94380601593856 94380601611785 140737263830096 0 0 0 0 0 0 1 0 0 17 0 0 0 0 0 0 " +
			"94380601625872 94380601627136 94381224857600 140737263835185 140737263835211 140737263835211 " +
			"140737263837152 0\n"
	)
	for _, tt := range []struct {
		name, line string
		want       stat
		err        string
	}{
		{"a server", gdnsd, stat{group: 2395, cpu: cpu{user: 490 * time.Millisecond, system: 11960 * time.Millisecond}},
			""},
		{"parentheses in the name", nasty, stat{group: 7816}, ""},
		{"cut", gdnsd[:30], stat{}, `no line of /proc/PID/stat: "2401 (gdnsd) S 1 2395 4247 0 -"`},
		{"no name", "1 2 3", stat{}, `no line of /proc/PID/stat: "1 2 3"`},
		{"no number", strings.Replace(gdnsd, " 49 1196 ", " x 1196 ", 1),
			stat{group: 2395, cpu: cpu{system: 11960 * time.Millisecond}},
			`field 14 of /proc/PID/stat: strconv.Atoi: parsing "x": invalid syntax`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.line))
			if diff := cmp.Diff(tt.err, message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// The children of a program are measured with it, and end with it.
func TestProcess(t *testing.T) {
	alive, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	cmd := exec.Command("sh", "-c", "echo hello >&2; nice -n 1 sh -c 'echo >&3; exec sleep 1000' & wait")
	cmd.ExtraFiles = []*os.File{end}
	p, err := start(cmd)
	end.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alive.Read(make([]byte, 1)); err != nil {
		t.Errorf("waiting for the child: %v", err)
	}
	all, err := members(p.cmd.Process.Pid)
	if err != nil || len(all) != 2 {
		t.Errorf("%d processes, %v, want sh and sleep", len(all), err)
	}
	if _, err := p.used(); err != nil {
		t.Errorf("CPU time: %v", err)
	}
	if err := p.level(); err != nil {
		t.Errorf("priority: %v", err)
	}
	own, err := niceness(0)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range all { // nobody goes before this process, and who goes behind it stays there
		want := own
		if pid != p.cmd.Process.Pid {
			want = min(own+1, 19)
		}
		if got, err := niceness(pid); err != nil || got != want {
			t.Errorf("process %d has niceness %d, %v, want %d", pid, got, err, want)
		}
	}
	p.stop()
	// The last one that has the other end of the pipe is gone.
	if _, err := alive.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("waiting for the end: %v", err)
	}
	if _, err := p.used(); message(err) != "ended by itself" {
		t.Errorf("CPU time of an ended program: %v", err)
	}
	if got := p.output.String(); got != "hello" {
		t.Errorf("output %q", got)
	}
}

func TestTail(t *testing.T) {
	out := new(tail)
	for range 100 {
		out.Write([]byte(strings.Repeat("x", 99) + "\n"))
	}
	out.Write([]byte("last\n"))
	if got := out.String(); len(got) >= tailSize || !strings.HasSuffix(got, "x\nlast") {
		t.Errorf("kept %d bytes: %q", len(got), got)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 2}, 2}, {[]float64{5, 1, 4, 2, 3}, 3},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v: %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i))
	}
	for _, tt := range []struct {
		values  []time.Duration
		percent int
		want    time.Duration
	}{
		{all, 50, 100}, {all, 99, 198}, {all, 100, 199}, {all[:1], 99, 0},
	} {
		if got := percentile(tt.values, tt.percent); got != tt.want {
			t.Errorf("%d %% of %d values: %d, want %d", tt.percent, len(tt.values), got, tt.want)
		}
	}
}

// The configurations say what the zone file says, whatever the number of rules.
func TestRules(t *testing.T) {
	for _, tt := range []struct{ vips, rules, names int }{
		{existing, existing, existing}, {4000, 1, existing}, {4000, 4000, 4000},
	} {
		file := filepath.Join(t.TempDir(), "gslb.yaml")
		text := "server: {listen: [127.0.0.1]}\n" + sources{vips: 4711}.rules(tt.vips, tt.rules)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := config.Load(file)
		if err != nil {
			t.Fatalf("%+v: %v", tt, err)
		}
		names := 0
		for _, d := range c.DomainLists {
			names += len(d.Domains)
		}
		if len(c.Rules) != tt.rules || len(c.Answers) != tt.vips || len(c.Keepalives) != tt.vips || names != tt.names {
			t.Errorf("%+v: %d rules, %d answers, %d keepalives, %d names", tt, len(c.Rules), len(c.Answers),
				len(c.Keepalives), names)
		}
		if k := c.Keepalives[tt.vips-1]; k.Address != netip.AddrPortFrom(address(tt.vips-1), 4711) {
			t.Errorf("%+v: the last keepalive asks %v", tt, k.Address)
		}
	}
}

// served is a stock server of this process, and the workload that it serves.
func served(t *testing.T) (*workload, netip.AddrPort) {
	t.Helper()
	w, err := newWorkload(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newStock(w.zone)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: s, NotifyStartedFunc: func() { close(ready) }}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	<-ready
	t.Cleanup(func() {
		server.Shutdown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestCheck(t *testing.T) {
	w, at := served(t)
	for _, tt := range []struct {
		name string
		want func(int) netip.Addr
		err  string
	}{
		{"right", address, ""},
		{"another address", func(i int) netip.Addr { return address(i + 1) },
			"wrong answer for " + w.queries[0] + ": "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			patience := time.Minute
			if tt.err != "" {
				patience = time.Nanosecond // the first verdict is the last
			}
			err := w.check(t.Context(), at, tt.want, patience)
			if got := message(err); (got == "") != (tt.err == "") || !strings.HasPrefix(got, tt.err) {
				t.Errorf("got %q, want %q", got, tt.err)
			}
		})
	}
}

func TestRight(t *testing.T) {
	answer := func(change func(*dns.Msg)) *dns.Msg {
		m := new(dns.Msg)
		m.Authoritative = true
		m.SetEdns0(1232, false)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA, Ttl: ttl}, A: net.IPv4(127, 53, 0, 3)}}
		change(m)
		return m
	}
	denial := func(m *dns.Msg) {
		m.Rcode, m.Answer, m.Ns = dns.RcodeNameError, nil, []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Rrtype: dns.TypeSOA}}}
	}
	for _, tt := range []struct {
		name   string
		of     int
		change func(*dns.Msg)
		want   string
	}{
		{"an address", 2, func(*dns.Msg) {}, ""},
		{"no such name", -1, denial, ""},
		{"not authoritative", 2, func(m *dns.Msg) { m.Authoritative = false },
			"authoritative false, truncated false, EDNS true"},
		{"no EDNS", 2, func(m *dns.Msg) { m.Extra = nil }, "authoritative true, truncated false, EDNS false"},
		{"another address", 1, func(*dns.Msg) {},
			"address 127.53.0.3 with a TTL of 20, want 127.53.0.2 with one of 20"},
		{"another TTL", 2, func(m *dns.Msg) { m.Answer[0].Header().Ttl = 1 },
			"address 127.53.0.3 with a TTL of 1, want 127.53.0.3 with one of 20"},
		{"nothing for a name", 2, func(m *dns.Msg) { m.Answer = nil },
			"NOERROR, 0 answers, want NOERROR and an A record"},
		{"something for no name", -1, func(*dns.Msg) {},
			"NOERROR, 1 answers, 0 authorities, want NXDOMAIN with the SOA"},
		{"no SOA", -1, func(m *dns.Msg) { denial(m); m.Ns = nil },
			"NXDOMAIN, 0 answers, 0 authorities, want NXDOMAIN with the SOA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := message(right(answer(tt.change), tt.of, address)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	w, at := served(t)
	l, err := w.probe(t.Context(), at, 1000, 0.1, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if l.lost != 0 || l.p50 <= 0 || l.p99 < l.p50 {
		t.Errorf("got %+v", l)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := w.probe(ctx, at, 1000, 3600, 0); err != context.Canceled {
		t.Errorf("error of a probe that is not wanted: %v", err)
	}
}

func TestReport(t *testing.T) {
	gdnsd := &entrant{name: "gdnsd", version: "3.8.1", threads: 1, full: true,
		samples: []sample{{CPU: 5, QPS: 100_000, P99: 50, Sent: 10}, {CPU: 4}, {CPU: 6}}}
	ours := &entrant{name: "sluice gslb", threads: 1, full: true,
		samples: []sample{{CPU: 5.5, User: 1, QPS: 90_000, P50: 20, P99: 60, Sent: 1000},
			{CPU: 5.5, Sent: 1000, Lost: 6}}}
	stock := &entrant{name: "miekg/dns", version: "1.1.73", setup: stockSetup, threads: 1, full: true,
		samples: []sample{{CPU: 11}}}
	nsd := &entrant{name: "NSD", threads: 1, full: true, skipped: "nsd is not installed (Debian package nsd)"}
	one := &entrant{name: "sluice gslb", setup: oneRule, threads: 1, samples: []sample{{CPU: 5}}}
	many := &entrant{name: "sluice gslb", setup: manyRules, threads: 1, samples: []sample{{CPU: 7.5}}}
	gdnsd2 := &entrant{name: "gdnsd", version: "3.8.1", threads: 2, samples: []sample{{CPU: 6}}}
	ours2 := &entrant{name: "sluice gslb", threads: 2, samples: []sample{{CPU: 6.6}}}
	knot2 := &entrant{name: "Knot", threads: 3, samples: []sample{{CPU: 7}}}
	r := newFindings(plan{runs: 3, seconds: 5, rate: 20_000}, []*entrant{gdnsd, ours, stock, nsd, one, many, gdnsd2,
		ours2, knot2})
	text := new(strings.Builder)
	if err := r.write(text); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(text.String(), "\n\n")
	want := `   CPU us/query   of it user   x gdnsd     qps   p50 us   p99 us   lost/run server
           5.00         0.00      1.00       0        0        0          0 gdnsd 3.8.1
           5.50         0.50      1.10   45000       10       30          3 sluice gslb
          11.00         0.00      2.20       0        0        0          0 miekg/dns 1.1.73, as it comes
           5.00         0.00      1.00       0                              sluice gslb, 4,000 VIPs and 1 rule
           7.50         0.00      1.50       0                              sluice gslb, 4,000 VIPs and rules
           6.00         0.00      1.00       0                              gdnsd 3.8.1, 2 threads
           6.60         0.00      1.10       0                              sluice gslb, 2 threads
           7.00         0.00                 0                              Knot, 3 threads
not measured: NSD: nsd is not installed (Debian package nsd)

CPU per query at most 1.2 x gdnsd's                       1.1  met
stock miekg/dns takes at least 1.8 x as much                2  met
queries lost with 400 outstanding: 0                        6  missed
4,000 rules as fast as one (within 10 %)                  1.5  missed
2 threads add no more CPU than gdnsd's (within 10 %)        1  met
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	text.Reset()
	if err := r.writeJSON(text); err != nil {
		t.Fatal(err)
	}
	var back findings
	if err := json.Unmarshal([]byte(text.String()), &back); err != nil {
		t.Fatal(err)
	}
	if back.Servers[1].CPU != 5.5 || len(back.Servers[1].Samples) != 2 || back.Servers[3].Skipped == "" {
		t.Errorf("JSON:\n%s", text)
	}
}
