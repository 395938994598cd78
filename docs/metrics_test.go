package docs

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of metrics anew")

// metric is a series as the code makes it.
type metric struct{ name, labels, help string }

// metricsIn are where roles say what they show, and the beginning of the names that figure and desc get there.
var metricsIn = map[string]string{
	"../internal/metrics/metrics.go": "",
	"../controller/metrics.go":       "sluice_controller_",
	"../controller/device/times.go":  "",
	"../healthd/metrics.go":          "sluice_healthd_",
	"../p4/softswitch/metrics.go":    "sluice_switch_",
	"../gslb/metrics.go":             "sluice_gslb_",
}

// metricsOf reads a file for what makes series: figure and desc (name, help, labels), metrics.Times (name, help), and
// the options of package prometheus.
func metricsOf(t *testing.T, file, prefix string) (all []metric) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, help string, labels []string) {
		if name != "" {
			all = append(all, metric{name, strings.Join(labels, ", "), help})
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			called, of := nameOf(n.Fun), ""
			switch called {
			case "figure", "desc":
				of = prefix
			case "metrics.Times":
			case "prometheus.NewHistogramVec", "prometheus.NewCounterVec":
				name, help := options(n.Args[0])
				add(name, help, textsOf(n.Args[1]))
				return false
			default:
				return true
			}
			if name := text(n.Args[0]); name != "" {
				var labels []string
				for _, a := range n.Args[2:] {
					if l := text(a); l != "" {
						labels = append(labels, l)
					}
				}
				if called == "metrics.Times" && nameOf(n.Args[2]) != "nil" {
					labels = []string{"switch"}
				}
				add(of+name, text(n.Args[1]), labels)
			}
		case *ast.CompositeLit:
			if name, help := options(n); name != "" {
				var labels []string
				if name == "sluice_build_info" {
					labels = []string{"role", "version", "revision", "goversion"}
				}
				add(name, help, labels)
			}
		}
		return true
	})
	return all
}

// nameOf is a name, such as figure or metrics.Times.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	}
	return ""
}

// text is a constant text, which may be a sum.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if err == nil {
			return s
		}
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	}
	return ""
}

func textsOf(e ast.Expr) (all []string) {
	if list, ok := e.(*ast.CompositeLit); ok {
		for _, one := range list.Elts {
			all = append(all, text(one))
		}
	}
	return all
}

// options are what a literal of prometheus.HistogramOpts and its like says.
func options(e ast.Expr) (name, help string) {
	list, ok := e.(*ast.CompositeLit)
	if !ok || !strings.HasPrefix(nameOf(list.Type), "prometheus.") {
		return "", ""
	}
	for _, one := range list.Elts {
		if kv, ok := one.(*ast.KeyValueExpr); ok {
			switch nameOf(kv.Key) {
			case "Name":
				name = text(kv.Value)
			case "Help":
				help = text(kv.Value)
			}
		}
	}
	return name, help
}

func allMetrics(t *testing.T) []metric {
	t.Helper()
	var all []metric
	for file, prefix := range metricsIn {
		all = append(all, metricsOf(t, file, prefix)...)
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return all
}

// telemetry.md lists every metric that the code makes, with its labels and its help text.
func TestMetricsAreDocumented(t *testing.T) {
	all := allMetrics(t)
	if len(all) < 80 {
		t.Fatalf("only %d metrics were found in the code", len(all))
	}
	var b strings.Builder
	b.WriteString("| metric | labels | what it is |\n|---|---|---|\n")
	for _, m := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.name, m.labels, m.help)
	}
	heldTable(t, "metrics", "TestMetricsAreDocumented", b.String())
}

// heldTable holds a table of telemetry.md, which a test makes, against the page; with -update it writes it there.
func heldTable(t *testing.T, name, test, want string) {
	t.Helper()
	const file, ends = "telemetry.md", "<!-- end -->\n"
	begins := fmt.Sprintf("<!-- %s: go test ./docs -run %s -update -->\n", name, test)
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begins)
	table, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		t.Fatalf("%s has no table between %q and %q", file, begins, ends)
	}
	if *update {
		if err := os.WriteFile(file, []byte(before+begins+want+ends+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(table, "\n")); diff != "" {
		t.Errorf("%s differs from the code; run go test ./docs -run %s -update (-code +page):\n%s", file, test, diff)
	}
}

var (
	used     = regexp.MustCompile(`sluice_[a-z_]+[a-z]`)
	alert    = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	heading  = regexp.MustCompile(`(?m)^\| <a id="(\w+)"></a>(\w+) \|`)
	runbook  = regexp.MustCompile(`(?m)^ +runbook: docs/runbook\.md#(\w+)$`)
	ofAlerts = regexp.MustCompile(`alertname: (\w+)`)
)

// Alerts and dashboards go by metrics that there are, and each alert has its line in the runbook and its test.
func TestAlertsAndDashboards(t *testing.T) {
	known := make(map[string]bool)
	for _, m := range allMetrics(t) {
		known[m.name] = true
		known[m.name+"_bucket"] = strings.HasSuffix(m.name, "_seconds")
	}
	dashboards, err := filepath.Glob("../deploy/grafana/*.json")
	if err != nil || len(dashboards) == 0 {
		t.Fatalf("%d dashboards, %v", len(dashboards), err)
	}
	for _, file := range append(dashboards, "../deploy/prometheus/sluice.rules.yml",
		"../deploy/prometheus/sluice.test.yml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := used.FindAllString(string(data), -1)
		if len(names) == 0 {
			t.Errorf("%s goes by no metric", file)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s: there is no %s", file, name)
			}
		}
	}
	read := func(file string, form *regexp.Regexp, group int) (all []string) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range form.FindAllStringSubmatch(string(data), -1) {
			all = append(all, found[group])
		}
		slices.Sort(all)
		return all
	}
	alerts := read("../deploy/prometheus/sluice.rules.yml", alert, 1)
	anchors := make([]string, len(alerts))
	for i, name := range alerts {
		anchors[i] = strings.ToLower(name)
	}
	slices.Sort(anchors)
	for what, pair := range map[string][2][]string{
		"alerts in the runbook":   {alerts, read("runbook.md", heading, 2)},
		"anchors of the runbook":  {anchors, read("runbook.md", heading, 1)},
		"links of the alerts":     {anchors, read("../deploy/prometheus/sluice.rules.yml", runbook, 1)},
		"alerts that have a test": {alerts, slices.Compact(read("../deploy/prometheus/sluice.test.yml", ofAlerts, 1))},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// promtool takes the rules and the example, and each alert fires when it should.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not on PATH (Debian's package prometheus has it): the rules are not checked")
	}
	for _, args := range [][]string{
		{"check", "rules", "sluice.rules.yml"}, {"test", "rules", "sluice.test.yml"},
		{"check", "config", "prometheus.yml"},
	} {
		c := exec.Command(tool, args...)
		c.Dir = "../deploy/prometheus"
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
