package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNamesWhatIsThere holds the page against the tree: a file that it names is there, by the end of its
// path.
func TestArchitectureNamesWhatIsThere(t *testing.T) {
	page, err := os.ReadFile("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		paths = append(paths, strings.TrimPrefix(filepath.ToSlash(path), ".."))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	isThere := func(name string) bool {
		for _, path := range paths {
			parts := strings.Split(path, "/")
			end := strings.Join(parts[max(0, len(parts)-1-strings.Count(name, "/")):], "/")
			if ok, err := filepath.Match(name, end); err == nil && ok {
				return true
			}
		}
		return false
	}
	files := regexp.MustCompile("`([\\w./*-]+\\.(?:go|proto|p4|yaml|py|sh|md))`").FindAllSubmatch(page, -1)
	for _, m := range files {
		if name := string(m[1]); !isThere(name) {
			t.Errorf("architecture.md names %s, which is not there", name)
		}
	}
	if len(files) < 50 {
		t.Errorf("only %d files were found in architecture.md", len(files))
	}
}
