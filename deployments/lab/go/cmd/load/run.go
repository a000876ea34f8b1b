package main

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	mostOutstanding = 2000
	timeout         = 5 * time.Second
	lossesKept      = 200
	flipsKept       = 200
)

// target is one stream of requests.
type target struct {
	Name  string  `json:"name"`
	Path  string  `json:"path"`
	Host  string  `json:"host"`
	Rate  float64 `json:"rate"`
	Users int     `json:"users"` // who keep cookies; 0 for requests of nobody
}

// loss is one lost request, for who must find out why.
type loss struct {
	Time    time.Time `json:"time"`
	Target  string    `json:"target"`
	Section string    `json:"section"`
	Cause   string    `json:"cause"`
	Version string    `json:"version,omitempty"`
}

// section is a named part of a run: what was sent while something went on.
type section struct {
	name    string
	started time.Time
	targets map[string]*counts
}

// counts is what is known of one target in one section.
type counts struct {
	unsent   uint64
	versions map[string]*Tally
}

// run is one load, from start to stop.
type run struct {
	gateway  string
	client   *http.Client
	started  time.Time
	cancel   context.CancelFunc
	slots    chan struct{}
	inFlight sync.WaitGroup

	mutex    sync.Mutex
	running  bool
	sections []*section
	losses   []loss
	flipped  uint64
	flips    []flip // the first ones
}

func newRun(gateway string, client *http.Client) *run {
	r := &run{gateway: gateway, client: client, started: time.Now(), slots: make(chan struct{}, mostOutstanding)}
	r.mark("start")
	return r
}

// start sends each target's requests until stopped.
func (r *run) start(targets []target) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.running = cancel, true
	for _, t := range targets {
		r.inFlight.Add(1)
		go func() {
			defer r.inFlight.Done()
			r.pace(ctx, t)
		}()
	}
}

// stop sends no more, and returns when all that was sent has ended.
func (r *run) stop() {
	r.cancel()
	r.inFlight.Wait()
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.running = false
}

// mark begins a new section; a request belongs to the section it was scheduled in.
func (r *run) mark(name string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.sections = append(r.sections, &section{name: name, started: time.Now(), targets: map[string]*counts{}})
}

func (r *run) now() *section {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.sections[len(r.sections)-1]
}

// pace keeps the schedule: request n is due n/rate after the start, whatever became of the others. When this process
// was kept from running, it sends what is overdue at once, and the wait counts as latency.
func (r *run) pace(ctx context.Context, t target) {
	begun, timer, idle := time.Now(), time.NewTimer(0), newUsers(t)
	defer timer.Stop()
	for n := 0; ; n++ {
		due := begun.Add(time.Duration(float64(n) / t.Rate * float64(time.Second)))
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		in, by := r.now(), (*user)(nil)
		if t.Users > 0 {
			select {
			case by = <-idle:
			default: // all of them are still busy
				r.update(in, t.Name, func(c *counts) { c.unsent++ })
				continue
			}
		}
		select {
		case r.slots <- struct{}{}:
			r.inFlight.Add(1)
			go func() {
				r.one(t, by, in, due)
				if by != nil {
					idle <- by
				}
			}()
		default:
			if by != nil {
				idle <- by
			}
			r.update(in, t.Name, func(c *counts) { c.unsent++ })
		}
	}
}

// one sends a request and counts how it ended.
func (r *run) one(t target, by *user, in *section, due time.Time) {
	defer r.inFlight.Done()
	answer, err := r.send(t, by)
	latency, o := time.Since(due), classify(t.Name, answer, err)
	<-r.slots
	var changed *flip
	if by != nil && err == nil {
		changed = by.answered(t, t.at(r.gateway), answer, o.version)
	}
	r.update(in, t.Name, func(c *counts) {
		if changed != nil {
			r.flipped++
			if len(r.flips) < flipsKept {
				r.flips = append(r.flips, *changed)
			}
		}
		tally := c.versions[o.version]
		if tally == nil {
			tally = newTally()
			c.versions[o.version] = tally
		}
		tally.add(o, latency)
		if o.lost != "" {
			r.losses = append(r.losses, loss{time.Now(), t.Name, in.name, o.lost, o.version})
			r.losses = r.losses[max(0, len(r.losses)-lossesKept):]
		}
	})
}

// send is one request, read to its end: an answer that breaks off is no answer.
func (r *run) send(t target, by *user) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	unrepeatable := struct{ io.Reader }{http.NoBody} // Go's transport would send a GET again behind our back
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.gateway+t.Path, unrepeatable)
	if err != nil {
		return nil, err
	}
	request.Host = t.Host
	if by != nil {
		if cookies := by.cookies(t.at(r.gateway)); cookies != "" {
			request.Header.Set("Cookie", cookies)
		}
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer, err
}

func (r *run) update(in *section, name string, change func(*counts)) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	c := in.targets[name]
	if c == nil {
		c = &counts{versions: map[string]*Tally{}}
		in.targets[name] = c
	}
	change(c)
}
