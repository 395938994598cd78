package store

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
)

// An external etcd is asked over TLS, with the certificates that the files have at each connection.
func TestExternalOverTLS(t *testing.T) {
	lab, other := rpctest.NewLab(t, "lab"), rpctest.NewLab(t, "other")
	// it is a client of itself, too
	files := lab.Issue(t, cert.Request{Name: "etcd", Roles: []string{"etcd"}, Hosts: []string{"127.0.0.1"}})
	at := clusterOver(t, "https", transport.TLSInfo{CertFile: files.Cert, KeyFile: files.Key, TrustedCAFile: files.CA,
		ClientCertAuth: true})
	at.Endpoints[0] = "https://" + at.Endpoints[0]

	mine := lab.Issue(t, cert.Request{Name: "ctl", Roles: []string{"controller"}})
	foreign := other.Issue(t, cert.Request{Name: "ctl", Roles: []string{"controller"}})
	foreign.CA = mine.CA
	strange := lab.Issue(t, cert.Request{Name: "gslb", Roles: []string{"gslb"}, Hosts: []string{"gslb1.example"}})
	masked := clusterOver(t, "https", transport.TLSInfo{
		CertFile: strange.Cert, KeyFile: strange.Key, TrustedCAFile: strange.CA, ClientCertAuth: true,
	})
	masked.Endpoints[0] = "https://" + masked.Endpoints[0]
	for _, test := range []struct {
		name  string
		at    Config
		files rpc.Files
		want  string // the end of the error; "": none
	}{
		{"a certificate of its authority", at, mine, ""},
		{"another authority for the server", at,
			rpc.Files{Cert: mine.Cert, Key: mine.Key, CA: cert.Authority(other.Dir).Cert},
			` is not trusted: its certificate is of the authority "lab", which is not in ` +
				cert.Authority(other.Dir).Cert},
		{"a server of another host, called by its address", masked, mine,
			` is not trusted: its certificate is for ["gslb1.example"] and not for "127.0.0.1"`},
		{"a certificate of another authority", at, foreign,
			" refuses the certificate " + foreign.Cert +
				`, of "ctl": its authority, "other", is not among those that the server trusts`},
		{"no TLS here", plainly(at), mine, " ended the connection before it said anything (EOF): " +
			"where it speaks TLS, the address must begin with https://"},
		{"no TLS there", Config{Endpoints: []string{"https://" + cluster(t).Endpoints[0]}}, mine,
			" ended the connection in the handshake: it speaks no TLS, or has no room"},
		{"nobody there", Config{Endpoints: []string{"127.0.0.1:1"}}, mine, ": connect: connection refused"},
		{"no certificate", at, rpc.Files{CA: mine.CA},
			" asks for a certificate, and this process has none: --tls-cert and --tls-key name one"},
	} {
		c := test.at
		c.Security = rpc.Security{Identity: rpctest.Identity(t, test.files), Oldest: tls.VersionTLS12}
		if test.want != "" {
			c.Timeout = time.Second
		}
		s, _, err := Open(t.Context(), c)
		if err == nil {
			s.Close()
		}
		if (err == nil) != (test.want == "") ||
			err != nil && (!strings.HasSuffix(err.Error(), c.Endpoints[0]+test.want) ||
				!errors.Is(err, ErrUnavailable)) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}

	// The authority's file is replaced after it was read: the connection goes by what it holds by then.
	kept := filepath.Join(t.TempDir(), "ca.crt")
	text, err := os.ReadFile(cert.Authority(other.Dir).Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, text, 0o600); err != nil {
		t.Fatal(err)
	}
	late := mine
	late.CA = kept
	c := at
	c.Security = rpc.Security{Identity: rpctest.Identity(t, late), Oldest: tls.VersionTLS12}
	if text, err = os.ReadFile(mine.CA); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _, err := Open(t.Context(), c)
	if err != nil {
		t.Fatalf("after the authority's file was replaced: %v", err)
	}
	s.Close()
}

// plainly is the same etcd without TLS.
func plainly(c Config) Config {
	c.Endpoints = []string{strings.TrimPrefix(c.Endpoints[0], "https://")}
	return c
}
