package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTheScheduleDoesNotWaitForAnswers(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond)
		w.Header().Set("X-Service", "backend")
		w.Header().Set("X-Version", "v1")
	}))
	defer slow.Close()
	api := httptest.NewServer(newControl(slow.URL).handler())
	defer api.Close()
	post := func(path, body string) *http.Response {
		answer, err := http.Post(api.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	begun := time.Now()
	load := `{"targets":[{"name":"backend","path":"/api","rate":100}]}`
	if code := post("/start", load).StatusCode; code != 200 {
		t.Fatal(code)
	}
	if code := post("/start", load).StatusCode; code != http.StatusConflict {
		t.Errorf("a second start: %d", code)
	}
	time.Sleep(250 * time.Millisecond)
	post("/mark", `{"name":"second"}`)
	time.Sleep(250 * time.Millisecond)
	var s stats
	answer := post("/stop", "")
	took := time.Since(begun)
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	got := s.Targets["backend"]
	if got.Total < 25 || got.Total > uint64(took.Seconds()*100)+2 || got.OK != got.Total || got.Latency.P50 < 300 {
		t.Errorf("%+v", got.Tally)
	}
	first, second := s.Sections[0].Targets["backend"].Total, s.Sections[1].Targets["backend"].Total
	if first+second != got.Total || first < 10 || second < 10 || got.Versions["v1"].Total != got.Total {
		t.Errorf("sections %d and %d of %d", first, second, got.Total)
	}
}
