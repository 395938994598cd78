package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Desc is a family of series: what one name is of.
type Desc struct {
	name, help string
	labels     []string // sorted
	order      []int    // of the values that are given, which one each of labels has
}

// NewDesc describes series of a name. Who adds one gives a value for each label, in this order.
func NewDesc(name, help string, labels ...string) *Desc {
	d := &Desc{name: name, help: help, labels: slices.Sorted(slices.Values(labels))}
	for _, label := range d.labels {
		d.order = append(d.order, slices.Index(labels, label))
	}
	return d
}

// Page takes what a Source has at a scrape. It holds nothing against what it was told, as a prometheus.Registry does:
// who adds a series adds it once. That, and text that series share, is why a page of 100,000 costs little. It is for
// one goroutine.
type Page struct {
	families   map[*Desc]*dto.MetricFamily
	pairs      map[pair]*dto.LabelPair
	collectors []prometheus.Collector
}

type pair struct{ name, value string }

// Counter adds a number that only grows while its source lives.
func (p *Page) Counter(d *Desc, n uint64, labels ...string) {
	x := float64(n)
	p.series(d, dto.MetricType_COUNTER, labels).Counter = &dto.Counter{Value: &x}
}

// Gauge adds a number that may rise and fall.
func (p *Page) Gauge(d *Desc, x float64, labels ...string) {
	p.series(d, dto.MetricType_GAUGE, labels).Gauge = &dto.Gauge{Value: &x}
}

// Truth adds 1 or 0.
func (p *Page) Truth(d *Desc, is bool, labels ...string) {
	x := 0.
	if is {
		x = 1
	}
	p.Gauge(d, x, labels...)
}

// Histogram adds what was counted in Buckets; counts has one more, of what is above all of them.
func (p *Page) Histogram(d *Desc, counts []uint64, sum float64, labels ...string) {
	var n uint64
	h := &dto.Histogram{SampleSum: &sum, SampleCount: &n}
	bounds := Buckets()
	for i, c := range counts {
		if n += c; i < len(bounds) {
			within := n
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &bounds[i], CumulativeCount: &within})
		}
	}
	p.series(d, dto.MetricType_HISTOGRAM, labels).Histogram = h
}

// States adds, for each value of a protobuf enumeration, 1 if it is the current one and 0 if not, with its name as the
// last label. Value 0 is left out unless it is the current one.
func (p *Page) States(d *Desc, states []State, is int32, labels ...string) {
	all := make([]string, len(labels)+1)
	copy(all, labels)
	for _, s := range states {
		if s.value != 0 || is == 0 {
			all[len(labels)] = s.name
			p.Truth(d, s.value == is, all...)
		}
	}
}

// State is a value of an enumeration, and its name as a label has it.
type State struct {
	value int32
	name  string
}

// StatesOf are those of a protobuf enumeration, in order. names are its values', each behind prefix.
func StatesOf(prefix string, names map[int32]string) (all []State) {
	for _, value := range slices.Sorted(maps.Keys(names)) {
		all = append(all, State{value, strings.ToLower(strings.TrimPrefix(names[value], prefix))})
	}
	return all
}

// Collect adds what others have at a scrape, whose families must be other ones.
func (p *Page) Collect(collectors ...prometheus.Collector) {
	p.collectors = append(p.collectors, collectors...)
}

// series adds a series without a value.
func (p *Page) series(d *Desc, kind dto.MetricType, values []string) *dto.Metric {
	if len(values) != len(d.labels) {
		panic(fmt.Sprintf("metrics: %d values for %s, whose labels are %q", len(values), d.name, d.labels))
	}
	f := p.families[d]
	if f == nil {
		f = &dto.MetricFamily{Name: &d.name, Help: &d.help, Type: &kind}
		p.families[d] = f
	}
	m := &dto.Metric{Label: make([]*dto.LabelPair, len(values))}
	for i, from := range d.order {
		m.Label[i] = p.label(d.labels[i], values[from])
	}
	f.Metric = append(f.Metric, m)
	return m
}

// label returns the one of a name and value that all series share. A page is UTF-8.
func (p *Page) label(name, value string) *dto.LabelPair {
	of := pair{name, value}
	l := p.pairs[of]
	if l == nil {
		value = strings.ToValidUTF8(value, "\ufffd")
		l = &dto.LabelPair{Name: &name, Value: &value}
		p.pairs[of] = l
	}
	return l
}

// Gather returns what a Source has, sorted by name.
func Gather(s Source) ([]*dto.MetricFamily, error) {
	p := &Page{families: make(map[*Desc]*dto.MetricFamily), pairs: make(map[pair]*dto.LabelPair)}
	s.Show(p)
	r := prometheus.NewRegistry()
	for _, c := range p.collectors {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	all, err := r.Gather()
	all = slices.AppendSeq(all, maps.Values(p.families))
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all, err
}
