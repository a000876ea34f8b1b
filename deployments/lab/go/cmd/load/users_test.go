package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// shared is a front of two versions, drawn in turn; `sticky` has it set a cookie and obey it.
func shared(sticky bool, weight *atomic.Int64) http.Handler {
	var turn atomic.Uint64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version, value := fmt.Sprintf("v%d", 1+turn.Add(1)%2), ""
		if sticky {
			held, err := r.Cookie("track")
			if value = fmt.Sprintf("%d.%s", weight.Load(), version); err == nil && held.Value[:2] == value[:2] {
				value, version = "", held.Value[3:]
			}
		}
		if value != "" {
			w.Header().Add("Set-Cookie", "track="+value+"; Path=/")
		}
		w.Header().Set("X-Service", "miniapp")
		w.Header().Set("X-Version", version)
	})
}

func TestAUserWhoseVersionChangesThoughItsCookiesDoNotIsCounted(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		var weight atomic.Int64
		weight.Store(10)
		front := httptest.NewServer(shared(sticky, &weight))
		r := newRun(front.URL, http.DefaultClient)
		r.start([]target{{Name: "miniapp", Path: "/page", Host: "app.example", Rate: 200, Users: 7}})
		time.Sleep(200 * time.Millisecond)
		weight.Store(25) // another cookie, another draw: that is no flip
		time.Sleep(200 * time.Millisecond)
		r.stop()
		front.Close()
		s := r.stats()
		got := s.Targets["miniapp"]
		if got.OK < 20 || len(got.Versions) != 2 {
			t.Errorf("sticky %v: %+v", sticky, got.Tally)
		}
		if (s.Flipped == 0) != sticky || uint64(len(s.Flips)) != min(s.Flipped, flipsKept) {
			t.Errorf("sticky %v: %d flipped, such as %+v", sticky, s.Flipped, s.Flips)
		}
	}
}
