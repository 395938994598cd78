package strict

import (
	"strings"

	"github.com/sluicelb/sluice/internal/text"
)

// suggestion says what may be meant by an unknown key.
func suggestion(key string, fields []field) string {
	if best := text.Nearest(key, words(fields)); best != "" {
		return "did you mean " + best + "?"
	}
	return "must be one of " + names(fields)
}

func names(fields []field) string { return strings.Join(words(fields), ", ") }

func words(fields []field) []string {
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = f.key
	}
	return words
}
