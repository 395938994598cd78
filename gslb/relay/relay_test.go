package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// owner is a name server on the loopback: miekg/dns over UDP and TCP at one port, answering by a function.
type owner struct {
	addr     netip.AddrPort
	udp, tcp atomic.Int64 // queries that came

	mu   sync.Mutex // guards seen
	seen []*dns.Msg
}

// serve starts an owner, which ends with the test. answer gets the writer, for owners that lie about more than records.
func serve(t *testing.T, answer func(w dns.ResponseWriter, q *dns.Msg)) *owner {
	t.Helper()
	o := new(owner)
	var pc net.PacketConn
	var l net.Listener
	for try := 0; ; try++ {
		var err error
		if pc, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if l, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			break
		}
		pc.Close()
		if try == 16 {
			t.Fatal(err)
		}
	}
	o.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			o.tcp.Add(1)
		} else {
			o.udp.Add(1)
		}
		o.mu.Lock()
		o.seen = append(o.seen, q)
		o.mu.Unlock()
		answer(w, q)
	})
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		ended := make(chan struct{})
		go func() { // ends with Shutdown
			defer close(ended)
			s.ActivateAndServe()
		}()
		<-up
		t.Cleanup(func() {
			s.Shutdown()
			<-ended
		})
	}
	return o
}

func (o *owner) last(t *testing.T) *dns.Msg {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) == 0 {
		t.Fatal("the owner was not asked")
	}
	return o.seen[len(o.seen)-1]
}

func record(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// answers returns an answer function that gives the records, authoritatively.
func answers(t testing.TB, records ...string) func(dns.ResponseWriter, *dns.Msg) {
	var rrs []dns.RR
	for _, s := range records {
		rrs = append(rrs, record(t, s))
	}
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		m.Answer = rrs
		w.WriteMsg(m)
	}
}

func says(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, rcode)) }
}

// saysByOPT is says for an RCODE that takes an OPT record.
func saysByOPT(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		w.WriteMsg(new(dns.Msg).SetRcode(q, rcode).SetEdns0(1232, false))
	}
}

func silent(dns.ResponseWriter, *dns.Msg) {}

const mx = "example.com. 300 IN MX 10 mail.example.com."

func ask(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

// short is a try's time where one is to pass, long where none is.
const (
	short = 100 * time.Millisecond
	long  = 20 * time.Second
)

func TestReplyIsTheOwners(t *testing.T) {
	answer := answers(t, mx)
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		q.RecursionDesired, q.CheckingDisabled = false, true // not what a reply should echo
		answer(w, q)
	})
	r := New(Config{Timeout: long})
	q := ask("eXample.COM.", dns.TypeMX)
	q.Id = 4711
	got, err := r.Forward(t.Context(), q, []netip.AddrPort{o.addr})
	if err != nil {
		t.Fatal(err)
	}
	if got.Id != 4711 || !got.Authoritative || got.Rcode != dns.RcodeSuccess || !got.RecursionDesired ||
		got.CheckingDisabled {
		t.Errorf("header = %+v, want id 4711, AA, RD, not CD, NOERROR", got.MsgHdr)
	}
	if diff := cmp.Diff(q.Question, got.Question); diff != "" {
		t.Errorf("question (-want +got):\n%s", diff)
	}
	if len(got.Answer) != 1 || got.Answer[0].String() != record(t, mx).String() {
		t.Errorf("answer = %v, want %s", got.Answer, mx)
	}
	if asked := o.last(t); asked.IsEdns0() != nil {
		t.Errorf("the owner was asked with EDNS, the client had none: %v", asked)
	}
}

// Owners that do not answer as they should, and what the client gets from those and the next.
func TestNextServer(t *testing.T) {
	wrongID := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Id++
		w.WriteMsg(m)
	}
	wrongQuestion := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = "www.example.org."
		w.WriteMsg(m)
	}
	query := func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(q) } // an echo, QR=0
	wrongPort := func(w dns.ResponseWriter, q *dns.Msg) {
		c, err := net.Dial("udp", w.RemoteAddr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		wire, _ := new(dns.Msg).SetReply(q).Pack()
		c.Write(wire)
	}
	malformed := func(w dns.ResponseWriter, q *dns.Msg) {
		wire, _ := new(dns.Msg).SetReply(q).Pack()
		wire[7] = 1 // there is no such answer
		w.Write(wire)
	}
	for _, row := range []struct {
		name  string
		first func(dns.ResponseWriter, *dns.Msg)
		// alone: rcode or error of the first owner without a second.
		alone string
	}{
		{"silent", silent, "no reply in time"},
		{"wrong id", wrongID, "no reply in time"},
		{"wrong question", wrongQuestion, "no reply in time"},
		{"query for reply", query, "no reply in time"},
		{"wrong port", wrongPort, "no reply in time"},
		{"malformed", malformed, "malformed reply"},
		{"badvers", saysByOPT(dns.RcodeBadVers), "the server does not take our OPT record (RCODE 16)"},
		{"badcookie", saysByOPT(dns.RcodeBadCookie), "the server does not take our OPT record (RCODE 23)"},
		{"servfail", says(dns.RcodeServerFailure), "SERVFAIL"},
		{"refused", says(dns.RcodeRefused), "REFUSED"},
		{"not implemented", says(dns.RcodeNotImplemented), "NOTIMP"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			bad, good := serve(t, row.first), serve(t, answers(t, mx))
			timeout := long
			if row.alone == "no reply in time" {
				timeout = short
			}
			r := New(Config{Timeout: timeout})
			got, err := r.Forward(t.Context(), ask("example.com.", dns.TypeMX), []netip.AddrPort{bad.addr})
			text := ""
			if err != nil {
				text = err.Error()
			} else {
				text = dns.RcodeToString[got.Rcode]
			}
			if !strings.Contains(text, row.alone) {
				t.Errorf("alone: %s, want %s", text, row.alone)
			}
			if s := r.Stats(); s.Retried != 1 {
				t.Errorf("alone: %+v, want 1 retry", s)
			}

			r.Set(Config{Timeout: max(timeout, 3*time.Second)}) // the good one may be slow here
			got, err = r.Forward(t.Context(), ask("example.com.", dns.TypeMX), []netip.AddrPort{bad.addr, good.addr})
			if err != nil {
				t.Fatalf("with another: %v", err)
			}
			if len(got.Answer) != 1 {
				t.Errorf("with another: %v, want its MX", got)
			}
		})
	}
}

// No record stands in a reply twice, whatever the owner says (RFC 2181 section 5).
func TestNoRecordTwice(t *testing.T) {
	o := serve(t, answers(t, "example.com. 300 IN A 192.0.2.1", "example.com. 300 IN A 192.0.2.2",
		"Example.com. 60 IN A 192.0.2.1"))
	got, err := New(Config{Timeout: long}).Forward(t.Context(), ask("example.com.", dns.TypeA),
		[]netip.AddrPort{o.addr})
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, rr := range got.Answer {
		have = append(have, rr.String())
	}
	if diff := cmp.Diff([]string{"example.com.\t60\tIN\tA\t192.0.2.1", "example.com.\t300\tIN\tA\t192.0.2.2"},
		have); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The true reply counts even when forgeries came before it.
func TestForgeriesBeforeTheReply(t *testing.T) {
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		for i := range uint16(50) {
			m := new(dns.Msg).SetReply(q)
			m.Id += i + 1
			m.Answer = []dns.RR{record(t, "example.com. 300 IN MX 10 evil.example.org.")}
			w.WriteMsg(m)
		}
		w.Write([]byte("x"))
		answers(t, mx)(w, q)
	})
	r := New(Config{Timeout: long})
	got, err := r.Forward(t.Context(), ask("example.com.", dns.TypeMX), []netip.AddrPort{o.addr})
	if err != nil {
		t.Fatal(err)
	}
	if want := record(t, mx).String(); len(got.Answer) != 1 || got.Answer[0].String() != want {
		t.Errorf("answer = %v, want %s", got.Answer, want)
	}
	if s := r.Stats(); s.Mismatch != 51 {
		t.Errorf("%d mismatches, want 51", s.Mismatch)
	}
}

func TestIDsAndPortsDiffer(t *testing.T) {
	type from struct {
		id   uint16
		addr string
	}
	seen := make(chan from, 100)
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		seen <- from{q.Id, w.RemoteAddr().String()}
		answers(t, mx)(w, q)
	})
	r := New(Config{Timeout: long})
	ids, addrs := make(map[uint16]bool), make(map[string]bool)
	for range 32 {
		q := ask("example.com.", dns.TypeMX)
		q.Id = 1
		if _, err := r.Forward(t.Context(), q, []netip.AddrPort{o.addr}); err != nil {
			t.Fatal(err)
		}
		f := <-seen
		ids[f.id], addrs[f.addr] = true, true
	}
	if len(ids) < 24 || len(addrs) < 24 {
		t.Errorf("32 queries had %d ids and %d ports, want nearly 32 of each", len(ids), len(addrs))
	}
}

func TestTruncatedGoesToTCP(t *testing.T) {
	full := answers(t, mx)
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if w.RemoteAddr().Network() == "tcp" {
			full(w, q)
			return
		}
		m := new(dns.Msg).SetReply(q)
		m.Truncated = true
		m.Answer = []dns.RR{record(t, mx)}
		wire, _ := m.Pack()
		w.Write(wire[:len(wire)-5]) // cut anywhere
	})
	r := New(Config{Timeout: long})
	got, err := r.Forward(t.Context(), ask("example.com.", dns.TypeMX), []netip.AddrPort{o.addr})
	if err != nil {
		t.Fatal(err)
	}
	if got.Truncated || len(got.Answer) != 1 {
		t.Errorf("reply = %v, want the MX, not truncated", got)
	}
	if s := r.Stats(); s.TCP != 1 || o.tcp.Load() != 1 {
		t.Errorf("stats = %+v and %d queries over TCP, want 1", s, o.tcp.Load())
	}
}

func TestTCPRepliesAreChecked(t *testing.T) {
	for _, row := range []struct {
		name, want string
		tcp        func(dns.ResponseWriter, *dns.Msg)
	}{
		{"wrong id", "over TCP: the reply is to another query", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Id++
			w.WriteMsg(m)
		}},
		{"truncated", "over TCP: the reply is truncated", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
		}},
		{"closed", "over TCP: EOF", func(w dns.ResponseWriter, q *dns.Msg) { w.Close() }},
		{"silent", "over TCP: no reply in time", silent},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if w.RemoteAddr().Network() == "tcp" {
					row.tcp(w, q)
					return
				}
				m := new(dns.Msg).SetReply(q)
				m.Truncated = true
				w.WriteMsg(m)
			})
			timeout := long
			if row.name == "silent" {
				timeout = 2 * time.Second
			}
			r := New(Config{Timeout: timeout})
			_, err := r.Forward(t.Context(), ask("example.com.", dns.TypeMX), []netip.AddrPort{o.addr})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error = %v, want %s", err, row.want)
			}
		})
	}
}

// Of EDNS the owner gets the DO bit and the client subnet; cookies and the rest are between two neighbours.
func TestEDNS(t *testing.T) {
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.SetEdns0(4096, true)
		opt := m.IsEdns0()
		for _, option := range q.IsEdns0().Option {
			if s, ok := option.(*dns.EDNS0_SUBNET); ok {
				scoped := *s
				scoped.SourceScope = 20
				opt.Option = append(opt.Option, &scoped)
			}
		}
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
			&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: "6162"})
		w.WriteMsg(m)
	})
	q := ask("example.com.", dns.TypeMX)
	q.RecursionDesired, q.CheckingDisabled = true, true
	q.SetEdns0(65535, true)
	subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IP{192, 0, 2, 0}}
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0807060504030201"}, subnet,
		&dns.EDNS0_PADDING{Padding: make([]byte, 10)}}
	before := q.String()
	r := New(Config{Timeout: long, UDPSize: 1400})
	got, err := r.Forward(t.Context(), q, []netip.AddrPort{o.addr})
	if err != nil {
		t.Fatal(err)
	}
	asked := o.last(t)
	opt := asked.IsEdns0()
	if opt == nil || !opt.Do() || opt.UDPSize() != 1400 || !asked.RecursionDesired || !asked.CheckingDisabled {
		t.Errorf("asked %v, want RD, CD, DO and size 1400", asked)
	}
	if len(opt.Option) != 1 || opt.Option[0].String() != subnet.String() {
		t.Errorf("asked with options %v, want %v alone", opt.Option, subnet)
	}
	if theirs := got.IsEdns0(); theirs == nil || len(theirs.Option) != 1 ||
		theirs.Option[0].String() != "192.0.2.0/24/20" {
		t.Errorf("reply's OPT = %v, want the subnet with scope 20 alone", theirs)
	}
	if q.String() != before {
		t.Errorf("the request was changed to %v", q)
	}
}

// An old server that calls EDNS a FORMERR is asked without.
func TestServerWithoutEDNS(t *testing.T) {
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			m := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			m.Question = nil
			w.WriteMsg(m)
			return
		}
		answers(t, mx)(w, q)
	})
	q := ask("example.com.", dns.TypeMX)
	q.SetEdns0(1232, false)
	got, err := New(Config{Timeout: long}).Forward(t.Context(), q, []netip.AddrPort{o.addr})
	if err != nil || len(got.Answer) != 1 || got.IsEdns0() != nil {
		t.Errorf("reply = %v, %v, want the MX without EDNS", got, err)
	}
}

// Nobody listens: the kernel says so and the next is asked without waiting.
func TestRefusedPortIsNotWaitedFor(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := pc.LocalAddr().(*net.UDPAddr).AddrPort()
	good := serve(t, answers(t, mx))
	pc.Close()
	got, err := New(Config{Timeout: time.Hour}).Forward(t.Context(), ask("example.com.", dns.TypeMX),
		[]netip.AddrPort{dead, good.addr})
	if err != nil || len(got.Answer) != 1 {
		t.Errorf("reply = %v, %v, want the MX", got, err)
	}
}

func TestEqualQueriesShareOne(t *testing.T) {
	const clients = 20
	release := make(chan struct{})
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		<-release
		answers(t, mx)(w, q)
	})
	r := New(Config{Timeout: long})
	servers := []netip.AddrPort{o.addr}
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			q := ask([]string{"example.com.", "EXAMPLE.com."}[i%2], dns.TypeMX)
			q.Id = uint16(i)
			got, err := r.Forward(t.Context(), q, servers)
			if err != nil || got.Id != uint16(i) || got.Question[0].Name != q.Question[0].Name || len(got.Answer) != 1 {
				t.Errorf("client %d: %v, %v; want its id, its question and the MX", i, got, err)
			}
		})
	}
	other := ask("example.com.", dns.TypeMX)
	other.CheckingDisabled = true
	all.Go(func() {
		if _, err := r.Forward(t.Context(), other, servers); err != nil {
			t.Error(err)
		}
	})
	for s := r.Stats(); s.Shared != clients-1 || o.udp.Load() != 2; s = r.Stats() {
		runtime.Gosched()
	}
	close(release)
	all.Wait()
	if n := o.udp.Load(); n != 2 {
		t.Errorf("the owner was asked %d times, want once for each kind", n)
	}
}

// Who asked first may leave: the others get their reply. When the last has left, the owner is waited for no more.
func TestFirstCallerLeaves(t *testing.T) {
	asked, release := make(chan struct{}, 1), make(chan struct{})
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked <- struct{}{}
		<-release
		answers(t, mx)(w, q)
	})
	r := New(Config{Timeout: time.Hour})
	servers := []netip.AddrPort{o.addr}
	forward := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() { // ends with its reply, or ctx
			got, err := r.Forward(ctx, ask("example.com.", dns.TypeMX), servers)
			if err == nil && len(got.Answer) != 1 {
				err = fmt.Errorf("got %v, want the MX", got)
			}
			done <- err
		}()
		return done
	}
	first, leave := context.WithCancel(t.Context())
	one := forward(first)
	<-asked
	two := forward(t.Context())
	for r.Stats().Shared != 1 {
		runtime.Gosched()
	}
	leave()
	if err := <-one; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v, want %v", err, context.Canceled)
	}
	close(release)
	if err := <-two; err != nil {
		t.Errorf("who stayed: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.flights); n > 0 {
		t.Errorf("%d queries are under way still", n)
	}
}

func TestMax(t *testing.T) {
	asked := make(chan struct{})
	release := make(chan struct{})
	o := serve(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked <- struct{}{}
		<-release
		answers(t, mx)(w, q)
	})
	r := New(Config{Timeout: long, Max: 1})
	servers := []netip.AddrPort{o.addr}
	first := make(chan error)
	go func() { // ends with its reply
		_, err := r.Forward(context.Background(), ask("example.com.", dns.TypeMX), servers)
		first <- err
	}()
	<-asked
	if _, err := r.Forward(t.Context(), ask("example.com.", dns.TypeMX), servers); !errors.Is(err, ErrBusy) {
		t.Errorf("error = %v, want %v", err, ErrBusy)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	go func() { <-asked }()
	if _, err := r.Forward(t.Context(), ask("example.com.", dns.TypeMX), servers); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
	if s := r.Stats(); s.Busy != 1 || s.Forwarded != 2 {
		t.Errorf("stats = %+v, want 1 busy, 2 forwarded", s)
	}
}

func TestEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := serve(t, func(dns.ResponseWriter, *dns.Msg) { cancel() })
	_, err := New(Config{Timeout: time.Hour}).Forward(ctx, ask("example.com.", dns.TypeMX), []netip.AddrPort{o.addr})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
}

func TestNoServers(t *testing.T) {
	_, err := New(Config{}).Forward(t.Context(), ask("example.com.", dns.TypeMX), nil)
	if err == nil || err.Error() != "forwarding: there is no server to ask" {
		t.Errorf("error = %v", err)
	}
}

// Whatever comes back, parse does not panic, and believes nothing that has not the id and the question.
func FuzzReply(f *testing.F) {
	query := ask("www.example.com.", dns.TypeA)
	query.Id = 4711
	reply := new(dns.Msg).SetReply(query)
	reply.Answer = []dns.RR{record(f, "www.example.com. 60 IN A 192.0.2.1")}
	wire, err := reply.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wire)
	f.Add(wire[:len(wire)-3])
	f.Add(append(append([]byte(nil), wire[:12]...), 0xC0, 0x0C, 0, 1, 0, 1)) // a question that points to itself
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, ours, err := parse(wire, query)
		if !ours || err != nil {
			return
		}
		if got.Id != query.Id || !got.Response {
			t.Fatalf("took %v for the reply", got)
		}
		if got.Rcode != dns.RcodeFormatError && !sameQuestion(got.Question[0], query.Question[0]) {
			t.Fatalf("took a reply to %v", got.Question)
		}
	})
}
