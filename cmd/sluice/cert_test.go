package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/internal/rpc/cert"
)

// A newcomer makes an authority and certificates, and is told what to do with them.
func TestCert(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	day := regexp.MustCompile(`\d{4}-\d\d-\d\d`)
	for _, test := range []struct {
		args []string
		code int
		out  string // with DIR and DATE
		err  string
	}{
		{[]string{"cert", "ca", dir}, 0,
			"DIR/ca.crt and DIR/ca.key are made, valid until DATE.\n" +
				"Every process gets the first (--tls-ca). Who has the second can be anybody: keep it on this host.\n" +
				"Next: sluice cert issue DIR --name ctl1 --role controller --host HOST\n" +
				"      sluice cert issue DIR --name healthd1 --role healthd\n" +
				"      and so on: `sluice cert issue --help` tells the roles\n", ""},
		{[]string{"cert", "ca", dir}, exitFailure, "",
			"sluice: DIR/ca.key exists, and is never overwritten: move it away, or choose another name\n"},
		{[]string{"cert", "issue", dir, "--role", "healthd", "--name", "healthd1"}, 0,
			"DIR/healthd1.crt and DIR/healthd1.key are made, valid until DATE. It calls as healthd.\n" +
				"Next: copy them and DIR/ca.crt to its host, and start it with --tls-cert, --tls-key and --tls-ca\n",
			""},
		{[]string{"cert", "issue", dir, "--name", "ctl1", "--role", "controller", "--host", "ctl1", "--host",
			"192.0.2.1",
			"--days", "7"}, 0,
			"DIR/ctl1.crt and DIR/ctl1.key are made, valid until DATE. It calls as controller, and serves at ctl1, " +
				"192.0.2.1.\n" +
				"Next: copy them and DIR/ca.crt to its host, and start it with --tls-cert, --tls-key and --tls-ca\n",
			""},
		{[]string{"cert", "issue", dir, "--name", "sw1", "--host", "sw1"}, 0,
			"DIR/sw1.crt and DIR/sw1.key are made, valid until DATE. It serves at sw1, and calls nobody.\n" +
				"Next: copy them and DIR/ca.crt to its host, and start it with --tls-cert, --tls-key and --tls-ca\n",
			""},
		{[]string{"cert", "issue", dir, "--name", "sw1", "--host", "sw1"}, exitFailure, "",
			"sluice: DIR/sw1.key exists, and is never overwritten: move it away, or choose another name\n"},
		{[]string{"cert", "issue", dir, "--name", "x", "--role", "boss"}, exitUsage, "",
			"sluice: --role: must be one of [operator viewer healthd gslb controller], is \"boss\"\n"},
		{[]string{"cert", "issue", dir, "--name", "x"}, exitUsage, "",
			"sluice: --role: there must be a role to call with, a host to serve at (--host), or both\n"},
		{[]string{"cert", "issue", dir, "--name", "x", "--host", "a:1"}, exitUsage, "",
			"sluice: --host: must be a name or an address without a port, is \"a:1\"\n"},
		{[]string{"cert", "issue", dir, "--role", "viewer"}, exitUsage, "",
			"sluice: --name is needed: by it others call the process, and the files have it\n"},
		{[]string{"cert", "issue", dir, "--name", "x", "--role", "viewer", "--days", "0"}, exitUsage, "",
			"sluice: --days: must be 1..36500, is 0\n"},
		{[]string{"cert", "issue", "/nowhere", "--name", "x", "--role", "viewer"}, exitUsage, "",
			"sluice: /nowhere has no authority (open /nowhere/ca.crt: no such file or directory): `sluice cert ca " +
				"/nowhere` " +
				"makes one\n"},
		{[]string{"cert", "issue", dir, "--name", "x", "--role", "viewer", "--days", "36500"}, exitUsage, "",
			"sluice: --days: the authority in DIR ends on DATE: nothing that it issues may be valid for longer, " +
				"as 36500 days are\n"},
		{[]string{"cert", "ca", dir, "--name", ""}, exitUsage, "",
			"sluice: --name: must be 1..64 printable characters of ASCII, with no blank at an end, is \"\"\n"},
		{[]string{"cert", "show", dir + "/ca.key"}, exitUsage, "",
			"sluice: DIR/ca.key: must have a certificate in PEM, has none\n"},
		{[]string{"cert", "show", dir + "/none"}, exitUsage, "", "sluice: open DIR/none: no such file or directory\n"},
		{[]string{"cert", "ca"}, exitUsage, "", "sluice: which DIR? It gets the authority's files\n"},
		{[]string{"cert", "show"}, exitUsage, "", "sluice: which FILE?\n"},
	} {
		code, stdout, stderr := sluice(t, test.args...)
		plain := func(s string) string { return day.ReplaceAllString(strings.ReplaceAll(s, dir, "DIR"), "DATE") }
		if diff := cmp.Diff(test.out, plain(stdout)) + cmp.Diff(test.err, plain(stderr)); code != test.code ||
			diff != "" {
			t.Errorf("%v: exit code %d, want %d (-want +got):\n%s", test.args, code, test.code, diff)
		}
	}
	for file, mode := range map[string]os.FileMode{"ca.key": 0o600, "ctl1.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	code, stdout, _ := sluice(t, "cert", "show", dir+"/ctl1.crt")
	if want := "name     ctl1\nroles    controller\nhosts    ctl1, 192.0.2.1\nfor      client, server\nissuer   " +
		"sluice\n"; code != 0 || !strings.HasPrefix(stdout, want) {
		t.Errorf("show: exit code %d, got\n%swant\n%s", code, stdout, want)
	}
	code, stdout, _ = sluice(t, "cert", "show", "--json", dir+"/ctl1.crt")
	var shown []cert.Shown
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil || code != 0 || len(shown) != 1 ||
		shown[0].Name != "ctl1" || shown[0].State != cert.Valid {
		t.Errorf("show --json: exit code %d, %v, %v", code, shown, err)
	}
}
