package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// fakeOwner is an Asker without a network. It keeps when it was asked.
type fakeOwner struct {
	mu    sync.Mutex // guards all below
	reply func(q *dns.Msg) (*dns.Msg, error)
	asked []time.Duration // since start
	start time.Time
}

func (o *fakeOwner) Forward(_ context.Context, q *dns.Msg, _ []netip.AddrPort) (*dns.Msg, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, time.Since(o.start))
	return o.reply(q)
}

func (o *fakeOwner) set(reply func(q *dns.Msg) (*dns.Msg, error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reply = reply
}

func (o *fakeOwner) times() []time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

const soaText = " IN SOA ns.example.net. hostmaster.example.net. 7 3600 600 604800 300"

// soaReply is an owner's reply with the record at a TTL of so many seconds.
func soaReply(t *testing.T, ttl string) func(*dns.Msg) (*dns.Msg, error) {
	return func(q *dns.Msg) (*dns.Msg, error) {
		m := new(dns.Msg).SetReply(q)
		m.Authoritative = true
		m.Answer = []dns.RR{record(t, strings.ToUpper(q.Question[0].Name)+" "+ttl+soaText)}
		return m, nil
	}
}

func unreachable(*dns.Msg) (*dns.Msg, error) {
	return nil, errors.New("forwarding to 192.0.2.53:53: no reply in time")
}

var soaFrom = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}

// keeping runs Negatives for example.com in a bubble until f returns. log is what it logged.
func keeping(t *testing.T, reply func(*dns.Msg) (*dns.Msg, error),
	f func(n *Negatives, o *fakeOwner, log *bytes.Buffer),
) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &fakeOwner{reply: reply, start: time.Now()}
		log := new(bytes.Buffer)
		n := NewNegatives(o, slog.New(slog.NewTextHandler(log,
			&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}})))
		n.Set([]config.Zone{{Name: "example.com.", SOAFrom: soaFrom}, {Name: "whole.example."}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.Run(ctx) }()
		synctest.Wait()
		f(n, o, log)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// ttl is that of the record that negative answers have now, packed or not; -1 without one.
func ttl(n *Negatives) int {
	soa := n.SOA("example.com.", time.Now())
	packed, ttl := n.Packed("example.com.", time.Now())
	if (soa == nil) != (packed == nil) || soa != nil && soa.Hdr.Ttl != ttl {
		panic(fmt.Sprintf("SOA %v, packed %v with TTL %d", soa, packed, ttl))
	}
	if soa == nil {
		return -1
	}
	return int(soa.Hdr.Ttl)
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestNegativeTTLCountsDown(t *testing.T) {
	keeping(t, soaReply(t, "200"), func(n *Negatives, o *fakeOwner, log *bytes.Buffer) {
		want := record(t, "example.com. 200"+soaText)
		if got := n.SOA("example.com.", time.Now()); got == nil || got.String() != want.String() {
			t.Errorf("SOA = %v, want %v", got, want)
		}
		pass(time.Second)
		if got := ttl(n); got != 199 {
			t.Errorf("TTL after a second = %d, want 199", got)
		}
		pass(148*time.Second + 999*time.Millisecond)
		if got := ttl(n); got != 50 {
			t.Errorf("TTL just before it is asked for again = %d, want 50", got)
		}
		pass(time.Millisecond)
		if got := ttl(n); got != 200 {
			t.Errorf("TTL after it was asked for again = %d, want 200", got)
		}
		if diff := cmp.Diff([]time.Duration{0, 150 * time.Second}, o.times()); diff != "" {
			t.Errorf("asked at (-want +got):\n%s", diff)
		}
		if got := n.SOA("whole.example.", time.Now()); got != nil {
			t.Errorf("SOA of a zone that is ours = %v, want none", got)
		}
		const line = "level=INFO msg=\"SOA fetched\" zone=example.com. serial=7 ttl=200\n"
		if diff := cmp.Diff(line, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

// The minimum field bounds what negative answers say, not how long the record is kept.
func TestNegativeTTLIsAtMostTheMinimum(t *testing.T) {
	keeping(t, soaReply(t, "3600"), func(n *Negatives, o *fakeOwner, _ *bytes.Buffer) {
		for _, after := range []time.Duration{0, time.Second, 2698 * time.Second} {
			pass(after)
			if got := ttl(n); got != 300 {
				t.Errorf("TTL = %d, want 300", got)
			}
		}
		if n := len(o.times()); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

// An owner that is away: the record serves until its TTL has passed and not a moment longer, and is back with the
// owner.
func TestNegativeOwnerAway(t *testing.T) {
	keeping(t, soaReply(t, "100"), func(n *Negatives, o *fakeOwner, log *bytes.Buffer) {
		o.set(unreachable)
		pass(99 * time.Second)
		if got := ttl(n); got != 1 {
			t.Errorf("TTL = %d, want 1", got)
		}
		pass(time.Millisecond)
		if got := ttl(n); got != -1 {
			t.Errorf("TTL = %d when less than a second is left, want no record", got)
		}
		pass(time.Hour)
		if tries := len(o.times()); tries < 3600/30 || tries > 3600/10 {
			t.Errorf("asked %d times in an hour, want about every 15 to 30 s", tries)
		}
		o.set(soaReply(t, "100"))
		pass(lastPause)
		if got := ttl(n); got < 70 {
			t.Errorf("TTL = %d, want a new record", got)
		}
		want := `level=INFO msg="SOA fetched" zone=example.com. serial=7 ttl=100
level=WARN msg="SOA not fetched: negative answers go without it once its TTL has passed" zone=example.com. error="forwarding to 192.0.2.53:53: no reply in time"
level=INFO msg="SOA fetched" zone=example.com. serial=7 ttl=100
`
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
	})
}

func TestNegativeUnusableReplies(t *testing.T) {
	with := func(change func(m *dns.Msg)) func(q *dns.Msg) (*dns.Msg, error) {
		return func(q *dns.Msg) (*dns.Msg, error) {
			m, _ := soaReply(t, "100")(q)
			change(m)
			return m, nil
		}
	}
	for _, row := range []struct {
		name, want string
		reply      func(*dns.Msg) (*dns.Msg, error)
	}{
		{"refused", "the server says REFUSED", with(func(m *dns.Msg) { m.Rcode = dns.RcodeRefused })},
		{"a resolver", "the server is not authoritative for the zone",
			with(func(m *dns.Msg) { m.Authoritative = false })},
		{"nothing", "the reply has no such record", with(func(m *dns.Msg) { m.Answer = nil })},
		{"another zone's", "the reply has no such record",
			with(func(m *dns.Msg) { m.Answer[0].Header().Name = "com." })},
		{"another type", "the reply has no such record", with(func(m *dns.Msg) { m.Answer = []dns.RR{record(t, mx)} })},
	} {
		t.Run(row.name, func(t *testing.T) {
			keeping(t, row.reply, func(n *Negatives, _ *fakeOwner, log *bytes.Buffer) {
				if got := ttl(n); got != -1 {
					t.Errorf("TTL = %d, want no record", got)
				}
				if want := `error="asking for the SOA of example.com.: ` + row.want +
					`"`; !strings.Contains(log.String(), want) {
					t.Errorf("log = %s, want %s", log, want)
				}
			})
		})
	}
}

// A record with a TTL of 0 is never given, and not asked for in a frenzy.
func TestNegativeTTLZero(t *testing.T) {
	keeping(t, soaReply(t, "0"), func(n *Negatives, o *fakeOwner, _ *bytes.Buffer) {
		pass(10 * time.Second)
		if got := ttl(n); got != -1 {
			t.Errorf("TTL = %d, want no record", got)
		}
		if n := len(o.times()); n != 11 {
			t.Errorf("asked %d times in 10 s, want 11", n)
		}
	})
}

// A new configuration keeps the records of zones whose owner is the same.
func TestNegativeSet(t *testing.T) {
	keeping(t, soaReply(t, "200"), func(n *Negatives, o *fakeOwner, _ *bytes.Buffer) {
		pass(10 * time.Second)
		n.Set([]config.Zone{{Name: "new.example.", SOAFrom: soaFrom}, {Name: "example.com.", SOAFrom: soaFrom}})
		synctest.Wait()
		if got := ttl(n); got != 190 {
			t.Errorf("TTL = %d, want 190", got)
		}
		if got := n.SOA("new.example.", time.Now()); got == nil {
			t.Error("no record of the new zone")
		}
		n.Set([]config.Zone{{Name: "example.com.",
			SOAFrom: append(soaFrom[:1:1], netip.MustParseAddrPort("192.0.2.54:53"))}})
		synctest.Wait()
		if got := ttl(n); got != 200 {
			t.Errorf("TTL = %d from other servers, want 200", got)
		}
		if got := n.SOA("new.example.", time.Now()); got != nil {
			t.Errorf("SOA of a zone that is gone = %v, want none", got)
		}
		n.Set(nil)
		pass(time.Hour)
		if n := len(o.times()); n != 3 {
			t.Errorf("asked %d times, want 3", n)
		}
	})
}

// With a real owner over the network.
func TestNegativeFromRealServer(t *testing.T) {
	o := serve(t, answers(t, "example.com. 200"+soaText))
	logged := make(chan struct{}, 1)
	n := NewNegatives(New(Config{Timeout: long}), slog.New(signal{slog.DiscardHandler, logged}))
	n.Set([]config.Zone{{Name: "example.com.", SOAFrom: []netip.AddrPort{o.addr}}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	<-logged
	if got := ttl(n); got < 150 || got > 200 {
		t.Errorf("TTL = %d, want almost 200", got)
	}
	if q := o.last(t); q.RecursionDesired || q.IsEdns0() != nil {
		t.Errorf("asked %v, want neither RD nor EDNS", q)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// signal is a log handler that says that something was logged.
type signal struct {
	slog.Handler
	c chan<- struct{}
}

func (s signal) Enabled(context.Context, slog.Level) bool { return true }

func (s signal) Handle(context.Context, slog.Record) error {
	s.c <- struct{}{}
	return nil
}
