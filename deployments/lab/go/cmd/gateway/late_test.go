package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestChangesOfOneObjectKeepTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := newLate(time.Second, 5*time.Second), []int{}
		for i := range 200 {
			l.later("route/a", func() { got = append(got, i) })
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(got) != 200 || !slices.IsSorted(got) {
			t.Errorf("applied %v", got)
		}
		if l.pending != 0 || len(l.waiting) != 0 || len(l.last) != 0 {
			t.Errorf("left over: %d, %v, %v", l.pending, l.waiting, l.last)
		}
	})
}

func TestEveryChangeIsLateByItsOwnDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, delays := newLate(time.Second, 5*time.Second), []time.Duration{}
		begun := time.Now()
		for i := range 300 {
			l.later(string(rune('a'+i)), func() { delays = append(delays, time.Since(begun)) })
		}
		time.Sleep(6 * time.Second)
		synctest.Wait()
		slices.Sort(delays)
		if len(delays) != 300 || delays[0] < time.Second || delays[299] > 5*time.Second {
			t.Fatalf("%d delays from %v to %v", len(delays), delays[0], delays[len(delays)-1])
		}
		if middle := delays[150]; middle < 2500*time.Millisecond || middle > 3500*time.Millisecond {
			t.Errorf("median %v of a uniform 1–5 s", middle)
		}
	})
}

// readyPod is a pod that gets traffic.
func readyPod(name, ip string) pod {
	var p pod
	p.Metadata.Name, p.Status.PodIP = name, ip
	p.Status.Conditions = append(p.Status.Conditions, struct {
		Type   string `json:"type"`
		Status string `json:"status"`
	}{"Ready", "True"})
	return p
}

func TestTheFirstListIsAppliedAtOnceAndALaterListFindsWhatWasDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		applied := map[string]endpoint{}
		apply := func(name string, e endpoint, deleted bool) {
			applied[name] = e
			if deleted {
				delete(applied, name)
			}
		}
		m := &mirror[pod, endpoint]{kind: "pod", late: newLate(time.Second, time.Second), apply: apply, ready: func() {}}
		m.Listed([]pod{readyPod("a", "127.1.0.2"), readyPod("b", "127.1.0.3")})
		if !applied["a"].Serving || !applied["b"].Serving {
			t.Fatalf("at once: %v", applied)
		}
		going := readyPod("a", "127.1.0.2")
		going.Metadata.DeletionTimestamp = "2026-01-01T00:00:00Z"
		m.Changed(going, false)
		m.Listed([]pod{going}) // the apiserver was away, and b went meanwhile
		time.Sleep(900 * time.Millisecond)
		m.late.now(func() {
			if !applied["a"].Serving || !applied["b"].Serving {
				t.Errorf("a change was applied before its delay: %v", applied)
			}
		})
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if _, there := applied["b"]; there || applied["a"].Serving {
			t.Errorf("after the delay: %v", applied)
		}
	})
}

func TestAChangeThatDoesNotMatterIsNone(t *testing.T) {
	m := &mirror[pod, endpoint]{kind: "pod", late: newLate(time.Hour, time.Hour), apply: func(string, endpoint, bool) {}, ready: func() {}}
	m.Listed([]pod{readyPod("a", "127.1.0.2")})
	same := readyPod("a", "127.1.0.2")
	same.Metadata.Generation = 7
	m.Changed(same, false)
	if m.late.pending != 0 {
		t.Error("a change of the generation alone is waiting")
	}
}
