package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/controller/config/checkable"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/strict"
)

// rawKeepalive is a shared one.
type rawKeepalive struct {
	Name string `yaml:"name,required"`
	rawProbe
}

// rawInline is one of an answer: a shared one by its name, or its own.
type rawInline struct {
	Shared *string `yaml:"shared"`
	rawProbe
}

type rawProbe struct {
	Kind         *KeepaliveKind `yaml:"kind"`
	Address      *string        `yaml:"address"`
	Port         *int           `yaml:"port"`
	Close        *string        `yaml:"close"`
	TLS          *bool          `yaml:"tls"`
	VerifyTLS    *bool          `yaml:"verify_tls"`
	Host         *string        `yaml:"host"`
	Path         *string        `yaml:"path"`
	ExpectStatus []string       `yaml:"expect_status"`
	QueryName    *string        `yaml:"query_name"`
	QueryType    *string        `yaml:"query_type"`
	OID          *string        `yaml:"oid"`
	Community    *string        `yaml:"community"`
	SNMPMin      *int           `yaml:"snmp_min"`
	SNMPMax      *int           `yaml:"snmp_max"`
	Tag          *string        `yaml:"tag"`
	VIP          *string        `yaml:"vip"`
	Secondary    *string        `yaml:"secondary"`
	Key          *string        `yaml:"key"`
	KeyFile      *string        `yaml:"key_file"`
	Timing       *rawTiming     `yaml:"timing"`
}

// keysOf are the kinds of keepalive that a key is for.
var keysOf = []struct {
	key   string
	kinds []KeepaliveKind
}{
	{"address", []KeepaliveKind{ICMP, TCP, HTTPHead, NameServerQuery, SNMP, LoadReport}},
	{"port", []KeepaliveKind{TCP, HTTPHead, NameServerQuery, SNMP, LoadReport}},
	{"close", []KeepaliveKind{TCP, HTTPHead}},
	{"tls", []KeepaliveKind{HTTPHead}},
	{"verify_tls", []KeepaliveKind{HTTPHead}},
	{"host", []KeepaliveKind{HTTPHead}},
	{"path", []KeepaliveKind{HTTPHead}},
	{"expect_status", []KeepaliveKind{HTTPHead}},
	{"query_name", []KeepaliveKind{NameServerQuery}},
	{"query_type", []KeepaliveKind{NameServerQuery}},
	{"oid", []KeepaliveKind{SNMP}},
	{"community", []KeepaliveKind{SNMP}},
	{"snmp_min", []KeepaliveKind{SNMP}},
	{"snmp_max", []KeepaliveKind{SNMP}},
	{"tag", []KeepaliveKind{LoadReport}},
	{"vip", []KeepaliveKind{LoadReport}},
	{"secondary", []KeepaliveKind{LoadReport}},
	{"key", []KeepaliveKind{LoadReport}},
	{"key_file", []KeepaliveKind{LoadReport}},
	{"timing", []KeepaliveKind{ICMP, TCP, HTTPHead, NameServerQuery, SNMP, LoadReport}},
}

// own is where the answer of an inline keepalive is: what is asked when it names no address.
type own struct {
	at   []netip.AddrPort // a VIP's have no port
	none string           // why there is nothing to take, when at is empty
}

// sharedOwn is what a shared keepalive has for an answer.
var sharedOwn = own{none: "a shared keepalive has no answer to take it from"}

// shared reads the keepalives that answers name.
func (p *parser) shared(raw []rawKeepalive) {
	p.atMost("keepalives", len(raw), maxKeepalives)
	p.keepaliveNames.what = "a shared keepalive"
	for i, r := range raw {
		path := item("keepalives", i)
		p.name(&p.keepaliveNames, "keepalives", i, r.Name)
		k := p.probe(path, r.rawProbe, sharedOwn)[0]
		if value := valueOf(k); p.Usable(path + ".name") {
			if _, twice := p.probes[value]; !twice {
				p.probes[value] = i
			}
		}
		k.Name = r.Name
		p.keepalives = append(p.keepalives, k)
	}
}

// keepalivesOf reads the keepalives of one answer.
func (p *parser) keepalivesOf(path string, raw []rawInline, own own) []int {
	p.atMost(path, len(raw), maxProbes)
	var all []int
	add := func(at string, i int) {
		if i == None {
			return
		}
		if slices.Contains(all, i) {
			p.Add(at, "must be unique: the answer has the same keepalive before")
			return
		}
		all = append(all, i)
	}
	for i, r := range raw {
		at := item(path, i)
		switch {
		case p.Bad(at):
		case r.Shared != nil:
			add(at, p.reference(&p.keepaliveNames, at+".shared", r.Shared))
			p.leftOut(at, "where shared is given", "kind")
			for _, k := range keysOf {
				p.leftOut(at, "where shared is given", k.key)
			}
		case p.Bad(at + ".shared"):
		case r.Kind == nil && !p.Has(at+".kind"):
			p.Add(at, "must have a kind, or shared with the name of a keepalive")
		default:
			for _, k := range p.probe(at, r.rawProbe, own) {
				value := valueOf(k)
				index, known := p.probes[value]
				if !known {
					index = len(p.keepalives)
					p.probes[value] = index
					p.keepalives = append(p.keepalives, k)
				}
				add(at, index)
			}
		}
	}
	for i, k := range all {
		if p.keepalives[k].Kind == Always && len(all) > 1 {
			p.Add(path,
				"must not have kind none beside others, as number %d has it: all must pass, and none always does", i+1)
			break
		}
	}
	return all
}

// valueOf is what makes two keepalives one.
func valueOf(k Keepalive) string { return fmt.Sprintf("%#v", k) }

// probe reads one keepalive. It returns one for each address that is to be asked, and at least one.
func (p *parser) probe(path string, r rawProbe, own own) []Keepalive {
	if r.Kind == nil {
		if !p.Has(path + ".kind") {
			p.Add(path+".kind", "is missing: must be %s", either(keepaliveKinds[1:]))
		}
		return make([]Keepalive, 1)
	}
	kind := *r.Kind
	for _, k := range keysOf {
		if at := path + "." + k.key; p.Has(at) && !slices.Contains(k.kinds, kind) {
			p.Add(at, "must be left out of %s keepalives: it is for %s", kind, kindsOf(k.kinds))
		}
	}
	k := Keepalive{Kind: kind}
	if kind == Always {
		return []Keepalive{k}
	}
	k.Timing = p.timingOf(path+".timing", r.Timing, p.timing)
	if kind == TCP || kind == HTTPHead {
		k.FIN = p.close(path+".close", r.Close)
	}
	switch kind {
	case HTTPHead:
		k.TLS = orFalse(r.TLS)
		k.VerifyTLS = orFalse(r.VerifyTLS)
		if k.VerifyTLS && !k.TLS {
			p.Add(path+".verify_tls", "must be false, or be left out, without tls: true")
		}
		k.Path = checkable.ReadPath(p.Document, path+".path", r.Path)
		k.Host = checkable.ReadHost(p.Document, path+".host", r.Host)
		k.ExpectStatus = []uint16{200}
		if r.ExpectStatus != nil {
			k.ExpectStatus = checkable.ReadStatuses(p.Document, path+".expect_status", r.ExpectStatus)
		}
	case NameServerQuery:
		k.QueryName, k.QueryType = p.query(path, r)
	case SNMP:
		k.OID, k.Community = p.oid(path, r)
		k.SNMPMin, k.SNMPMax = p.snmpRange(path, r)
	case LoadReport:
		p.loadReport(path, r, own, &k)
	}
	return p.addressed(path, r, own, k)
}

// addressed gives a keepalive its address: that of the file, or each of the answer's own.
func (p *parser) addressed(path string, r rawProbe, own own, k Keepalive) []Keepalive {
	port := p.portOf(path+".port", r, k)
	if r.Address != nil {
		k.Address = netip.AddrPortFrom(p.host(path+".address", *r.Address), port)
		return []Keepalive{k}
	}
	switch {
	case p.Bad(path + ".address"):
	case k.Kind == LoadReport:
		p.Add(path+".address", "is missing: must be the address of who reports the load, such as the data center's "+
			"controller")
	case len(own.at) == 0:
		p.Add(path+".address", "is missing: %s", own.none)
	default:
		all := make([]Keepalive, len(own.at))
		for i, at := range own.at {
			if r.Port == nil && k.Kind == NameServerQuery && at.Port() != 0 {
				port = at.Port()
			}
			all[i] = k
			all[i].Address = netip.AddrPortFrom(at.Addr(), port)
		}
		return all
	}
	return []Keepalive{k}
}

// portOf returns the port to ask; most kinds have one of their own.
func (p *parser) portOf(path string, r rawProbe, k Keepalive) uint16 {
	def := 0
	switch k.Kind {
	case ICMP:
		return 0
	case TCP:
		if r.Port == nil && !p.Bad(path) {
			p.Add(path, "is missing: must be 1..65535")
		}
	case HTTPHead:
		def = httpPort
		if k.TLS {
			def = httpsPort
		}
	case NameServerQuery:
		def = dnsPort
	case SNMP:
		def = snmpPort
	case LoadReport:
		def = loadreport.DefaultPort
	}
	return uint16(p.Number(path, r.Port, def, 1, 65535))
}

// close reads how a connection ends.
func (p *parser) close(path string, text *string) (fin bool) {
	if text == nil || *text == "rst" {
		return false
	}
	if *text != "fin" {
		p.Add(path, "must be rst or fin, is %s", strict.Quote(*text))
	}
	return true
}

// query reads what a name server is asked for.
func (p *parser) query(path string, r rawProbe) (name string, qtype uint16) {
	name = p.domain(path+".query_name", r.QueryName, "the name to ask for, which must resolve")
	qtype = dns.TypeA
	if r.QueryType != nil {
		var ok bool
		if qtype, ok = recordType(*r.QueryType); !ok || isMeta(qtype) {
			p.Add(path+".query_type", "must be the type of a record, such as A, NS or SOA, is %s",
				strict.Quote(*r.QueryType))
		}
	}
	return name, qtype
}

// domain reads a name that must be there.
func (p *parser) domain(path string, text *string, what string) string {
	if text == nil {
		if !p.Bad(path) {
			p.Add(path, "is missing: must be %s", what)
		}
		return ""
	}
	name, err := canonical(*text)
	if err == nil && isWildcard(name) {
		err = errStar
	}
	if err != nil {
		p.Add(path, "must be a domain name such as www.example.com, is %s: %v", strict.Quote(*text), err)
		return ""
	}
	return name
}

var oidForm = regexp.MustCompile(`^\.?[0-2](\.(0|[1-9][0-9]{0,9}))+$`)

func (p *parser) oid(path string, r rawProbe) (oid, community string) {
	switch {
	case r.OID == nil && !p.Bad(path+".oid"):
		p.Add(path+".oid", "is missing: must be the object to get, such as 1.3.6.1.2.1.1.3.0")
	case r.OID != nil && (!oidForm.MatchString(*r.OID) || strings.Count(*r.OID, ".") > 127):
		p.Add(path+".oid", "must be numbers and dots, such as 1.3.6.1.2.1.1.3.0, is %s", strict.Quote(*r.OID))
	case r.OID != nil:
		oid = strings.TrimPrefix(*r.OID, ".")
	}
	community = "public"
	if r.Community != nil {
		community = p.line(path+".community", r.Community, maxCommunity)
	}
	return oid, community
}

func (p *parser) snmpRange(path string, r rawProbe) (least, most int64) {
	least, most = math.MinInt64, math.MaxInt64
	if r.SNMPMin != nil {
		least = int64(*r.SNMPMin)
	}
	if r.SNMPMax != nil {
		most = int64(*r.SNMPMax)
	}
	if least > most {
		p.Add(path+".snmp_max", "must be at least snmp_min, %d, is %d", least, most)
	}
	return least, most
}

// loadReport reads what is asked for, and with which key.
func (p *parser) loadReport(path string, r rawProbe, own own, k *Keepalive) {
	switch {
	case r.Tag != nil:
		k.Tag = p.line(path+".tag", r.Tag, loadreport.MaxTag)
		p.leftOut(path, "where tag is given", "vip")
	case r.VIP != nil:
		at, ok := addrPort(*r.VIP, 0)
		if !ok || !isHost(at.Addr()) {
			p.Add(path+".vip", "must be the address of a VIP, and its port if not all are meant, such as "+
				"192.0.2.1:443, is %s", strict.Quote(*r.VIP))
		}
		k.VIP = at
	case p.Bad(path+".tag") || p.Bad(path+".vip"):
	case len(own.at) == 0 || own.at[0].Port() != 0:
		p.Add(path, "must have a tag, or a vip: there is no answer with an address of which the load could be asked")
	default:
		k.VIP = own.at[0]
	}
	if r.Secondary != nil {
		k.Secondary = p.endpoint(path+".secondary", *r.Secondary, loadreport.DefaultPort)
	}
	k.Key = p.loadReportKey(path, r)
}

// loadReportKey reads a key as it is on a line of the controller's file, or the first of such a file.
func (p *parser) loadReportKey(path string, r rawProbe) []byte {
	at := path + ".key"
	text := ""
	switch {
	case r.Key != nil && r.KeyFile != nil:
		p.Add(path+".key_file", "must be left out where key is given")
		return nil
	case r.Key != nil:
		text = *r.Key
	case r.KeyFile != nil:
		at = path + ".key_file"
		data, _, ok := p.contents(at, *r.KeyFile, secret)
		if !ok {
			return nil
		}
		text = string(data)
	case p.Bad(at) || p.Bad(path+".key_file"):
		return nil
	default:
		p.Add(path, "must have a key, or a key_file: load reports are authenticated")
		return nil
	}
	if _, err := loadreport.ParseKeys([]byte(text)); err != nil {
		p.Add(at, "must hold the secret that the controller has, or base64: and its base64: %s",
			strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if encoded, ok := strings.CutPrefix(line, "base64:"); ok {
			key, _ := base64.StdEncoding.DecodeString(encoded) // ParseKeys did
			return key
		}
		return []byte(line)
	}
	return nil
}

func kindsOf(kinds []KeepaliveKind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = k.String()
	}
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
