package rpc

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
)

// Role is what a caller may do.
type Role string

// known are the roles that there are.
var known = []Role{Operator, Viewer, Healthd, GSLB, Controller}

// Known returns the roles that there are.
func Known() []Role { return slices.Clone(known) }

// The roles. Which of them there is a use for, a service's Methods say.
const (
	Operator   Role = "operator"   // ask and tell
	Viewer     Role = "viewer"     // ask
	Healthd    Role = "healthd"    // get checks, report verdicts
	GSLB       Role = "gslb"       // ask for the state of VIPs
	Controller Role = "controller" // own a switch
)

// implied are the roles that come with a role.
var implied = map[Role][]Role{
	Operator:   {Viewer, GSLB},
	Viewer:     {GSLB},
	Controller: {Viewer},
}

// Access says who has which role on a socket. Root and the process's own user have all of them, and so has everybody
// at a TCP socket in plain text, where callers cannot be told apart. Over TLS a caller has the roles of its
// certificate.
type Access struct {
	users, groups map[uint32][]Role
	unknown       []string
	hint          func(Role) string
}

// NewAccess gives roles to accounts: names or numbers of users, and of groups behind a "%". hint ends the message to
// somebody who lacks a role: where to name the account; it may be nil.
//
// Names become numbers here, once, so that no caller waits for a directory service. Unknown tells those that nobody
// has.
func NewAccess(members map[Role][]string, hint func(Role) string) *Access {
	a := &Access{users: make(map[uint32][]Role), groups: make(map[uint32][]Role), hint: hint}
	for role, names := range members {
		for _, name := range names {
			name = strings.TrimSpace(name)
			into, id, err := a.users, "", error(nil)
			if group, ok := strings.CutPrefix(name, "%"); ok {
				into = a.groups
				id, err = groupID(group)
			} else {
				id, err = userID(name)
			}
			n, notNumber := strconv.ParseUint(id, 10, 32)
			if err != nil || notNumber != nil {
				a.unknown = append(a.unknown, name)
				continue
			}
			into[uint32(n)] = append(into[uint32(n)], role)
		}
	}
	slices.Sort(a.unknown)
	return a
}

func userID(name string) (string, error) {
	if u, err := user.Lookup(name); err == nil {
		return u.Uid, nil
	}
	return number(name)
}

func groupID(name string) (string, error) {
	if g, err := user.LookupGroup(name); err == nil {
		return g.Gid, nil
	}
	return number(name)
}

func number(name string) (string, error) {
	_, err := strconv.ParseUint(name, 10, 32)
	return name, err
}

// Unknown returns the accounts that this system does not know, sorted: nobody has a role by them.
func (a *Access) Unknown() []string {
	if a == nil {
		return nil
	}
	return a.unknown
}

// others says whether anybody has a role beside root and the process's own user.
func (a *Access) others() bool { return a != nil && len(a.users)+len(a.groups) > 0 }

// master says whether the caller has every role.
func (c Caller) master() bool {
	return c.Err == nil && !c.TLS && (c.TCP || c.UID == 0 || int64(c.UID) == int64(os.Geteuid()))
}

// roles returns the roles of a caller who is no master, without those that are implied, sorted.
func (a *Access) roles(c Caller) []Role {
	if c.TLS {
		all := slices.DeleteFunc(slices.Clone(c.Roles), func(r Role) bool { return !slices.Contains(known, r) })
		slices.Sort(all)
		return slices.Compact(all)
	}
	if a == nil || c.Err != nil {
		return nil
	}
	all := slices.Clone(a.users[c.UID])
	all = append(all, a.groups[c.GID]...)
	for _, g := range c.Groups {
		all = append(all, a.groups[g]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Permit returns why the caller may not do what needs that role, or nil.
func (a *Access) Permit(c Caller, need Role) error {
	if c.Err != nil {
		return fmt.Errorf("the caller is not known: %w", c.Err)
	}
	if c.master() {
		return nil
	}
	roles := a.roles(c)
	for _, r := range roles {
		if r == need || slices.Contains(implied[r], need) {
			return nil
		}
	}
	has := "role nobody"
	switch len(roles) {
	case 0:
		if len(c.Roles) > 0 {
			return fmt.Errorf("%s has the %s, which is unknown: must be one of %s, and this needs %s",
				c.name(), rolesText(c.Roles), join(known), need)
		}
	default:
		has = rolesText(roles)
	}
	err := fmt.Errorf("%s has the %s and this needs %s", c.name(), has, need)
	if !c.TLS && a != nil && a.hint != nil {
		err = fmt.Errorf("%w: name the user, or a group as %%GROUP, %s", err, a.hint(need))
	}
	return err
}

func rolesText(roles []Role) string {
	if len(roles) == 1 {
		return "role " + string(roles[0])
	}
	return "roles " + join(roles)
}

func join(roles []Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// name is what people call the caller.
func (c Caller) name() string {
	if c.TLS {
		return fmt.Sprintf("the certificate of %q", c.Name)
	}
	id := strconv.FormatUint(uint64(c.UID), 10)
	if u, err := user.LookupId(id); err == nil {
		return "user " + u.Username
	}
	return "user " + id
}
