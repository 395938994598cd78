// Package docs holds the documents against the code: the one direction of imports that
// architecture.md draws, and the proofs that features.md names.
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/sluicelb/sluice/"

// TestImports holds the one direction of imports. An edge is forbidden for packages at or below
// `from` to reach, directly or not, packages at or below `to`.
func TestImports(t *testing.T) {
	forbidden := []struct{ from, to, why string }{
		{"internal", "controller", "the ground floor knows no role"},
		{"internal", "healthd", "the ground floor knows no role"},
		{"internal", "gslb", "the ground floor knows no role"},
		{"internal", "p4", "the ground floor knows no role"},
		{"internal", "google.golang.org/grpc", "who speaks gRPC brings it; the ground floor speaks Connect"},
		{"internal/rpc/endpoint", "net/http", "configurations read addresses, and are pure"},
		{"p4", "controller", "the controller must not be able to tell the softswitch from bmv2"},
		{"p4", "healthd", "the data plane knows nothing of health"},
		{"p4", "gslb", "the data plane knows nothing of DNS"},
		{"controller", "healthd", "healthd is another process and speaks through the API"},
		{"controller", "gslb", "gslb is another process and speaks through the API"},
		{"controller", "p4/softswitch", "a target is whatever speaks P4Runtime"},
		{"healthd", "controller/plan", "healthd gives verdicts and takes no decisions"},
		{"healthd", "controller/store", "healthd reaches the controller through its API only"},
		{"healthd", "p4/p4rt", "healthd never talks to a switch"},
		{"healthd", "p4/softswitch", "healthd never talks to a switch"},
		{"healthd", "gslb", "checks and their engine serve gslb and know nothing of it"},
		{"controller/plan", "google.golang.org/grpc", "the plan is a pure function"},
		{"controller/plan", "net/http", "the plan is a pure function"},
		{"controller/config", "google.golang.org/grpc", "the schema is values, not messages"},
		{"gslb", "controller/plan", "gslb knows of a data center what its controller says through the API"},
		{"gslb", "controller/store", "gslb reaches a controller through its API only"},
		{"gslb", "p4", "DNS knows nothing of the data plane"},
		{"gslb/selection", "net/http", "selection is a pure function"},
		{"gslb/selection", "google.golang.org/grpc", "selection is a pure function"},
		{"gslb/zone", "gslb/selection", "zones say what a name is, not which answer it gets"},
		{"gslb/zone", "net/http", "the index is pure"},
		{"gslb/responder", "gslb/server", "nothing in the full path blocks or sends"},
		{"gslb/responder", "gslb/relay", "nothing in the full path blocks or sends"},
		{"gslb/fastpath", "gslb/server", "the fast path turns bytes into bytes"},
		{"p4/softswitch/engine", "google.golang.org/grpc", "the engine runs packets; the server in front of it speaks P4Runtime"},
		{"p4/softswitch/server", "gvisor.dev/gvisor", "hosts are the business of who attaches them"},
	}
	// Tests may reach further: they bring real neighbours.
	out, err := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{.ImportPath}} {{join .Deps " "}}{{end}}`, "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	under := func(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from, ours := strings.CutPrefix(fields[0], module)
		if !ours {
			continue
		}
		for _, rule := range forbidden {
			if !under(from, rule.from) {
				continue
			}
			seen[rule.from] = true
			for _, to := range fields[1:] {
				if under(strings.TrimPrefix(to, module), rule.to) {
					t.Errorf("%s imports %s: %s", from, to, rule.why)
				}
			}
		}
	}
	for _, rule := range forbidden {
		if !seen[rule.from] {
			t.Errorf("the rule for %s holds no package", rule.from)
		}
	}
}

// TestFeatures checks that what features.md names as a proof is there.
func TestFeatures(t *testing.T) {
	page, err := os.ReadFile("features.md")
	if err != nil {
		t.Fatal(err)
	}
	names := testNames(t)
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 2 || strings.TrimSpace(cells[0]) == "capability" {
			continue
		}
		rows++
		proof := strings.TrimSpace(cells[1])
		proofs := quoted.FindAllStringSubmatch(proof, -1)
		if len(proofs) == 0 && !strings.HasPrefix(proof, "open") && !strings.HasPrefix(proof, "n/a") && proof != "the same limit, said in the README" {
			t.Errorf("%s: %q names no proof and is neither open nor n/a", strings.TrimSpace(cells[0]), proof)
		}
		for _, p := range proofs {
			switch name := p[1]; {
			case strings.HasSuffix(name, ".txtar"):
				if _, err := os.Stat(filepath.Join("../bmv2-tests/scenarios", name)); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(cells[0]), err)
				}
			case strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Benchmark"):
				if !names[name] {
					t.Errorf("%s: there is no %s", strings.TrimSpace(cells[0]), name)
				}
			case strings.HasPrefix(name, "make "):
				if target := strings.Fields(name)[1]; !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile) {
					t.Errorf("%s: the Makefile has no target %s", strings.TrimSpace(cells[0]), target)
				}
			}
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows were understood", rows)
	}
}

// testNames returns the names of all tests, fuzz targets and benchmarks of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	names := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
