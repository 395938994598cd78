package text

import "strings"

// Nearest returns the one of known that somebody may have meant who wrote word: at most two letters are other, missing
// or too many, or stand in each other's place, and at most half of them. It is "" when none is so near.
func Nearest(word string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if n := distance(strings.ToLower(word), strings.ToLower(k)); n < least && 2*n <= len(k) {
			best, least = k, n
		}
	}
	return best
}

// Meant asks, behind lead, for the one of known that is nearest to word; it is "" when none is near.
func Meant(lead, word string, known []string) string {
	if best := Nearest(word, known); best != "" {
		return lead + "did you mean " + best + "?"
	}
	return ""
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b
// (optimal string alignment). Words that are too long for it are not measured.
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
