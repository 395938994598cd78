package checkable_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/controller/config/checkable"
)

func TestPath(t *testing.T) {
	const (
		noPath  = "must be the path of a URL, such as /healthz, is "
		noQuery = "must have a query of printable ASCII without spaces, such as ?site=a%20b, is "
	)
	for _, tt := range []struct{ path, target, problem string }{
		{"/", "/", ""},
		{"/healthz?deep=1&x=%C3%A4", "/healthz?deep=1&x=%C3%A4", ""},
		{"/is it/ä", "/is%20it/%C3%A4", ""},
		{"/\u0085\xff", "/%C2%85%FF", ""},
		{"//a/b?", "//a/b?", ""},
		{"/" + strings.Repeat("a", 2047), "/" + strings.Repeat("a", 2047), ""},
		{"/" + strings.Repeat("a", 2048), "", "must have at most 2048 bytes, has 2049"},
		{"", "", noPath + `""`},
		{"healthz", "", noPath + `"healthz"`},
		{"*", "", noPath + `"*"`},
		{"http://a/healthz", "", noPath + `"http://a/healthz"`},
		{"/a#b", "", noPath + `"/a#b"`},
		{"/a\r\nX: y", "", noPath + `"/a\r\nX: y"`},
		{"/a\x7f", "", noPath + `"/a\x7f"`},
		{"/%zz", "", noPath + `"/%zz"`},
		{"/health z?x=ä", "", noQuery + `"/health z?x=ä"`},
		{"/a?b c", "", noQuery + `"/a?b c"`},
		{"/a?b\u0085", "", noQuery + `"/a?b\u0085"`},
		{"/a?b\xff", "", noQuery + `"/a?b\xff"`},
	} {
		target, err := checkable.Path(tt.path)
		if target != tt.target || problem(err) != tt.problem {
			t.Errorf("%q: got %q, %v; want %q, %s", tt.path, target, err, tt.target, tt.problem)
		}
	}
}

func TestHost(t *testing.T) {
	const (
		noHost  = "must be a host name, such as www.example.com, is "
		noASCII = "must be a host name in ASCII, such as www.example.com or xn--bcher-kva.example, is "
	)
	for _, tt := range []struct{ host, header, name, problem string }{
		{"www.example.com", "www.example.com", "www.example.com", ""},
		{"www.example.com.", "www.example.com.", "www.example.com.", ""},
		{"my_app", "my_app", "my_app", ""},
		{"a:8443", "a:8443", "a", ""},
		{"10.0.0.11", "10.0.0.11", "10.0.0.11", ""},
		{"10.0.0.11:80", "10.0.0.11:80", "10.0.0.11", ""},
		{"2001:db8::1", "[2001:db8::1]", "2001:db8::1", ""},
		{"[2001:db8::1]", "[2001:db8::1]", "2001:db8::1", ""},
		{"[2001:db8::1]:443", "[2001:db8::1]:443", "2001:db8::1", ""},
		{strings.Repeat("a", 63), strings.Repeat("a", 63), strings.Repeat("a", 63), ""},
		{strings.Repeat("a", 64), "", "", noHost + `"` + strings.Repeat("a", 60) + `"...`},
		{strings.Repeat("a.", 127) + "b", "", "", noHost + `"` + strings.Repeat("a.", 30) + `"...`},
		{"", "", "", noHost + `""`},
		{".", "", "", noHost + `"."`},
		{"a/b", "", "", noHost + `"a/b"`},
		{"a b", "", "", noHost + `"a b"`},
		{"a..b", "", "", noHost + `"a..b"`},
		{"-a.b", "", "", noHost + `"-a.b"`},
		{"a-.b", "", "", noHost + `"a-.b"`},
		{"*.example.com", "", "", noHost + `"*.example.com"`},
		{"user@a", "", "", noHost + `"user@a"`},
		{":80", "", "", noHost + `":80"`},
		{"a:", "", "", noHost + `"a:"`},
		{"a:0", "", "", noHost + `"a:0"`},
		{"a:65536", "", "", noHost + `"a:65536"`},
		{"[10.0.0.11]", "", "", noHost + `"[10.0.0.11]"`},
		{"[::1", "", "", noHost + `"[::1"`},
		{"[::1]]", "", "", noHost + `"[::1]]"`},
		{"[fe80::1%eth0]", "", "", noHost + `"[fe80::1%eth0]"`},
		{"fe80::1%eth0", "", "", noHost + `"fe80::1%eth0"`},
		{"a\r\nX: 1", "", "", noHost + `"a\r\nX: 1"`},
		{"bücher.example", "", "", noASCII + `"bücher.example"`},
		{"a\xff", "", "", noASCII + `"a\xff"`},
	} {
		header, name, err := checkable.Host(tt.host)
		if header != tt.header || name != tt.name || problem(err) != tt.problem {
			t.Errorf("%q: got %q, %q, %v; want %q, %q, %s", tt.host, header, name, err, tt.header, tt.name, tt.problem)
		}
	}
}

func problem(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What passes is one request, and its server reads it as it was meant.
func FuzzWhatPassesIsOneRequest(f *testing.F) {
	f.Add("/health z?x=a", "www.example.com:80")
	f.Add("/a\r\nX: y", "::1")
	f.Add("//?", "[::1]:1")
	f.Fuzz(func(t *testing.T, path, host string) {
		target, err := checkable.Path(path)
		if err != nil {
			t.Skip("validation refuses it, so nobody asks it")
		}
		header, _, err := checkable.Host(host)
		if err != nil {
			t.Skip("validation refuses it, so nobody asks it")
		}
		text := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, header)
		in := bufio.NewReader(strings.NewReader(text))
		r, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if r.RequestURI != target || r.Host != header || len(r.Header) != 0 || in.Buffered() != 0 {
			t.Errorf("%q was read as %q of %q with %v, %d bytes left", text, r.RequestURI, r.Host, r.Header,
				in.Buffered())
		}
	})
}
