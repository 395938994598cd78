package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestConfigCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	files := map[string]string{
		"bad.yaml": "switches:\n  - {name: leaf1, address: \"127.0.0.1:9559\", device_id: 1, ports: [1]}\nvip_mac: " +
			"01:53:4c:00:00:01\npool: []\n",
		"one.yaml": "switches:\n  - {name: leaf1, address: \"127.0.0.1:9559\", device_id: 1, ports: [1]}\nvip_mac: " +
			"02:53:4c:00:00:01\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const problems = `bad.yaml:3: vip_mac: must be the MAC address of one station (an even first byte), is the group address 01:53:4c:00:00:01
bad.yaml:4: pool: is not a known key: did you mean pools?
sluice: bad.yaml: 2 problems
`
	for _, tt := range []struct {
		name           string
		args           []string
		stdin          string
		code           int
		stdout, stderr string
	}{
		{"ok", []string{"one.yaml"}, "", 0, "one.yaml: ok: 0 VIPs, 0 pools, 0 backends, 1 switch\n", ""},
		{"problems", []string{"bad.yaml"}, "", exitUsage, "", problems},
		{"problems for programs", []string{"bad.yaml", "--json"}, "", exitUsage, `{
  "file": "bad.yaml",
  "ok": false,
  "switches": 0,
  "vips": 0,
  "pools": 0,
  "backends": 0,
  "problems": [
    {
      "file": "bad.yaml",
      "line": 3,
      "path": "vip_mac",
      "message": "must be the MAC address of one station (an even first byte), is the group address 01:53:4c:00:00:01"
    },
    {
      "file": "bad.yaml",
      "line": 4,
      "path": "pool",
      "message": "is not a known key: did you mean pools?"
    }
  ]
}
`, problems},
		{"ok for programs", []string{"--json", "one.yaml"}, "", 0, `{
  "file": "one.yaml",
  "ok": true,
  "switches": 1,
  "vips": 0,
  "pools": 0,
  "backends": 0,
  "problems": []
}
`, ""},
		{"stdin", []string{"-"}, files["one.yaml"], 0, "stdin: ok: 0 VIPs, 0 pools, 0 backends, 1 switch\n", ""},
		{"empty stdin", []string{"-"}, "", exitUsage, "", "stdin:1: is empty\nsluice: stdin: 1 problem\n"},
		{"no such file", []string{"none.yaml"}, "", exitUsage, "",
			"none.yaml: cannot be read: no such file or directory\nsluice: none.yaml: 1 problem\n"},
		{"no such file for programs", []string{"--json", "none.yaml"}, "", exitUsage, `{
  "file": "none.yaml",
  "ok": false,
  "switches": 0,
  "vips": 0,
  "pools": 0,
  "backends": 0,
  "problems": [
    {
      "file": "none.yaml",
      "line": 0,
      "path": "",
      "message": "cannot be read: no such file or directory"
    }
  ]
}
`, "none.yaml: cannot be read: no such file or directory\nsluice: none.yaml: 1 problem\n"},
		{"no file", nil, "", exitUsage, "", "sluice: which FILE? `sluice config check --help` tells the usage\n"},
		{"two files", []string{"one.yaml", "bad.yaml"}, "", exitUsage, "",
			"sluice: unexpected argument \"bad.yaml\"; `sluice config check --help` tells the usage\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			setStdin(t, tt.stdin)
			code := run(t.Context(), append([]string{"sluice", "config", "check"}, tt.args...), &stdout, &stderr)
			if diff := cmp.Diff([]any{tt.code, tt.stdout, tt.stderr},
				[]any{code, stdout.String(), stderr.String()}); diff != "" {
				t.Errorf("exit code, stdout, stderr (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigCheckTakesTheReference(t *testing.T) {
	file := filepath.Join("..", "..", "controller", "config", "reference.yaml")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"sluice", "config", "check", file}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	if got, want := stdout.String(), file+": ok: 1 VIP, 1 pool, 3 backends, 1 switch\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
}

// A terminal or a pipe that says nothing is waited for until the command is told to end.
func TestReadingEnds(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	silent, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = silent
	t.Cleanup(func() {
		os.Stdin = stdin
		writer.Close()
		if f, err := os.OpenFile(fifo, os.O_RDWR, 0); err == nil { // lets go who waits for it
			f.Close()
		}
	})
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("told to end"))
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"config check", []string{"config", "check", "-"}, "sluice: reading stdin: told to end\n"},
		{"config check of a pipe", []string{"config", "check", fifo}, "sluice: reading " + fifo + ": told to end\n"},
		{"config apply", []string{"config", "apply", "-"}, "sluice: reading stdin: told to end\n"},
		{"gslb check", []string{"gslb", "check", "-"}, "sluice: reading stdin: told to end\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(ctx, append([]string{"sluice"}, tt.args...), &stdout, &stderr)
			if code != exitUsage || stdout.Len() > 0 || stderr.String() != tt.want {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %d, nothing, %q", code, &stdout, &stderr, exitUsage,
					tt.want)
			}
		})
	}
}

// setStdin makes text the standard input until the test ends.
func setStdin(t *testing.T, text string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdin
	os.Stdin = f
	t.Cleanup(func() {
		os.Stdin = was
		f.Close()
	})
}
