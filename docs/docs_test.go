// Package docs holds the documents against the code: the one direction of imports that
// architecture.md draws, and the proofs that features.md names.
package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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
		{"internal/rpc", "google.golang.org/grpc", "who speaks gRPC brings it; the ground floor speaks Connect, but " +
			"for gNMI"},
		{"internal/task", "google.golang.org/grpc", "who speaks gRPC brings it; the ground floor speaks Connect, but " +
			"for gNMI"},
		{"internal/loadreport", "google.golang.org/grpc", "load reports are datagrams"},
		{"internal/strict", "google.golang.org/grpc", "configurations are values"},
		{"internal/rpc/endpoint", "net/http", "configurations read addresses, and are pure"},
		{"internal/strict", "net/http", "configurations are values"},
		{"p4/netstack", "p4/softswitch", "hosts do not know what they are plugged into"},
		{"internal", "bmv2-tests", "what is tried out knows nothing of the lab"},
		{"p4", "bmv2-tests", "what is tried out knows nothing of the lab"},
		{"controller", "bmv2-tests", "what is tried out knows nothing of the lab"},
		{"healthd", "bmv2-tests", "what is tried out knows nothing of the lab"},
		{"gslb", "bmv2-tests", "what is tried out knows nothing of the lab"},
		{"p4", "controller", "the controller must not be able to tell the softswitch from bmv2"},
		{"p4", "healthd", "the data plane knows nothing of health"},
		{"p4", "gslb", "the data plane knows nothing of DNS"},
		{"p4/limits", "google.golang.org/protobuf", "pure packages use the numbers"},
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
		{"controller/core", "net/http", "the core decides; the daemon speaks"},
		{"controller/core", "google.golang.org/grpc", "the core decides; the daemon speaks"},
		{"controller/core", "google.golang.org/protobuf",
			"what the core tells are values; the daemon makes messages of them"},
		{"controller/core", "go.etcd.io/etcd", "a save is an effect"},
		{"controller/core", "controller/store", "a save is an effect"},
		{"controller/core", "controller/device", "what a switch is told is an effect"},
		{"controller/core", "controller/api", "the core knows no messages"},
		{"controller/rows", "google.golang.org/protobuf", "rows are values; who writes them speaks P4Runtime"},
		{"controller/rows", "controller/plan", "a row does not know why it is wanted"},
		{"controller/tree", "controller/device", "it is pure: who asks is the caller"},
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
		{"bmv2-tests/lab", "p4/p4rt", "who programs a lab's switch is the caller's business"},
		{"bmv2-tests/lab/proof", "gvisor.dev/gvisor", "the proof judges frames, whoever sent them"},
		{"bmv2-tests/lab/proof", "google.golang.org/grpc", "the proof judges frames, whoever programmed the switch"},
		{"cmd", "github.com/openconfig/gnmic", "it is a client of others, for tests"},
		{"cmd", "github.com/openconfig/gnmi/client", "it is a client of others, for tests"},
		{"cmd", "github.com/openconfig/goyang", "who serves a tree has a schema; only tests read YANG"},
		{"cmd", "bmv2-tests/lab/namespaces", "the binary makes no namespaces: only tests do"},
		{"p4/softswitch/engine", "google.golang.org/grpc",
			"the engine runs packets; the server in front of it speaks P4Runtime"},
		{"p4/softswitch/server", "gvisor.dev/gvisor", "hosts are the business of who attaches them"},
	}
	// Tests may reach further: they bring real neighbours.
	out, err := exec.Command("go", "list", "-deps", "-f", `{{if .Module}}{{.ImportPath}} {{join .Deps " "}}{{end}}`,
		"../...").Output()
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

// TestCoreIsPure holds that the core gets the time and waits for nobody: it imports nothing that could, starts nothing
// and asks no clock.
func TestCoreIsPure(t *testing.T) {
	const dir = "../controller/core"
	files := token.NewFileSet()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		read++
		f, err := parser.ParseFile(files, filepath.Join(dir, e.Name()), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			switch i.Path.Value {
			case `"context"`, `"io"`, `"math/rand/v2"`, `"net"`, `"os"`, `"sync"`, `"sync/atomic"`:
				t.Errorf("%v: the core imports %s", files.Position(i.Pos()), i.Path.Value)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%v: the core has a goroutine or a channel", files.Position(n.Pos()))
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); !ok || pkg.Name != "time" {
					break
				}
				switch n.Sel.Name {
				case "Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker":
					t.Errorf("%v: the core asks the clock, time.%s", files.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
	if read == 0 {
		t.Error("no file of the core was read")
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
	help := sync.OnceValue(func() func(...string) (string, error) { return buildHelp(t) })
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
		if len(proofs) == 0 && !strings.HasPrefix(proof, "open") && !strings.HasPrefix(proof, "n/a") &&
			proof != "the same limit, said in the README" {
			t.Errorf("%s: %q names no proof and is neither open nor n/a", strings.TrimSpace(cells[0]), proof)
		}
		for _, p := range proofs {
			switch name := p[1]; {
			case strings.HasSuffix(name, ".txtar"):
				file := filepath.Join("../bmv2-tests/scenarios", name)
				if decision, ok := strings.CutPrefix(name, "core/"); ok {
					file = filepath.Join("../controller/core/testdata", decision)
				}
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(cells[0]), err)
				}
			case strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz") ||
				strings.HasPrefix(name, "Benchmark"):
				if !names[name] {
					t.Errorf("%s: there is no %s", strings.TrimSpace(cells[0]), name)
				}
			case strings.HasPrefix(name, "make "):
				if target := strings.Fields(name)[1]; !regexp.MustCompile(`(?m)^` + target + `:`).Match(makefile) {
					t.Errorf("%s: the Makefile has no target %s", strings.TrimSpace(cells[0]), target)
				}
			case strings.HasPrefix(name, "go test "):
				if err := checkGoTest(strings.Fields(name)[2:], names); err != nil {
					t.Errorf("%s: %s: %v", strings.TrimSpace(cells[0]), name, err)
				}
			case strings.HasPrefix(name, "sluice "):
				if err := checkCommand(help(), strings.Fields(name)[1:]); err != nil {
					t.Errorf("%s: %s: %v", strings.TrimSpace(cells[0]), name, err)
				}
			default:
				t.Errorf("%s: %q is no scenario, test, make target, go test or sluice command",
					strings.TrimSpace(cells[0]), name)
			}
		}
	}
	if rows < 50 {
		t.Errorf("only %d rows were understood", rows)
	}
}

// checkGoTest checks that the packages that `go test` gets are there, and the tests that -run names.
func checkGoTest(args []string, names map[string]bool) error {
	for i, arg := range args {
		switch {
		case strings.HasPrefix(arg, "./"):
			out, err := exec.Command("go", "list", "."+arg).CombinedOutput()
			if err != nil || strings.HasPrefix(string(out), "go: warning") {
				return fmt.Errorf("%s", out)
			}
		case i > 0 && args[i-1] == "-run":
			run, err := regexp.Compile(arg)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(slices.Collect(maps.Keys(names)), run.MatchString) {
				return fmt.Errorf("-run %s matches no test", arg)
			}
		}
	}
	return nil
}

// checkCommand checks that sluice has the command, which ends with the first word that is none of a group's, and its
// flags.
func checkCommand(help func(...string) (string, error), args []string) error {
	text, err := help()
	command := 0
	for ; err == nil && command < len(args) && strings.Contains(text, "\nCOMMANDS:\n"); command++ {
		text, err = help(args[:command+1]...)
	}
	if err != nil {
		return err
	}
	for _, arg := range args[command:] {
		if strings.HasPrefix(arg, "-") && !regexp.MustCompile(`(?m)^ .*`+regexp.QuoteMeta(arg)+`\b`).MatchString(text) {
			return fmt.Errorf("there is no flag %s", arg)
		}
	}
	return nil
}

// buildHelp returns `sluice help` of a command.
func buildHelp(t *testing.T) func(command ...string) (string, error) {
	binary := filepath.Join(t.TempDir(), "sluice")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/sluice").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(command ...string) (string, error) {
		out, err := exec.Command(binary, append([]string{"help"}, command...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s", out)
		}
		return string(out), err
	}
}

// What is not there is found.
func TestFindsMissingProofs(t *testing.T) {
	names := map[string]bool{"TestOne": true}
	for _, args := range [][]string{{"./healthd/..."}, {"./docs", "-run", "TestOne"}, {"-bench", ".", "./docs"}} {
		if err := checkGoTest(args, names); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, args := range [][]string{{"./health/..."}, {"./docs", "-run", "TestTwo"}, {"./docs/none"}} {
		if checkGoTest(args, names) == nil {
			t.Errorf("%v is not refused", args)
		}
	}
	help := buildHelp(t)
	for _, args := range [][]string{{"config", "check", "FILE"}, {"status", "--json"}, {"table", "dump", "vip"},
		{"backend", "drain", "--wait", "web1"}} {
		if err := checkCommand(help, args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, args := range [][]string{{"config", "check", "--none"}, {"state"}, {"backend", "stop", "web1"},
		{"status", "--js"}} {
		if checkCommand(help, args) == nil {
			t.Errorf("%v is not refused", args)
		}
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
