package p4rt

import (
	"fmt"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
)

// Profile is what the action profile of a table holds (section "ActionProfileMember &
// ActionProfileGroup"): what entries mean by a member or a group.
type Profile struct {
	members map[uint32]WeightedAction
	groups  map[uint32][]*v1.ActionProfileGroup_Member
}

// QueryProfile asks for all members and all groups of the table's action profile. Targets answer one
// request as a whole, so these are two.
func (t *Table) QueryProfile() (members, groups *v1.Entity) {
	members = &v1.Entity{Entity: &v1.Entity_ActionProfileMember{
		ActionProfileMember: &v1.ActionProfileMember{ActionProfileId: t.Profile}}}
	groups = &v1.Entity{Entity: &v1.Entity_ActionProfileGroup{
		ActionProfileGroup: &v1.ActionProfileGroup{ActionProfileId: t.Profile}}}
	return members, groups
}

// DecodeProfile names what the target answers to QueryProfile.
func (t *Table) DecodeProfile(entities []*v1.Entity) (Profile, error) {
	p := Profile{members: make(map[uint32]WeightedAction), groups: make(map[uint32][]*v1.ActionProfileGroup_Member)}
	for _, e := range entities {
		if g := e.GetActionProfileGroup(); g != nil {
			p.groups[g.GetGroupId()] = g.GetMembers()
			continue
		}
		m := e.GetActionProfileMember()
		action, params, err := decodeCall(t, m.GetAction())
		if err != nil {
			return Profile{}, fmt.Errorf("decoding member %d of the action profile of table %s: %w", m.GetMemberId(),
				t.Name,
				err)
		}
		p.members[m.GetMemberId()] = WeightedAction{Action: action, Params: params, Weight: 1}
	}
	return p, nil
}

// Holds returns what the member or group that e names holds. It returns false when the profile does
// not tell, be it that the target did not or that it has changed since.
func (p Profile) Holds(e Entry) ([]WeightedAction, bool) {
	if e.Member != 0 {
		m, ok := p.members[e.Member]
		return []WeightedAction{m}, ok
	}
	group, ok := p.groups[e.Group]
	var all []WeightedAction
	for _, member := range group {
		m, known := p.members[member.GetMemberId()]
		ok = ok && known
		m.Weight = member.GetWeight()
		all = append(all, m)
	}
	return all, ok
}
