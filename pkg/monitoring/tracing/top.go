package tracing

import "slices"

// top keeps the first hits of an order among many, behind a cursor if there
// is one.
type top struct {
	limit  int
	after  *hit // nil for the first page
	total  int  // hits seen
	behind int  // of these behind after
	hits   []hit
	cut    bool // the first limit of hits are in order, and others behind them are gone
}

func (t *top) add(h hit) {
	t.total++
	if t.after != nil && compareHits(h, *t.after) <= 0 {
		return
	}
	t.behind++
	if t.cut && compareHits(h, t.hits[t.limit-1]) > 0 {
		return
	}
	if t.hits = append(t.hits, h); len(t.hits) == 2*t.limit {
		t.sort()
	}
}

// passes counts a hit that has no place, by its key alone; it says no if that
// does not tell.
func (t *top) passes(key int64) bool {
	if !t.cut || t.after != nil || key >= t.hits[t.limit-1].key {
		return false
	}
	t.total++
	t.behind++
	return true
}

// sort brings the hits in order and leaves limit of them at most.
func (t *top) sort() []hit {
	slices.SortFunc(t.hits, compareHits)
	if len(t.hits) >= t.limit {
		t.hits, t.cut = t.hits[:t.limit], true
	}
	return t.hits
}
