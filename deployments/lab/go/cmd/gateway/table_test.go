package main

import (
	"math/rand/v2"
	"net/http/httptest"
	"testing"
)

func weighted(name string, weight int) backendRef {
	return backendRef{Name: name, Port: 80, Weight: &weight}
}

func TestBackendsAreDrawnByWeight(t *testing.T) {
	source, seen := rand.New(rand.NewPCG(1, 2)), map[string]int{}
	backends := []backendRef{weighted("none", 0), weighted("stable", 90), weighted("off", 0), weighted("canary", 10)}
	for range 10000 {
		seen[choose(backends, source.IntN).Name]++
	}
	if seen["none"]+seen["off"] > 0 || seen["canary"] < 900 || seen["canary"] > 1100 {
		t.Errorf("drawn: %v", seen)
	}
	if b := choose([]backendRef{{Name: "only"}}, source.IntN); b == nil || b.Name != "only" {
		t.Error("a backend without a weight has weight 1")
	}
	if choose(backends[:1], source.IntN) != nil {
		t.Error("a backend was drawn where none has weight")
	}
}

func TestEveryDrawOfTheRangeHasItsBackend(t *testing.T) {
	backends := []backendRef{weighted("a", 2), weighted("b", 0), weighted("c", 1)}
	for drawn, want := range []string{"a", "a", "c"} {
		if got := choose(backends, func(int) int { return drawn }).Name; got != want {
			t.Errorf("draw %d: %s, want %s", drawn, got, want)
		}
	}
}

func TestTheMostPreciseMatchWins(t *testing.T) {
	prefix := func(path, backend string, headers ...valueMatch) rule {
		m := match{Path: &valueMatch{Type: "PathPrefix", Value: path}, Headers: headers}
		return rule{Matches: []match{m}, BackendRefs: []backendRef{weighted(backend, 1)}}
	}
	exact := rule{Matches: []match{{Path: &valueMatch{Type: "Exact", Value: "/api"}}}, BackendRefs: []backendRef{weighted("exact", 1)}}
	sticky := prefix("/", "sticky", valueMatch{Type: "RegularExpression", Name: "Cookie", Value: `(.*;\s*)?track=canary(;.*)?`})
	table := compile(map[string]routeSpec{
		"main":  {Rules: []rule{prefix("/", "root"), prefix("/api", "api"), exact, sticky}},
		"other": {Hostnames: []string{"*.onlyvips.com"}, Rules: []rule{prefix("/api/v2", "hosted")}},
	}, nil, nil)
	cases := []struct{ path, host, cookie, want string }{
		{"/", "x", "", "root"}, {"/apis", "x", "", "root"}, {"/api/tasks", "x", "", "api"}, {"/api", "x", "", "exact"},
		{"/page", "x", "a=b; track=canary", "sticky"}, {"/page", "x", "track=canary2", "root"}, {"/api/x", "x", "track=canary", "api"},
		{"/api/v2/x", "api.onlyvips.com:80", "", "hosted"}, {"/api/v2/x", "onlyvips.org", "", "api"},
	}
	for _, c := range cases {
		r := httptest.NewRequest("GET", "http://"+c.host+c.path, nil)
		r.Header.Set("Cookie", c.cookie)
		if e := table.find(r); e == nil || e.rule.BackendRefs[0].Name != c.want {
			t.Errorf("%+v went to %+v", c, e)
		}
	}
}

func TestOnlyReadyPodsOfTheSelectorAreEndpoints(t *testing.T) {
	stable := map[string]string{"app": "backend", "track": "stable"}
	service := serviceSpec{Selector: stable, Ports: []servicePort{{Port: 80, TargetPort: "http"}, {Port: 81, TargetPort: 9.0}}}
	ports := map[string]int{"http": 8080}
	pods := map[string]endpoint{
		"a": {stable, "127.1.0.2", ports, true}, "b": {stable, "127.1.0.3", ports, false},
		"c": {map[string]string{"app": "backend", "track": "canary"}, "127.1.0.4", ports, true},
	}
	table := compile(nil, map[string]serviceSpec{"backend": service, "all": {Ports: service.Ports}}, pods)
	for port, want := range map[int]string{80: "127.1.0.2:8080", 81: "127.1.0.2:9", 82: ""} {
		if got := table.endpoint(&backendRef{Name: "backend", Port: port}); got != want {
			t.Errorf("port %d: %q, want %q", port, got, want)
		}
	}
	for _, name := range []string{"all", "unknown"} {
		if got := table.endpoint(&backendRef{Name: name, Port: 80}); got != "" {
			t.Errorf("%s has %s", name, got)
		}
	}
}
