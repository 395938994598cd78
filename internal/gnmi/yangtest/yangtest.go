// Package yangtest reads YANG modules for tests, which hold a gnmi.Schema against them.
package yangtest

import (
	"strings"
	"testing"

	"github.com/openconfig/goyang/pkg/yang"

	"github.com/sluicelb/sluice/internal/gnmi"
)

// Leaves reads files of YANG, of which all must be valid, and returns the leaves that a module has: path, as Leaf.Path
// writes it, and type.
func Leaves(t *testing.T, module string, files ...string) map[string]string {
	t.Helper()
	modules := yang.NewModules()
	for _, f := range files {
		if err := modules.Read(f); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range modules.Process() {
		t.Error(err)
	}
	if t.Failed() {
		t.FailNow()
	}
	leaves := make(map[string]string)
	seen := make(map[string]bool)
	for _, m := range modules.Modules {
		if !seen[m.Name] { // with and without its revision
			seen[m.Name] = true
			walk(t, yang.ToEntry(m), "", module, leaves)
		}
	}
	return leaves
}

func walk(t *testing.T, e *yang.Entry, path, module string, leaves map[string]string) {
	for _, below := range e.Dir {
		at := path + "/" + below.Name
		if below.IsList() {
			for key := range strings.FieldsSeq(below.Key) {
				at += "[" + key + "]"
			}
		}
		if below.IsDir() {
			walk(t, below, at, module, leaves)
			continue
		}
		in, err := below.InstantiatingModule()
		if err != nil {
			t.Error(err)
		}
		if in != module {
			continue
		}
		if below.Description == "" {
			t.Errorf("%s: %s has no description", module, at)
		}
		leaves[at] = below.Type.Kind.String()
		if below.IsLeafList() {
			leaves[at] = "leaf-list of " + leaves[at]
		}
	}
}

// Served returns the leaves that a schema has of a module, in the form of Leaves.
func Served(s *gnmi.Schema, module string) map[string]string {
	leaves := make(map[string]string)
	for _, l := range s.Leaves() {
		if l.Module() == module {
			leaves[l.Path()] = l.Type().String()
		}
	}
	return leaves
}
