package rpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"

	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// noon is when certificates of tests are made.
var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// authority makes a lab's authority in a new directory.
func authority(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := cert.NewAuthority(dir, name, cert.AuthorityDays, noon.AddDate(0, 0, -30)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func issue(t *testing.T, dir string, r cert.Request) Files {
	t.Helper()
	pair, err := cert.Issue(dir, r, noon)
	if err != nil {
		t.Fatal(err)
	}
	return Files{Cert: pair.Cert, Key: pair.Key, CA: cert.Authority(dir).Cert}
}

// sign has a lab's authority sign what Issue would not, for a day around noon.
func sign(t *testing.T, dir string, template *x509.Certificate) Files {
	t.Helper()
	files := cert.Authority(dir)
	authority, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = noon.Add(-time.Hour), noon.AddDate(0, 0, 1)
	der, err := x509.CreateCertificate(rand.Reader, template, authority.Leaf, key.Public(), authority.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	made := Files{Cert: filepath.Join(own, "own.crt"), Key: filepath.Join(own, "own.key"), CA: files.Cert}
	for file, block := range map[string]*pem.Block{
		made.Cert: {Type: "CERTIFICATE", Bytes: der}, made.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// clock is a time of day that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }

func mustIdentity(t *testing.T, files Files, now func() time.Time, log io.Writer) *Identity {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	i, err := newIdentity(files, slog.New(slog.NewTextHandler(log, nil)), now)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// openTLS opens a socket on the loopback, and has its settings changed before the first connection.
func openTLS(t *testing.T, i *Identity, log io.Writer, change func(*Listener)) *Listener {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{
		Listener: socket, endpoint: endpoint.Endpoint{Network: "tcp", Address: socket.Addr().String(), TLS: true},
		limits: defaultLimits, log: slog.New(slog.NewTextHandler(log, nil)), held: make(map[key]int),
		lobby: newLobby(i),
	}
	if change != nil {
		change(l)
	}
	l.openTLS(l.lobby)
	return l
}

// listenTLS is openTLS, and serves answer until the test ends.
func listenTLS(t *testing.T, i *Identity, change func(*Listener)) server {
	t.Helper()
	log := &logBuffer{}
	l := openTLS(t, i, log, change)
	return serving(t, l, log)
}

// call asks once over a new connection.
func call(t *testing.T, address, path string, i *Identity) string {
	t.Helper()
	client, err := Dial(address, Security{Identity: i})
	if err != nil {
		return "error: " + err.Error()
	}
	defer client.Close()
	web := client.HTTP()
	web.Timeout = patience
	resp, err := web.Post(client.URL+path, "application/json", strings.NewReader(""))
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return "refused: " + refused.Error()
	}
	if err != nil {
		return "error: " + err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(text)
}

func denial(message string) string {
	return fmt.Sprintf(`{"code":"permission_denied","message":%q}`, message)
}

// Each caller is let in, or hears what is wrong.
func TestCertificates(t *testing.T) {
	lab, other := authority(t, "lab"), authority(t, "other")
	serving := issue(t, lab,
		cert.Request{Name: "ctl", Roles: []string{"controller"}, Hosts: []string{"127.0.0.1", "ctl.example"}})
	address := listenTLS(t, mustIdentity(t, serving, at(noon), nil), nil).Address()
	elsewhere := issue(t, lab, cert.Request{Name: "elsewhere", Hosts: []string{"192.0.2.1"}})
	strange := listenTLS(t, mustIdentity(t, elsewhere, at(noon), nil), nil).Address()
	// Its clock has stood still, so it shows what has expired.
	past := listenTLS(t, mustIdentity(t, serving, at(noon), nil), nil).Address()
	client := issue(t, lab, cert.Request{Name: "client", Roles: []string{"viewer"}})
	clientAsServer := client
	masked := listenTLS(t, mustIdentity(t, clientAsServer, at(noon), nil), nil).Address()

	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			c, err := plain.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.Close()
		}
	}()

	abrupt, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer abrupt.Close()
	go func() {
		for {
			c, err := abrupt.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 5))
			c.Close()
		}
	}()

	// An authority that ends before what it has issued.
	brief := t.TempDir()
	if _, err := cert.NewAuthority(brief, "brief", 1, noon.AddDate(0, 0, -3)); err != nil {
		t.Fatal(err)
	}
	widow := sign(t, brief, &x509.Certificate{
		Subject: pkix.Name{CommonName: "widow"}, DNSNames: []string{"ctl.example"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:        []*url.URL{cert.RoleURI("viewer")},
	})
	widowed := listenTLS(t, mustIdentity(t, widow, at(noon), nil), nil).Address()
	const briefly = "valid from 2026-11-25T11:55:00Z until 2026-11-26T12:00:00Z, and the time here is " +
		"2026-11-28T12:00:00Z"
	both := filepath.Join(t.TempDir(), "both.crt")
	concat(t, both, cert.Authority(brief).Cert, serving.CA)
	trusting := serving
	trusting.CA = both
	lenient := listenTLS(t, mustIdentity(t, trusting, at(noon), nil), nil).Address()

	namesake := ""
	later := noon.AddDate(2, 0, 0)
	for n, test := range []struct {
		name, address, path string
		files               Files
		now                 time.Time
		want                string
	}{
		{"viewer asks", address, askPath, client, noon, "good "},
		{"viewer tells", address, tellPath, client, noon,
			denial(`the certificate of "client" has the role viewer and this needs operator`)},
		{"operator tells", address, tellPath, issue(t, lab, cert.Request{Name: "boss", Roles: []string{"operator"}}),
			noon,
			"good "},
		{"controller asks", address, askPath, serving, noon, "good "},
		{"healthd asks", address, askPath, issue(t, lab, cert.Request{Name: "health", Roles: []string{"healthd"}}),
			noon,
			denial(`the certificate of "health" has the role healthd and this needs viewer`)},
		{"two roles", address, tellPath, issue(t, lab, cert.Request{Name: "two", Roles: []string{"healthd", "gslb"}}),
			noon,
			denial(`the certificate of "two" has the roles gslb, healthd and this needs operator`)},
		{"an unknown role", address, askPath, issue(t, lab, cert.Request{Name: "cleaner", Roles: []string{"janitor"}}),
			noon,
			denial(`the certificate of "cleaner" has the role janitor, which is unknown: must be one of operator, ` +
				`viewer, ` +
				`healthd, gslb, controller, and this needs viewer`)},
		{"a server that is no client", address, askPath, elsewhere, noon,
			fmt.Sprintf(`refused: %s refuses the certificate %s, of "elsewhere": it is not for clients: those `+
				`that are name a role`, address, elsewhere.Cert)},
		{"no certificate", address, askPath, Files{CA: serving.CA}, noon,
			"refused: " + address + " asks for a certificate, and this process has none: --tls-cert and --tls-key " +
				"name one"},
		{"one of another authority", address, askPath, func() Files {
			f := issue(t, other, cert.Request{Name: "client", Roles: []string{"operator"}})
			f.CA = serving.CA
			return f
		}(), noon,
			fmt.Sprintf(`refused: %s refuses the certificate %s, of "client": its authority, "other", is not `+
				`among those that the server trusts`,
				address, filepath.Join(other, "client.crt"))},
		{"an expired one", address, askPath, func() Files {
			pair, err := cert.Issue(lab, cert.Request{Name: "old", Roles: []string{"operator"}, Days: 1},
				noon.AddDate(0, 0, -10))
			if err != nil {
				t.Fatal(err)
			}
			return Files{Cert: pair.Cert, Key: pair.Key, CA: serving.CA}
		}(), noon, fmt.Sprintf(`refused: %s refuses the certificate %s, of "old": it is valid from `+
			`2026-11-18T11:55:00Z `+
			`until 2026-11-19T12:00:00Z, and the time here is 2026-11-28T12:00:00Z`,
			address, filepath.Join(lab, "old.crt"))},
		{"a server of another authority", address, askPath, func() Files {
			f := client
			f.CA = cert.Authority(other).Cert
			return f
		}(), noon,
			fmt.Sprintf(`refused: %s is not trusted: its certificate is of the authority "lab", which is not `+
				`in %s`, address, cert.Authority(other).Cert)},
		{"a server of another authority of the same name", address, askPath, func() Files {
			f := client
			f.CA = cert.Authority(authority(t, "lab")).Cert
			namesake = f.CA
			return f
		}(), noon, fmt.Sprintf(`refused: %s is not trusted: its certificate is of an authority "lab", but not `+
			`of the one of that name in %s`, address, namesake)},
		{"a server of another host", strange, askPath, client, noon,
			`refused: ` + strange + ` is not trusted: its certificate is for ["192.0.2.1"] and not for "127.0.0.1"`},
		{"a client that serves", masked, askPath, client, noon,
			`refused: ` + masked + ` is not trusted: its certificate, of "client", is for no host, and so not for ` +
				`"127.0.0.1"`},
		{"an expired server", past, askPath, client, later,
			`refused: ` + past + ` is not trusted: its certificate is valid from 2026-11-28T11:55:00Z until ` +
				`2027-11-28T12:00:00Z, and the time here is 2028-11-28T12:00:00Z`},
		{"a server whose authority has expired", widowed, askPath, Files{Cert: client.Cert, Key: client.Key, CA: both},
			noon,
			`refused: ` + widowed + ` is not trusted: the certificate of the authority "brief" above its own is ` +
				briefly},
		{"a client whose authority has expired", lenient, askPath, Files{Cert: widow.Cert, Key: widow.Key, CA: both},
			noon,
			`refused: ` + lenient + ` refuses the certificate ` + widow.Cert +
				`, of "widow": it is valid from 2026-11-28T11:00:00Z` +
				` until 2026-11-29T12:00:00Z, and the time here is 2026-11-28T12:00:00Z: ` +
				`that of its authority, "brief", may not be valid, or the server's clock is wrong`},
		{"a certificate for all uses", address, askPath, sign(t, lab, &x509.Certificate{
			Subject: pkix.Name{CommonName: "any"}, URIs: []*url.URL{cert.RoleURI("viewer")},
		}), noon, "good "},
		{"a server without TLS", "https://" + plain.Addr().String(), askPath, client, noon,
			"refused: https://" + plain.Addr().String() + " does not speak TLS"},
		{"a server that hangs up", "https://" + abrupt.Addr().String(), askPath, client, noon,
			"refused: https://" + abrupt.Addr().String() +
				" ended the connection in the handshake: it speaks no TLS, or has no room"},
		{"a caller without TLS", strings.TrimPrefix(address, "https://"), askPath, client, noon,
			"refused: " + strings.TrimPrefix(address, "https://") +
				" speaks TLS: the address must begin with https://"},
	} {
		got := call(t, test.address, test.path, mustIdentity(t, test.files, at(test.now), nil))
		if got != test.want {
			t.Errorf("%d %s:\ngot  %s\nwant %s", n, test.name, got, test.want)
		}
	}
	if _, err := Dial(address, Security{}); fmt.Sprint(err) != fmt.Sprintf(
		"address %q: needs --tls-ca, and --tls-cert "+
			"with --tls-key: without them nobody is known there", address) {
		t.Errorf("no identity at all: %v", err)
	}
}

// A refusal is heard every time, whatever the client has sent by then.
func TestRefusalIsHeard(t *testing.T) {
	lab := authority(t, "lab")
	address := listenTLS(t, mustIdentity(t, issue(t, lab, cert.Request{Name: "ctl", Hosts: []string{"127.0.0.1"}}),
		at(noon), nil), nil).Address()
	nobody := mustIdentity(t, Files{CA: cert.Authority(lab).Cert}, at(noon), nil)
	want := "refused: " + address + " asks for a certificate, and this process has none: --tls-cert and --tls-key " +
		"name one"
	for range 50 {
		if got := call(t, address, askPath, nobody); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// Who serves hears why it has refused a caller, and where that one is.
func TestRefusalIsLogged(t *testing.T) {
	lab, other := authority(t, "lab"), authority(t, "other")
	serving := issue(t, lab, cert.Request{Name: "ctl", Hosts: []string{"127.0.0.1"}})
	foreign := issue(t, other, cert.Request{Name: "spy", Roles: []string{"operator"}})
	foreign.CA = serving.CA
	for _, test := range []struct {
		name  string
		files Files
		want  string
	}{
		{"no certificate", Files{CA: serving.CA}, `"tls: client didn't provide a certificate"`},
		{"a server's", serving, `"its certificate, of \"ctl\", is not for clients"`},
		{"another authority's", foreign,
			`"its certificate is of the authority \"other\", which is not in ` + serving.CA + `"`},
	} {
		server := listenTLS(t, mustIdentity(t, serving, at(noon), nil), nil)
		call(t, server.Address(), askPath, mustIdentity(t, test.files, at(noon), nil))
		waitFor(t, func() bool { return len(lines(server.log)) > 0 })
		got, _, _ := strings.Cut(lines(server.log)[0], " caller=127.0.0.1:")
		_, why, _ := strings.Cut(lines(server.log)[0], " reason=")
		if want := `level=WARN msg="connections are refused" socket=` + server.Address(); got != want ||
			why != test.want {
			t.Errorf("%s: %s, want %s caller=127.0.0.1:... reason=%s", test.name, lines(server.log)[0], want, test.want)
		}
	}
}

// A certificate is for an address, and no certificate for one of this machine's links.
func TestZoneIsNotInCertificate(t *testing.T) {
	lab := authority(t, "lab")
	calling := mustIdentity(t, issue(t, lab, cert.Request{Name: "boss", Roles: []string{"operator"}}), at(noon), nil)
	for host, want := range map[string]string{"fe80::1%eth0": "fe80::1", "fe80::1": "fe80::1",
		"ctl.example": "ctl.example"} {
		if c, _ := calling.client(host, tls.VersionTLS13); c.ServerName != want {
			t.Errorf("%s: the certificate must be for %q, want %q", host, c.ServerName, want)
		}
	}
}

// Which addresses a process may listen at, and which it may call.
func TestSecurity(t *testing.T) {
	lab := authority(t, "lab")
	server := mustIdentity(t, issue(t, lab, cert.Request{Name: "ctl", Hosts: []string{"ctl.example"}}), at(noon), nil)
	client := mustIdentity(t, issue(t, lab, cert.Request{Name: "boss", Roles: []string{"operator"}}), at(noon), nil)
	believer := mustIdentity(t, Files{CA: cert.Authority(lab).Cert}, at(noon), nil)
	const (
		plain = `plain text stays on this machine: must be https://host:port, a unix socket or a loopback address`
		none  = "needs --tls-ca, and --tls-cert with --tls-key: without them nobody is known there"
		show  = "needs --tls-cert, --tls-key and --tls-ca: who listens with TLS shows a certificate, and asks for one"
	)
	for _, test := range []struct {
		address      string
		sec          Security
		listen, dial string // the error behind the address; "": none
	}{
		{"192.0.2.1:1", Security{}, plain, plain},
		{"192.0.2.1:1", Security{Identity: server}, plain, plain},
		{"192.0.2.1:1", Security{Danger: "all is lost"}, plain + "; all is lost", plain + "; all is lost"},
		{"192.0.2.1:1", Security{Plaintext: true}, "", ""},
		{"https://192.0.2.1:1", Security{Plaintext: true}, none, none},
		{"https://127.0.0.1:1", Security{}, none, none},
		{"https://192.0.2.1:1", Security{Identity: server}, "", ""},
		{"https://192.0.2.1:1", Security{Identity: believer}, show, ""},
		{"https://192.0.2.1:1", Security{Identity: client},
			"the certificate " + client.files.Cert + `, of "boss", is not for servers: those that are name a host`, ""},
		{"https://:1", Security{Identity: server}, "", "must have a host before the port"},
		{"https://127.0.0.1:0", Security{Identity: server}, "", `the port must be 1..65535, is "0"`},
	} {
		for what, got := range map[string][2]string{
			"listen": {fmt.Sprint(test.sec.CheckListen(test.address)), test.listen},
			"dial":   {fmt.Sprint(test.sec.CheckDial(test.address)), test.dial},
		} {
			want := "<nil>"
			if got[1] != "" {
				want = fmt.Sprintf("address %q: %s", test.address, got[1])
			}
			if got[0] != want {
				t.Errorf("%s %s: got %s, want %s", what, test.address, got[0], want)
			}
		}
	}
}

// Only what the machine's user ids say makes somebody the master of it: no certificate does, whatever its zero values.
func TestCertificateIsNoUser(t *testing.T) {
	for _, test := range []struct {
		name string
		who  Caller
		need Role
		want string
	}{
		{"no role", Caller{TLS: true, Name: "x"}, GSLB,
			`the certificate of "x" has the role nobody and this needs gslb`},
		{"a user's role", Caller{TLS: true, Name: "x", Roles: []Role{Viewer}}, Operator,
			`the certificate of "x" has the role viewer and this needs operator`},
		{"implied", Caller{TLS: true, Name: "x", Roles: []Role{Operator}}, GSLB, "<nil>"},
	} {
		access := NewAccess(map[Role][]string{Operator: {"0"}}, func(Role) string { return "with --allow" })
		if got := fmt.Sprint(access.Permit(test.who, test.need)); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// replace puts new files in the place of old ones.
func replace(t *testing.T, to, from Files) {
	t.Helper()
	for _, f := range [][2]string{{to.Cert, from.Cert}, {to.Key, from.Key}, {to.CA, from.CA}} {
		text, err := os.ReadFile(f[1])
		if err != nil {
			t.Fatal(err)
		}
		if f[0] != f[1] {
			if err := os.WriteFile(f[0], text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// serverName returns the name of who serves, as a new connection sees it.
func serverName(t *testing.T, address string, i *Identity) string {
	t.Helper()
	e, err := endpoint.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := DialEndpoint(t.Context(), e, Security{Identity: i})
	if err != nil {
		return "error: " + err.Error()
	}
	defer c.Close()
	return cert.Name(c.(*tlsConn).ConnectionState().PeerCertificates[0])
}

// Files that change count from the next handshake on, on both ends, and a stream that is open goes on.
func TestReload(t *testing.T) {
	first, second := authority(t, "first"), authority(t, "second")
	now := &clock{now: noon}
	serverLog, clientLog := &logBuffer{}, &logBuffer{}
	mine := func(name string) Files {
		dir := t.TempDir()
		return Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"),
			CA: filepath.Join(dir, "ca.crt")}
	}
	serverFiles, clientFiles := mine("server"), mine("client")
	hosts := []string{"127.0.0.1"}
	replace(t, serverFiles, issue(t, first, cert.Request{Name: "ctl-1", Hosts: hosts}))
	replace(t, clientFiles, issue(t, first, cert.Request{Name: "watcher-1", Roles: []string{"viewer"}}))
	serving, calling := mustIdentity(t, serverFiles, now.Now, serverLog),
		mustIdentity(t, clientFiles, now.Now, clientLog)

	words := make(chan string)
	watch := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != watchPath {
			answer(w, r)
			return
		}
		for word := range words {
			fmt.Fprintln(w, word)
			_ = http.NewResponseController(w).Flush()
		}
	})
	l, err := Listen("https://127.0.0.1:0", nil, Security{Identity: serving},
		slog.New(slog.NewTextHandler(serverLog, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, testMethods, Mount("/test.Service/", watch)) }()
	defer func() {
		close(words)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	address := l.Address()
	client, err := Dial(address, Security{Identity: calling})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go func() { words <- "hello" }()
	resp, err := client.HTTP().Post(client.URL+watchPath, "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	hears := func(word string) {
		t.Helper()
		got := make([]byte, len(word)+1)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != word+"\n" {
			t.Fatalf("the stream %s: %q, %v", word, got, err)
		}
	}
	hears("hello")
	goesOn := func(after string) {
		t.Helper()
		go func() { words <- after }()
		hears(after)
	}
	if got := serverName(t, address, calling); got != "ctl-1" {
		t.Fatalf("the first server is %s", got)
	}

	// The server's certificate alone.
	renewed := issue(t, first, cert.Request{Name: "ctl-2", Hosts: hosts})
	replace(t, serverFiles, renewed)
	if got := serverName(t, address, calling); got != "ctl-2" {
		t.Errorf("after it was renewed: %s", got)
	}
	goesOn("after the server's certificate was renewed")

	// A certificate without its key, garbage, and one whose time is over change nothing.
	lonely := issue(t, first, cert.Request{Name: "ctl-3", Hosts: hosts})
	lonely.Key = renewed.Key
	replace(t, serverFiles, lonely)
	if got := serverName(t, address, calling); got != "ctl-2" {
		t.Errorf("with a key of another certificate: %s", got)
	}
	if err := os.WriteFile(serverFiles.CA, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serverName(t, address, calling); got != "ctl-2" {
		t.Errorf("with a faulty CA: %s", got)
	}
	old, err := cert.Issue(first, cert.Request{Name: "ctl-0", Hosts: hosts, Days: 1}, noon.AddDate(0, 0, -5))
	if err != nil {
		t.Fatal(err)
	}
	replace(t, serverFiles, Files{Cert: old.Cert, Key: old.Key, CA: cert.Authority(first).Cert})
	if got := serverName(t, address, calling); got != "ctl-2" {
		t.Errorf("with an expired one: %s", got)
	}
	if err := os.Remove(serverFiles.Key); err != nil {
		t.Fatal(err)
	}
	for range 2 { // told once
		if got := serverName(t, address, calling); got != "ctl-2" {
			t.Errorf("without a key: %s", got)
		}
	}
	want := []string{
		`level=INFO msg="TLS has new files" ca=` + serverFiles.CA + ` cert=` + serverFiles.Cert +
			` name=ctl-2 until=2027-11-28T12:00:00Z`,
		`level=ERROR msg="TLS goes on as before: the files cannot be used" err="` + serverFiles.Key +
			`: must have the key of the certificate in ` +
			serverFiles.Cert + `: tls: private key does not match public key"`,
		`level=ERROR msg="TLS goes on as before: the files cannot be used" err="` + serverFiles.CA +
			`: must have a certificate in PEM, has none"`,
		`level=ERROR msg="TLS goes on as before: the files cannot be used" err="` + serverFiles.Cert +
			`: the certificate of \"ctl-0\" is valid from 2026-11-23T11:55:00Z until 2026-11-24T12:00:00Z, and the ` +
			`time here ` +
			`is 2026-11-28T12:00:00Z"`,
		`level=ERROR msg="TLS goes on as before: the files cannot be used" err="open ` + serverFiles.Key +
			`: no such file or directory"`,
	}
	if diff := cmp.Diff(want, lines(serverLog)); diff != "" {
		t.Errorf("the server's log (-want +got):\n%s", diff)
	}
	goesOn("after faulty files")

	// Another authority: first both ends believe both, then each shows the new one's, then the old one goes.
	both := filepath.Join(t.TempDir(), "both.crt")
	concat(t, both, cert.Authority(first).Cert, cert.Authority(second).Cert)
	next := issue(t, second, cert.Request{Name: "ctl-4", Hosts: hosts})
	next.CA = both
	replace(t, serverFiles, next)
	if got, want := serverName(t, address, calling), "error: "+address+` is not trusted: its certificate is of the `+
		`authority "second", which is not in `+clientFiles.CA; got != want {
		t.Errorf("before the client knows the authority: %s, want %s", got, want)
	}
	newClient := issue(t, second, cert.Request{Name: "watcher-2", Roles: []string{"viewer"}})
	newClient.CA = both
	replace(t, clientFiles, newClient)
	if got := call(t, address, askPath, calling); got != "good " {
		t.Errorf("with the new authority: %s", got)
	}
	next.CA = cert.Authority(second).Cert
	replace(t, serverFiles, next)
	stays := mustIdentity(t, issue(t, first, cert.Request{Name: "watcher-3", Roles: []string{"viewer"}}), now.Now, nil)
	stays.current.pool = calling.refresh().pool
	if got := call(t, address, askPath, stays); !strings.Contains(got,
		`its authority, "first", is not among those that the server trusts`) {
		t.Errorf("a certificate of the authority that is gone: %s", got)
	}
	goesOn("after the authority was replaced")

	// And a connection outlives the time of the certificates that made it.
	now.set(noon.AddDate(3, 0, 0))
	if got := call(t, address, askPath, calling); !strings.Contains(got,
		"is not trusted: its certificate is valid from") {
		t.Errorf("a new connection after the end: %s", got)
	}
	goesOn("after the certificates have expired")
}

// Files that would have all others turn this process away change nothing, whatever is wrong with them, and are told of
// once. They count when it is right.
func TestFaultyFiles(t *testing.T) {
	lab, other := authority(t, "lab"), authority(t, "other")
	host := []string{"127.0.0.1"}
	good := issue(t, lab, cert.Request{Name: "good", Hosts: host, Roles: []string{"gslb"}})
	caller := issue(t, lab, cert.Request{Name: "client", Roles: []string{"viewer"}})
	early, err := cert.Issue(lab, cert.Request{Name: "early", Hosts: host, Roles: []string{"gslb"}},
		noon.AddDate(0, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	cut := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(to, text[:len(text)-30], 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	both := filepath.Join(t.TempDir(), "both")
	concat(t, both, cert.Authority(other).Cert, cert.Authority(lab).Cert)
	chain := filepath.Join(t.TempDir(), "chain")
	concat(t, chain, good.Cert, cert.Authority(lab).Cert)
	for _, test := range []struct {
		name  string
		files Files
		want  string // behind the file's name
		later string // who serves two days later
	}{
		{"half of the authorities", Files{Cert: good.Cert, Key: good.Key, CA: cut(both)},
			"CA: must have whole blocks of PEM, and 1 is broken or cut off", "good"},
		{"half a chain", Files{Cert: cut(chain), Key: good.Key, CA: good.CA},
			"Cert: must have whole blocks of PEM, and 1 is broken or cut off", "good"},
		{"half a key", Files{Cert: good.Cert, Key: cut(good.Key), CA: good.CA},
			"Key: must have the key of the certificate in Cert: tls: failed to find any PEM data in key input", "good"},
		{"a client's", issue(t, lab, cert.Request{Name: "roles", Roles: []string{"gslb"}}),
			`Cert: the certificate of \"roles\" is not for servers, and the one in use is`, "good"},
		{"a server's", issue(t, lab, cert.Request{Name: "hosts", Hosts: host}),
			`Cert: the certificate of \"hosts\" is not for clients, and the one in use is`, "good"},
		{"one that comes before its time", Files{Cert: early.Cert, Key: early.Key, CA: good.CA},
			`Cert: the certificate of \"early\" is valid from 2026-11-29T11:55:00Z until 2027-11-29T12:00:00Z, ` +
				"and the time here is 2026-11-28T12:00:00Z", "early"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, now, log := t.TempDir(), &clock{now: noon}, &logBuffer{}
			calling := mustIdentity(t, caller, now.Now, nil)
			files := Files{Cert: filepath.Join(dir, "Cert"), Key: filepath.Join(dir, "Key"),
				CA: filepath.Join(dir, "CA")}
			replace(t, files, good)
			address := listenTLS(t, mustIdentity(t, files, now.Now, log), nil).Address()
			replace(t, files, test.files)
			for range 2 {
				if got := serverName(t, address, calling); got != "good" {
					t.Errorf("with them serves %s", got)
				}
			}
			want := `level=ERROR msg="TLS goes on as before: the files cannot be used" err="` + test.want + `"`
			told := lines(log)
			for n := range told {
				told[n] = strings.ReplaceAll(told[n], dir+"/", "")
			}
			if diff := cmp.Diff([]string{want}, told); diff != "" {
				t.Errorf("the log (-want +got):\n%s", diff)
			}
			now.set(noon.AddDate(0, 0, 2))
			if got := serverName(t, address, calling); got != test.later {
				t.Errorf("two days later serves %s, want %s", got, test.later)
			}
			if test.later != "good" {
				return
			}
			replace(t, files, good)
			if got := serverName(t, address, calling); got != "good" {
				t.Errorf("when they are back serves %s", got)
			}
			told = lines(log)
			want = `level=INFO msg="TLS has its files back" ca=` + files.CA + " cert=" + files.Cert +
				" name=good until=2027-11-28T12:00:00Z"
			if got := told[len(told)-1]; got != want {
				t.Errorf("when they are back: %s, want %s", got, want)
			}
		})
	}
}

// Files are looked at in between, too, and a certificate whose end is near is told of, once.
func TestWatch(t *testing.T) {
	dir, brief := authority(t, "lab"), t.TempDir()
	if _, err := cert.NewAuthority(brief, "brief", 200, noon); err != nil {
		t.Fatal(err)
	}
	files := issue(t, dir, cert.Request{Name: "ctl", Hosts: []string{"127.0.0.1"}, Days: 100})
	files.CA = filepath.Join(t.TempDir(), "ca.crt")
	concat(t, files.CA, cert.Authority(dir).Cert, cert.Authority(brief).Cert)
	now, log := &clock{now: noon}, &logBuffer{}
	i := mustIdentity(t, files, now.Now, log)
	var got []string
	for _, day := range []int{-1, -1, 0, 89, 91, 92, 99, 101, 102, 179, 185, 200, 201} {
		now.set(noon.AddDate(0, 0, day))
		i.look()
		for _, line := range lines(log)[len(got):] {
			got = append(got, fmt.Sprintf("day %d: %s", day, line))
		}
	}
	renewed := issue(t, dir, cert.Request{Name: "ctl-2", Hosts: []string{"127.0.0.1"}, Days: 1000})
	renewed.CA = files.CA
	replace(t, files, renewed)
	i.look()
	for _, line := range lines(log)[len(got):] {
		got = append(got, "renewed: "+line)
	}
	want := []string{
		`day -1: level=ERROR msg="the certificate is not valid yet" file=` + files.Cert +
			` name=ctl from=2026-11-28T11:55:00Z until=2027-03-08T12:00:00Z`,
		`day -1: level=ERROR msg="the certificate of an authority is not valid yet" file=` + files.CA +
			` name=brief from=2026-11-28T11:55:00Z until=2027-06-16T12:00:00Z`,
		`day 91: level=WARN msg="the certificate ends soon" file=` + files.Cert +
			` name=ctl from=2026-11-28T11:55:00Z until=2027-03-08T12:00:00Z`,
		`day 101: level=ERROR msg="the certificate has ended" file=` + files.Cert +
			` name=ctl from=2026-11-28T11:55:00Z until=2027-03-08T12:00:00Z`,
		`day 185: level=WARN msg="the certificate of an authority ends soon" file=` + files.CA +
			` name=brief from=2026-11-28T11:55:00Z until=2027-06-16T12:00:00Z`,
		`day 201: level=ERROR msg="the certificate of an authority has ended" file=` + files.CA +
			` name=brief from=2026-11-28T11:55:00Z until=2027-06-16T12:00:00Z`,
		`renewed: level=INFO msg="TLS has new files" ca=` + files.CA + ` cert=` + files.Cert +
			` name=ctl-2 until=2029-08-24T12:00:00Z`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the log (-want +got):\n%s", diff)
	}
}

func concat(t *testing.T, to string, files ...string) {
	t.Helper()
	var all bytes.Buffer
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	if err := os.WriteFile(to, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lines are those of a log, without their times.
func lines(b *logBuffer) []string {
	var all []string
	for line := range strings.Lines(b.String()) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, rest)
	}
	return all
}

// Who connects and says nothing holds nothing for ever, and shuts nobody out.
func TestSilentConnections(t *testing.T) {
	lab := authority(t, "lab")
	serving := mustIdentity(t, issue(t, lab, cert.Request{Name: "ctl", Hosts: []string{"127.0.0.1", "::1"}}), at(noon),
		nil)
	calling := mustIdentity(t, issue(t, lab, cert.Request{Name: "client", Roles: []string{"viewer"}}), at(noon), nil)
	open := func(address string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(address, "https://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}

	t.Run("a handshake has its time", func(t *testing.T) {
		s := listenTLS(t, serving, func(l *Listener) { l.lobby.within = 50 * time.Millisecond })
		if !closed(t, open(s.Address())) {
			t.Error("a connection without a handshake stays open")
		}
		waitFor(t, func() bool { return s.lobby.waits() == 0 })
	})
	t.Run("the oldest goes", func(t *testing.T) {
		s := listenTLS(t, serving, func(l *Listener) { l.lobby.share = 4 })
		first := open(s.Address())
		waitFor(t, func() bool { return s.lobby.waits() == 1 })
		for range 20 {
			open(s.Address())
		}
		if !closed(t, first) {
			t.Error("the oldest is open, though there are too many")
		}
		waitFor(t, func() bool { return s.lobby.waits() == 4 })
		if got := call(t, s.Address(), askPath, calling); got != "good " {
			t.Errorf("a caller behind silent ones: %s", got)
		}
	})
	t.Run("a listener that is closed lets go", func(t *testing.T) {
		if within := newLobby(nil).within; within != handshakeTime {
			t.Errorf("a handshake may take %v", within)
		}
		l := openTLS(t, serving, io.Discard, func(l *Listener) { l.lobby.within = time.Hour })
		c := open(l.Address())
		waitFor(t, func() bool { return l.lobby.waits() == 1 })
		done := make(chan error, 1)
		go func() { done <- l.Close() }()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			c.Close()
			t.Fatal("closing waits for a connection that says nothing")
		}
		if !closed(t, c) {
			t.Error("the connection stays open")
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting: %v", err)
		}
	})
}

func (b *lobby) waits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// Who goes when there is no room.
func TestLobby(t *testing.T) {
	for _, test := range []struct {
		name  string
		come  []string // addresses, in their order
		stays string   // the first letters of those that are there in the end, in their order
	}{
		{"room for all", []string{"10.0.0.1", "10.0.0.2", "10.0.0.1"}, "0 1 2"},
		{"one that takes too much loses its own", []string{"10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.1"}, "0 2 3"},
		{"a network of IPv6 is one", []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}, "1 2"},
		{"two networks of IPv6", []string{"2001:db8::1", "2001:db8:0:1::2", "2001:db8::3"}, "0 1 2"},
		{"no room at all", []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"}, "1 2 3 4"},
	} {
		b := newLobby(nil)
		b.share, b.room = 2, 4
		var all []*visitor
		for _, from := range test.come {
			here, _ := net.Pipe()
			all = append(all, b.enter(addressed{here, &net.TCPAddr{IP: net.ParseIP(from), Port: 1}}))
		}
		var stay []string
		for i, v := range all {
			if !b.leave(v) {
				stay = append(stay, fmt.Sprint(i))
			}
		}
		if got := strings.Join(stay, " "); got != test.stays {
			t.Errorf("%s: %s stay, want %s", test.name, got, test.stays)
		}
	}
}

type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

// Callers are bounded by their certificate.
func TestConnectionsOverTLS(t *testing.T) {
	lab := authority(t, "lab")
	serving := mustIdentity(t, issue(t, lab, cert.Request{Name: "ctl", Hosts: []string{"127.0.0.1"}}), at(noon), nil)
	s := listenTLS(t, serving, func(l *Listener) { l.limits.perUser[member], l.limits.perUser[stranger] = 2, 1 })
	e, err := endpoint.Parse(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	dial := func(i *Identity) net.Conn {
		t.Helper()
		c, err := DialEndpoint(t.Context(), e, Security{Identity: i})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, test := range []struct {
		name string
		role string
		room int
	}{{"client", "viewer", 2}, {"other", "viewer", 2}, {"cleaner", "janitor", 1}} {
		i := mustIdentity(t, issue(t, lab, cert.Request{Name: test.name, Roles: []string{test.role}}), at(noon), nil)
		for range test.room {
			dial(i)
		}
		waitFor(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			n := 0
			for k, held := range s.held {
				if k.name == test.name {
					n += held
				}
			}
			return n == test.room
		})
		if !closed(t, dial(i)) {
			t.Errorf("%s: one connection too many is open", test.name)
		}
	}
}

// TLS 1.2 is not spoken, and what HTTP/2 may cost is bounded as without TLS.
func TestTLSIsALayer(t *testing.T) {
	lab := authority(t, "lab")
	serving := mustIdentity(t, issue(t, lab, cert.Request{Name: "ctl", Hosts: []string{"127.0.0.1"}}), at(noon), nil)
	address := listenTLS(t, serving, nil).Address()
	calling := mustIdentity(t, issue(t, lab, cert.Request{Name: "client", Roles: []string{"viewer"}}), at(noon), nil)
	sessions := tls.NewLRUClientSessionCache(0)
	for _, test := range []struct {
		name, protocol string
		newest         uint16
		http1          bool
		want           string
	}{
		{"HTTP/2 of another's client", "HTTP/2.0", 0, false, "good "},
		{"its next connection", "HTTP/2.0", 0, false, "good "},
		{"HTTP/1.1 of another's client", "HTTP/1.1", 0, true, "good "},
		{"TLS 1.2", "", tls.VersionTLS12, false, "remote error: tls: protocol version not supported"},
	} {
		config := &tls.Config{
			RootCAs: calling.current.pool, Certificates: []tls.Certificate{*calling.current.cert}, Time: at(noon),
			MaxVersion: test.newest, ClientSessionCache: sessions,
		}
		transport := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(test.http1)
		transport.Protocols.SetHTTP2(!test.http1)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+askPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "ctl.example" // the certificate says who serves, and no name in a request
		r.Header.Set("Content-Type", "application/json")
		resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(r)
		if err != nil {
			if test.protocol != "" || !strings.HasSuffix(err.Error(), test.want) {
				t.Errorf("%s: %v, want %s", test.name, err, test.want)
			}
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		transport.CloseIdleConnections()
		if string(body) != test.want || resp.Proto != test.protocol {
			t.Errorf("%s: %s over %s", test.name, body, resp.Proto)
		}
		if resp.TLS.DidResume {
			t.Errorf("%s: a session is resumed, without a look at today's certificates", test.name)
		}
	}
	// Who forgets TLS is told.
	resp, err := http.Get("http://" + strings.TrimPrefix(address, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "TLS is spoken here: https://\n" || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %s %s", resp.Status, body)
	}
	for _, at := range []string{address, start(t, "127.0.0.1:0", nil, nil).Address()} {
		if got := maxStreams(t, at, calling); got != 64 {
			t.Errorf("%s: %d streams of a connection at a time, want 64", at, got)
		}
	}
}

// maxStreams asks for SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 section 6.5.2).
func maxStreams(t *testing.T, address string, i *Identity) uint32 {
	t.Helper()
	e, err := endpoint.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := DialEndpoint(t.Context(), e, Security{Identity: i})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	framer := http2.NewFramer(c, c)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := frame.(*http2.SettingsFrame); ok && !s.IsAck() {
			n, _ := s.Value(http2.SettingMaxConcurrentStreams)
			return n
		}
	}
}
