package endpoint

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := "/" + strings.Repeat("x", MaxPath)
	for _, test := range []struct {
		text  string
		want  Endpoint
		print string // "": as text
		local bool
		err   string
	}{
		{"unix:/run/a.sock", Endpoint{Network: "unix", Address: "/run/a.sock"}, "", true, ""},
		{"unix:///run/a.sock", Endpoint{Network: "unix", Address: "/run/a.sock"}, "unix:/run/a.sock", true, ""},
		{"unix:a.sock", Endpoint{Network: "unix", Address: "a.sock"}, "", true, ""},
		{"unix:/a?user=sluice", Endpoint{Network: "unix", Address: "/a", User: "sluice"}, "", true, ""},
		{"unix:/a?user=1000", Endpoint{Network: "unix", Address: "/a", User: "1000"}, "", true, ""},
		{"127.0.0.1:9680", Endpoint{Network: "tcp", Address: "127.0.0.1:9680"}, "", true, ""},
		{"http://[::1]:9680/", Endpoint{Network: "tcp", Address: "[::1]:9680"}, "[::1]:9680", true, ""},
		{"localhost:0", Endpoint{Network: "tcp", Address: "localhost:0"}, "", true, ""},
		{"192.0.2.1:9559", Endpoint{Network: "tcp", Address: "192.0.2.1:9559"}, "", false, ""},
		{"leaf-1.example.net:9559", Endpoint{Network: "tcp", Address: "leaf-1.example.net:9559"}, "", false, ""},
		{":9559", Endpoint{Network: "tcp", Address: ":9559"}, "", false, ""},
		{"https://leaf-1.example.net:9559", Endpoint{Network: "tcp", Address: "leaf-1.example.net:9559", TLS: true}, "",
			false, ""},
		{"https://[2001:db8::1]:9559/", Endpoint{Network: "tcp", Address: "[2001:db8::1]:9559", TLS: true},
			"https://[2001:db8::1]:9559", false, ""},
		{"https://127.0.0.1:0", Endpoint{Network: "tcp", Address: "127.0.0.1:0", TLS: true}, "", true, ""},
		{"https://:9680", Endpoint{Network: "tcp", Address: ":9680", TLS: true}, "", false, ""},
		{text: "https://host", err: "must be unix:/path, host:port or https://host:port"},
		{text: "https://http://host:1", err: "must be unix:/path, host:port or https://host:port"},
		{text: "https://host:1/path", err: `the port must be 0..65535, is "1/path"`},
		{text: "", err: "must be unix:/path, host:port or https://host:port"},
		{text: "host", err: "must be unix:/path, host:port or https://host:port"},
		{text: "foo bar!:1", err: "must be unix:/path, host:port or https://host:port"},
		{text: "host:+1", err: `the port must be 0..65535, is "+1"`},
		{text: "host:65536", err: `the port must be 0..65535, is "65536"`},
		{text: "unix:", err: "must name a socket, as unix:/path"},
		{text: "unix:/a?user=",
			err: `behind the path there may be ?user=NAME, who serves the socket beside root and you, not "?user="`},
		{text: "unix:/a?group=b",
			err: `behind the path there may be ?user=NAME, who serves the socket beside root and you, not "?group=b"`},
		{text: "unix:/a\x00", err: "the path of the socket must have no zero byte"},
		{text: "unix:" + long,
			err: "the path of the socket must have at most 107 bytes, has 108: the kernel takes no longer one"},
	} {
		got, err := Parse(test.text)
		if err != nil || test.err != "" {
			if err == nil || err.Error() != test.err {
				t.Errorf("%q: error %v, want %q", test.text, err, test.err)
			}
			continue
		}
		print := test.print
		if print == "" {
			print = test.text
		}
		if got != test.want || got.String() != print || got.Local() != test.local {
			t.Errorf("%q: got %#v, %s, local %v", test.text, got, got, got.Local())
		}
	}
}
