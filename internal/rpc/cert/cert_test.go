package cert

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestIssue(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	ca, err := NewAuthority(dir, "lab", AuthorityDays, noon)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	until := noon.AddDate(0, 0, CertificateDays)
	for _, test := range []struct {
		request        Request
		want           Shown
		client, server bool
	}{
		{Request{Name: "healthd1", Roles: []string{"healthd"}},
			Shown{Name: "healthd1", Roles: []string{"healthd"}, Hosts: []string{}, For: []string{"client"},
				NotAfter: until},
			true, false},
		{Request{Name: "sw1", Hosts: []string{"sw1.example.net", "192.0.2.1", "2001:db8::1"}},
			Shown{Name: "sw1", Roles: []string{}, Hosts: []string{"sw1.example.net", "192.0.2.1", "2001:db8::1"},
				For: []string{"server"}, NotAfter: until}, false, true},
		{Request{Name: "ctl", Roles: []string{"controller", "operator"}, Hosts: []string{"*.example.net"}, Days: 2},
			Shown{Name: "ctl", Roles: []string{"controller", "operator"}, Hosts: []string{"*.example.net"},
				For: []string{"client", "server"}, NotAfter: noon.AddDate(0, 0, 2)}, true, true},
	} {
		pair, err := Issue(dir, test.request, noon)
		if err != nil {
			t.Errorf("%s: %v", test.request.Name, err)
			continue
		}
		test.want.Issuer, test.want.State, test.want.NotBefore = "lab", Valid, noon
		got := Show(pair.Leaf, noon)
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(Shown{}, "NotBefore", "Fingerprint")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.request.Name, diff)
		}
		for usage, want := range map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageClientAuth: test.client,
			x509.ExtKeyUsageServerAuth: test.server} {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon,
				KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != want {
				t.Errorf("%s for usage %d: %v", test.request.Name, usage, err)
			}
		}
		text, err := Read(pair.Cert)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := Parse(text); err != nil || len(all) != 1 || !all[0].Equal(pair.Leaf) {
			t.Errorf("%s: the file holds %v, %v", test.request.Name, all, err)
		}
		for _, file := range []struct {
			name string
			mode fs.FileMode
		}{{pair.Key, 0o600}, {pair.Cert, 0o644}, {ca.Key, 0o600}} {
			info, err := os.Stat(file.name)
			if err != nil || info.Mode().Perm()&^file.mode != 0 {
				t.Errorf("%s: %v, %v", file.name, info.Mode(), err)
			}
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewAuthority(dir, "lab", 30, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := Issue(dir, Request{Name: "a", Roles: []string{"viewer"}, Days: 1}, noon); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.crt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	empty := t.TempDir()
	for _, test := range []struct {
		name string
		dir  string
		r    Request
		want string
	}{
		{"no name", dir, Request{Roles: []string{"viewer"}}, `must be 1..63 letters, digits, ".", "_" or "-", is ""`},
		{"a path", dir, Request{Name: "../x", Roles: []string{"viewer"}},
			`must be 1..63 letters, digits, ".", "_" or "-", is "../x"`},
		{"the authority's name", dir, Request{Name: "ca", Roles: []string{"viewer"}},
			`must not be "ca": those files are the authority's`},
		{"good for nothing", dir, Request{Name: "x"},
			"there must be a role to call with, a host to serve at (--host), or both"},
		{"a host with a port", dir, Request{Name: "x", Hosts: []string{"a:1"}},
			`must be a name or an address without a port, is "a:1"`},
		{"a URL", dir, Request{Name: "x", Hosts: []string{"https://a"}},
			`must be a name or an address without a port, is "https://a"`},
		{"a zone", dir, Request{Name: "x", Hosts: []string{"fe80::1%eth0"}},
			`must be a name or an address without a port, is "fe80::1%eth0"`},
		{"longer than the authority", dir, Request{Name: "x", Hosts: []string{"a"}, Days: 31},
			"the authority in " + dir + " ends on 2026-12-28: nothing that it issues may be valid for longer, as 31 " +
				"days are"},
		{"a key that is there", dir, Request{Name: "a", Hosts: []string{"a"}, Days: 1},
			filepath.Join(dir, "a.key") + " exists, and is never overwritten: move it away, or choose another name"},
		{"a certificate that is there", dir, Request{Name: "b", Hosts: []string{"a"}, Days: 1},
			filepath.Join(dir, "b.crt") + " exists, and is never overwritten: move it away, or choose another name"},
		{"no authority", empty, Request{Name: "x", Hosts: []string{"a"}},
			empty + " has no authority (open " + empty + "/ca.crt: no such file or directory): `sluice cert ca " +
				empty +
				"` makes one"},
	} {
		if _, err := Issue(test.dir, test.r, noon); fmt.Sprint(err) != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.name, err, test.want)
		}
	}
	if _, err := NewAuthority(dir, "again", 30, noon); fmt.Sprint(err) != filepath.Join(dir,
		"ca.key")+" exists, and is never overwritten: move it away, or choose another name" {
		t.Errorf("a second authority: %v", err)
	}
	for _, name := range []string{"", " ", "a ", "\x1b[2J", "ä", strings.Repeat("a", 65)} {
		_, err := NewAuthority(empty, name, 30, noon)
		want := fmt.Sprintf("must be 1..64 printable characters of ASCII, with no blank at an end, is %q", name)
		if fmt.Sprint(err) != want {
			t.Errorf("an authority %q: %v, want %s", name, err, want)
		}
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Errorf("what was refused has changed files (-before +after):\n%s", diff)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

func TestShow(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewAuthority(dir, "lab", 1000, noon); err != nil {
		t.Fatal(err)
	}
	pair, err := Issue(dir, Request{Name: "ctl", Roles: []string{"controller"},
		Hosts: []string{"ctl.example.net", "192.0.2.1"}, Days: 10}, noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		now   time.Time
		state string
	}{
		{"valid", noon.AddDate(0, 0, 1), "9 days"},
		{"expired", noon.AddDate(0, 0, 11), "expired"},
		{"not yet", noon, "not yet valid"},
	} {
		s := Show(pair.Leaf, test.now)
		want := `name     ctl
roles    controller
hosts    ctl.example.net, 192.0.2.1
for      client, server
issuer   lab
from     2026-11-28T12:55:00Z
until    2026-12-08T13:00:00Z (` + test.state + `)
sha256   ` + s.Fingerprint + "\n"
		if diff := cmp.Diff(want, s.Text(test.now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// A role is a URI that says this and nothing else.
func TestRoles(t *testing.T) {
	for _, test := range []struct {
		uri  string
		want []string
	}{
		{"sluice://role/operator", []string{"operator"}},
		{"sluice://role/Operator", []string{"Operator"}},
		{"sluice://role/a/operator", []string{"a/operator"}},
		{"sluice://role/operator?not", nil},
		{"sluice://role/operator#not", nil},
		{"sluice://not@role/operator", nil},
		{"sluice://role:1/operator", nil},
		{"sluice://role/%6fperator", nil},
		{"sluice://role/", nil},
		{"sluice:role/operator", nil},
		{"https://role/operator", nil},
	} {
		u, err := url.Parse(test.uri)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, Roles(&x509.Certificate{URIs: []*url.URL{u}})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.uri, diff)
		}
	}
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	ca, err := NewAuthority(dir, "lab", 10, noon)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Read(ca.Cert)
	if err != nil {
		t.Fatal(err)
	}
	key, err := Read(ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		text []byte
		n    int
		want string
	}{
		{"one", text, 1, "<nil>"},
		{"two, and words between", append(append(bytes.Clone(text), "words\n"...), text...), 2, "<nil>"},
		{"a key beside it", append(bytes.Clone(key), text...), 1, "<nil>"},
		{"a key", key, 0, "must have a certificate in PEM, has none"},
		{"nothing", nil, 0, "must have a certificate in PEM, has none"},
		{"the second cut", append(bytes.Clone(text), text[:len(text)-30]...), 0,
			"must have whole blocks of PEM, and 1 is broken or cut off"},
		{"the first damaged", append(bytes.Replace(text, []byte("M"), []byte("!"), 1), text...), 0,
			"must have whole blocks of PEM, and 1 is broken or cut off"},
		{"the second broken", append(bytes.Clone(text),
			"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"...),
			0, "certificate 2 in it: x509: malformed certificate"},
	} {
		all, err := Parse(test.text)
		if fmt.Sprint(err) != test.want || len(all) != test.n {
			t.Errorf("%s: %d certificates, %v", test.name, len(all), err)
		}
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("x", maxFile+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(large); fmt.Sprint(err) != large+": must have at most 1048576 bytes" {
		t.Errorf("a large file: %v", err)
	}
}
