package rpc

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

type logBuffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestListen(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	taken := filepath.Join(dir, "taken")
	start(t, "unix:"+taken, nil, nil)
	datagrams := filepath.Join(dir, "datagrams")
	log, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: datagrams})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()

	const noTLS = `plain text stays on this machine: must be https://host:port, a unix socket or a loopback address`
	for _, test := range []struct{ address, want string }{
		{"127.0.0.1:0", ""},
		{"localhost:0", ""},
		{"http://127.0.0.1:0/", ""},
		{"unix:" + filepath.Join(dir, "new"), ""},
		{"unix:" + stale, ""},
		{"0.0.0.0:0", `address "0.0.0.0:0": ` + noTLS},
		{":9680", `address ":9680": ` + noTLS},
		{"192.0.2.1:9680", `address "192.0.2.1:9680": ` + noTLS},
		{"controller.example:9680", `address "controller.example:9680": ` + noTLS},
		{"9680", `address "9680": must be unix:/path, host:port or https://host:port`},
		{"127.0.0.1:65536", `address "127.0.0.1:65536": the port must be 0..65535, is "65536"`},
		{"unix:", `address "unix:": must name a socket, as unix:/path`},
		{"unix:" + file, "opening a socket: " + file + " exists and is no socket"},
		{"unix:" + taken, fmt.Sprintf("opening a socket: another process listens on %s (process %d)", taken,
			os.Getpid())},
		{"unix:" + datagrams, "opening a socket: somebody may listen on " + datagrams + ": dial unix " + datagrams +
			": connect: protocol wrong type for socket"},
	} {
		l, err := Listen(test.address, nil, Security{}, nil)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			l.Close()
		}
		if got != test.want {
			t.Errorf("Listen(%q): got %q, want %q", test.address, got, test.want)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is %q, %v", text, err)
	}
	for _, path := range []string{taken, datagrams} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("a service has lost its socket: %v", err)
		}
	}
}

// Who ends removes its own socket and no other, and lets the next one in.
func TestCloseRemovesItsOwn(t *testing.T) {
	path := socketIn(shortDir(t))
	first, err := Listen("unix:"+path, nil, Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket of another was removed: %v", err)
	}
	other.Close()
	second, err := Listen("unix:"+path, nil, Security{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the own socket stays: %v", err)
	}
}

// A socket is for its owner alone, unless others have a role.
func TestSocketMode(t *testing.T) {
	for _, test := range []struct {
		name   string
		access *Access
		want   os.FileMode
	}{
		{"nobody else", nil, 0o600},
		{"nobody who is known", NewAccess(map[Role][]string{Viewer: {"no-such-user"}}, nil), 0o600},
		{"a user", NewAccess(map[Role][]string{Viewer: {"4001"}}, nil), 0o666},
		{"a group", NewAccess(map[Role][]string{Viewer: {"%4001"}}, nil), 0o666},
	} {
		path := socketIn(shortDir(t))
		s := start(t, "unix:"+path, test.access, nil)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != test.want {
			t.Errorf("%s: mode %v, want %v (%v)", test.name, info.Mode().Perm(), test.want, err)
		}
		if want := "level=WARN msg=\"nobody has a role by this name: the system does not know it\" socket=" + path +
			" name=no-such-user\n"; (len(test.access.Unknown()) > 0) != strings.Contains(s.log.String(), want) {
			t.Errorf("%s: log %q", test.name, s.log.String())
		}
	}
}

// What another user puts where this user's sockets would be does not hide root's.
func TestFind(t *testing.T) {
	dir := shortDir(t)
	own, empty, system, open := filepath.Join(dir, "own"), filepath.Join(dir, "empty"), filepath.Join(dir,
		"system"), filepath.Join(dir, "open")
	for _, path := range []string{own, empty, system, open} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if path == empty {
			continue
		}
		if err := os.WriteFile(filepath.Join(path, "a.sock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	uid := os.Geteuid()
	for _, test := range []struct {
		name, own, system string
		uid               int
		want              string
	}{
		{"the user's own", own, system, uid, own},
		{"root's", empty, system, uid, system},
		{"none", empty, empty, uid, empty},
		{"no directory", filepath.Join(dir, "no"), system, uid, system},
		{"somebody else's directory", own, system, uid + 1, system},
		{"everybody's directory", open, system, uid, system},
		{"somebody else's directory, and none of root's", own, empty, uid + 1, own},
	} {
		if got := find(test.own, test.system, test.uid, "a"); got != "unix:"+test.want+"/a.sock" {
			t.Errorf("%s: got %s, want that in %s", test.name, got, test.want)
		}
	}
}

func TestDirOf(t *testing.T) {
	dir := shortDir(t)
	private, open := filepath.Join(dir, "private"), filepath.Join(dir, "open")
	for path, mode := range map[string]os.FileMode{private: 0o700, open: 0o777} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(private, link); err != nil {
		t.Fatal(err)
	}
	// A uid that is not 0, whose directories these are if the test runs as root.
	uid := os.Geteuid()
	if uid == 0 {
		uid = 4001
		for _, path := range []string{private, open} {
			if err := os.Chown(path, uid, uid); err != nil {
				t.Fatal(err)
			}
		}
	}
	fallback := fmt.Sprintf("/tmp/sluice-%d", uid)
	for _, test := range []struct {
		name, runtime string
		uid           int
		want          string
	}{
		{"root", private, 0, "/run/sluice"},
		{"a session's", private, uid, private + "/sluice"},
		{"no session", "", uid, fallback},
		{"everybody's", open, uid, fallback},
		{"a link", link, uid, fallback},
		{"a relative one", "private", uid, fallback},
		{"another's", private, uid + 1, fmt.Sprintf("/tmp/sluice-%d", uid+1)},
	} {
		if got := dirOf(test.uid, test.runtime, "/tmp"); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
