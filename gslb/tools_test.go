package gslb

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// need skips a test where a program is not installed.
func need(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path = filepath.Join("/usr/sbin", name)
		if _, err := os.Stat(path); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	return path
}

// The clients that operators use see what they must: dig (BIND), kdig (Knot), drill (ldns).
func TestTools(t *testing.T) {
	r := start(t)
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })
	_, port, _ := net.SplitHostPort(r.Addrs()[0].String())
	dig := []string{"dig", "@127.0.0.1", "-p", port, "+tries=1", "+time=30"}
	kdig := []string{"kdig", "@127.0.0.1", "-p", port, "+retry=0", "+time=30"}
	drill := []string{"drill", "-p", port}
	for _, tt := range []struct {
		name string
		tool []string
		args []string
		want []string
		not  []string
	}{
		{"an address", dig, []string{"www.example.com"},
			[]string{"status: NOERROR", "flags: qr aa", "www.example.com.\t5\tIN\tA\t192.0.2.1", "COOKIE: ", "(good)"},
			[]string{"WARNING: Message"}},
		{"no such type", dig, []string{"www.example.com", "AAAA"},
			[]string{"status: NOERROR", "ANSWER: 0, AUTHORITY: 1", "\t5\tIN\tSOA"}, nil},
		{"no such name", dig, []string{"no.example.com"}, []string{"status: NXDOMAIN", "60\tIN\tSOA"}, nil},
		{"a foreign name", dig, []string{"www.example.net"}, []string{"status: REFUSED", "ANSWER: 0, AUTHORITY: 0"},
			[]string{"flags: qr aa"}},
		{"without EDNS", dig, []string{"+noedns", "www.example.com"}, []string{"status: NOERROR", "ADDITIONAL: 0"},
			[]string{"OPT PSEUDOSECTION"}},
		{"EDNS version 1", dig, []string{"+edns=1", "+noednsnegotiation", "www.example.com"},
			[]string{"status: BADVERS", "ANSWER: 0"}, nil},
		{"an unknown option", dig, []string{"+ednsopt=100:0102", "www.example.com"},
			[]string{"status: NOERROR", "192.0.2.1"}, nil},
		{"an unknown flag", dig, []string{"+ednsflags=0x40", "www.example.com"}, []string{"status: NOERROR"},
			[]string{"MBZ"}},
		{"another opcode", dig, []string{"+opcode=15", "www.example.com"}, []string{"status: NOTIMP"}, nil},
		{"a client subnet", dig, []string{"+subnet=198.51.100.0/24", "www.example.com"},
			[]string{"CLIENT-SUBNET: 198.51.100.0/24/0"}, nil},
		{"a transfer", dig, []string{"example.com", "AXFR"}, []string{"Transfer failed"}, nil},
		{"the case of the question", dig, []string{"wWw.eXaMpLe.CoM"}, []string{"wWw.eXaMpLe.CoM.\t\tIN\tA"}, nil},
		{"over TCP", dig, []string{"+tcp", "www.example.com"}, []string{"status: NOERROR", "(TCP)"}, nil},
		{"several on one connection", dig, []string{"+tcp", "+keepopen", "www.example.com", "@127.0.0.1", "-p", port,
			"+tcp", "+keepopen", "ns1.example.com"}, []string{"192.0.2.1", "192.0.2.53"}, nil},
		{"kdig", kdig, []string{"www.example.com"}, []string{"status: NOERROR", "192.0.2.1"}, []string{"WARNING"}},
		{"kdig over TCP", kdig, []string{"+tcp", "+keepopen", "www.example.com", "ns1.example.com"},
			[]string{"192.0.2.1", "192.0.2.53", "(TCP)"}, nil},
		{"kdig with a cookie and padding", kdig, []string{"+cookie", "+padding=64", "www.example.com"},
			[]string{"status: NOERROR", "COOKIE"}, nil},
		{"drill", drill, []string{"www.example.com", "@127.0.0.1", "A"}, []string{"rcode: NOERROR", "192.0.2.1"}, nil},
		{"drill over TCP", drill, []string{"-t", "ns1.example.com", "@127.0.0.1", "A"},
			[]string{"rcode: NOERROR", "192.0.2.53"}, nil},
		{"drill with DO", drill, []string{"-D", "www.example.com", "@127.0.0.1", "A"},
			[]string{"rcode: NOERROR", "flags: do"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			need(t, tt.tool[0])
			cmd := exec.CommandContext(t.Context(), tt.tool[0],
				append(tt.tool[1:len(tt.tool):len(tt.tool)], tt.args...)...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %v\n%s", cmd, err, out)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%v: %q is not in\n%s", cmd, want, out)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(string(out), not) {
					t.Errorf("%v: %q is in\n%s", cmd, not, out)
				}
			}
		})
	}
}

// A caching resolver in front: who asks it sees a failover within the rule's TTL.
//
//	client ──▶ unbound, which caches ──▶ gslb ──▶ keepalive of fra
func TestFailoverBehindAResolver(t *testing.T) {
	unbound := need(t, "unbound")
	const ttl = 2 * time.Second
	r := startWith(t, func(text string) string { return strings.Replace(text, "ttl: 5,", "ttl: 2,", 1) })
	r.eventually("fra is up", func() bool { return r.address("www.example.com.") == "192.0.2.1" })

	resolver, said := resolve(t, unbound, r, "example.com")
	c := dns.Client{Timeout: 5 * time.Second}
	ask := func() (address string) {
		m := new(dns.Msg)
		m.SetQuestion("www.example.com.", dns.TypeA)
		reply, _, err := c.ExchangeContext(t.Context(), m, resolver)
		if err != nil || len(reply.Answer) == 0 {
			return ""
		}
		if got := time.Duration(reply.Answer[0].Header().Ttl) * time.Second; got > ttl {
			t.Errorf("the resolver has a TTL of %v, the rule's is %v", got, ttl)
		}
		return reply.Answer[0].(*dns.A).A.String()
	}
	r.eventually("the resolver answers", func() bool { return ask() == "192.0.2.1" })

	died := time.Now()
	r.web.Close()
	var stale time.Time // when the last query was sent that got the old answer
	var switched time.Time
	r.eventually("the resolver has the new answer", func() bool {
		sent := time.Now()
		if switched.IsZero() && r.address("www.example.com.") == "192.0.2.2" {
			switched = time.Now()
		}
		sent2 := time.Now()
		switch ask() {
		case "192.0.2.1":
			stale = sent2
			return false
		case "192.0.2.2":
			t.Logf("gslb answers anew %v after the death, the resolver %v after it",
				switched.Sub(died).Round(time.Millisecond), sent.Sub(died).Round(time.Millisecond))
			return true
		}
		return false
	})
	if late := stale.Sub(switched); late > ttl+time.Second { // the resolver counts whole seconds
		t.Errorf("the old answer was seen %v after gslb gave the new one, want at most the TTL of %v; unbound: %s",
			late, ttl, said)
	}
}

// resolve starts a caching resolver that asks the rig for a zone, and returns where it answers and what it says.
func resolve(t *testing.T, unbound string, r *rig, zone string) (address string, said *syncBuffer) {
	t.Helper()
	dir := t.TempDir()
	free, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resolver := free.LocalAddr().(*net.UDPAddr)
	free.Close()
	conf := fmt.Sprintf(`server:
  interface: 127.0.0.1@%d
  directory: %q
  pidfile: ""
  chroot: ""
  username: ""
  use-syslog: no
  do-not-query-localhost: no
  module-config: "iterator"
  qname-minimisation-strict: yes
  num-threads: 1
stub-zone:
  name: %q
  stub-addr: %s@%d
remote-control:
  control-enable: no
`, resolver.Port, dir, zone, r.Addrs()[0].Addr(), r.Addrs()[0].Port())
	file := filepath.Join(dir, "unbound.conf")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, unbound, "-d", "-c", file)
	said = new(syncBuffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() }) // killed
	return resolver.String(), said
}

// Resolvers refuse a response with a record twice.
func TestDNAMETwiceBehindAResolver(t *testing.T) {
	unbound := need(t, "unbound")
	r := startWith(t, func(text string) string {
		return text + `      - {name: old, type: DNAME, data: new}
      - {name: www.new, type: CNAME, data: web.old}
      - {name: web.new, type: A, data: 192.0.2.90}
`
	})
	resolver, said := resolve(t, unbound, r, "example.com")
	c := dns.Client{Timeout: 5 * time.Second}
	r.eventually("the resolver answers", func() bool {
		m := new(dns.Msg)
		m.SetQuestion("www.old.example.com.", dns.TypeA)
		reply, _, err := c.ExchangeContext(t.Context(), m, resolver)
		if err != nil {
			return false
		}
		if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) == 0 ||
			!strings.HasSuffix(reply.Answer[len(reply.Answer)-1].String(), "192.0.2.90") {
			t.Fatalf("the resolver says\n%v\n%s", reply, said)
		}
		return true
	})
}

// A resolver that asks label by label, and takes no for an answer, finds a name that an expression gives (RFC 9156,
// RFC 8020).
func TestStrictMinimisationFindsExpressions(t *testing.T) {
	unbound := need(t, "unbound")
	r := startWith(t, func(text string) string {
		return strings.Replace(text, "domains: [www.example.com]",
			`domains: [www.example.com], expressions: ['^img[0-9]+\.eu\.cdn\.example\.com$']`, 1)
	})
	resolver, said := resolve(t, unbound, r, "example.com")
	c := dns.Client{Timeout: 5 * time.Second}
	r.eventually("the resolver answers", func() bool {
		m := new(dns.Msg)
		m.SetQuestion("img7.eu.cdn.example.com.", dns.TypeA)
		reply, _, err := c.ExchangeContext(t.Context(), m, resolver)
		if err != nil {
			return false
		}
		if reply.Rcode != dns.RcodeSuccess || len(reply.Answer) != 1 {
			t.Fatalf("the resolver says\n%v\n%s", reply, said)
		}
		return true
	})
}
