package checkable

import (
	"fmt"
	"slices"

	"github.com/sluicelb/sluice/internal/strict"
)

// MaxStatuses is how many different statuses there are, and how many a check may name.
const MaxStatuses = MaxStatus - MinStatus + 1

// ReadPath returns the path and query at a place of a file as they are written, "/" where it has none. What Path
// refuses is a problem of the file.
func ReadPath(d *strict.Document, at string, text *string) string {
	if text == nil {
		return "/"
	}
	if _, err := Path(*text); err != nil {
		d.Add(at, "%v", err)
	}
	return *text
}

// ReadHost returns the host at a place of a file as it is written, "" where it has none. What Host refuses is a problem
// of the file.
func ReadHost(d *strict.Document, at string, text *string) string {
	if text == nil {
		return ""
	}
	if _, _, err := Host(*text); err != nil {
		d.Add(at, "%v", err)
	}
	return *text
}

// ReadStatuses returns the statuses of a list at a place of a file, such as [200, 300-399]: sorted, each once, none
// where the file has no list. A list that is empty or longer than MaxStatuses, and what Statuses refuses, are problems
// of the file.
func ReadStatuses(d *strict.Document, at string, list []string) []uint16 {
	switch {
	case !d.Usable(at):
		return nil
	case len(list) == 0:
		d.Add(at, "must have at least one status")
	case len(list) > MaxStatuses:
		d.Add(at, "must have at most %d elements, has %d", MaxStatuses, len(list))
		return nil
	}
	var all []uint16
	for i, text := range list {
		one := fmt.Sprintf("%s[%d]", at, i)
		if !d.Usable(one) {
			continue
		}
		low, high, err := Statuses(text)
		if err != nil {
			d.Add(one, "%v", err)
			continue
		}
		for code := low; code <= high; code++ {
			all = append(all, code)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
