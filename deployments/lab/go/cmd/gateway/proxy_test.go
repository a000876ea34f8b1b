package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// front is a proxy whose one Service has this endpoint.
func front(address string, rules ...rule) *httptest.Server {
	host, port, _ := net.SplitHostPort(address)
	number, _ := strconv.Atoi(port)
	labels := map[string]string{"app": "backend"}
	p := newProxy()
	p.table.Store(compile(
		map[string]routeSpec{"main": {Rules: rules}},
		map[string]serviceSpec{"backend": {Selector: labels, Ports: []servicePort{{Port: 80, TargetPort: float64(number)}}}},
		map[string]endpoint{"a": {labels, host, nil, host != ""}},
	))
	return httptest.NewServer(p)
}

// through sends one request through a proxy whose one Service has this endpoint.
func through(t *testing.T, address string, rules ...rule) *http.Response {
	t.Helper()
	proxy := front(address, rules...)
	defer proxy.Close()
	answer, err := http.Get(proxy.URL + "/api/tasks")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}

func TestWhatFailsIsNamed(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	hangsUp := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangsUp.Close()
	mirror := rule{BackendRefs: []backendRef{weighted("backend", 1)}, Filters: []filter{{Type: "RequestMirror"}}}
	to := func(name string, weight int) rule { return rule{BackendRefs: []backendRef{weighted(name, weight)}} }
	cases := []struct {
		name, address string
		rules         []rule
		code          int
		cause         string
	}{
		{"no route", "", nil, 404, "no-route"},
		{"no weight", "", []rule{to("backend", 0)}, 500, "no-backend"},
		{"no endpoints", "", []rule{to("backend", 1)}, 503, "no-endpoints"},
		{"unknown service", "", []rule{to("nobody", 1)}, 503, "no-endpoints"},
		{"stopped pod", closed.Listener.Addr().String(), []rule{to("backend", 1)}, 502, "refused"},
		{"dying pod", hangsUp.Listener.Addr().String(), []rule{to("backend", 1)}, 502, "eof"},
		{"unsupported filter", hangsUp.Listener.Addr().String(), []rule{mirror}, 500, "unsupported-filter"},
	}
	for _, c := range cases {
		answer := through(t, c.address, c.rules...)
		if got := answer.Header.Get("X-Gateway-Error"); answer.StatusCode != c.code || got != c.cause {
			t.Errorf("%s: %d %q, want %d %q", c.name, answer.StatusCode, got, c.code, c.cause)
		}
	}
}

func TestTheAnswerOfThePodComesThroughWithTheRoutesHeaders(t *testing.T) {
	seen := ""
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.URL.Path + " " + r.Header.Get("X-Track")
		w.Header().Set("X-Fault", "error")
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer app.Close()
	b := weighted("backend", 1)
	b.Filters = []filter{
		{Request: &headerChange{Set: []valueMatch{{Name: "X-Track", Value: "canary"}}}},
		{Response: &headerChange{Add: []valueMatch{{Name: "Set-Cookie", Value: "track=canary"}}}},
	}
	answer := through(t, app.Listener.Addr().String(), rule{BackendRefs: []backendRef{b}})
	cookie := answer.Header.Get("Set-Cookie")
	if answer.StatusCode != 500 || answer.Header.Get("X-Fault") != "error" || !strings.HasPrefix(cookie, "track=") {
		t.Errorf("%d %v", answer.StatusCode, answer.Header)
	}
	if seen != "/api/tasks canary" {
		t.Errorf("the pod saw %q", seen)
	}
}

func TestARequestThatAPodBrokeOffIsNeverSentAgain(t *testing.T) {
	var seen, broken, failed int64
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if atomic.AddInt64(&seen, 1)%5 == 0 {
			atomic.AddInt64(&broken, 1)
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Length", r.Header.Get("Transfer-Encoding")+strconv.FormatInt(r.ContentLength, 10))
	}))
	defer app.Close()
	proxy := front(app.Listener.Addr().String(), rule{BackendRefs: []backendRef{weighted("backend", 1)}})
	defer proxy.Close()
	for range 50 { // over warm connections
		answer, err := http.Get(proxy.URL + "/api/tasks")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode >= 500 {
			failed++
		} else if got := answer.Header.Get("X-Length"); got != "0" {
			t.Fatalf("the pod saw a body of length %s", got)
		}
	}
	if seen != 50 || broken != 10 || failed != broken {
		t.Errorf("50 requests: the pod saw %d and broke off %d, the client saw %d fail", seen, broken, failed)
	}
}
