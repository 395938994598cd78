// Package rpctest is the certificates of tests. Tests alone import it.
package rpctest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
)

// Lab is an authority in a directory of its own.
type Lab struct{ Dir string }

// NewLab makes an authority.
func NewLab(t testing.TB, name string) Lab {
	t.Helper()
	dir := t.TempDir()
	if _, err := cert.NewAuthority(dir, name, cert.AuthorityDays, time.Now()); err != nil {
		t.Fatal(err)
	}
	return Lab{dir}
}

// Issue issues a certificate.
func (l Lab) Issue(t testing.TB, r cert.Request) rpc.Files {
	t.Helper()
	pair, err := cert.Issue(l.Dir, r, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return rpc.Files{Cert: pair.Cert, Key: pair.Key, CA: cert.Authority(l.Dir).Cert}
}

// Server is the identity of a server at 127.0.0.1.
func (l Lab) Server(t testing.TB, name string) *rpc.Identity {
	t.Helper()
	return Identity(t, l.Issue(t, cert.Request{Name: name, Hosts: []string{"127.0.0.1"}}))
}

// Caller is the identity of a caller with roles.
func (l Lab) Caller(t testing.TB, name string, roles ...rpc.Role) *rpc.Identity {
	t.Helper()
	r := cert.Request{Name: name}
	for _, role := range roles {
		r.Roles = append(r.Roles, string(role))
	}
	return Identity(t, l.Issue(t, r))
}

// Identity reads files.
func Identity(t testing.TB, f rpc.Files) *rpc.Identity {
	t.Helper()
	i, err := rpc.NewIdentity(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// Config is that of a client which is not Sluice's, and speaks crypto/tls as it is.
func Config(t testing.TB, f rpc.Files) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

// Allowed calls each procedure at an https address as each role, and returns who may: "/p.S/M: operator viewer". A
// refusal that does not say which role the caller has and which it needs fails the test.
func (l Lab) Allowed(t testing.TB, address string, methods rpc.Methods) []string {
	t.Helper()
	callers := make(map[rpc.Role]*rpc.Client)
	name := func(role rpc.Role) string { return "as-" + string(role) }
	for _, role := range rpc.Known() {
		c, err := rpc.Dial(address, rpc.Security{Identity: l.Caller(t, name(role), role)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		callers[role] = c
	}
	var all []string
	for _, procedure := range slices.Sorted(maps.Keys(methods)) {
		line := procedure + ":"
		for _, role := range rpc.Known() {
			// Of streams too: that this is none is told to those who may call it.
			c := callers[role]
			resp, err := c.HTTP().Post(c.URL+procedure, "application/json", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusForbidden {
				line += " " + string(role)
				continue
			}
			refusal := fmt.Sprintf("the certificate of %q has the role %s and this needs %s",
				name(role), role, methods[procedure].Role)
			if text, _ := json.Marshal(refusal); !strings.Contains(string(body), string(text)) {
				t.Errorf("%s as %s: %s, want %s", procedure, role, body, text)
			}
		}
		all = append(all, line)
	}
	return all
}
