package config

import (
	"fmt"
	"strings"

	"github.com/sluicelb/sluice/internal/strict"
)

// The words of the file for each enumeration, by value. Those that are empty cannot be written.
var (
	answerKinds    = []string{VIP: "vip", CNAME: "cname", NameServer: "name_server"}
	keepaliveKinds = []string{ICMP: "icmp", TCP: "tcp", HTTPHead: "http_head", NameServerQuery: "name_server",
		SNMP: "snmp", LoadReport: "load_report", Always: "none"}
	balances = []string{Ordered: "ordered", RoundRobin: "round_robin",
		WeightedRoundRobin: "weighted_round_robin", LeastLoaded: "least_loaded", HashSource: "hash_source",
		HashDomain: "hash_domain", HashBoth: "hash_both"}
	policies = []string{NextClause: "next_clause", AllAnswers: "all_answers", NoData: "no_data",
		Refused: "refused", Forward: "forward"}
	unknownPolicies = []string{Wait: "wait", AsUp: "up", AsDown: "down"}
	stickyBys       = []string{NotSticky: "", StickyDomain: "domain", StickyDomainList: "domain_list"}
	noMatches       = []string{NoMatchDefault: "", NoMatchRefused: "refused", NoMatchForward: "forward",
		NoMatchNXDomain: "nxdomain"}
)

// String returns the word that the file has for k; so do the other enumerations' methods.
func (k AnswerKind) String() string    { return word(answerKinds, k) }
func (k KeepaliveKind) String() string { return word(keepaliveKinds, k) }
func (b Balance) String() string       { return word(balances, b) }
func (p Policy) String() string        { return word(policies, p) }
func (p UnknownPolicy) String() string { return word(unknownPolicies, p) }
func (s StickyBy) String() string      { return word(stickyBys, s) }
func (m NoMatch) String() string       { return word(noMatches, m) }

// UnmarshalText reads the word that the file has for a kind; so do the other enumerations' methods.
func (k *AnswerKind) UnmarshalText(text []byte) error    { return pick(answerKinds, k, text) }
func (k *KeepaliveKind) UnmarshalText(text []byte) error { return pick(keepaliveKinds, k, text) }
func (b *Balance) UnmarshalText(text []byte) error       { return pick(balances, b, text) }
func (p *Policy) UnmarshalText(text []byte) error        { return pick(policies, p, text) }
func (p *UnknownPolicy) UnmarshalText(text []byte) error { return pick(unknownPolicies, p, text) }
func (s *StickyBy) UnmarshalText(text []byte) error      { return pick(stickyBys, s, text) }
func (m *NoMatch) UnmarshalText(text []byte) error       { return pick(noMatches, m, text) }

func word[E ~uint8](words []string, e E) string {
	if int(e) < len(words) && words[e] != "" {
		return words[e]
	}
	return fmt.Sprintf("%d", uint8(e))
}

func pick[E ~uint8](words []string, e *E, text []byte) error {
	var known []string
	for i, w := range words {
		switch w {
		case "":
		case string(text):
			*e = E(i)
			return nil
		default:
			known = append(known, w)
		}
	}
	return fmt.Errorf("must be %s, is %s", either(known), strict.Quote(string(text)))
}

// either joins words: a, b or c.
func either(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
