package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWords holds words that name one thing (architecture.md, "Words") to the packages whose thing it is: no other has
// an exported type of that name.
func TestWords(t *testing.T) {
	owners := map[string][]string{
		"Report":  {"controller/core", "internal/loadreport"}, // of a healthd; a load report
		"Verdict": {"controller/core"},
		"Claim":   {"controller/core"},
	}
	declared := regexp.MustCompile(`(?m)^type (\w+) `)
	seen := make(map[string]bool)
	eachSource(t, func(path string, text []byte) {
		at := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))
		for _, found := range declared.FindAllSubmatch(text, -1) {
			word := string(found[1])
			homes, one := owners[word]
			switch {
			case !one:
			case slices.Contains(homes, at):
				seen[word+" "+at] = true
			default:
				t.Errorf("%s: a type named %s, which is a word of %s", path, word, strings.Join(homes, " and "))
			}
		}
	})
	for word, homes := range owners {
		for _, home := range homes {
			if !seen[word+" "+home] {
				t.Errorf("%s has no type %s: the list is out of date", home, word)
			}
		}
	}
}
