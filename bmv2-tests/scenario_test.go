// Package bmv2tests runs the scenarios: each a script in scenarios/, on one topology,
// with the real binary's controller, health daemon and command line. The same script runs on
//
//   - softswitch: in process, gVisor hosts, no root;
//   - softswitch-veth: `sluice switch` between Linux hosts in network namespaces (root);
//   - bmv2: simple_switch_grpc between the same hosts (root, and bmv2 on PATH).
package bmv2tests

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

func TestScenarios(t *testing.T) {
	sluice := buildSluice(t)
	t.Run("softswitch", func(t *testing.T) {
		runScenarios(t, sluice, func() (*lab.Lab[*lab.Stack, port.Port], error) {
			return lab.InProcess(topology, lab.Options{Switch: lab.Embedded{}})
		})
	})
	t.Run("softswitch-veth", func(t *testing.T) {
		needNamespaces(t)
		runScenarios(t, sluice, between(namespaces.Softswitch(sluice)))
	})
	t.Run("bmv2", func(t *testing.T) {
		needNamespaces(t)
		if _, err := exec.LookPath("simple_switch_grpc"); err != nil {
			t.Skip("simple_switch_grpc is not on PATH")
		}
		runScenarios(t, sluice, between(namespaces.BMv2))
	})
}

// between returns what builds the topology from Linux hosts around a switch.
func between(sw lab.Switch[string]) func() (*lab.Lab[*namespaces.Machine, string], error) {
	return func() (*lab.Lab[*namespaces.Machine, string], error) { return namespaces.New(topology, sw) }
}

// closeLater takes a lab down when the test ends.
func closeLater(t *testing.T, l io.Closer) {
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// needNamespaces skips where this machine has none, unless the environment says that it must: CI on a
// machine with root must not pass by skipping.
func needNamespaces(t *testing.T) {
	t.Helper()
	err := namespaces.Unavailable()
	switch {
	case err != nil && os.Getenv("SLUICE_PRIVILEGED") == "required":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
}

// buildSluice builds the command once; scenarios run it as an operator does.
func buildSluice(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	cmd := exec.Command("go", "build", "-o", path, "github.com/sluicelb/sluice/cmd/sluice")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building sluice: %v\n%s", err, out)
	}
	return path
}

func runScenarios[H lab.Host, P any](t *testing.T, sluice string, newLab func() (*lab.Lab[H, P], error)) {
	testscript.Run(t, testscript.Params{
		Dir:                 "scenarios",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			l, err := newLab()
			if err != nil {
				return err
			}
			s := newStage(l, sluice, env.WorkDir)
			env.Values[stageKey{}] = s
			env.Defer(func() {
				if err := s.close(); err != nil {
					env.T().Log(err)
					env.T().FailNow()
				}
			})
			env.Setenv("PATH", filepath.Dir(sluice)+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("TARGET", s.Target())
			env.Setenv("SLUICE_TARGET", s.Target())
			env.Setenv("SLUICE_CONTROLLER", s.controller)
			return s.writeIntent(s.Target())
		},
		Cmds: commands,
	})
}
