// Package bmv2tests runs the scenarios: each a script in scenarios/, on the topology of package lab,
// with the real binary's controller, health daemon and command line. The same script runs on
//
//   - softswitch: in process, gVisor hosts, no root;
//   - softswitch-veth: `sluice switch` between Linux hosts in network namespaces (root);
//   - bmv2: simple_switch_grpc between the same hosts (root, and bmv2 on PATH).
package bmv2tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
)

func TestScenarios(t *testing.T) {
	sluice := buildSluice(t)
	t.Run("softswitch", func(t *testing.T) {
		runScenarios(t, sluice, func() (lab.Lab, error) { return lab.NewInProcess() })
	})
	t.Run("softswitch-veth", func(t *testing.T) {
		needNamespaces(t)
		runScenarios(t, sluice, func() (lab.Lab, error) { return lab.NewNamespaces(lab.Softswitch(sluice)) })
	})
	t.Run("bmv2", func(t *testing.T) {
		needNamespaces(t)
		if _, err := exec.LookPath("simple_switch_grpc"); err != nil {
			t.Skip("simple_switch_grpc is not on PATH")
		}
		runScenarios(t, sluice, func() (lab.Lab, error) { return lab.NewNamespaces(lab.BMv2) })
	})
}

// needNamespaces skips where this machine has none, unless the environment says that it must: CI on a
// machine with root must not pass by skipping.
func needNamespaces(t *testing.T) {
	t.Helper()
	err := lab.Unavailable()
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

func runScenarios(t *testing.T, sluice string, newLab func() (lab.Lab, error)) {
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
			env.Setenv("TARGET", l.Target())
			env.Setenv("SLUICE_TARGET", l.Target())
			env.Setenv("SLUICE_CONTROLLER", s.controller)
			return s.writeIntent(l.Target())
		},
		Cmds: commands,
	})
}
