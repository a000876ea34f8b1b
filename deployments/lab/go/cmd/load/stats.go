package main

import "time"

// stats is what GET /stats answers: everything since the start, then the same for each section.
type stats struct {
	Running  bool                   `json:"running"`
	Started  time.Time              `json:"started"`
	Targets  map[string]targetStats `json:"targets"`
	Sections []sectionStats         `json:"sections"`
	Losses   []loss                 `json:"losses"`
	Flipped  uint64                 `json:"flipped"`
	Flips    []flip                 `json:"flips"`
}

type sectionStats struct {
	Name    string                 `json:"name"`
	Started time.Time              `json:"started"`
	Targets map[string]targetStats `json:"targets"`
}

// targetStats has the sum, and the same by the version that answered; "" is requests that no version answered.
type targetStats struct {
	*Tally
	Unsent   uint64            `json:"unsent"`
	Versions map[string]*Tally `json:"versions"`
}

func (r *run) stats() stats {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	s := stats{Running: r.running, Started: r.started, Losses: append([]loss{}, r.losses...)}
	s.Flipped, s.Flips = r.flipped, append([]flip{}, r.flips...)
	s.Targets = sum(r.sections...)
	for _, part := range r.sections {
		s.Sections = append(s.Sections, sectionStats{part.name, part.started, sum(part)})
	}
	return s
}

// sum adds sections up, without keeping anything of theirs.
func sum(sections ...*section) map[string]targetStats {
	all := map[string]targetStats{}
	for _, part := range sections {
		for name, c := range part.targets {
			t, ok := all[name]
			if !ok {
				t = targetStats{Tally: newTally(), Versions: map[string]*Tally{}}
			}
			t.Unsent += c.unsent
			for version, counted := range c.versions {
				if t.Versions[version] == nil {
					t.Versions[version] = newTally()
				}
				t.Versions[version].merge(counted)
				t.merge(counted)
			}
			all[name] = t
		}
	}
	for _, t := range all {
		t.sum()
		for _, version := range t.Versions {
			version.sum()
		}
	}
	return all
}
