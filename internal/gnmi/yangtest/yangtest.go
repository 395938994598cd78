// Package yangtest reads YANG modules for tests, which hold a gnmi.Schema against them.
package yangtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/openconfig/goyang/pkg/yang"

	"github.com/sluicelb/sluice/internal/gnmi"
)

// Leaves reads files of YANG, of which all must be valid, and returns the leaves that a module has: path, as Leaf.Path
// writes it, and type.
func Leaves(t *testing.T, module string, files ...string) map[string]string {
	t.Helper()
	leaves := make(map[string]string)
	for path, e := range read(t, files) {
		in, err := e.InstantiatingModule()
		if err != nil {
			t.Error(err)
		}
		if in != module {
			continue
		}
		if e.Description == "" {
			t.Errorf("%s: %s has no description", module, path)
		}
		leaves[path] = e.Type.Kind.String()
		if e.IsLeafList() {
			leaves[path] = "leaf-list of " + leaves[path]
		}
	}
	return leaves
}

// Descriptions reads files of YANG, of which all must be valid, and returns what each leaf is: its description, with
// the names of an enumeration and its units. Paths are as in Leaves.
func Descriptions(t *testing.T, files ...string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for path, e := range read(t, files) {
		words := strings.Fields(e.Description)
		if e.Type.Enum != nil {
			words = append(words, "One of", strings.Join(e.Type.Enum.Names(), ", ")+".")
		}
		if e.Units != "" {
			words = append(words, "In", e.Units+".")
		}
		all[path] = strings.Join(words, " ")
	}
	return all
}

// Enum returns the names that an enumeration has, sorted. path is as in Leaves.
func Enum(t *testing.T, path string, files ...string) []string {
	t.Helper()
	e := read(t, files)[path]
	if e == nil || e.Type.Enum == nil {
		t.Fatalf("%s is no enumeration", path)
	}
	return slices.Sorted(slices.Values(e.Type.Enum.Names()))
}

// read returns all leaves of valid modules, by path.
func read(t *testing.T, files []string) map[string]*yang.Entry {
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
	leaves := make(map[string]*yang.Entry)
	for _, m := range modules.Modules { // twice, with and without its revision
		walk(yang.ToEntry(m), "", leaves)
	}
	return leaves
}

func walk(e *yang.Entry, path string, leaves map[string]*yang.Entry) {
	for _, below := range e.Dir {
		at := path + "/" + below.Name
		if below.IsList() {
			for key := range strings.FieldsSeq(below.Key) {
				at += "[" + key + "]"
			}
		}
		if below.IsDir() {
			walk(below, at, leaves)
		} else {
			leaves[at] = below
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
