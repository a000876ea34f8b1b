package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

func TestLostIsWhatFailsWithoutTheApplicationSayingSo(t *testing.T) {
	answer := func(code int, headers ...string) *http.Response {
		r := &http.Response{StatusCode: code, Header: http.Header{}}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	good := []string{"X-Service", "backend", "X-Version", "v1"}
	with := func(more ...string) []string { return append(good[:len(good):len(good)], more...) }
	cases := []struct {
		name   string
		answer *http.Response
		err    error
		want   outcome
	}{
		{"good", answer(200, good...), nil, outcome{version: "v1"}},
		{"slow on purpose", answer(200, with("X-Fault", "latency")...), nil, outcome{version: "v1", fault: "latency"}},
		{"bad on purpose", answer(500, with("X-Fault", "error")...), nil, outcome{version: "v1", fault: "error"}},
		{"not known there", answer(404, good...), nil, outcome{version: "v1", lost: "status 404"}},
		{"overloaded", answer(503, good...), nil, outcome{version: "v1", lost: "status 503"}},
		{"another service", answer(200, "X-Service", "miniapp", "X-Version", "v1"), nil, outcome{lost: "status 200 from miniapp"}},
		{"a stranger", answer(302), nil, outcome{lost: "status 302 from a stranger"}},
		{"no endpoints", answer(503, "X-Gateway-Error", "no-endpoints"), nil, outcome{lost: "status 503 no-endpoints"}},
		{"no route", answer(404, "X-Gateway-Error", "no-route"), nil, outcome{lost: "status 404 no-route"}},
		{"refused", nil, fmt.Errorf("dial: %w", syscall.ECONNREFUSED), outcome{lost: "transport: refused"}},
		{"timeout", nil, fmt.Errorf("get: %w", context.DeadlineExceeded), outcome{lost: "transport: timeout"}},
		{"broken off", answer(200, good...), fmt.Errorf("read: %w", syscall.ECONNRESET), outcome{lost: "transport: reset"}},
	}
	total := newTally()
	for _, c := range cases {
		got := classify("backend", c.answer, c.err)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		total.add(got, time.Millisecond)
	}
	if total.Total != 12 || total.OK != 1 || len(total.Faults) != 2 || len(total.Lost) != 9 {
		t.Errorf("%+v", total)
	}
}

func TestQuantilesAreWithinTwoPercent(t *testing.T) {
	all, half := newTally(), newTally()
	for i := range 1000 {
		into := all
		if i%2 == 0 {
			into = half
		}
		into.add(outcome{}, time.Duration(i+1)*time.Millisecond)
	}
	all.merge(half)
	all.sum()
	for want, got := range map[float64]float64{500: all.Latency.P50, 950: all.Latency.P95, 990: all.Latency.P99} {
		if got < want || got > want*1.025 {
			t.Errorf("%v, want %v", got, want)
		}
	}
	var empty histogram
	if empty.quantile(.5) != 0 {
		t.Error("a quantile of nothing")
	}
}
