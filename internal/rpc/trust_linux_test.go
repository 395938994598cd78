package rpc

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

const squatter = 4002 // a user that no system has

// A client speaks to nobody who took a socket's place: its server must be root, the client's user, or who the address
// names, and so must be whoever could have put it there.
func TestSquatter(t *testing.T) {
	dir := shortDir(t)
	if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil { // as /tmp
		t.Fatal(err)
	}
	path := socketIn(dir)
	var l *net.UnixListener
	var err error
	as(t, squatter, func() { l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 1)
				if n, _ := c.Read(b); n > 0 {
					heard <- "a word"
				}
				c.Close()
			}()
		}
	}()
	dial := func(user string) string {
		c, err := DialEndpoint(t.Context(), endpoint.Endpoint{Network: "unix", Address: path, User: user}, Security{})
		if err != nil {
			return err.Error()
		}
		c.Close()
		return ""
	}
	const advice = ", must be root or the caller; behind the path, ?user=NAME names another"
	if got, want := dial(""), path+" is not trusted: it belongs to user 4002"+advice; got != want {
		t.Errorf("a squatter's file: got %q, want %q", got, want)
	}
	if got := dial("4002"); got != "" {
		t.Errorf("whom the address names: %s", got)
	}
	// The file's owner says nothing of who listens: it may have been renamed or given away.
	if err := os.Chown(path, 0, 0); err != nil {
		t.Fatal(err)
	}
	if got, want := dial(""), path+" is not trusted: it is served by user 4002"+advice; got != want {
		t.Errorf("a squatter's process: got %q, want %q", got, want)
	}
	client, err := Dial("unix:"+path, Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.HTTP().Post(client.URL+askPath, "application/json", strings.NewReader("secret")); err == nil ||
		!strings.Contains(err.Error(), "is served by user 4002") {
		t.Errorf("a call: %v", err)
	}
	select {
	case <-heard:
		t.Error("the squatter has heard something")
	default:
	}
	// Without the sticky bit anybody may put a socket there.
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got, want := dial("4002"), path+" is not trusted: everybody may write to its directory"; got != want {
		t.Errorf("everybody's directory: got %q, want %q", got, want)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, squatter, squatter); err != nil {
		t.Fatal(err)
	}
	if got, want := dial(""), path+" is not trusted: its directory belongs to user 4002"+advice; got != want {
		t.Errorf("a squatter's directory: got %q, want %q", got, want)
	}
	got, want := dial("no-such-user"), "unix:"+path+"?user=no-such-user: this system has no user \"no-such-user\""
	if got != want {
		t.Errorf("a name that nobody has: got %q, want %q", got, want)
	}
}

// A server makes no socket in a directory that somebody else has put in the place of its own.
func TestSquattedDirectory(t *testing.T) {
	dir := shortDir(t)
	if err := os.Chmod(dir, os.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	const victim = 4003
	own := dirOf(victim, "", dir)
	check := func(want string) {
		t.Helper()
		var err error
		as(t, victim, func() { err = checkDir(own, victim) })
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := os.Mkdir(own, 0o777); err != nil {
		t.Fatal(err)
	}
	check(own + " belongs to user 0: it must belong to user 4003")
	if err := os.Chown(own, victim, victim); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(own, 0o777); err != nil {
		t.Fatal(err)
	}
	check(own + " has mode -rwxrwxrwx: nobody but its owner may write to it")
	if err := os.Rename(own, own+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(own+".real", own); err != nil {
		t.Fatal(err)
	}
	check(own + " is a symbolic link: it must be a directory of user 4003")
}

// The kernel says who calls, and each gets what its role allows.
func TestCallersAreKnown(t *testing.T) {
	path := socketIn(shortDir(t))
	access := NewAccess(map[Role][]string{Viewer: {"4001", "%4004"}, Operator: {"4005"}},
		func(r Role) string { return "under " + string(r) + "s" })
	start(t, "unix:"+path, access, nil)
	refusal := func(user int, has, needs Role) string {
		return fmt.Sprintf(
			`{"code":"permission_denied","message":"user %d has the role %s and this needs %s: name the `+
				`user, or a group as %%GROUP, under %ss"}`, user, has, needs, needs)
	}
	for _, test := range []struct {
		uid        int
		path, want string
	}{
		{0, tellPath, "good x"},
		{4001, askPath, "good x"},
		{4001, tellPath, refusal(4001, "viewer", "operator")},
		{4004, askPath, "good x"}, // by its group
		{4005, askPath, "good x"}, // an operator may look
		{4005, tellPath, "good x"},
		{4002, askPath, refusal(4002, "nobody", "viewer")},
		{4002, "/test.Service/Hidden", "404 page not found\n"},
	} {
		var c net.Conn
		var err error
		as(t, test.uid, func() { c, err = connectTo(path) })
		if err != nil {
			t.Fatal(err)
		}
		if got := post(t, c, test.path, "x"); got != test.want {
			t.Errorf("user %d calls %s: got %s, want %s", test.uid, test.path, got, test.want)
		}
		c.Close()
	}
}

// Without others that have a role, the kernel lets nobody else connect, and the client says whose the socket is.
func TestSocketOfOneUser(t *testing.T) {
	path := socketIn(shortDir(t))
	start(t, "unix:"+path, nil, nil)
	var err error
	as(t, 4001, func() { err = tryDial(path, 4001) })
	want := "dial unix " + path + ": connect: permission denied: this socket is for others, owned by user root with " +
		"mode -rw-------: who serves it can give you a role"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// tryDial is DialEndpoint on this thread.
func tryDial(path string, uid uint32) error {
	if err := checkPath(path, []uint32{0, uid}); err != nil {
		return err
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		return c.Close()
	}
	return denied(err, path)
}

// Whoever holds connections shuts out nobody but callers like himself.
func TestConnectionsPerUser(t *testing.T) {
	path := socketIn(shortDir(t))
	s := start(t, "unix:"+path, NewAccess(map[Role][]string{Viewer: {"4001", "4005"}}, nil), func(l *Listener) {
		l.limits.perUser = [kinds]int{owner: 3, member: 2, stranger: 2}
		l.limits.all = [kinds]int{owner: 6, member: 4, stranger: 3}
	})
	var held []net.Conn
	hold := func(uid, n int) {
		t.Helper()
		as(t, uid, func() {
			for range n {
				c, err := connectTo(path)
				if err != nil {
					t.Error(err)
					return
				}
				held = append(held, c)
			}
		})
	}
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	full := func(uid int) {
		t.Helper()
		hold(uid, 1)
		if c := held[len(held)-1]; !closed(t, c) {
			t.Errorf("user %d has one connection more", uid)
		}
	}
	calls := func(uid int, want string) {
		t.Helper()
		hold(uid, 1)
		if got := post(t, held[len(held)-1], askPath, ""); got != want {
			t.Errorf("user %d: got %s, want %s", uid, got, want)
		}
	}
	const refused = `{"code":"permission_denied","message":"user 4007 has the role nobody and this needs viewer"}`
	hold(4006, 2) // strangers
	full(4006)
	hold(4008, 1)
	full(4009)
	hold(4001, 2)
	full(4001)
	calls(4005, "good ")
	calls(0, "good ")
	// Room that is left is room again.
	for _, c := range held {
		c.Close()
	}
	held = nil
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.held) == 0
	})
	calls(4007, refused)
	if want := "level=WARN msg=\"connections are refused\" socket=unix:" + path +
		` caller="uid 4006" reason="2 of this caller are open"`; strings.Count(s.log.String(),
		"connections are refused") != 1 || !strings.Contains(s.log.String(), want) {
		t.Errorf("log %q, want once %q", s.log.String(), want)
	}
}

// 300 connections that another user holds leave the default socket to those who have business there.
func TestThreeHundredConnections(t *testing.T) {
	path := filepath.Join(shortDir(t), "socket")
	start(t, "unix:"+path, NewAccess(map[Role][]string{Viewer: {"4001"}}, nil), nil)
	for _, uid := range []int{65534, 4001} {
		var held []net.Conn
		as(t, uid, func() {
			for range 300 {
				if c, err := connectTo(path); err == nil {
					held = append(held, c)
				}
			}
		})
		for _, c := range held {
			defer c.Close()
		}
	}
	client, err := Dial("unix:"+path, Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	resp, err := client.HTTP().Post(client.URL+askPath, "application/json", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %s", resp.Status)
	}
}

// A socket whose backlog is full refuses connections for a while, and has an owner all the same: one of ours by its
// lock, any other because nobody said that it is gone.
func TestFullBacklogIsNoLeave(t *testing.T) {
	for _, ours := range []bool{true, false} {
		path := socketIn(shortDir(t))
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 0); err != nil {
			t.Fatal(err)
		}
		if ours {
			lock, err := lockSocket(path)
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
		}
		for { // until the next one would wait
			c, err := net.Dial("unix", path)
			if err != nil {
				break
			}
			defer c.Close()
		}
		l, err := Listen("unix:"+path, nil, Security{}, nil)
		want := "opening a socket: somebody may listen on " + path
		if ours {
			want = "opening a socket: another process listens on " + path
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if err == nil {
			l.Close()
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the socket is gone: %v", err)
		}
	}
}
