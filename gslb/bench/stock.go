//go:build linux

package main

import (
	"os"
	"strings"

	"github.com/miekg/dns"
)

// stockCommand as the first argument makes this program the stock server, with an address and a zone file.
const stockCommand = "serve-stock"

// stock is the shortest honest server on miekg/dns: records in a map, the library's own server as it comes.
type stock struct {
	records map[string][]dns.RR
	soa     dns.RR
}

func serveStock(address, file string) error {
	s, err := newStock(file)
	if err != nil {
		return err
	}
	return (&dns.Server{Addr: address, Net: "udp", Handler: s}).ListenAndServe()
}

func newStock(file string) (*stock, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &stock{records: map[string][]dns.RR{}}
	zone := dns.NewZoneParser(f, origin, file)
	for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
		owner := strings.ToLower(rr.Header().Name)
		s.records[owner] = append(s.records[owner], rr)
		if rr.Header().Rrtype == dns.TypeSOA {
			s.soa = rr
		}
	}
	return s, zone.Err()
}

func (s *stock) ServeDNS(w dns.ResponseWriter, r *dns.Msg) {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	q := r.Question[0]
	all, ok := s.records[strings.ToLower(q.Name)]
	if !ok {
		m.Rcode = dns.RcodeNameError
	}
	for _, rr := range all {
		if rr.Header().Rrtype == q.Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = append(m.Ns, s.soa)
	}
	if r.IsEdns0() != nil {
		m.SetEdns0(1232, false)
	}
	w.WriteMsg(m)
}
