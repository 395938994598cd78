package demo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUneven(t *testing.T) {
	type count = map[string]int
	for _, test := range []struct {
		name           string
		slots, answers count
		want           []string
	}{
		{"even", count{"web1": 1366, "web2": 1365, "web3": 1365}, count{"web1": 240, "web2": 262, "web3": 249}, nil},
		{"as far off as luck goes", count{"web1": 1366, "web2": 1365, "web3": 1365},
			count{"web1": 310, "web2": 230, "web3": 210}, nil},
		{"one dead", count{"web1": 2048, "web3": 2048}, count{"web1": 375, "web3": 376}, nil},
		{"all flows in two slots", count{"web1": 1366, "web2": 1365, "web3": 1365}, count{"web1": 375, "web3": 375},
			[]string{
				"web1 gave 375 of 750 answers, its slots are good for 250 ± 65",
				"web2 gave 0 of 750 answers, its slots are good for 250 ± 65",
				"web3 gave 375 of 750 answers, its slots are good for 250 ± 65",
			}},
		{"none of the fewest", count{"web1": 1366, "web2": 1365, "web3": 1365}, count{"web1": 50, "web3": 50}, []string{
			"web2 gave 0 of 100 answers, its slots are good for 33 ± 24",
		}},
		{"answers of the dead", count{"web1": 2048, "web3": 2048}, count{"web1": 375, "web2": 1, "web3": 376}, []string{
			"web2 gave 1 of 752 answers, its slots are good for 0 ± 0",
		}},
		{"hardly any slot", count{"web1": 2048, "web2": 1, "web3": 2047}, count{"web1": 375, "web3": 375}, []string{
			"web1 has 2,048 of 4,096 slots, shared by 3",
			"web2 has 1 of 4,096 slots, shared by 3",
			"web3 has 2,047 of 4,096 slots, shared by 3",
		}},
		{"slots without a server", count{"web1": 2048, "": 1, "web3": 2047}, count{"web1": 375, "web3": 375},
			[]string{"nobody has 1 slot"}},
		{"nothing", nil, nil, []string{"only 0 answers"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := uneven([]string{"web1", "web2", "web3"}, test.slots, test.answers)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClaimsOnRequests(t *testing.T) {
	whole := tally{issued: 1000, ok: 980, failedDead: 20, fresh: map[string]int{"web1": 500, "web2": 100},
		kept: map[string]int{"web1": 380}}
	served := map[string]int{"web1": 880, "web2": 110}
	for _, test := range []struct {
		name   string
		change func(t *tally, served map[string]int)
		early  *tally
		want   []bool
	}{
		{"whole", func(*tally, map[string]int) {}, nil, []bool{true, true, true}},
		{"a request without end", func(t *tally, _ map[string]int) { t.issued++ }, nil, []bool{false, true, true}},
		{"hardly any", func(t *tally, served map[string]int) {
			*t = tally{issued: 299, ok: 299, fresh: map[string]int{"web1": 299}}
			served["web1"], served["web2"] = 299, 0
		}, nil, []bool{false, true, true}},
		{"a long outage", func(t *tally, _ map[string]int) { t.issued += 100; t.failedDead += 100 }, nil,
			[]bool{false, true, true}},
		{"an answer that nobody sent", func(_ *tally, served map[string]int) { served["web1"]-- }, nil,
			[]bool{true, false, true}},
		{"an answer by a stranger", func(t *tally, _ map[string]int) { t.fresh["web9"] = 1 }, nil,
			[]bool{true, false, true}},
		{"pages that nobody asked for", func(_ *tally, served map[string]int) { served["web2"] += 100 }, nil,
			[]bool{true, false, true}},
		{"a failure on a live server", func(t *tally, _ map[string]int) { t.failedDead--; t.failedLive++ }, nil,
			[]bool{true, true, false}},
		{"a long outage of a whole data center",
			func(t *tally, _ map[string]int) { t.issued += 500; t.failedDead += 500 },
			&tally{issued: 1000, failedDead: 20}, []bool{true, true, true}},
		{"a long outage before", func(t *tally, _ map[string]int) { t.issued += 500; t.failedDead += 500 },
			&tally{issued: 1000, failedDead: 101}, []bool{false, true, true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, sent := whole.since(tally{}), map[string]int{"web1": served["web1"], "web2": served["web2"]}
			test.change(&all, sent)
			var got []bool
			for _, c := range all.claims(sent, test.early, false, false) {
				got = append(got, c.holds)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWrap(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"short", []string{"short"}},
		{"  two words or more", []string{"  two words", "  or more"}},
		{"exactly 12 c", []string{"exactly 12 c"}},
		{"unbreakable-and-long", []string{"unbreakable-and-long"}},
	} {
		if diff := cmp.Diff(test.want, wrap(test.text, 12)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}
