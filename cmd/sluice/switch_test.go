package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestSwitchRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no =", []string{"--port", "1veth"}, exitUsage, "sluice: --port 1veth: want ID=INTERFACE, such as 1=veth1\n"},
		{"no number", []string{"--port", "a=veth1"}, exitUsage,
			"sluice: --port a=veth1: want ID=INTERFACE with a number before the =, such as 1=veth1\n"},
		{
			"several at once", []string{"--port", "0=a", "--port", "511=b", "--port", "510=c", "--port", "1=d",
				"--port", "1=e",
				"--port", "2=d", "--port", "3="}, exitUsage,
			"sluice: --port 0=a: ID must be 1..510\n--port 511=b: ID must be 1..510\n" +
				"--port 510=c: 510 is the CPU port\n" +
				"--port 1=e: port 1 is there twice\n--port 2=d: interface d is there twice\n" +
				"--port 3=: want ID=INTERFACE, such " +
				"as 1=veth1\n",
		},
		{"CPU port", []string{"--cpu-port", "511"}, exitUsage, "sluice: --cpu-port: must be 1..510, is 511\n"},
		{"no port number", []string{"--grpc", "127.0.0.1"}, exitUsage,
			"sluice: --grpc: address \"127.0.0.1\": must be unix:/path, host:port or https://host:port\n"},
		{"not loopback", []string{"--grpc", "0.0.0.0:9559"}, exitUsage,
			"sluice: --grpc: address \"0.0.0.0:9559\": plain text stays on this machine: must be https://host:port, " +
				"a unix " +
				"socket or a loopback address; whoever reaches it there owns the switch; --insecure-plaintext " +
				"allows it\n"},
		{"TLS without files", []string{"--grpc", "https://:9559"}, exitUsage,
			"sluice: --grpc: address \"https://:9559\": " +
				"needs --tls-ca, and --tls-cert with --tls-key: without them nobody is known there\n"},
		{"a certificate without its key", []string{"--tls-cert", "a.crt", "--tls-ca", "ca.crt"}, exitUsage,
			"sluice: --tls-cert and --tls-key: must be given both, or none\n"},
		{"no authority", []string{"--tls-cert", "a.crt", "--tls-key", "a.key"}, exitUsage,
			"sluice: --tls-ca: is missing: a certificate is believed when an authority in it has issued it\n"},
		{"files that are not there", []string{"--tls-cert", "a.crt", "--tls-key", "a.key", "--tls-ca", "ca.crt"},
			exitUsage,
			"sluice: TLS: open a.crt: no such file or directory\n"},
		{"no such interface", []string{"--port", "1=nowhere0"}, exitUsage,
			"sluice: port 1: interface nowhere0: no such network interface\n"},
		{"captures nowhere", []string{"--pcap", ""}, exitUsage, "sluice: --pcap: must be a name, is empty\n"},
		{"captures in a file", []string{"--pcap", "switch_test.go/captures"}, exitUsage,
			"sluice: --pcap: mkdir switch_test.go: not a directory\n"},
		{"log level", []string{"--log-level", "loud"}, exitUsage,
			`sluice: --log-level: must be debug, info, warn or error, is "loud"` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"sluice", "switch"}, tt.args...), &stdout, &stderr)
			if code != tt.code || stderr.String() != tt.want || stdout.Len() != 0 {
				t.Errorf("exit code %d, want %d; stdout %q; stderr:\n got %q\nwant %q", code, tt.code, stdout.String(),
					stderr.String(), tt.want)
			}
		})
	}
}

func TestSwitchEndsWithItsContext(t *testing.T) {
	for _, args := range [][]string{{"--grpc", "127.0.0.1:0"}, {"--grpc", "0.0.0.0:0", "--insecure-plaintext"}} {
		ctx, cancel := context.WithCancel(t.Context())
		started := &watcher{want: "P4Runtime server", then: cancel}
		if code := run(ctx, append([]string{"sluice", "switch"}, args...), started, started); code != 0 {
			t.Errorf("%v: exit code %d, want 0:\n%s", args, code, started.text.String())
		}
		const want = `level=WARN msg="this switch has no ports and forwards nothing: --port ID=INTERFACE gives it one"`
		if !strings.Contains(started.text.String(), want) {
			t.Errorf("%v: no line %s in\n%s", args, want, started.text.String())
		}
	}
}

// watcher calls then when want was written.
type watcher struct {
	text strings.Builder
	want string
	then func()
}

func (w *watcher) Write(p []byte) (int, error) {
	w.text.Write(p)
	if strings.Contains(w.text.String(), w.want) {
		w.then()
	}
	return len(p), nil
}
