package main

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"onlyvips.com/lab/internal/cause"
)

// outcome is how one request ended.
type outcome struct {
	version string
	fault   string // what the application itself did wrong, on purpose
	lost    string // the cause, when the request was lost on its way
}

// classify decides whether a request to `service` was lost: it did not get a good answer from a version of this very
// service, and the application does not say that it failed on purpose.
func classify(service string, answer *http.Response, err error) outcome {
	if err != nil {
		return outcome{lost: "transport: " + cause.Of(err)}
	}
	o := outcome{version: answer.Header.Get("X-Version"), fault: answer.Header.Get("X-Fault")}
	status, by := "status "+strconv.Itoa(answer.StatusCode), answer.Header.Get("X-Service")
	switch gateway := answer.Header.Get("X-Gateway-Error"); {
	case gateway != "":
		o.lost = status + " " + gateway
	case by == "" || o.version == "":
		o.lost = status + " from a stranger"
	case by != service:
		o.lost = status + " from " + by
	case o.fault == "" && answer.StatusCode >= 400:
		o.lost = status
	}
	if o.lost != "" && o.lost != status {
		o.version, o.fault = "", ""
	}
	return o
}

// Tally counts outcomes; total is always ok plus the faults plus the lost.
type Tally struct {
	Total   uint64            `json:"total"`
	OK      uint64            `json:"ok"`
	Faults  map[string]uint64 `json:"faults"`
	Lost    map[string]uint64 `json:"lost"`
	Latency quantiles         `json:"latency_ms"`

	times histogram
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func newTally() *Tally { return &Tally{Faults: map[string]uint64{}, Lost: map[string]uint64{}} }

func (t *Tally) add(o outcome, latency time.Duration) {
	t.Total++
	switch {
	case o.lost != "":
		t.Lost[o.lost]++
	case o.fault != "":
		t.Faults[o.fault]++
	default:
		t.OK++
	}
	t.times.add(latency)
}

func (t *Tally) merge(other *Tally) {
	t.Total += other.Total
	t.OK += other.OK
	for name, n := range other.Faults {
		t.Faults[name] += n
	}
	for name, n := range other.Lost {
		t.Lost[name] += n
	}
	for i, n := range other.times {
		t.times[i] += n
	}
}

func (t *Tally) sum() {
	t.Latency = quantiles{t.times.quantile(.5), t.times.quantile(.95), t.times.quantile(.99)}
}

// histogram counts latencies in buckets that each are 2 % wider than the one before, from 0.1 ms to beyond 10 s: a
// soak of hours takes no more memory than a second.
type histogram [600]uint64

const finest, growth = 100 * time.Microsecond, 1.02

func (h *histogram) add(latency time.Duration) {
	i := 0
	if latency > finest {
		i = int(math.Ceil(math.Log(float64(latency)/float64(finest)) / math.Log(growth)))
	}
	h[min(i, len(h)-1)]++
}

// quantile is the upper bound, in milliseconds, of the bucket with the q-th of all latencies.
func (h *histogram) quantile(q float64) float64 {
	total := uint64(0)
	for _, n := range h {
		total += n
	}
	rank, seen := uint64(math.Ceil(q*float64(total))), uint64(0)
	for i, n := range h {
		if seen += n; n > 0 && seen >= rank {
			bound := float64(finest) / float64(time.Millisecond) * math.Pow(growth, float64(i))
			return math.Round(bound*100) / 100
		}
	}
	return 0
}
