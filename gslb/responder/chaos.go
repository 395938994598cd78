package responder

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// chaos answers queries of class CHAOS: which server this is (RFC 4892), as far as it is configured to tell.
func (r *reply) chaos() Response {
	var text string
	switch strings.ToLower(r.q.owner) {
	case "version.bind.", "version.server.":
		text = r.v.Config.Server.Version
	case "hostname.bind.", "id.server.":
		text = r.v.Config.Server.ID
	}
	if text == "" || r.q.qtype == dns.TypeAXFR || r.q.qtype == dns.TypeIXFR {
		return r.fail(dns.RcodeRefused)
	}
	r.Limit = r.q.name
	r.msg.Authoritative = true
	if r.q.qtype == dns.TypeTXT || r.q.qtype == dns.TypeANY {
		txt := &dns.TXT{Hdr: dns.RR_Header{Name: r.q.owner, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}}
		for part := range slices.Chunk([]byte(text), 255) {
			txt.Txt = append(txt.Txt, strings.ReplaceAll(string(part), `\`, `\\`))
		}
		r.answer = append(r.answer, []dns.RR{txt})
	}
	return r.done()
}
