package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"onlyvips.com/lab/internal/metrics"
)

// Longer than this a request does not wait for its turn in a pod that has more than it can do.
const patience = 2 * time.Second

var gauges = map[string]float64{
	"database_connections_active": 12,
	"redis_hit_rate":              0.94,
	"task_completion_rate":        0.97,
	"payment_success_rate":        0.995,
}

// service is the application: simulated work, its metrics, and the faults of its version.
type service struct {
	name, version string
	started       time.Time
	faults        *faults
	metrics       *metrics.Registry
	requests      atomic.Uint64
	labels        string
	turn          turnstile
}

func newService(name, version string, faults *faults) *service {
	s := &service{name: name, version: version, started: time.Now(), faults: faults, metrics: metrics.New()}
	s.labels = metrics.Labels("service", name, "version", version)
	s.metrics.Add("api_errors_total", s.labels, 0)
	for _, code := range []int{200, 500} {
		s.metrics.Add("api_request_total", s.requestLabels("GET", code), 0)
	}
	s.metrics.Histogram("api_request_duration_seconds", s.labels, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5)
	return s
}

func (s *service) requestLabels(method string, code int) string {
	return metrics.Labels("service", s.name, "version", s.version, "method", method, "code", strconv.Itoa(code))
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.health)
	mux.HandleFunc("/metrics", s.scrape)
	mux.HandleFunc("/", s.serve)
	return mux
}

func (s *service) ready() bool {
	return time.Since(s.started).Seconds() >= s.faults.current.Load().SlowStartS
}

func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	if !s.ready() {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ok\n"))
}

func (s *service) scrape(w http.ResponseWriter, r *http.Request) {
	override := s.faults.current.Load().Gauges
	for name, value := range gauges {
		if changed, ok := override[name]; ok {
			value = changed
		}
		s.metrics.Set(name, s.labels, value)
	}
	s.metrics.ServeHTTP(w, r)
}

// serve answers every path of the application and counts the answer.
func (s *service) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	code, fault := s.work()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Service", s.name)
	w.Header().Set("X-Version", s.version)
	if fault != "" {
		w.Header().Set("X-Fault", fault)
	}
	s.metrics.Add("api_request_total", s.requestLabels(r.Method, code), 1)
	if code >= 500 {
		s.metrics.Add("api_errors_total", s.labels, 1)
	}
	s.metrics.Observe("api_request_duration_seconds", s.labels, time.Since(began).Seconds())
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]any{"service": s.name, "version": s.version, "path": r.URL.Path})
}

// work takes its time and says how it went. A 503 of a pod that is not ready, or has more to do than it can, carries no
// X-Fault: who sends traffic there loses requests by sending them there.
func (s *service) work() (code int, fault string) {
	f, number := s.faults.current.Load(), s.requests.Add(1)
	if !s.ready() || !s.turn.take(f.CapacityRPS) {
		return http.StatusServiceUnavailable, ""
	}
	time.Sleep(2*time.Millisecond + time.Duration(rand.Int64N(int64(6*time.Millisecond))))
	if f.LatencyMS > 0 {
		time.Sleep(time.Duration(f.LatencyMS * float64(time.Millisecond)))
		fault = "latency"
	}
	switch {
	case f.SparseEvery > 0 && number%f.SparseEvery == 0:
		return http.StatusInternalServerError, "sparse"
	case rand.Float64() < f.ErrorRate:
		return http.StatusInternalServerError, "error"
	}
	return http.StatusOK, fault
}

// turnstile lets so many through a second, in order.
type turnstile struct {
	mutex sync.Mutex
	next  time.Time
}

// take waits for a turn, or says at once that it would take too long.
func (t *turnstile) take(rate float64) bool {
	if rate <= 0 {
		return true
	}
	t.mutex.Lock()
	now := time.Now()
	if t.next.Before(now) {
		t.next = now
	}
	wait := t.next.Sub(now)
	if wait <= patience {
		t.next = t.next.Add(time.Duration(float64(time.Second) / rate))
	}
	t.mutex.Unlock()
	if wait > patience {
		return false
	}
	time.Sleep(wait)
	return true
}
