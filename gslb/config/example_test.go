package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/internal/strict"
)

const examples = "../../docs/examples"

func example(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(examples, "gslb.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func exampleZone(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(examples, "example.org.zone"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// offKeys are the lines of the example that are keys for who takes the # off.
var offKeys = regexp.MustCompile(`(?m)^( *)#([a-z_]+:.*)$`)

// whole is the example with those keys.
func whole(t testing.TB) []byte { return offKeys.ReplaceAll(example(t), []byte("$1$2")) }

// The example has an answer for www.example.com at once, whatever the network is like.
func TestExampleAnswersAtOnce(t *testing.T) {
	c, _, err := Load(filepath.Join(examples, "gslb.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5300")}, c.Server.Listen,
		equate); diff != "" {
		t.Errorf("listens (-want +got):\n%s", diff)
	}
	for _, rule := range c.Rules {
		if !slices.ContainsFunc(c.DomainLists[rule.Domains].Domains,
			func(d Domain) bool { return d.Name == "www.example.com." }) {
			continue
		}
		group := c.Groups[rule.Clauses[0].Group]
		for _, m := range group.Members {
			answer := c.Answers[m.Answer]
			if answer.ControllerVIP != "" ||
				slices.ContainsFunc(answer.Keepalives, func(k int) bool { return c.Keepalives[k].Kind != Always }) {
				t.Errorf("rule %s: answer %s has to be found alive first", rule.Name, answer.Name)
			}
		}
		if rule.Unknown == Wait || rule.Suspended || group.Kind != VIP {
			t.Errorf("rule %s does not answer at once", rule.Name)
		}
	}
}

func TestExampleNamesEveryKey(t *testing.T) {
	all := strict.Missing(whole(t), raw{})
	missing := slices.DeleteFunc(slices.Clone(all), func(path string) bool {
		// What an answer's own keepalive and the timing of all can have is shown where shared keepalives are.
		if key, ok := strings.CutPrefix(path, "answers."); ok {
			return strings.HasPrefix(key, "keepalives.") && !slices.Contains(all, key)
		}
		return strings.HasPrefix(path, "timing.") && !slices.Contains(all, "keepalives."+path)
	})
	if len(missing) > 0 {
		t.Errorf("gslb.yaml lacks %s", strings.Join(missing, ", "))
	}
}

// The example shows every word that a key can have.
func TestExampleShowsEveryWord(t *testing.T) {
	text := string(whole(t))
	for _, words := range [][]string{answerKinds, keepaliveKinds, balances, policies, unknownPolicies, stickyBys,
		noMatches, {"standard", "fast", "custom", "rst", "fin"}} {
		for _, w := range words {
			if w != "" && !regexp.MustCompile(`(: |or )`+w+`\b`).MatchString(text) {
				t.Errorf("gslb.yaml shows no %s", w)
			}
		}
	}
}

// The keys that the example has commented out are good ones, where there is what they need.
func TestExampleWithAllKeys(t *testing.T) {
	text := strings.ReplaceAll(string(whole(t)), "    tag: www ", "    ") // the load of a VIP in place of a tag
	text = strings.Replace(text, "    key: a secret", "    #key: a secret", 1)
	text = strings.Replace(text, "YOUR_OWN_32_HEX_DIGITS", "0123456789abcdef0123456789abcdef", 1)
	dir := write(t, map[string]string{
		"gslb.yaml": text, "example.org.zone": string(exampleZone(t)),
		"cookie-secrets": "ffeeddccbbaa99887766554433221100\n", "load-report.key": "a secret of at least 16 bytes\n",
	})
	c, files, err := Load(filepath.Join(dir, "gslb.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 || c.Answers[0].ControllerVIP == "" || len(c.Server.CookieSecrets) != 2 {
		t.Errorf("files %q, answer %+v", files, c.Answers[0])
	}
}

// The defaults that the example states in brackets are those of the code.
func TestExampleDefaults(t *testing.T) {
	text := string(whole(t))
	for key, want := range map[string]string{
		"udp_size": "1232", "window": "15s", "slip": "2", "connections": "1000", "per_client": "100", "idle": "10s",
		"query": "5s", "pipeline": "64",
		"forward_timeout": "1s", "forward_max": "1000", "no_match": "refused", "close": "rst", "retries": "1",
		"response": "2s", "retry": "2s",
		"ttl": "20", "balance": "round_robin", "count": "1", "max_wait": "2s", "inactivity": "1h", "weight": "1",
		"query_type": "A", "community": "public",
	} {
		if !regexp.MustCompile(`(?m)^[ -]*#?` + key + `:[^\[\n]*\[` + regexp.QuoteMeta(want) + `\]|` + `(?m)^[ -]*` +
			key + `: [^\n]*#[^\n]*\[` + regexp.QuoteMeta(want) + `\]`).MatchString(text) {
			t.Errorf("%s: gslb.yaml does not say [%s]", key, want)
		}
	}
	c, err := Parse("f", []byte(valid))
	if err != nil {
		t.Fatal(err)
	}
	s, r := c.Server, c.Rules[0]
	if s.UDPSize != 1232 || s.TCP.Pipeline != 64 || s.ForwardMax != 1000 || r.TTL != 20 ||
		r.Clauses[1].Balance != RoundRobin || r.MaxWait != defaultMaxWait {
		t.Errorf("other defaults than those: %+v, %+v", s, r)
	}
}
