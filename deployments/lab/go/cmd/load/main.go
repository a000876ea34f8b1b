// Command load sends requests on a fixed schedule and tells which were lost.
//
// It is told what to send over HTTP: POST /start {"targets":[{"name","path","rate","users"}]}, POST /mark {"name"} to begin a
// section, POST /stop, and GET /stats at any time. Counts begin anew with each start.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"strings"
	"sync"
)

// control is the API of the generator, which runs one load at a time.
type control struct {
	gateway string
	client  *http.Client
	mutex   sync.Mutex
	run     *run
}

func main() {
	gateway := flag.String("gateway", "http://127.0.0.1:8080", "where to send")
	listen := flag.String("listen", "127.0.0.1:8090", "where to be told")
	flag.Parse()
	log.Fatal(http.ListenAndServe(*listen, newControl(*gateway).handler()))
}

func newControl(gateway string) *control {
	// The gateway's connections are kept, as a browser's are; answers are taken as they come, redirects included.
	client := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: mostOutstanding},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	gateway = strings.TrimRight(gateway, "/")
	return &control{gateway: gateway, client: client, run: newRun(gateway, client)}
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /stats", c.stats)
	mux.HandleFunc("POST /start", c.start)
	mux.HandleFunc("POST /stop", c.stop)
	mux.HandleFunc("POST /mark", c.mark)
	return mux
}

func (c *control) stats(w http.ResponseWriter, _ *http.Request) {
	c.mutex.Lock()
	run := c.run
	c.mutex.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(run.stats())
}

func (c *control) start(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Targets []target `json:"targets"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, t := range body.Targets {
		if t.Name == "" || !strings.HasPrefix(t.Path, "/") || t.Rate <= 0 || t.Users < 0 {
			http.Error(w, "a target needs a name, a path from / and a rate above 0; users are 0 or more", http.StatusBadRequest)
			return
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.run.stats().Running {
		http.Error(w, "already running: stop it first", http.StatusConflict)
		return
	}
	c.run = newRun(c.gateway, c.client)
	c.run.start(body.Targets)
}

// stop answers with the final counts, when every request has ended.
func (c *control) stop(w http.ResponseWriter, r *http.Request) {
	c.mutex.Lock()
	if c.run.cancel != nil {
		c.run.stop()
	}
	c.mutex.Unlock()
	c.stats(w, r)
}

func (c *control) mark(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Name string `json:"name"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Name == "" {
		http.Error(w, "a section needs a name", http.StatusBadRequest)
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.run.mark(body.Name)
}
