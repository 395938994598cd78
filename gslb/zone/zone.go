// Package zone says what this server is authoritative for: the static records of its zones, and the names that rules
// balance, in one immutable index. [Zones.Lookup] finds what RFC 1034 (section 4.3.2) and its successors say about one
// name and type, in time that depends neither on the number of zones nor on that of names, and without allocation.
//
// It keeps, beside the records, the bytes that an answer is made of: the packed records of an [RRset] and the SOA of a
// negative answer ([Negative]), laid out as package dns lays them out when it packs the same message with compression.
//
// It leaves choosing among the answers of a balanced name to package selection, following CNAME and DNAME, regular
// expressions, forwarding and encoding to packages responder and fastpath, which call it, and checking of records
// to package config.
//
// Names are in wire format, uncompressed, with the root's zero byte, ASCII letters in lower case: see [Name].
package zone

import (
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// Kind says what there is at a name for a type.
type Kind uint8

const (
	// NotOurs: nothing here covers the name. Without a Zone, the server's NoMatch decides; with one, that zone's, and
	// the server's where that is the default.
	NotOurs Kind = iota
	// Positive: RRset answers the question.
	Positive
	// CNAME: RRset is the CNAME to follow.
	CNAME
	// DNAME: RRset is the DNAME of an ancestor (RFC 6672); Owner is where that begins in the name.
	DNAME
	// Delegation: RRset is the NS set of a zone cut at or above the name, with its glue; Owner is where the cut begins.
	Delegation
	// NoData: the name exists, the type does not (RFC 2308, section 2.2).
	NoData
	// NXDomain: neither the name nor anything below it exists (RFC 8020).
	NXDomain
	// ByRules: the rules of Set answer, be it with nothing.
	ByRules
)

// String is the kind as operators read it.
func (k Kind) String() string {
	switch k {
	case NotOurs:
		return "not ours"
	case Positive:
		return "positive"
	case CNAME:
		return "CNAME"
	case DNAME:
		return "DNAME"
	case Delegation:
		return "delegation"
	case NoData:
		return "no data"
	case NXDomain:
		return "no such name"
	case ByRules:
		return "by rules"
	}
	return "unknown"
}

// Result is what Lookup found.
type Result struct {
	Kind Kind
	// Wildcard: the data is that of the wildcard below the closest encloser (RFC 4592). Records of RRset have the
	// wildcard's name, and the answer must have the one asked for.
	Wildcard bool
	// Miss: no records and no rules have the name, itself or by wildcard, nor is it below a cut or a DNAME. Regular
	// expressions come next, and their rules answer as if Kind were ByRules.
	Miss bool
	// Owner is where in the name that begins which answered: 0 for the name itself, else the zone cut, the owner
	// of the DNAME, or the closest encloser (of a wildcard, or of a name that does not exist).
	Owner uint8
	// Set is the rule set of the node, also when Kind is not ByRules because the type is not one that rules of
	// this name answer; -1 for none.
	Set int32
	// Zone is that whose data this is; nil for names outside all zones. A balanced name may be outside.
	Zone *Zone
	// RRset is what Positive, CNAME, DNAME and Delegation are about. With ByRules it is the records beside the rules,
	// of that type or a CNAME, that count for clients whom no rule has; nil if there are none. Else nil.
	RRset *RRset
}

// WithoutRules is what Lookup found for a client that none of the name's rules has: records that stand beside the
// rules. Without any, the name exists for others, so that it is not denied where the zone is whole, and where it is
// not, it is a name that nothing covers.
func (r Result) WithoutRules() Result {
	switch {
	case r.Kind == NXDomain: // but an expression matched it
		r.Kind = NoData
	case r.Kind != ByRules: // an expression matched what is not there
	case r.RRset != nil && r.RRset.Type == dns.TypeCNAME:
		r.Kind = CNAME
	case r.RRset != nil:
		r.Kind = Positive
	case r.Zone != nil && r.Zone.Whole:
		r.Kind = NoData
	default:
		r.Kind = NotOurs
	}
	return r
}

// RRset is the records of one name and type. They are shared: nobody may modify them.
type RRset struct {
	Type  uint16
	Count uint16
	TTL   uint32 // of all records (RFC 2181, section 5.2): the least of those written
	// RRs are in the order written, with names as package dns unpacks them; owners are in lower case.
	RRs []dns.RR
	// Tail is the records packed as an answer right after the question for the owner's name (every owner a pointer to
	// it, 0xC00C), exactly as package dns packs them with Compress. For a Wildcard result it holds for the name asked
	// for, and is nil where the bytes depend on that.
	Tail []byte
	// Target is where a CNAME or DNAME leads, in lower-case wire format.
	Target []byte
	// Glue, of a Delegation, is the addresses of its name servers that the zone holds, in-domain ones first. The first
	// GlueRequired of them fit or the response is truncated; the others are sent as they fit (RFC 9471, section 3).
	Glue         []dns.RR
	GlueRequired int
}

// Zone is one zone of the configuration.
type Zone struct {
	Index int    // into config.Zones
	Name  string // canonical, as configured
	Wire  []byte // lower-case wire format
	// Whole: all names of the zone are here. Else only those that rules balance, and what NoMatch says of others.
	Whole   bool
	NoMatch config.NoMatch
	Forward []netip.AddrPort // for config.NoMatchForward
	// SOA is nil where it is fetched from who owns the zone.
	SOA *RRset
	// NegativeTTL is the lesser of the SOA's TTL and its minimum (RFC 2308, section 5), and NegativeSOA the SOA with
	// it, as negative answers carry it. 0 and nil without SOA.
	NegativeTTL uint32
	NegativeSOA *dns.SOA
	// Negative is NegativeSOA, ready to be appended. Nil without SOA.
	Negative *Negative

	nxdomain bool // names that nothing covers do not exist
}

// AppendNegative appends the SOA of a negative answer, the only record after a question for name, which is
// in the zone and in lower-case wire format. The zone has a SOA of its own.
func (z *Zone) AppendNegative(dst, name []byte) []byte {
	return z.Negative.Append(dst, name, z.NegativeTTL)
}

// Balanced is a name, exact or with a "*." label, that rules balance.
type Balanced struct {
	Name  string // canonical
	Set   int32  // the rule set, as package selection numbers it
	CNAME bool   // rules of the set answer every type, because they say CNAME or ask a name server
}

// Zones is the index. It is immutable.
type Zones struct {
	nodes map[string]*node // by lower-case wire name; with a name it holds all the name's ancestors
	zones []*Zone
	depth int // most labels that a name in nodes has, the root's not counted
}

// All returns the zones in the order of the configuration.
func (z *Zones) All() []*Zone { return z.zones }
