package main

import (
	"encoding/json"
	"log"
	"os"
	"sync/atomic"
	"time"
)

// Fault is what a version does wrong. All zero is a good version.
type Fault struct {
	ErrorRate   float64            `json:"error_rate"`   // share of requests answered 500
	LatencyMS   float64            `json:"latency_ms"`   // added to every answer
	SparseEvery uint64             `json:"sparse_every"` // every n-th request is answered 500: errors that rates hide
	SlowStartS  float64            `json:"slow_start_s"` // seconds from start during which it is not ready
	CapacityRPS float64            `json:"capacity_rps"` // requests a second one pod can do; 0 is no limit
	Gauges      map[string]float64 `json:"gauges"`       // values of the business gauges, by metric name
}

// faults follows the entry of one service and version in the lab's file.
type faults struct {
	path, key string
	current   atomic.Pointer[Fault]
	seen      os.FileInfo
}

func follow(path, key string) *faults {
	f := &faults{path: path, key: key}
	f.current.Store(&Fault{})
	f.read()
	go func() {
		for range time.Tick(500 * time.Millisecond) {
			f.read()
		}
	}()
	return f
}

// read takes the file's new content. No file is no faults; a file that does not parse is one being written: keep.
func (f *faults) read() {
	info, err := os.Stat(f.path)
	if err != nil {
		f.seen = nil
		f.current.Store(&Fault{})
		return
	}
	if f.seen != nil && os.SameFile(f.seen, info) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return
	}
	all := map[string]Fault{}
	content, err := os.ReadFile(f.path)
	if err == nil {
		err = json.Unmarshal(content, &all)
	}
	if err != nil {
		log.Printf("faults: %v, keeping what was", err)
		return
	}
	fault := all[f.key]
	f.seen = info
	f.current.Store(&fault)
}
