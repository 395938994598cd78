package docs

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicelb/sluice/controller/tree"
	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/p4/softswitch"
)

// Every path that is served is in telemetry.md, in the chapter of who serves it, with its type and how it is told; and
// nothing else is.
func TestTelemetryPaths(t *testing.T) {
	page, err := os.ReadFile("telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	for chapter, schema := range map[string]*gnmi.Schema{
		"The controller's tree": tree.Schema, "The embedded switch's tree": softswitch.Telemetry,
	} {
		_, text, ok := strings.Cut(string(page), "\n### "+chapter+"\n")
		if !ok {
			t.Errorf("there is no chapter %q", chapter)
		}
		text, _, _ = strings.Cut(text, "\n##")
		want, got := make(map[string]string), make(map[string]string)
		for _, l := range schema.Leaves() {
			told := "on change"
			if l.Sampled() {
				told = "sampled"
			}
			want["`"+l.Path()+"`"] = l.Type().String() + ", " + told
		}
		for line := range strings.Lines(text) {
			cells := strings.Split(line, " | ")
			if path, ok := strings.CutPrefix(cells[0], "| "); ok && len(cells) == 4 && path != "path" {
				if got[path] = cells[1] + ", " + cells[2]; cells[3] == "" {
					t.Errorf("%s: nothing says what it is", path)
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
			t.Errorf("%s (-served +written):\n%s", chapter, diff)
		}
	}
}
