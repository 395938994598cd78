package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/internal/strict"
)

type rawRecord struct {
	Name *string `yaml:"name,required"`
	Type *string `yaml:"type,required"`
	TTL  *int    `yaml:"ttl"`
	Data *string `yaml:"data,required"`
}

// records reads the records of a zone, those of the configuration and those of its file.
func (p *parser) records(z *zone, r rawZone) {
	for i, rr := range r.Records {
		if path := item(z.path+".records", i); p.Bad(path) || !p.record(z, path, rr) {
			z.broken = true
		}
	}
	path := z.path + ".file"
	switch {
	case p.Bad(path):
		z.broken = true
	case r.File != nil:
		data, file, ok := p.contents(path, *r.File, public)
		if !ok || !p.zoneFile(z, file, data) {
			z.broken = true
		}
	}
	if len(z.seen) > maxRecords {
		p.Add(z.path, "must have at most %d records, has more", maxRecords)
	}
}

// record reads one record of the configuration.
func (p *parser) record(z *zone, path string, r rawRecord) bool {
	ttl := p.Number(path+".ttl", r.TTL, int(z.ttl), 0, maxRecordTTL)
	if r.Name == nil || r.Type == nil || r.Data == nil || z.Name == "" {
		return false
	}
	owner, ok := p.owner(z, path+".name", *r.Name)
	if !ok || !p.typeOf(path+".type", *r.Type) {
		return false
	}
	rr, err := parseRecord(owner, ttl, *r.Type, *r.Data, z.Name)
	if err != nil {
		p.Add(path+".data", "must be the data of one %s record as in a zone file, is %s: %v", *r.Type,
			strict.Quote(*r.Data), err)
		return false
	}
	if doubled := z.Name + z.Name; z.Name != "." &&
		strings.Contains(strings.TrimPrefix(rr.String(), rr.Header().String()), doubled) {
		p.Add(path+".data", "must end absolute names in a dot, is %s: names without it are relative to the zone, "+
			"which makes ...%s of it", strict.Quote(*r.Data), doubled)
		return false
	}
	return p.add(z, rr, place{path: path})
}

// owner reads the name of a record: "@" for the zone's own, relative to the zone, or absolute with a last dot.
func (p *parser) owner(z *zone, path, text string) (string, bool) {
	absolute := text
	switch {
	case text == "@":
		return z.Name, true
	case dns.IsFqdn(text):
	case z.Name == ".":
		absolute += "."
	default:
		absolute += "." + z.Name
	}
	name, err := canonical(absolute)
	if err == errCharacter && !strings.ContainsFunc(text, needsEscape) {
		name, err = normal(absolute)
	}
	if err == nil && z.Name != "." && within(name, z.Name+z.Name) {
		err = fmt.Errorf("without a last dot it is relative to the zone, which makes %s of it", name)
	}
	if err != nil {
		p.Add(path, "must be @, a name relative to the zone, or an absolute one with a last dot, is %s: %v",
			strict.Quote(text), err)
		return "", false
	}
	return name, true
}

// needsEscape reports whether a character of a name means something else in a zone file, unless it is escaped.
func needsEscape(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`"();@$`, c) }

func (p *parser) typeOf(path, text string) bool {
	t, ok := recordType(text)
	if !ok {
		p.Add(path, "must be the type of a record, such as A, MX or TYPE65280, is %s", strict.Quote(text))
		return false
	}
	if why := refusedType(t); why != "" {
		p.Add(path, "must not be %s: %s", text, why)
		return false
	}
	return true
}

// refusedType says why zones may not have records of a type; empty if they may.
func refusedType(t uint16) string {
	switch t {
	case dns.TypeRRSIG, dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM:
		return "signed zones are not served, as signatures made elsewhere would not cover answers that follow health"
	}
	if isMeta(t) {
		return "no zone can have records of it"
	}
	return ""
}

// parseRecord reads the data of one record. Names in it are relative to origin.
func parseRecord(owner string, ttl int, rrtype, data, origin string) (dns.RR, error) {
	if strings.TrimSpace(data) == "" {
		return nil, errors.New("it is empty")
	}
	text := owner + " " + strconv.Itoa(ttl) + " IN " + rrtype + " " + data + "\n"
	zp := dns.NewZoneParser(&speller{lineReader: &lineReader{data: []byte(text)}}, origin, "")
	rr, ok := zp.Next()
	if err := zp.Err(); err != nil {
		return nil, errors.New(parserProblem(err))
	}
	switch {
	case !ok:
		return nil, errors.New("it is empty")
	case zp.Comment() != "" && !strings.Contains(data, "("):
		return nil, errors.New("a semicolon outside of quotes begins a comment")
	}
	if _, more := zp.Next(); more || zp.Err() != nil {
		return nil, errors.New("it goes on after the record: only parentheses continue it on another line")
	}
	return rr, nil
}

// parserMessage is how the zone parser words an error.
var parserMessage = regexp.MustCompile(`(?s)^(?:.*?: )?dns: (.*) at line: \d+:\d+$`)

// parserProblem returns what the zone parser complains about. Its lines are not those of the file, as it was handed
// entries that were spelled anew.
func parserProblem(err error) string {
	m := parserMessage.FindStringSubmatch(err.Error())
	if m == nil {
		return err.Error()
	}
	if data, ok := strings.CutPrefix(m[1], "bad RFC3597 Rdata: "); ok {
		return fmt.Sprintf(`data of this type must be as \# 2 c000, a number of bytes and the bytes (RFC 3597 `+
			`section 5), is %s`, data)
	}
	return m[1]
}

// add puts a record into its zone, unless it is there. It reports whether the record is good.
func (p *parser) add(z *zone, rr dns.RR, at place) bool {
	h := rr.Header()
	name, err := canonical(h.Name)
	if err != nil {
		name, err = normal(h.Name) // zone files may have any character
	}
	if err != nil {
		p.fault(at, "must have a domain name, has %s: %v", strict.Quote(h.Name), err)
		return false
	}
	h.Name = name
	if !within(name, z.Name) {
		if at.path == "" { // zone files of other servers may have the addresses of others
			p.warn(at, "is never given: %s lies outside of the zone %s", name, z.Name)
			return true
		}
		p.fault(at, "must lie in the zone %s, is %s", z.Name, name)
		return false
	}
	if h.Ttl > maxRecordTTL {
		p.warn(at, "has the TTL %d, above %d, which counts as 0 (RFC 2181 section 8)", h.Ttl, uint32(maxRecordTTL))
		h.Ttl = 0
	}
	wire, err := p.pack(rr)
	if err != nil {
		p.fault(at, "must have the data of a %s record: %v", dns.Type(h.Rrtype), err)
		return false
	}
	if _, twice := z.seen[wire]; twice {
		return true // RFC 2181 section 5
	}
	z.seen[wire] = struct{}{}
	n := z.nodes[name]
	if n == nil {
		n = &node{name: name}
		z.nodes[name] = n
		z.order = append(z.order, n)
	}
	if n.hasInOtherCase(rr) {
		return true
	}
	n.records = append(n.records, record{rr, at, len(wire)})
	if h.Rrtype == dns.TypeDNAME || h.Rrtype == dns.TypeNS && name != z.Name {
		z.cuts = true
	}
	return true
}

// hasInOtherCase reports whether the node has a record that differs only in the case of names in its data (RFC 4343
// section 3).
func (n *node) hasInOtherCase(rr dns.RR) bool {
	switch rr.(type) {
	case *dns.NS, *dns.CNAME, *dns.DNAME, *dns.PTR, *dns.MX, *dns.SRV, *dns.SOA, *dns.KX, *dns.AFSDB, *dns.RT, *dns.RP,
		*dns.MINFO, *dns.MB, *dns.MD, *dns.MF, *dns.MG, *dns.MR, *dns.PX, *dns.LP, *dns.NAPTR, *dns.NSAPPTR, *dns.SVCB,
		*dns.HTTPS, *dns.TALINK:
	default:
		return false
	}
	return slices.ContainsFunc(n.records, func(r record) bool { return dns.IsDuplicate(r.RR, rr) })
}

// pack returns the record as it is on the wire with TTL 0, once it is sure that it can be sent and read.
func (p *parser) pack(rr dns.RR) (string, error) {
	h := rr.Header()
	ttl := h.Ttl
	h.Ttl = 0
	defer func() { h.Ttl = ttl }()
	if p.wire == nil {
		p.wire = make([]byte, 1<<16)
	}
	n, err := dns.PackRR(rr, p.wire, 0, nil, false)
	if err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), "dns: "))
	}
	back, _, err := dns.UnpackRR(p.wire[:n], 0)
	if err != nil {
		return "", errors.New(strings.TrimPrefix(err.Error(), "dns: "))
	}
	if _, unknown := rr.(*dns.RFC3597); back.Header().Rdlength == 0 && !unknown && h.Rrtype != dns.TypeAPL &&
		h.Rrtype != dns.TypeNULL {
		return "", errors.New("it has none")
	}
	return string(p.wire[:n]), nil
}
