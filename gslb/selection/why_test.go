package selection

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
)

// TestWhy shows explanations as people read them.
func TestWhy(t *testing.T) {
	w := newWorld(t)
	w.vips("a", "b", "c", "d")
	w.vip("v4", "198.51.100.4")
	w.cname("n")
	w.server("s", "198.51.100.53:53")
	www := w.domains("www", "www.example.")
	ten, tenone := w.sources("ten", "10.0.0.0/8"), w.sources("tenone", "10.1.0.0/16")
	main := []config.Clause{
		{Group: w.group("first", "a*5>150", "b*1", "c*0", "v4*2", "d"), Balance: config.WeightedRoundRobin, Count: 2},
		{Group: w.group("second", "d*3", "b"), Balance: config.HashBoth, AllDown: config.AllAnswers},
	}
	w.rule(config.Rule{Name: "office", Sources: ten, Domains: www, Clauses: main})
	w.rule(config.Rule{Name: "lab", Sources: tenone, Domains: www, Clauses: main})
	w.rule(config.Rule{Name: "everyone", Domains: www, Clauses: main, ClientSubnet: true, Prefix4: 24, Prefix6: 56})
	w.rule(config.Rule{Name: "never", Domains: www, Clauses: main})
	sticky := w.domains("sticky", "sticky.example.")
	w.rule(config.Rule{Name: "sticky", Domains: sticky, Clauses: []config.Clause{
		{Group: w.group("rr", "a", "b", "v4"), Balance: config.RoundRobin, Count: 2},
	}, Sticky: config.Sticky{By: config.StickyDomainList, Inactivity: time.Minute}})
	names := w.domains("names", "names.example.")
	w.rule(config.Rule{Name: "names", Domains: names, Clauses: []config.Clause{
		{Group: w.group("only4", "v4>9"), Balance: config.LeastLoaded}, {Group: w.group("n", "n")},
	}})
	servers := w.domains("servers", "servers.example.")
	w.rule(config.Rule{Name: "servers", Domains: servers, Clauses: []config.Clause{
		{Group: w.group("loaded", "a*2", "b", "c"), Balance: config.LeastLoaded, AllDown: config.NextClause},
		{Group: w.group("s", "s"), AllDown: config.Refused},
	}})
	private := w.domains("private", "private.example.")
	w.rule(config.Rule{Name: "private", Sources: ten, Domains: private, ClientSubnet: true})
	r := w.compile()
	sets := map[string]int32{}
	for _, b := range r.Balanced() {
		sets[b.Name] = b.Set
	}

	for _, tt := range []struct {
		name, qname, subnet, states string
		qtype                       uint16
		stuck                       string
		want                        string
	}{
		{name: "members", qname: "www.example.", states: "a:200 b:3", qtype: dns.TypeAAAA, subnet: "10.1.2.0/24",
			want: `
www.example. AAAA from 10.2.0.1, client subnet 10.1.2.0/24
rule office: decides: 10.0.0.0/8 in source list ten has 10.2.0.1
rule lab: source list tenone does not have 10.2.0.1
rule everyone: 0.0.0.0/0 in source list anywhere is shorter than 10.0.0.0/8
rule never: 0.0.0.0/0 in source list anywhere is shorter than 10.0.0.0/8
clause 1: group first, weighted round robin, count 2
  a (weight 5): load 200 > 150
  b (weight 1): candidate
  c (weight 0): weight 0
  v4 (weight 2): no IPv6 address
  d (weight 1): candidate
  2 candidates
  picked d: turn 2 of 2, cursor 7
  picked b: turn 1 of 1, cursor 7
answer: addresses of d, b, TTL 20, scope 0
`},
		{name: "policy", qname: "www.example.", states: "office:suspended a:down b:down c:suspended v4:unknown d:down",
			qtype: dns.TypeAAAA, subnet: "192.0.2.0/24", want: `
www.example. AAAA from 10.2.0.1, client subnet 192.0.2.0/24
rule office: suspended
rule lab: source list tenone does not have 10.2.0.1
rule everyone: decides: 0.0.0.0/0 in source list anywhere has client subnet 192.0.2.0/24
rule never: comes later in the file than everyone, for a prefix of the same length
clause 1: group first, weighted round robin, count 2
  a (weight 5): down
  b (weight 1): down
  c (weight 0): suspended
  v4 (weight 2): no IPv6 address
  d (weight 1): down
  no candidates: policy next clause
clause 2: group second, hash by source and domain, count 1
  d (weight 3): down
  b (weight 1): down
  no candidates: policy all answers
  picked d: hash of 192.0.2.0/24 and www.example.
answer: addresses of d, by policy all answers, TTL 20, scope 24
`},
		{name: "wait", qname: "www.example.", states: "a:unknown b:down c:suspended v4:down d:suspended",
			qtype: dns.TypeA, want: `
www.example. A from 10.2.0.1
rule office: decides: 10.0.0.0/8 in source list ten has 10.2.0.1
rule lab: source list tenone does not have 10.2.0.1
rule everyone: 0.0.0.0/0 in source list anywhere is shorter than 10.0.0.0/8
rule never: 0.0.0.0/0 in source list anywhere is shorter than 10.0.0.0/8
clause 1: group first, weighted round robin, count 2
  a (weight 5): no verdict yet
  b (weight 1): down
  c (weight 0): suspended
  v4 (weight 2): down
  d (weight 1): suspended
  no candidates yet: next clause, and wait for the first verdicts if none has any
clause 2: group second, hash by source and domain, count 1
  d (weight 3): suspended
  b (weight 1): down
  no candidates: wait for the first verdicts, up to 5s
answer: wait, TTL 20, no client subnet used
`},
		{name: "sticky", qname: "sticky.example.", qtype: dns.TypeA, want: `
sticky.example. A from 10.2.0.1
rule sticky: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
sticky: 10.2.0.1/32 by domain list sticky for 1m0s: no answer yet
clause 1: group rr, round robin, count 1
  a (weight 1): candidate
  b (weight 1): candidate
  v4 (weight 1): candidate
  3 candidates
  picked b: position 2 of 3, cursor 7
answer: addresses of b, TTL 20, no client subnet used
`},
		{name: "stuck", qname: "sticky.example.", qtype: dns.TypeA, stuck: "a", want: `
sticky.example. A from 10.2.0.1
rule sticky: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
sticky: 10.2.0.1/32 by domain list sticky for 1m0s: stays with a
answer: addresses of a, TTL 20, no client subnet used
`},
		{name: "stuck to what is down", qname: "sticky.example.", qtype: dns.TypeA, stuck: "a", states: "a:down b:down",
			want: `
sticky.example. A from 10.2.0.1
rule sticky: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
sticky: 10.2.0.1/32 by domain list sticky for 1m0s: the answer it had is not live in this rule
clause 1: group rr, round robin, count 1
  a (weight 1): down
  b (weight 1): down
  v4 (weight 1): candidate
  1 candidate
  picked v4: position 1 of 1, cursor 7
answer: addresses of v4, TTL 20, no client subnet used
`},
		{name: "stuck to another family", qname: "sticky.example.", qtype: dns.TypeAAAA, stuck: "v4", states: "a:down",
			want: `
sticky.example. AAAA from 10.2.0.1
rule sticky: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
sticky: 10.2.0.1/32 by domain list sticky for 1m0s: the answer it has is live and has nothing for AAAA
clause 1: group rr, round robin, count 1
  a (weight 1): down
  b (weight 1): candidate
  v4 (weight 1): no IPv6 address
  1 candidate
  picked b: position 1 of 1, cursor 7
answer: addresses of b, TTL 20, no client subnet used
`},
		{name: "no CNAME beside data", qname: "names.example.", qtype: dns.TypeMX, want: `
names.example. MX from 10.2.0.1
rule names: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
clause 1: group only4, least loaded, count 1
  v4 (weight 1): only A and AAAA
  no member has anything for MX: passed over
clause 2: group n, ordered, count 1
  n (weight 1): candidate
  a clause before it has data of other types, beside which there is no CNAME: no data
answer: no data, TTL 20, no client subnet used
`},
		{name: "CNAME", qname: "names.example.", qtype: dns.TypeA, states: "v4:10", want: `
names.example. A from 10.2.0.1
rule names: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
clause 1: group only4, least loaded, count 1
  v4 (weight 1): load 10 > 9
  no candidates: policy next clause
clause 2: group n, ordered, count 1
  n (weight 1): candidate
  1 candidate
  picked n: first of 1 in order
answer: CNAME of n, TTL 20, no client subnet used
`},
		{name: "least loaded", qname: "servers.example.", qtype: dns.TypeA, states: "a:20 b:10", want: `
servers.example. A from 10.2.0.1
rule servers: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
clause 1: group loaded, least loaded, count 1
  a (weight 2): candidate
  b (weight 1): candidate
  c (weight 1): candidate
  3 candidates
  picked b: load 10 / weight 1 is the least of 2 alike, cursor 7
answer: addresses of b, TTL 20, no client subnet used
`},
		{name: "least loaded without loads", qname: "servers.example.", qtype: dns.TypeA, states: "a:down b:down",
			want: `
servers.example. A from 10.2.0.1
rule servers: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
clause 1: group loaded, least loaded, count 1
  a (weight 2): down
  b (weight 1): down
  c (weight 1): candidate
  1 candidate
  picked c: no candidate has a load
answer: addresses of c, TTL 20, no client subnet used
`},
		{name: "forward", qname: "servers.example.", qtype: dns.TypeMX, want: `
servers.example. MX from 10.2.0.1
rule servers: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
clause 1: group loaded, least loaded, count 1
  a (weight 2): only A and AAAA
  b (weight 1): only A and AAAA
  c (weight 1): only A and AAAA
  no member has anything for MX: passed over
clause 2: group s, ordered, count 1
  s (weight 1): candidate
  1 candidate
  picked s: first of 1 in order
answer: forward of s to 198.51.100.53:53, TTL 20, no client subnet used
`},
		{name: "refused", qname: "servers.example.", qtype: dns.TypeMX, states: "s:down", want: `
servers.example. MX from 10.2.0.1
rule servers: decides: 0.0.0.0/0 in source list anywhere has 10.2.0.1
clause 1: group loaded, least loaded, count 1
  a (weight 2): only A and AAAA
  b (weight 1): only A and AAAA
  c (weight 1): only A and AAAA
  no member has anything for MX: passed over
clause 2: group s, ordered, count 1
  s (weight 1): down
  no candidates: policy refused
answer: refused, by policy refused, TTL 20, no client subnet used
`},
		{name: "no rule", qname: "private.example.", qtype: dns.TypeA, subnet: "192.0.2.0/24", want: `
private.example. A from 10.2.0.1, client subnet 192.0.2.0/24
rule private: source list ten does not have client subnet 192.0.2.0/24
answer: no rule, scope 1
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := Query{Set: sets[tt.qname], Name: wire(t, tt.qname), Type: tt.qtype, Source: mustAddr("10.2.0.1")}
			if tt.subnet != "" {
				q.Subnet = netip.MustParsePrefix(tt.subnet)
			}
			if tt.stuck != "" {
				q.Stuck = newAnswerID(tt.stuck)
			}
			q.Cursors = make([]uint32, r.Cursors())
			for i := range q.Cursors {
				q.Cursors[i] = 7
			}
			_, why := r.Explain(w.states(strings.Fields(tt.states)...), &q)
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), why.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestWhyJSON shows an explanation as programs read it.
func TestWhyJSON(t *testing.T) {
	w := newWorld(t)
	w.vips("a", "b")
	w.rule(config.Rule{Name: "r", Domains: w.domains("d", "www.example."), ClientSubnet: true, Clauses: []config.Clause{
		{Group: w.group("g", "a>10", "b"), Balance: config.RoundRobin},
	}})
	q := query(t)
	q.Subnet = netip.MustParsePrefix("10.0.0.0/24")
	_, why := w.compile().Explain(w.states("a:20"), &q)
	got, err := json.MarshalIndent(why, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want := `{
 "name": "www.example.",
 "type": "A",
 "source": "192.0.2.1",
 "subnet": "10.0.0.0/24",
 "rules": [
  {
   "rule": "r",
   "source_list": "anywhere",
   "client": "10.0.0.0/24",
   "prefix": "0.0.0.0/0",
   "decides": true,
   "reason": "decides: 0.0.0.0/0 in source list anywhere has client subnet 10.0.0.0/24"
  }
 ],
 "clauses": [
  {
   "clause": 1,
   "group": "g",
   "balance": "round robin",
   "count": 1,
   "members": [
    {
     "answer": "a",
     "weight": 1,
     "health": "up",
     "load": 20,
     "candidate": false,
     "reason": "load 20 \u003e 10"
    },
    {
     "answer": "b",
     "weight": 1,
     "health": "up",
     "candidate": true,
     "reason": "candidate"
    }
   ],
   "result": "1 candidate",
   "picks": [
    {
     "answer": "b",
     "reason": "position 1 of 1, cursor 0"
    }
   ]
  }
 ],
 "outcome": "addresses",
 "answers": [
  "b"
 ],
 "ttl": 20,
 "scope": 0
}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWhyManyRules: of thousands of rules the one that decides is always shown.
func TestWhyManyRules(t *testing.T) {
	w := newWorld(t)
	w.vips("a")
	ten, domains, group := w.sources("ten", "10.0.0.0/8"), w.domains("d", "www.example."), w.group("g", "a")
	for range 3999 {
		w.rule(config.Rule{Sources: ten, Domains: domains, Clauses: []config.Clause{{Group: group}}})
	}
	w.rule(config.Rule{Name: "last", Domains: domains, Clauses: []config.Clause{{Group: group}}})
	q := query(t)
	_, why := w.compile().Explain(w.states(), &q)
	lines := why.Lines()
	if len(lines) > 30 {
		t.Errorf("%d lines", len(lines))
	}
	text := why.String()
	for _, want := range []string{"rule last: decides: 0.0.0.0/0 in source list anywhere has 192.0.2.1\n",
		"3979 more rules do not decide\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
