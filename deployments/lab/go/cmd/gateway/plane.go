package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"onlyvips.com/lab/internal/kube"
)

// plane is the control plane: it follows the cluster, and gives the proxy a new table with each change applied.
type plane struct {
	late     *late
	proxy    *proxy
	routes   map[string]routeSpec
	services map[string]serviceSpec
	pods     map[string]endpoint
	ready    chan struct{}
}

func newPlane(proxy *proxy, min, max time.Duration) *plane {
	return &plane{
		late: newLate(min, max), proxy: proxy, ready: make(chan struct{}),
		routes: map[string]routeSpec{}, services: map[string]serviceSpec{}, pods: map[string]endpoint{},
	}
}

// follow watches the three kinds; the plane is ready when each was listed once.
func (p *plane) follow(ctx context.Context, client *kube.Client, namespace string) {
	var lists sync.WaitGroup
	lists.Add(3)
	core, gateway := "/api/v1/namespaces/", "/apis/gateway.networking.k8s.io/v1/namespaces/"
	go kube.Follow(ctx, client, gateway+namespace+"/httproutes", newMirror[httpRoute](p, "route", p.routes, &lists))
	go kube.Follow(ctx, client, core+namespace+"/services", newMirror[service](p, "service", p.services, &lists))
	go kube.Follow(ctx, client, core+namespace+"/pods", newMirror[pod](p, "pod", p.pods, &lists))
	lists.Wait()
	close(p.ready)
}

// newMirror follows one kind into a map of what is applied.
func newMirror[T object[P], P any](p *plane, kind string, applied map[string]P, lists *sync.WaitGroup) kube.Sink[T] {
	apply := func(name string, value P, deleted bool) {
		if deleted {
			delete(applied, name)
		} else {
			applied[name] = value
		}
		p.proxy.table.Store(compile(p.routes, p.services, p.pods))
	}
	return &mirror[T, P]{kind: kind, late: p.late, apply: apply, ready: lists.Done}
}

// Admin pages

func (p *plane) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", p.health)
	mux.HandleFunc("/state", p.state)
	mux.Handle("/metrics", p.proxy.metrics)
	return mux
}

func (p *plane) health(w http.ResponseWriter, _ *http.Request) {
	select {
	case <-p.ready:
		w.Write([]byte("ok\n"))
	default:
		http.Error(w, "the first lists are not applied yet", http.StatusServiceUnavailable)
	}
}

type backendState struct {
	Service   string   `json:"service"`
	Port      int      `json:"port"`
	Weight    int      `json:"weight"`
	Endpoints []string `json:"endpoints"`
}

type ruleState struct {
	Matches  []match        `json:"matches"`
	Problem  string         `json:"problem,omitempty"`
	Backends []backendState `json:"backends"`
}

type routeState struct {
	Generation int64       `json:"generation"`
	Rules      []ruleState `json:"rules"`
}

// state says what the data plane does at this moment, and how many changes it has heard of and not applied.
func (p *plane) state(w http.ResponseWriter, _ *http.Request) {
	routes, pending := map[string]routeState{}, 0
	p.late.now(func() {
		t := p.proxy.table.Load()
		pending = p.late.pending
		for name, spec := range p.routes {
			state := routeState{Generation: spec.version, Rules: []ruleState{}}
			for _, r := range spec.Rules {
				state.Rules = append(state.Rules, t.describe(spec, r))
			}
			routes[name] = state
		}
	})
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"routes": routes, "pending": pending})
}

func (t *table) describe(spec routeSpec, r rule) ruleState {
	state := ruleState{Matches: r.Matches, Backends: []backendState{}}
	for _, m := range append(slices.Clone(r.Matches), match{}) {
		if problem := newEntry("", spec, r, m).problem; problem != "" {
			state.Problem = problem
		}
	}
	for _, b := range r.BackendRefs {
		endpoints := []string{}
		if p := t.services[b.Name]; p != nil {
			endpoints = append(endpoints, p.addresses[b.Port]...)
		}
		state.Backends = append(state.Backends, backendState{b.Name, b.Port, b.weight(), endpoints})
	}
	return state
}
