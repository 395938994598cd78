package metrics

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Writer writes what a Collector has at a scrape.
type Writer struct{ To chan<- prometheus.Metric }

// Counter writes a number that only grows while its source lives.
func (w Writer) Counter(d *prometheus.Desc, n uint64, labels ...string) {
	w.To <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

// Gauge writes a number that may rise and fall.
func (w Writer) Gauge(d *prometheus.Desc, x float64, labels ...string) {
	w.To <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
}

// Truth writes 1 or 0.
func (w Writer) Truth(d *prometheus.Desc, is bool, labels ...string) {
	x := 0.
	if is {
		x = 1
	}
	w.Gauge(d, x, labels...)
}

// Histogram writes what was counted in Buckets; counts has one more, of what is above all of them.
func (w Writer) Histogram(d *prometheus.Desc, counts []uint64, sum float64, labels ...string) {
	bounds, below := Buckets(), make(map[float64]uint64)
	var n uint64
	for i, c := range counts {
		if n += c; i < len(bounds) {
			below[bounds[i]] = n
		}
	}
	w.To <- prometheus.MustNewConstHistogram(d, n, sum, below, labels...)
}

// States writes, for each value of a protobuf enumeration, 1 if it is the current one and 0 if not, with its name as
// the last label. Value 0 is left out unless it is the current one. names are those of the enumeration, each behind
// prefix.
func (w Writer) States(d *prometheus.Desc, prefix string, names map[int32]string, is int32, labels ...string) {
	for _, value := range slices.Sorted(maps.Keys(names)) {
		if value != 0 || is == 0 {
			name := strings.ToLower(strings.TrimPrefix(names[value], prefix))
			w.Truth(d, value == is, append(slices.Clone(labels), name)...)
		}
	}
}
