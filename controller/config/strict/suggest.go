package strict

import (
	"strings"
)

// suggestion says what may be meant by an unknown key.
func suggestion(key string, fields []field) string {
	best, least := "", 3
	for _, f := range fields {
		if n := distance(strings.ToLower(key), f.key); n < least && n < len(f.key) {
			best, least = f.key, n
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "must be one of " + names(fields)
}

func names(fields []field) string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return strings.Join(keys, ", ")
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b
// (optimal string alignment). Keys that no field could be near to are not measured.
func distance(a, b string) int {
	if len(a) > len(b)+2 {
		return len(a) - len(b)
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
