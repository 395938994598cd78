// Package config is the schema of `sluice gslb`: strict YAML in, valid values out, all faults at once with
// file, line, path and what is allowed. Nothing past it validates again. It reads the files that the configuration
// names (zones, keys) and looks nothing else up; what the values mean to a query is the business of packages zone and
// selection. Package gslb loads it; docs/examples/gslb.yaml shows every key.
package config

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/internal/strict"
)

// Config is a whole, valid configuration. Cross references are indices into its slices. It is immutable.
type Config struct {
	Server      Server
	Regions     []Region
	DataCenters []DataCenter
	Owners      []Owner
	SourceLists []SourceList // [0] is Anywhere
	DomainLists []DomainList
	Keepalives  []Keepalive // the named ones first; inline ones follow; equal ones are one
	Answers     []Answer
	Groups      []Group
	Rules       []Rule
	Zones       []Zone // longest names first
	Warnings    Warnings
}

// Anywhere is the source list that every client is in.
const Anywhere = "anywhere"

// None stands in an index for nothing.
const None = -1

// Region is a set of data centers.
type Region struct{ Name string }

// Owner is who answers for lists, groups, answers and rules.
type Owner struct{ Name string }

// DataCenter is a place that answers lead to (a GSS location).
type DataCenter struct {
	Name       string
	Region     int    // None
	Controller string // address of its controller's API, as api.Dial takes it; empty: not watched
}

// SourceList is a set of client addresses.
type SourceList struct {
	Name     string
	Owner    int
	Prefixes []netip.Prefix // masked, unique; both families
}

// DomainList is a set of names that rules balance.
type DomainList struct {
	Name    string
	Owner   int
	Domains []Domain
}

// Domain is one name, all names below one, or all names that an expression matches.
type Domain struct {
	// Name is canonical: lower case, absolute. For a wildcard it is the name with its "*." label.
	// Empty for an expression.
	Name string
	// Regexp is POSIX extended, leftmost-longest, and finds a part of the lower-case name without the last dot: ^ and $
	// make it match the whole. It is tried on names inside of the zones that have neither data nor a rule.
	Regexp *regexp.Regexp
}

// AnswerKind says what an answer is.
type AnswerKind uint8

const (
	VIP        AnswerKind = iota + 1 // A and AAAA of a virtual IP
	CNAME                            // another name
	NameServer                       // the query is forwarded and the reply relayed
)

// Answer is one thing that a rule may say.
type Answer struct {
	Name       string
	Kind       AnswerKind
	Owner      int
	DataCenter int              // None
	IPv4, IPv6 netip.Addr       // VIP: at least one is valid
	Target     string           // CNAME: canonical
	Servers    []netip.AddrPort // NameServer: tried in order
	Keepalives []int            // into Config.Keepalives; all must pass; empty: always up, or as the controller says
	// name of the VIP at the data center's controller that must be live; empty: not watched
	ControllerVIP string
	Suspended     bool // by configuration
}

// KeepaliveKind is a way of asking whether an answer is alive.
type KeepaliveKind uint8

const (
	ICMP KeepaliveKind = iota + 1
	TCP
	HTTPHead
	NameServerQuery
	SNMP
	LoadReport
	Always // "none": up without asking
)

// Keepalive is one probe; several answers may share it, and it runs once.
type Keepalive struct {
	Name    string // empty for an inline one
	Kind    KeepaliveKind
	Address netip.AddrPort // Port 0 for ICMP; invalid for Always
	FIN     bool           // TCP, HTTPHead: close in the orderly way; else by RST

	TLS          bool     // HTTPHead
	VerifyTLS    bool     // HTTPHead
	Host, Path   string   // HTTPHead
	ExpectStatus []uint16 // HTTPHead; default 200

	QueryName string // NameServerQuery: canonical
	QueryType uint16 // NameServerQuery

	OID, Community string // SNMP (v2c)
	SNMPMin        int64  // SNMP: the value must lie between these two
	SNMPMax        int64

	Tag       string         // LoadReport: by tag, else by VIP
	VIP       netip.AddrPort // LoadReport: by VIP; port 0: any
	Secondary netip.AddrPort // LoadReport: asked when the primary does not answer
	Key       []byte         // LoadReport: shared secret, as loadreport.NewKey takes it

	Timing Timing
}

// Timing is when a keepalive probes and when it believes what it saw.
//
// Standard (Fast false): a probe each Interval; one that has no answer within Timeout fails, and the answer is offline:
// at the latest Interval + Timeout after it died. Fast: a probe fails after Acked x (Response + Retry x Retries) +
// Wait, where Acked is how many packets of its exchange want an acknowledgement (ICMP, TCP-RST, load report 1; TCP-FIN,
// HEAD-RST 2; HEAD-FIN 3) and Wait is Response for exchanges that close by FIN, else 0.
type Timing struct {
	Fast              bool
	Interval, Timeout time.Duration // standard: 40 s (40-255 s), 20 s (20-60 s); "custom" preset: from 100 ms
	Response, Retry   time.Duration // fast: 2 s each (100 ms-1 m)
	Retries           int           // fast: 0-10, 1
	Successes         int           // consecutive successes before online again; 1
	Failures          int           // standard: consecutive failures before offline; 1
}

// Group is a set of answers of one kind.
type Group struct {
	Name    string
	Owner   int
	Kind    AnswerKind
	Members []Member // ascending by Order, then as written
}

// Member is an answer in a group.
type Member struct {
	Answer        int // into Config.Answers
	Order         int // ordered: lowest first, gaps allowed; default position+1
	Weight        int // 0-1000, default 1; weighted round robin, least loaded, hashes. 0: never picked
	LoadThreshold int // 2-254: above it the answer is offline; 0: no threshold
}

// Balance is how a clause picks among the live members of its group.
type Balance uint8

const (
	Ordered Balance = iota + 1
	RoundRobin
	WeightedRoundRobin
	LeastLoaded
	HashSource
	HashDomain
	HashBoth
)

// Policy is what to do when nothing of a clause, or of a rule, is live.
type Policy uint8

const (
	NextClause Policy = iota + 1
	AllAnswers        // as if all members were live
	NoData
	Refused
	Forward // to Rule.Forward
)

// UnknownPolicy is what an answer without a first verdict counts as.
type UnknownPolicy uint8

const (
	Wait UnknownPolicy = iota + 1 // the query waits for the verdict, up to Rule.MaxWait, then SERVFAIL
	AsUp
	AsDown
)

// Clause is one attempt of a rule: a group and how to pick from it.
type Clause struct {
	Group   int
	Balance Balance
	Count   int    // how many answers to return at most; 1-32, default 1; CNAME and NameServer groups: 1
	AllDown Policy // NextClause in all but the last clause unless said otherwise; in the last, the rule's
}

// Rule maps clients and names to clauses.
type Rule struct {
	Name    string
	Owner   int
	Sources int // into Config.SourceLists
	Domains int // into Config.DomainLists
	TTL     uint32
	Clauses []Clause // tried in order until one answers
	Unknown UnknownPolicy
	MaxWait time.Duration    // 10 ms-30 s, default 2 s; 0 unless Unknown is Wait
	Forward []netip.AddrPort // for Policy Forward
	// ClientSubnet: RFC 7871 subnets count as the client's address in this rule: source list, hashes, sticky.
	ClientSubnet bool
	// Prefix4, Prefix6: source hashes and sticky take this many bits of the client's address. Default 32 and 128; 24
	// and 56 with ClientSubnet.
	Prefix4, Prefix6 int
	Sticky           Sticky
	Suspended        bool
}

// StickyBy is what an answer sticks to, beside the client.
type StickyBy uint8

const (
	NotSticky StickyBy = iota
	StickyDomain
	StickyDomainList
)

// Sticky keeps a client at the answer it had, while that is live.
type Sticky struct {
	By         StickyBy
	Inactivity time.Duration
}

// NoMatch is what a name that nothing covers gets.
type NoMatch uint8

const (
	NoMatchDefault NoMatch = iota // zone: NXDOMAIN where the zone is whole, else the server's
	NoMatchRefused
	NoMatchForward
	NoMatchNXDomain // zones only
)

// Warnings are what is odd about a configuration and changes nothing else: the first strict.MaxProblems, and how many
// more.
type Warnings []*strict.Problem

// String is a line for each, but for the last one's end.
func (w Warnings) String() string {
	var lines []string
	for _, p := range w {
		lines = append(lines, "warning: "+p.Error())
	}
	return strings.Join(lines, "\n")
}

// Zone is a zone that this server is authoritative for: whole, with its records, or only the names that rules balance
// in it, its SOA fetched from who owns the rest.
type Zone struct {
	Name    string   // canonical
	Records []dns.RR // canonical owner names, deduplicated, SOA first; one SOA, unless SOAFrom
	SOAFrom []netip.AddrPort
	NoMatch NoMatch
	Forward []netip.AddrPort // for NoMatchForward; the server's unless it has its own
}

// Server is the process: sockets, limits, protocol options.
type Server struct {
	Listen  []netip.AddrPort // UDP and TCP both; empty: --listen must say where. Port 0: any
	Control Control
	Metrics string // address for Prometheus: loopback, or https; empty: off
	State   string // file that keeps what was suspended by hand; empty: not kept
	NSID    string
	Version string // CH TXT version.bind and version.server; empty: REFUSED
	ID      string // CH TXT id.server and hostname.bind; empty: REFUSED
	UDPSize uint16 // largest UDP response and what OPT advertises; 512-4096, default 1232
	// RFC 9018, 16 bytes; the first makes cookies, all verify; empty: one of this process's own
	CookieSecrets  [][16]byte
	RateLimit      RateLimit
	TCP            TCPLimits
	Mitigation     Mitigation
	Reload         Reload
	NoMatch        NoMatch // Refused or Forward
	Forward        []netip.AddrPort
	ForwardTimeout time.Duration // per try, default 1 s
	ForwardMax     int           // forwarded queries under way, default 1000
}

// Control is where `sluice gslb status` and friends ask. On the local socket callers are known by their credentials
// (SO_PEERCRED): root and the process's own user are operators. From other hosts they have the roles of their
// certificates.
type Control struct {
	Socket    string   // empty: the default of the command
	Listen    string   // https address for other hosts; empty: none
	Operators []string // user and group names ("alice", "%netops"): all methods
	Viewers   []string // read-only methods
}

// RateLimit is response rate limiting by client prefix (/24, /56) and kind of response. Off when Responses is 0.
type RateLimit struct {
	Responses int           // per second, prefix and (name or kind of error); 0: off
	Errors    int           // REFUSED, FORMERR, SERVFAIL, NXDOMAIN; default Responses
	Window    time.Duration // how long a burst is remembered; 1-3600 s, default 15 s
	Slip      int           // every so manieth limited response is sent truncated; 0: none, 1: all; default 2
	Exempt    []netip.Prefix
}

// TCPLimits bound what TCP clients may hold.
type TCPLimits struct {
	Connections, PerClient int           // default 1000, 100
	Idle, Query            time.Duration // default 10 s without a query; 5 s for a started message or a write
	Pipeline               int           // queries of one connection under way, default 64
}

// Reload is when the files of the configuration are read again without being told to.
type Reload struct {
	Watch   bool          // when they change; default on
	Settle  time.Duration // how long one that was not replaced as a whole must be left alone before; default 10 s
	MaxLoss int           // percent of the names, and of the answers, that may go by it; default 20
}

// Mitigation drops what no honest resolver sends.
type Mitigation struct {
	Responses       bool // messages with QR=1; default on
	PrivilegedPorts bool // queries from ports below 1024 other than 53; default on
}
