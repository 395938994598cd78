package rpc

import (
	"errors"
	"os"
	"os/user"
	"slices"
	"strconv"
	"testing"
)

func TestPermit(t *testing.T) {
	// Users that every system has, and one that none has.
	daemon, err := user.Lookup("daemon")
	if err != nil {
		t.Skip("this system has no user daemon")
	}
	uid, _ := strconv.ParseUint(daemon.Uid, 10, 32)
	gid, _ := strconv.ParseUint(daemon.Gid, 10, 32)
	group, err := user.LookupGroupId(daemon.Gid)
	if err != nil {
		t.Skip("the group of daemon has no name")
	}
	byUser := Caller{UID: uint32(uid), GID: 3999999998}
	byGroup := Caller{UID: 3999999998, GID: uint32(gid)}
	byMore := Caller{UID: 3999999998, GID: 3999999998, Groups: []uint32{7, uint32(gid)}}
	unknown := Caller{UID: 3999999999, GID: 3999999999}
	type roles map[Role][]string
	const who = ": name the user, or a group as %GROUP, "
	for _, tt := range []struct {
		name  string
		roles roles
		from  Caller
		need  Role
		want  string // what the error says; empty: permitted
	}{
		{"root does everything", nil, Caller{}, Operator, ""},
		{"so does the own user", nil, Caller{UID: uint32(os.Geteuid()), GID: 3999999999}, Controller, ""},
		{"and who comes by TCP", nil, Caller{TCP: true}, Healthd, ""},
		{"others do nothing", nil, byUser, Viewer, "user daemon has the role nobody and this needs viewer" + who +
			"under viewer"},
		{"a viewer asks", roles{Viewer: {"daemon"}}, byUser, Viewer, ""},
		{"a viewer does not tell", roles{Viewer: {"daemon"}}, byUser, Operator,
			"user daemon has the role viewer and this needs operator" + who + "under operator"},
		{"an operator asks and tells", roles{Operator: {"daemon"}}, byUser, Viewer, ""},
		{"an operator gives no verdicts", roles{Operator: {"daemon"}}, byUser, Healthd,
			"user daemon has the role operator and this needs healthd" + who + "under healthd"},
		{"two roles", roles{Healthd: {"daemon"}, GSLB: {" daemon "}}, byUser, Operator,
			"user daemon has the roles gslb, healthd and this needs operator" + who + "under operator"},
		{"who owns the switch looks at it", roles{Controller: {"daemon"}}, byUser, Viewer, ""},
		{"by the number", roles{Viewer: {"3999999999"}}, unknown, Viewer, ""},
		{"by the group", roles{Operator: {"%" + group.Name}}, byGroup, Operator, ""},
		{"by the group's number", roles{Operator: {"%" + daemon.Gid}}, byGroup, Operator, ""},
		{"by one group of several", roles{Operator: {"%" + group.Name}}, byMore, Operator, ""},
		{"a user is not a group", roles{Operator: {"daemon"}}, byGroup, Viewer,
			"user 3999999998 has the role nobody and this needs viewer" + who + "under viewer"},
		{"a group is not a user", roles{Operator: {"%no-such-" + group.Name}}, byUser, Viewer,
			"user daemon has the role nobody and this needs viewer" + who + "under viewer"},
		{"without a name", roles{Operator: {"daemon"}}, unknown, Viewer,
			"user 3999999999 has the role nobody and this needs viewer" + who + "under viewer"},
		{"without credentials", roles{Operator: {"daemon"}}, Caller{Err: errors.New("no idea")}, Viewer,
			"the caller is not known: no idea"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			access := NewAccess(tt.roles, func(r Role) string { return "under " + string(r) })
			if err := access.Permit(tt.from, tt.need); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if err := (*Access)(nil).Permit(byUser, Viewer); err == nil ||
		err.Error() != "user daemon has the role nobody and this needs viewer" {
		t.Errorf("where nobody has a role: %v", err)
	}
	if got := NewAccess(roles{Viewer: {"no-such-user", "%no-such-group", "daemon"}}, nil).Unknown(); !slices.Equal(got,
		[]string{"%no-such-group", "no-such-user"}) {
		t.Errorf("unknown are %q", got)
	}
}
