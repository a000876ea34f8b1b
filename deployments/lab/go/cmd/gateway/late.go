package main

import (
	"math/rand/v2"
	"reflect"
	"sync"
	"time"
)

// late makes changes happen after a delay of their own, as they do between an apiserver and the proxies of a
// production cluster. Changes of one object keep their order; changes of different objects overtake each other.
type late struct {
	mutex    sync.Mutex
	min, max time.Duration
	last     map[string]time.Time
	waiting  map[string][]func()
	pending  int
}

func newLate(min, max time.Duration) *late {
	return &late{min: min, max: max, last: map[string]time.Time{}, waiting: map[string][]func(){}}
}

// now runs a change at once; later runs it after a delay. Changes never run at the same time as each other.
func (l *late) now(change func()) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	change()
}

func (l *late) later(key string, change func()) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	due := time.Now().Add(l.min + rand.N(l.max-l.min+1))
	if due.Before(l.last[key]) {
		due = l.last[key]
	}
	l.last[key] = due
	l.waiting[key] = append(l.waiting[key], change)
	l.pending++
	time.AfterFunc(time.Until(due), func() { l.next(key) })
}

// next runs the oldest waiting change of an object: whichever timer fires, the order holds.
func (l *late) next(key string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	queue := l.waiting[key]
	queue[0]()
	l.pending--
	if len(queue) == 1 {
		delete(l.waiting, key)
		delete(l.last, key)
		return
	}
	l.waiting[key] = queue[1:]
}

// object is anything with a name, of which only a part matters here.
type object[P any] interface {
	key() string
	project() P
}

// mirror hears of the objects of one kind and passes on, late, each change that matters. The first list is not late:
// a proxy that starts has the state of its start.
type mirror[T object[P], P any] struct {
	kind  string
	late  *late
	known map[string]P
	apply func(name string, value P, deleted bool)
	ready func()
}

func (m *mirror[T, P]) Listed(objects []T) {
	present := map[string]bool{}
	first := m.known == nil
	if first {
		m.known = map[string]P{}
	}
	for _, o := range objects {
		present[o.key()] = true
		m.change(o.key(), o.project(), false, first)
	}
	for name, value := range m.known {
		if !present[name] {
			m.change(name, value, true, false)
		}
	}
	if first {
		m.ready()
	}
}

func (m *mirror[T, P]) Changed(o T, deleted bool) { m.change(o.key(), o.project(), deleted, false) }

func (m *mirror[T, P]) change(name string, value P, deleted, atOnce bool) {
	if old, ok := m.known[name]; ok && !deleted && reflect.DeepEqual(old, value) {
		return
	}
	if deleted {
		delete(m.known, name)
	} else {
		m.known[name] = value
	}
	apply := func() { m.apply(name, value, deleted) }
	if atOnce {
		m.late.now(apply)
		return
	}
	m.late.later(m.kind+"/"+name, apply)
}
