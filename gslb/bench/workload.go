//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	origin   = "example.com."
	existing = 910 // names of the queries that have an address
	missing  = 90  // and those that do not exist
	ttl      = 20
)

// workload is what is asked: an A record of each of 1,000 names, of which 90 do not exist, in random order.
type workload struct {
	queries []string // names
	file    string   // the same for dnsperf
	zone    string   // a zone file with the answers
}

// name is that of the i-th VIP.
func name(i int) string { return fmt.Sprintf("w%04d.%s", i, origin) }

// address is that of the i-th VIP, i below 16,000: one of this machine's own, so that keepalives find it.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 53, byte(i / 250), byte(1 + i%250)})
}

// newWorkload writes the files into dir.
func newWorkload(dir string) (*workload, error) {
	w := &workload{file: filepath.Join(dir, "queries"), zone: filepath.Join(dir, "example.com")}
	zone := new(strings.Builder)
	fmt.Fprintf(zone, "$ORIGIN %s\n$TTL %d\n", origin, ttl)
	for _, r := range apex {
		fmt.Fprintf(zone, "%s %s %s\n", r.name, r.kind, r.data)
	}
	for i := range existing {
		w.queries = append(w.queries, name(i))
		fmt.Fprintf(zone, "%s A %v\n", name(i), address(i))
	}
	for i := range missing {
		w.queries = append(w.queries, fmt.Sprintf("n%04d.%s", i, origin))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(w.queries), func(i, j int) {
		w.queries[i], w.queries[j] = w.queries[j],
			w.queries[i]
	})
	if err := os.WriteFile(w.zone, []byte(zone.String()), 0o644); err != nil {
		return nil, err
	}
	return w, os.WriteFile(w.file, []byte(strings.Join(w.queries, " A\n")+" A\n"), 0o644)
}

// apex are the records beside the addresses.
var apex = []struct{ name, kind, data string }{
	{"@", "SOA", "ns1 hostmaster 1 7200 900 1209600 300"},
	{"@", "NS", "ns1"},
	{"@", "NS", "ns2"},
	{"ns1", "A", "127.53.255.1"},
	{"ns2", "A", "127.53.255.2"},
}

// check asks each name, until all answers are right or patience ends. want is the address of the i-th name.
func (w *workload) check(ctx context.Context, server netip.AddrPort, want func(i int) netip.Addr,
	patience time.Duration,
) error {
	for begin := time.Now(); ; {
		err := w.checkOnce(ctx, server, want)
		if err == nil || time.Since(begin) > patience {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *workload) checkOnce(ctx context.Context, server netip.AddrPort, want func(i int) netip.Addr) error {
	client := &dns.Client{Timeout: time.Second}
	conn, err := client.DialContext(ctx, server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, q := range w.queries {
		m := new(dns.Msg).SetQuestion(q, dns.TypeA)
		m.RecursionDesired = false
		m.SetEdns0(dns.DefaultMsgSize, false)
		got, _, err := client.ExchangeWithConnContext(ctx, m, conn)
		if err != nil {
			return fmt.Errorf("asking for %s: %w", q, err)
		}
		i := -1
		if _, err := fmt.Sscanf(q, "w%04d.", &i); err != nil {
			i = -1
		}
		if err := right(got, i, want); err != nil {
			return fmt.Errorf("wrong answer for %s: %w", q, err)
		}
	}
	return nil
}

// right says what is wrong with an answer for the i-th name, or with -1 for one that does not exist.
func right(m *dns.Msg, i int, want func(i int) netip.Addr) error {
	if !m.Authoritative || m.Truncated || m.IsEdns0() == nil {
		return fmt.Errorf("authoritative %t, truncated %t, EDNS %t", m.Authoritative, m.Truncated, m.IsEdns0() != nil)
	}
	if i < 0 {
		if m.Rcode != dns.RcodeNameError || len(m.Answer) != 0 || len(m.Ns) != 1 ||
			m.Ns[0].Header().Rrtype != dns.TypeSOA {
			return fmt.Errorf("%s, %d answers, %d authorities, want NXDOMAIN with the SOA", dns.RcodeToString[m.Rcode],
				len(m.Answer), len(m.Ns))
		}
		return nil
	}
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeA {
		return fmt.Errorf("%s, %d answers, want NOERROR and an A record", dns.RcodeToString[m.Rcode], len(m.Answer))
	}
	a := m.Answer[0].(*dns.A)
	if a.A.String() != want(i).String() || a.Hdr.Ttl != ttl {
		return fmt.Errorf("address %v with a TTL of %d, want %v with one of %d", a.A, a.Hdr.Ttl, want(i), ttl)
	}
	return nil
}
