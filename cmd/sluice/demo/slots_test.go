package demo

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/api"
)

func table(to, old string) slotTable {
	names := map[string]string{"1": "web1", "2": "web2", "3": "web3", "-": ""}
	var t slotTable
	for _, c := range strings.Split(to, "") {
		t.to = append(t.to, names[c])
	}
	for _, c := range strings.Split(old, "") {
		t.old = append(t.old, names[c])
	}
	return t
}

func TestMoves(t *testing.T) {
	whole := table("112233", "------")
	for _, test := range []struct {
		name          string
		before, after slotTable
		want          moves
		leaving       int // surplus, when web2's slots were to leave
		returning     int // surplus, when web2 was to come back to two slots
	}{
		{"nothing", whole, whole, moves{}, 0, 0},
		{"death", whole, table("111333", "------"), moves{{"web2", "web1"}: 1, {"web2", "web3"}: 1}, 0, 2},
		{"death, and another moved", whole, table("311333", "------"),
			moves{{"web2", "web1"}: 1, {"web2", "web3"}: 1, {"web1", "web3"}: 1}, 1, 3},
		{"return", table("111333", "------"), table("112233", "--13--"),
			moves{{"web1", "web2"}: 1, {"web3", "web2"}: 1}, 2,
			0},
		{"return with too much", table("111333", "------"), table("122233", "------"),
			moves{{"web1", "web2"}: 2, {"web3", "web2"}: 1}, 3, 1},
		{"lost", whole, table("11--33", "------"), moves{{"web2", ""}: 2}, 0, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.before.movesTo(test.after)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(move{})); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
			if got := got.surplusLeaving("web2"); got != test.leaving {
				t.Errorf("surplus when web2 leaves: %d, want %d", got, test.leaving)
			}
			if got := got.surplusReturning("web2", 2); got != test.returning {
				t.Errorf("surplus when web2 returns: %d, want %d", got, test.returning)
			}
		})
	}
	for _, test := range []struct {
		name   string
		seen   moves
		report []*api.SlotMoves
		share  int
		want   check
	}{
		{"all", moves{{"web1", "web2"}: 1, {"web3", "web2"}: 1},
			[]*api.SlotMoves{{From: "web1", To: "web2", Slots: 1}, {From: "web3", To: "web2", Slots: 1}}, 2,
			check{holds: true, text: "return: 2 of 2 slots moved, 0 surplus; the controller agrees"}},
		{"one of two", moves{{"web1", "web2"}: 1}, []*api.SlotMoves{{From: "web1", To: "web2", Slots: 1}}, 2,
			check{text: "return: 1 of 2 slots moved, 0 surplus; the controller agrees"}},
		{"three of two", moves{{"web1", "web2"}: 3}, []*api.SlotMoves{{From: "web1", To: "web2", Slots: 3}}, 2,
			check{text: "return: 3 slots moved, 1 surplus; the controller says 3, 0 surplus"}},
		{"not what was said", moves{{"web1", "web2"}: 1}, []*api.SlotMoves{{From: "web1", To: "web2", Slots: 2}}, 2,
			check{text: "return: 1 slot moved, 0 surplus; the controller says 2, 0 surplus"}},
		{"none of none", moves{}, nil, 0,
			check{text: "return: 0 of 0 slots moved, 0 surplus; the controller agrees"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := explained("return", &api.Reprogrammed{Moves: test.report}, test.seen,
				test.seen.surplusReturning("web2", 2),
				test.share)
			if got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
	moving := table("112233", "--13-1")
	if all, web1 := moving.moving(""), moving.moving("web1"); all != 3 || web1 != 2 {
		t.Errorf("moving: %d slots, %d of web1; want 3 and 2", all, web1)
	}
}
