package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/cmd/sluice/demo"
)

// The whole product, end to end, as `sluice demo --json` shows it, in a narrow window.
func TestDemo(t *testing.T) {
	const columns = 60
	t.Setenv("COLUMNS", strconv.Itoa(columns))
	captures := filepath.Join(t.TempDir(), "captures")
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"sluice", "demo", "--json", "--pcap", captures}, &stdout, &stderr)
	t.Logf("stderr:\n%s", &stderr)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	if lines := strings.Count(stdout.String(), "\n"); lines != 1 {
		t.Fatalf("%d lines on stdout, want 1:\n%s", lines, &stdout)
	}
	var got map[string]any
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	number := func(key string) float64 {
		n, ok := got[key].(float64)
		if !ok {
			t.Errorf("%s: %v, want a number", key, got[key])
		}
		return n
	}
	if n := number("requests"); n < 100 {
		t.Errorf("requests: %v, want hundreds", n)
	}
	if ok, n := number("ok"), number("requests"); ok > n || ok < n*0.8 {
		t.Errorf("ok: %v of %v requests", ok, n)
	}
	if ms := number("detection_ms"); ms <= 0 || ms > 10000 {
		t.Errorf("detection_ms: %v", ms)
	}
	if ms := number("reprogram_ms"); ms <= 0 || ms > 5000 {
		t.Errorf("reprogram_ms: %v", ms)
	}
	if ms := number("gslb_failover_ms"); ms <= 0 || ms > 40000 {
		t.Errorf("gslb_failover_ms: %v", ms)
	}
	want := map[string]any{
		"requests": got["requests"], "ok": got["ok"], "detection_ms": got["detection_ms"],
		"reprogram_ms":     got["reprogram_ms"],
		"gslb_failover_ms": got["gslb_failover_ms"], "gslb_wrong_answers": 0.0,
		"failed_on_live_backends": 0.0, "surplus_slot_moves": 0.0, "dsr_verified": true, "proved": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(stderr.String()) {
		// What is one word, such as the name of a socket, is not broken.
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns && len(strings.Fields(line)) > 1 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(stderr.String(), "✗") || strings.Contains(stderr.String(), "\x1b") {
		t.Error("progress has a failed claim, or colour for a pipe")
	}
	for _, name := range []string{
		"fra-port1-router", "fra-port2-web1", "fra-port3-web2", "fra-port4-web3", "fra-port5-mgmt",
		"ams-port1-router", "ams-port2-web4", "ams-port3-web5", "ams-port4-mgmt",
	} {
		content, err := os.ReadFile(filepath.Join(captures, name+".pcap"))
		if err != nil {
			t.Error(err)
		} else if magic := []byte{0xd4, 0xc3, 0xb2, 0xa1}; len(content) < 1000 || !bytes.HasPrefix(content, magic) {
			t.Errorf("%s.pcap: %d bytes that are no capture", name, len(content))
		}
	}
}

func TestDemoUsage(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Not even root can write captures in /proc, where there is one.
	const unwritable = "--pcap: open /proc/fra-port1-router.pcap: no such file or directory"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"an argument", []string{"foo"}, "unexpected argument \"foo\"; `sluice demo --help` tells the usage"},
		{"a directory that cannot be made", []string{"--pcap", file}, "--pcap: mkdir " + file + ": not a directory"},
		{"a directory that cannot be written", []string{"--json", "--pcap", "/proc"}, unwritable},
		{"captures nowhere", []string{"--pcap", ""}, "--pcap: must be a name, is empty"},
		{"log nowhere", []string{"--log="}, "--log: must be a name, is empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.want == unwritable && runtime.GOOS != "linux" {
				t.Skip("needs /proc")
			}
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), append([]string{"sluice", "demo"}, test.args...), &stdout,
				&stderr); code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if diff := cmp.Diff("sluice: "+test.want+"\n", stderr.String()); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout: %s", &stdout)
			}
		})
	}
}

// Programs get their line from a demo that was interrupted, too.
func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout bytes.Buffer
	stderr := writer(func(p []byte) {
		if bytes.Contains(p, []byte("Power cut")) {
			cancel()
		}
	})
	if code := run(ctx, []string{"sluice", "demo", "--json"}, &stdout, stderr); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	var got demo.Result
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("stdout %q: %v", &stdout, err)
	}
	// What was not measured is null.
	want := demo.Result{Requests: got.Requests, OK: got.OK, FailedOnLiveBackends: new(0), GSLBWrongAnswers: new(0)}
	if diff := cmp.Diff(want, got); diff != "" || got.Requests == 0 || strings.Count(stdout.String(), "\n") != 1 {
		t.Errorf("stdout: %s\nresult (-want +got):\n%s", &stdout, diff)
	}
	for _, field := range []string{"proved", "surplus_slot_moves", "detection_ms", "reprogram_ms", "dsr_verified",
		"gslb_failover_ms"} {
		if !strings.Contains(stdout.String(), fmt.Sprintf("%q:null", field)) {
			t.Errorf("stdout: %s, want null for %s", &stdout, field)
		}
	}
}

// A terminal that is closed ends the demo as ^C does: nothing stays behind.
func TestDemoHangup(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, syscall.SIGHUP) // what nobody takes would end the test
	defer signal.Stop(ours)
	stderr := writer(func(p []byte) {
		if bytes.Contains(p, []byte("Three servers")) {
			if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
				t.Error(err)
			}
		}
	})
	if code := run(t.Context(), []string{"sluice", "demo", "--json"}, io.Discard, stderr); code != exitFailure {
		t.Errorf("exit code %d, want %d", code, exitFailure)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
