package metric

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxLabel bounds a label's value in bytes.
const maxLabel = 128

// labels are a series' label values, in the order of its description.
type labels [3]string

// counter is a series that only grows.
type counter struct{ n atomic.Uint64 }

func (c *counter) count() uint64 { return c.n.Load() }

// data is what a series counts in.
type data[S any] interface {
	*S
	count() uint64
}

// limited is what all families with a limit of series have in common.
type limited struct {
	*desc
	limit   int
	refused atomic.Uint64
}

// family is a set of series of one kind with labels that may come from outside:
// it has a limit, and series that are idle leave it.
//
// A series is live until it has not changed for a while; then it is leaving:
// whoever counts next finds that out before and makes it live again. If it is
// still unchanged at the next sweep, a minute later, it is gone, and the same
// labels begin a series of their own at zero. So a count is lost only if its
// writer stands still for a minute between looking and counting.
type family[S any, P data[S]] struct {
	limited
	make  func() *S
	table table[labels, *series[S]]
	full  atomic.Bool // no more series for now
	mu    sync.Mutex
	all   roster[*series[S]] // guarded by mu
}

type series[S any] struct {
	labels  labels
	text    []byte // of the labels
	data    *S
	created time.Time
	leaving atomic.Bool // for good once gone
	gone    bool        // guarded by the family's mu, as what follows
	last    uint64      // the count at the last sweep
	since   time.Time   // when a sweep saw it change last
}

type counters = family[counter, *counter]

type histograms = family[histogram, *histogram]

func newFamily[S any, P data[S]](m *Metrics, d *desc, limit int, make func() *S) *family[S, P] {
	f := &family[S, P]{limited: limited{desc: d, limit: limit}, make: make}
	f.table.init()
	m.limited = append(m.limited, &f.limited)
	m.sweeps = append(m.sweeps, f.sweep)
	return f
}

func newCounters(m *Metrics, d *desc, limit int) *counters {
	return newFamily(m, d, limit, func() *counter { return new(counter) })
}

func newHistograms(m *Metrics, d *desc, limit int) *histograms {
	return newFamily(m, d, limit, func() *histogram { return newHistogram(d.scale) })
}

// get returns the series of l, made if need be, or nil where the family is
// full: that is then counted as refused.
func (f *family[S, P]) get(l labels) *series[S] {
	s := f.table.find(l)
	if s == nil { // perhaps only by a label that is not clean
		for i := range l {
			l[i] = clean(l[i])
		}
		s = f.table.find(l)
	}
	if s == nil && !f.full.Load() || s != nil && s.leaving.Load() {
		s = f.add(l)
	}
	if s == nil {
		f.refused.Add(1)
	}
	return s
}

// add makes the series of l, which is clean, or makes it live again. It returns
// nil where there is no room.
func (f *family[S, P]) add(l labels) *series[S] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.table.find(l); s != nil {
		s.leaving.Store(false)
		return s
	}
	if len(f.all.items) >= f.limit {
		f.full.Store(true)
		return nil
	}
	for i := range l {
		l[i] = strings.Clone(l[i]) // not to keep what it is a part of
	}
	now := time.Now()
	s := &series[S]{labels: l, text: f.appendLabels(nil, l[:]), data: f.make(), created: now, since: now}
	f.table.add(l, s)
	f.all.add(s)
	return s
}

// sweep lets go of the series that have been idle for longer than idle.
func (f *family[S, P]) sweep(now time.Time, idle time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := make([]*series[S], 0, len(f.all.items))
	for _, s := range f.all.items {
		n := P(s.data).count()
		switch {
		case n != s.last:
			s.last, s.since = n, now
			s.leaving.Store(false)
		case s.leaving.Load():
			s.gone = true
			continue
		case now.Sub(s.since) >= idle:
			s.leaving.Store(true)
		}
		kept = append(kept, s)
	}
	if len(kept) < len(f.all.items) {
		f.table.keep(func(s *series[S]) bool { return !s.gone })
		f.all.set(kept)
		f.full.Store(false)
	}
}

// sorted returns the series in the order of their labels.
func (f *family[S, P]) sorted() []*series[S] {
	return f.all.sorted(&f.mu, func(a, b *series[S]) int { return bytes.Compare(a.text, b.text) })
}

// clean returns s as a label's value: valid UTF-8 of bounded length.
func clean(s string) string {
	if len(s) > maxLabel {
		s = s[:maxLabel]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// roster lists what a table holds. It is sorted when it is first read after a
// change, so that one more costs nothing.
type roster[T any] struct {
	items   []T
	changes int
	order   atomic.Pointer[[]T] // the items sorted; nil after a change
}

func (r *roster[T]) add(item T) { r.set(append(r.items, item)) }

func (r *roster[T]) set(items []T) {
	r.items = items
	r.changes++
	r.order.Store(nil)
}

// sorted returns the items by compare. They are sorted outside of mu, which
// guards the roster: who adds an item waits for a copy at most.
func (r *roster[T]) sorted(mu *sync.Mutex, compare func(a, b T) int) []T {
	if order := r.order.Load(); order != nil {
		return *order
	}
	mu.Lock()
	items, changes := slices.Clone(r.items), r.changes
	mu.Unlock()
	slices.SortFunc(items, compare)
	mu.Lock()
	defer mu.Unlock()
	if changes == r.changes {
		r.order.Store(&items)
	}
	return items
}
