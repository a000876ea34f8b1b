// Package metrics writes counters, gauges and histograms in Prometheus' text format.
//
// The format is a page of text and the lab needs three kinds of value, so this is smaller than the client library, and
// keeps the lab's cold build within seconds.
package metrics

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Registry holds every series of a process, by family.
type Registry struct {
	mutex    sync.Mutex
	families map[string]*family
}

type family struct {
	kind    string
	buckets []float64
	series  map[string]*series
}

type series struct {
	value  float64
	counts []uint64
	count  uint64
}

// New returns an empty registry.
func New() *Registry { return &Registry{families: map[string]*family{}} }

// Labels writes label pairs as they stand in the exposition: name, value, name, value.
func Labels(pairs ...string) string {
	parts := make([]string, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+"="+strconv.Quote(pairs[i+1]))
	}
	return strings.Join(parts, ",")
}

// Add raises a counter; adding zero makes it exist, which a counter must before its first increment is worth anything.
func (r *Registry) Add(name, labels string, amount float64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.at(name, "counter", labels).value += amount
}

// Set gives a gauge its value.
func (r *Registry) Set(name, labels string, value float64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.at(name, "gauge", labels).value = value
}

// Histogram declares a histogram with its upper bounds, ascending, and one series at zero.
func (r *Registry) Histogram(name, labels string, buckets ...float64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.at(name, "histogram", labels)
	r.families[name].buckets = buckets
}

// Observe counts a value in a declared histogram.
func (r *Registry) Observe(name, labels string, value float64) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	s, buckets := r.at(name, "histogram", labels), r.families[name].buckets
	if s.counts == nil {
		s.counts = make([]uint64, len(buckets))
	}
	if i := sort.SearchFloat64s(buckets, value); i < len(buckets) {
		s.counts[i]++
	}
	s.count++
	s.value += value
}

func (r *Registry) at(name, kind, labels string) *series {
	f := r.families[name]
	if f == nil {
		f = &family{kind: kind, series: map[string]*series{}}
		r.families[name] = f
	}
	s := f.series[labels]
	if s == nil {
		s = &series{}
		f.series[labels] = s
	}
	return s
}

// ServeHTTP answers a scrape.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, name := range sorted(r.families) {
		f := r.families[name]
		fmt.Fprintf(w, "# TYPE %s %s\n", name, f.kind)
		for _, labels := range sorted(f.series) {
			f.write(w, name, labels)
		}
	}
}

func (f *family) write(w io.Writer, name, labels string) {
	s := f.series[labels]
	if f.kind != "histogram" {
		fmt.Fprintf(w, "%s{%s} %s\n", name, labels, number(s.value))
		return
	}
	below := uint64(0)
	for i, bound := range f.buckets {
		if s.counts != nil {
			below += s.counts[i]
		}
		fmt.Fprintf(w, "%s_bucket{%s,le=\"%s\"} %d\n", name, labels, number(bound), below)
	}
	fmt.Fprintf(w, "%s_bucket{%s,le=\"+Inf\"} %d\n", name, labels, s.count)
	fmt.Fprintf(w, "%s_sum{%s} %s\n%s_count{%s} %d\n", name, labels, number(s.value), name, labels, s.count)
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
