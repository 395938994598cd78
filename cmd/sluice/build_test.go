package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A build says what is coming, that it goes on and what go complains about; one with nothing to do says nothing.
func TestBuild(t *testing.T) {
	const announcement = "The first build downloads and compiles the libraries: about\n" +
		"3 minutes of processor time, which two idle processors do\n" +
		"in half of that, and 0.8 GB of caches (their places:\n" +
		"`go env GOCACHE GOMODCACHE`). Later builds take seconds.\n"
	for _, test := range []struct {
		name string
		says string // what go says
		exit int    // its exit code
		want string
	}{
		{"nothing to do", "", 0, ""},
		{
			"first", `go: downloading golang.org/x/sys v0.49.0
go: downloading google.golang.org/grpc v1.83.2
internal/cpu
` + strings.Repeat("golang.org/x/sys/unix\n", 50) + `github.com/sluicelb/sluice/controller
github.com/sluicelb/sluice/cmd/sluice
`, 0,
			announcement + `  library 1: golang.org/x/sys v0.49.0
  package 1 of 3 or less
  package 21 of 3 or less
  package 41 of 3 or less
  compiling and linking sluice
`,
		},
		{
			"own code", "github.com/sluicelb/sluice/controller\ngithub.com/sluicelb/sluice/cmd/sluice\n", 0,
			"  package 1 of 3 or less\n  compiling and linking sluice\n",
		},
		{
			"an error", "github.com/sluicelb/sluice/p4\n# github.com/sluicelb/sluice/p4\np4/p4.go:3:1: syntax error\n",
			7,
			"  package 1 of 3 or less\n# github.com/sluicelb/sluice/p4\np4/p4.go:3:1: syntax error\n" +
				"  the build failed\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := filepath.Join(t.TempDir(), "go")
			script := "#!/bin/sh\ncase $1 in\nlist) printf 'a\\nb\\nc\\n'; exit 0 ;;\nesac\n" +
				"[ \"$*\" = 'build -v -o bin/sluice ./cmd/sluice' ] || exit 99\ncat >&2 <<'END'\n" + test.says +
				"END\nexit " +
				string(rune('0'+test.exit)) + "\n"
			if err := os.WriteFile(fake, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "sh", "build.sh")
			cmd.Env = append(os.Environ(), "GO="+fake)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			exit := 0
			if ended, ok := errors.AsType[*exec.ExitError](err); ok {
				exit = ended.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if exit != test.exit {
				t.Errorf("exit code %d, want %d", exit, test.exit)
			}
			if diff := cmp.Diff(test.want, stderr.String()); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout: %s", &stdout)
			}
		})
	}
}

// What nobody uses is not compiled: etcd's package embed, for sockets that the store does not open, brings 56 packages.
func TestCompiled(t *testing.T) {
	list, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(list))
	if store := "go.etcd.io/etcd/server/v3/etcdserver"; !slices.Contains(packages, store) {
		t.Errorf("%s is not among %d packages", store, len(packages))
	}
	for _, unused := range []string{
		"go.etcd.io/etcd/server/v3/embed",
		"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc",
		"net/http/pprof",
	} {
		if slices.Contains(packages, unused) {
			t.Errorf("%s is compiled", unused)
		}
	}
}

// Who has no go, or root without the PATH of who has it, is told what to do.
func TestBuildWithoutGo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "build.sh")
	cmd.Env = append(os.Environ(), "GO=/nowhere/go")
	out, err := cmd.CombinedOutput()
	const want = "  needs /nowhere/go, which is not on PATH: get it from https://go.dev/dl, or say where it is: make " +
		"GO=/usr/local/go/bin/go ...\n"
	if diff := cmp.Diff(want, string(out)); diff != "" || err == nil {
		t.Errorf("error %v, output (-want +got):\n%s", err, diff)
	}
}
