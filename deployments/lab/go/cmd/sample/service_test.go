package main

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample is a service with this file of faults.
func sample(t *testing.T, content string) (*service, string) {
	path := filepath.Join(t.TempDir(), "faults.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return newService("backend", "v2", follow(path, "backend:v2")), path
}

func get(s *service, path string) (int, string, string) {
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	body, _ := io.ReadAll(w.Body)
	return w.Code, w.Header().Get("X-Fault"), string(body)
}

func TestCountersExistBeforeTheFirstRequest(t *testing.T) {
	s, _ := sample(t, "{}")
	_, _, page := get(s, "/metrics")
	for _, line := range []string{
		`api_errors_total{service="backend",version="v2"} 0`,
		`api_request_total{service="backend",version="v2",method="GET",code="200"} 0`,
		`api_request_total{service="backend",version="v2",method="GET",code="500"} 0`,
		`api_request_duration_seconds_bucket{service="backend",version="v2",le="0.5"} 0`,
		`payment_success_rate{service="backend",version="v2"} 0.995`,
	} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no %s in\n%s", line, page)
		}
	}
}

func TestFaultsAreOfTheirVersionAndCounted(t *testing.T) {
	s, path := sample(t, `{"backend:v1":{"error_rate":1},"backend:v2":{"sparse_every":3,"latency_ms":1}}`)
	got := []string{}
	for range 3 {
		_, fault, _ := get(s, "/api/tasks")
		got = append(got, fault)
	}
	if strings.Join(got, " ") != "latency latency sparse" {
		t.Errorf("faults %v", got)
	}
	os.WriteFile(path, []byte(`{"backend:v2":{"error_rate":1,"gauges":{"redis_hit_rate":0.4}}}`), 0o600)
	s.faults.read()
	if code, fault, _ := get(s, "/api/tasks"); code != 500 || fault != "error" {
		t.Errorf("%d %q", code, fault)
	}
	os.WriteFile(path, []byte(`{"backend:v2"`), 0o600)
	s.faults.read()
	_, _, page := get(s, "/metrics")
	for _, line := range []string{`api_errors_total{service="backend",version="v2"} 2`, `redis_hit_rate{service="backend",version="v2"} 0.4`} {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no %s in\n%s", line, page)
		}
	}
	os.Remove(path)
	s.faults.read()
	if code, fault, _ := get(s, "/api/tasks"); code != 200 || fault != "" {
		t.Errorf("without the file: %d %q", code, fault)
	}
}

func TestWhoIsNotReadyOrOverloadedLosesRequestsWithoutAnExcuse(t *testing.T) {
	s, _ := sample(t, `{"backend:v2":{"slow_start_s":60}}`)
	if code, _, _ := get(s, "/healthz"); code != 503 {
		t.Errorf("healthz %d", code)
	}
	if code, fault, _ := get(s, "/api/tasks"); code != 503 || fault != "" {
		t.Errorf("%d %q", code, fault)
	}
	var gate turnstile
	begun := time.Now()
	for range 3 {
		gate.take(20)
	}
	if took := time.Since(begun); took < 100*time.Millisecond || took > time.Second {
		t.Errorf("three turns at 20/s took %v", took)
	}
	gate.next = time.Now().Add(patience + time.Second)
	if gate.take(20) {
		t.Error("waited for a turn beyond its patience")
	}
}
