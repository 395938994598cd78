package strict

import (
	"cmp"
	"strings"

	"github.com/sluicelb/sluice/internal/text"
)

// suggestion says what may be meant by an unknown key.
func suggestion(key string, fields []field) string {
	return cmp.Or(text.Meant("", key, words(fields)), "must be one of "+names(fields))
}

func names(fields []field) string { return strings.Join(words(fields), ", ") }

func words(fields []field) []string {
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = f.key
	}
	return words
}
