package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
)

// table is the data plane at one moment; it never changes, a new one takes its place.
type table struct {
	entries  []entry
	services map[string]*pool
}

// entry is one match of one rule of one route, in order of precedence.
type entry struct {
	route, created string
	hosts          []string
	match          match
	headers        []*regexp.Regexp // one for each header of the match
	rule           rule
	problem        string // what of the rule this gateway cannot do: its requests fail, rather than half the rule being done
}

// pool is a Service's endpoints that are used now.
type pool struct {
	addresses map[int][]string // by the Service's port
	turn      atomic.Uint64
}

// compile builds the data plane from what has been applied.
func compile(routes map[string]routeSpec, services map[string]serviceSpec, pods map[string]endpoint) *table {
	t := &table{services: map[string]*pool{}}
	for name, spec := range services {
		t.services[name] = newPool(spec, pods)
	}
	for name, spec := range routes {
		for _, r := range spec.Rules {
			matches := r.Matches
			if len(matches) == 0 {
				matches = []match{{}}
			}
			for _, m := range matches {
				t.entries = append(t.entries, newEntry(name, spec, r, m))
			}
		}
	}
	sort.SliceStable(t.entries, func(i, j int) bool { return t.entries[i].before(t.entries[j]) })
	return t
}

func newPool(spec serviceSpec, pods map[string]endpoint) *pool {
	p := &pool{addresses: map[int][]string{}}
	for _, e := range pods {
		if !e.Serving || !selects(spec.Selector, e.Labels) {
			continue
		}
		for _, port := range spec.Ports {
			p.addresses[port.Port] = append(p.addresses[port.Port], e.IP+":"+strconv.Itoa(port.on(e)))
		}
	}
	for _, addresses := range p.addresses {
		sort.Strings(addresses)
	}
	p.turn.Store(rand.Uint64N(1 << 20))
	return p
}

func selects(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

// on is the pod's port behind the Service's.
func (p servicePort) on(e endpoint) int {
	switch target := p.TargetPort.(type) {
	case string:
		return e.Ports[target]
	case float64:
		return int(target)
	}
	return p.Port
}

func newEntry(name string, spec routeSpec, r rule, m match) entry {
	if m.Path == nil {
		m.Path = &valueMatch{Type: "PathPrefix", Value: "/"}
	}
	e := entry{route: name, created: spec.created, hosts: spec.Hostnames, match: m, rule: r}
	for _, h := range m.Headers {
		expression := regexp.QuoteMeta(h.Value)
		if h.Type == "RegularExpression" {
			expression = h.Value
		}
		compiled, err := regexp.Compile("^(?:" + expression + ")$")
		if err != nil {
			e.problem, compiled = "bad-regular-expression", regexp.MustCompile("$^")
		}
		e.headers = append(e.headers, compiled)
	}
	if m.Path.Type == "RegularExpression" || len(m.QueryParams) > 0 {
		e.problem = "unsupported-match"
	}
	for _, f := range slices.Concat(r.Filters, filtersOf(r.BackendRefs)) {
		if f.Request == nil && f.Response == nil {
			e.problem = "unsupported-filter"
		}
	}
	return e
}

func filtersOf(backends []backendRef) (all []filter) {
	for _, b := range backends {
		all = append(all, b.Filters...)
	}
	return all
}

// before is Gateway API's precedence: exact path, longest prefix, method, number of headers, oldest route, name.
func (e entry) before(other entry) bool {
	rank := func(x entry) []int {
		return []int{one(x.match.Path.Type == "Exact"), len(x.match.Path.Value), one(x.match.Method != ""), len(x.match.Headers)}
	}
	if order := slices.Compare(rank(e), rank(other)); order != 0 {
		return order > 0
	}
	return e.created+" "+e.route < other.created+" "+other.route
}

func one(set bool) int {
	if set {
		return 1
	}
	return 0
}

// find is the entry that a request belongs to.
func (t *table) find(r *http.Request) *entry {
	for i := range t.entries {
		if t.entries[i].matches(r) {
			return &t.entries[i]
		}
	}
	return nil
}

func (e *entry) matches(r *http.Request) bool {
	if e.match.Method != "" && e.match.Method != r.Method || !hosted(e.hosts, r.Host) {
		return false
	}
	for i, h := range e.match.Headers {
		if !e.headers[i].MatchString(strings.Join(r.Header.Values(h.Name), ",")) {
			return false
		}
	}
	path := e.match.Path.Value
	if e.match.Path.Type == "Exact" {
		return r.URL.Path == path
	}
	rest, ok := strings.CutPrefix(r.URL.Path, strings.TrimSuffix(path, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

func hosted(hosts []string, host string) bool {
	name, _, _ := strings.Cut(host, ":")
	for _, h := range hosts {
		if h == name || strings.HasPrefix(h, "*.") && strings.HasSuffix(name, h[1:]) {
			return true
		}
	}
	return len(hosts) == 0
}

// choose draws a backend by weight: none when no backend has any.
func choose(backends []backendRef, draw func(n int) int) *backendRef {
	total := 0
	for _, b := range backends {
		total += b.weight()
	}
	if total == 0 {
		return nil
	}
	left := draw(total)
	for i := range backends {
		if left -= backends[i].weight(); left < 0 {
			return &backends[i]
		}
	}
	panic(fmt.Sprintf("drew more than %d", total))
}

func (b backendRef) weight() int {
	if b.Weight == nil {
		return 1
	}
	return max(*b.Weight, 0)
}

// endpoint is the next address of a backend in turn; empty when there is none, or no such Service or port.
func (t *table) endpoint(b *backendRef) string {
	p := t.services[b.Name]
	if p == nil || len(p.addresses[b.Port]) == 0 {
		return ""
	}
	addresses := p.addresses[b.Port]
	return addresses[p.turn.Add(1)%uint64(len(addresses))]
}
