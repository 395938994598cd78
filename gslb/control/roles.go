package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
)

// Role is what a caller may do.
type Role uint8

const (
	Nobody   Role = iota
	Viewer        // ask
	Operator      // ask and tell
)

func (r Role) String() string {
	switch r {
	case Operator:
		return "operator"
	case Viewer:
		return "viewer"
	}
	return "nobody"
}

// Roles says who has which role. The zero value knows root and the process's own user, who are operators.
type Roles struct {
	Operators []string // user names, and group names behind a "%"
	Viewers   []string
}

// caller is the process at the other end, by its credentials when it connected. Its groups are those that
// the system's database gives its user, and its primary one.
type caller struct {
	uid, gid uint32
	err      error // why it is not known
}

type callerKey struct{}

func withCaller(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, callerKey{}, peer(c))
}

// methods that change something; every other one is for viewers.
var operatorMethods = []string{ControlServiceSetSuspendedProcedure}

func (r *Roles) guard(next http.Handler) http.Handler {
	errs := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		from, _ := req.Context().Value(callerKey{}).(caller)
		need := Viewer
		if slices.Contains(operatorMethods, req.URL.Path) {
			need = Operator
		}
		if err := r.permit(from, need); err != nil {
			if errs.IsSupported(req) {
				_ = errs.Write(w, req, connect.NewError(connect.CodePermissionDenied, err)) // the caller is gone
			} else {
				http.Error(w, err.Error(), http.StatusForbidden)
			}
			return
		}
		next.ServeHTTP(w, req)
	})
}

// permit returns why the caller may not do what needs that role, or nil.
func (r *Roles) permit(from caller, need Role) error {
	if from.err != nil {
		return fmt.Errorf("the caller is not known: %w", from.err)
	}
	have, name := r.of(from)
	if have >= need {
		return nil
	}
	return fmt.Errorf("%s has the role %s and this needs %s: name the user, or a group as %%GROUP, under server.control.%ss", name, have, need, need)
}

// of returns the caller's role, and what the caller is called.
func (r *Roles) of(from caller) (Role, string) {
	name := "user " + strconv.FormatUint(uint64(from.uid), 10)
	var member []string // what lists may call it
	groups := []string{strconv.FormatUint(uint64(from.gid), 10)}
	if u, err := user.LookupId(strconv.FormatUint(uint64(from.uid), 10)); err == nil {
		name = "user " + u.Username
		member = append(member, u.Username)
		if more, err := u.GroupIds(); err == nil {
			groups = append(groups, more...)
		}
	}
	for _, id := range groups {
		if g, err := user.LookupGroupId(id); err == nil {
			member = append(member, "%"+g.Name)
		}
	}
	listed := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(member, strings.TrimSpace(s)) })
	}
	switch {
	case from.uid == 0 || int(from.uid) == os.Geteuid() || listed(r.Operators):
		return Operator, name
	case listed(r.Viewers):
		return Viewer, name
	}
	return Nobody, name
}
