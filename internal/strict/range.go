package strict

import (
	"strings"
	"time"
)

// Number returns the value at path if it is in the range, def if the key is not there.
func (d *Document) Number(path string, x *int, def, least, most int) int {
	switch {
	case x == nil:
		return def
	case *x < least || *x > most:
		d.Add(path, "must be %d..%d, is %d", least, most, *x)
		return def
	}
	return *x
}

// Duration is Number for times.
func (d *Document) Duration(path string, x *time.Duration, def, least, most time.Duration) time.Duration {
	switch {
	case x == nil:
		return def
	case *x < least || *x > most:
		d.Add(path, "must be %s..%s, is %s", Short(least), Short(most), Short(*x))
		return def
	}
	return *x
}

// Short is d without its zero units: 1m, not 1m0s.
func Short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
