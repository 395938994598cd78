package control

import (
	"context"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"
)

type service struct {
	UnimplementedControlServiceHandler
}

func (service) GetStatus(context.Context, *GetStatusRequest) (*GetStatusResponse, error) {
	return &GetStatusResponse{ConfigFile: "gslb.yaml"}, nil
}

func (service) SetSuspended(_ context.Context, r *SetSuspendedRequest) (*SetSuspendedResponse, error) {
	return &SetSuspendedResponse{Changed: []string{r.Selector.Answer}}, nil
}

// shortDir is a directory whose path leaves room for a unix socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gslb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestServe(t *testing.T) {
	path := filepath.Join(shortDir(t), "socket")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || err.Error() != "opening the control socket: another process listens on "+path {
		t.Errorf("a second listener gets %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, &Roles{}, service{}) }()
	c := Dial(path)
	defer c.Close()
	status, err := c.GetStatus(t.Context(), &GetStatusRequest{})
	if err != nil || status.ConfigFile != "gslb.yaml" {
		t.Errorf("the process's own user: status %v, error %v", status, err)
	}
	changed, err := c.SetSuspended(t.Context(), &SetSuspendedRequest{Selector: &Selector{Answer: "fra"}, Suspended: true})
	if err != nil || len(changed.Changed) != 1 {
		t.Errorf("the process's own user: suspended %v, error %v", changed, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.GetStatus(t.Context(), &GetStatusRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a process that is gone: %v", err)
	}
}

func TestListenRefusesFiles(t *testing.T) {
	path := filepath.Join(shortDir(t), "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil || err.Error() != "opening the control socket: "+path+" exists and is no socket" {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

// A socket that may be somebody's is left alone, whatever speaks through it.
func TestListenRefusesSockets(t *testing.T) {
	path := filepath.Join(shortDir(t), "socket")
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if l, err := Listen(path); err == nil {
		l.Close()
		t.Error("the socket of another service is taken away")
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other service has lost its socket: %v", err)
	}
}

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
	other := caller{uid: uint32(uid), gid: uint32(gid)}
	unknown := caller{uid: 3999999999, gid: 3999999999}
	for _, tt := range []struct {
		name  string
		roles Roles
		from  caller
		need  Role
		want  string // what the error says; empty: permitted
	}{
		{"root operates", Roles{}, caller{}, Operator, ""},
		{"the own user operates", Roles{}, caller{uid: uint32(os.Geteuid()), gid: 3999999999}, Operator, ""},
		{"others do nothing", Roles{}, other, Viewer, "user daemon has the role nobody and this needs viewer: name the user, or a group as %GROUP, under server.control.viewers"},
		{"a viewer asks", Roles{Viewers: []string{"daemon"}}, other, Viewer, ""},
		{"a viewer does not tell", Roles{Viewers: []string{"daemon"}}, other, Operator, "user daemon has the role viewer and this needs operator: name the user, or a group as %GROUP, under server.control.operators"},
		{"an operator asks and tells", Roles{Operators: []string{"daemon"}}, other, Operator, ""},
		{"by group", Roles{Operators: []string{"%" + group.Name}}, other, Operator, ""},
		{"a group is not a user", Roles{Operators: []string{"%no-such-" + group.Name}}, other, Viewer, "user daemon has the role nobody and this needs viewer: name the user, or a group as %GROUP, under server.control.viewers"},
		{"without a name", Roles{Operators: []string{"daemon"}}, unknown, Viewer, "user 3999999999 has the role nobody and this needs viewer: name the user, or a group as %GROUP, under server.control.viewers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := tt.roles.permit(tt.from, tt.need); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestStrangersAreRefused has another user at the other end.
func TestStrangersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, &Roles{Viewers: []string{"%nogroup"}}, service{}) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for _, tt := range []struct{ user, method, body, want string }{
		{"nobody", "GetStatus", "{}", "gslb.yaml"}, // by its group
		{"nobody", "SetSuspended", `{"selector":{"answer":"x"}}`, "user nobody has the role viewer and this needs operator"},
		{"daemon", "GetStatus", "{}", "user daemon has the role nobody and this needs viewer"},
	} {
		got := asUser(t, tt.user, path, tt.method, tt.body)
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s calls %s: %s, want %q in it", tt.user, tt.method, got, tt.want)
		}
	}
}
