package tracing

import (
	"math"
	"slices"
)

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

// bar returns the key below which no hit has a place.
func (t *top) bar() int64 {
	if !t.cut || t.after != nil {
		return math.MinInt64
	}
	return t.hits[t.limit-1].key
}

// pass counts n hits that were below the bar.
func (t *top) pass(n int) {
	t.total += n
	t.behind += n
}

// sort brings the hits in order and leaves limit of them at most.
func (t *top) sort() []hit {
	slices.SortFunc(t.hits, compareHits)
	if len(t.hits) >= t.limit {
		t.hits, t.cut = t.hits[:t.limit], true
	}
	return t.hits
}
