package rules

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// Querier reads the samples of a span of time, in milliseconds, both ends
// included.
func (r *Ring) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{r, mint, maxt}, nil
}

type querier struct {
	r          *Ring
	mint, maxt int64
}

func (q *querier) Close() error { return nil }

// Select returns the series that match, as they are now: what is appended later
// does not show.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	mint, maxt := q.mint, q.maxt
	if hints != nil {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	q.r.mu.RLock()
	defer q.r.mu.RUnlock()
	set := &seriesSet{at: -1}
	for s := range q.r.matching(ms) {
		if ctx.Err() != nil {
			return storage.ErrSeriesSet(ctx.Err())
		}
		if v := s.view(mint, maxt); v != nil {
			set.all = append(set.all, v)
		}
	}
	if sorted {
		slices.SortFunc(set.all, func(a, b *view) int { return labels.Compare(a.labels, b.labels) })
	}
	return set
}

// matching yields the series that all matchers match. The ring is locked.
func (r *Ring) matching(ms []*labels.Matcher) func(func(*series) bool) {
	return func(yield func(*series) bool) {
		for _, m := range ms {
			if m.Type == labels.MatchEqual && m.Name == model.MetricNameLabel {
				for _, s := range r.byName[m.Value] {
					if matches(s.labels, ms) && !yield(s) {
						return
					}
				}
				return
			}
		}
		for _, same := range r.series {
			for _, s := range same {
				if matches(s.labels, ms) && !yield(s) {
					return
				}
			}
		}
	}
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// LabelValues returns the values of a label, sorted.
func (q *querier) LabelValues(_ context.Context, name string, _ *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.distinct(ms, func(ls labels.Labels, add func(string)) {
		if v := ls.Get(name); v != "" {
			add(v)
		}
	}), nil, nil
}

// LabelNames returns the names of the labels, sorted.
func (q *querier) LabelNames(_ context.Context, _ *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return q.distinct(ms, func(ls labels.Labels, add func(string)) { ls.Range(func(l labels.Label) { add(l.Name) }) }), nil, nil
}

func (q *querier) distinct(ms []*labels.Matcher, of func(labels.Labels, func(string))) []string {
	q.r.mu.RLock()
	defer q.r.mu.RUnlock()
	found := map[string]bool{}
	for s := range q.r.matching(ms) {
		of(s.labels, func(v string) { found[v] = true })
	}
	return slices.Sorted(maps.Keys(found))
}

type seriesSet struct {
	all []*view
	at  int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.all) }
func (s *seriesSet) At() storage.Series                { return s.all[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// view is what a series had in a span of time when it was selected.
type view struct {
	labels     labels.Labels
	chunks     []chunk
	mint, maxt int64
}

// view returns the chunks that touch a span of time, nil if none do. The open
// one is copied, as it goes on to change.
func (s *series) view(mint, maxt int64) *view {
	first := slices.IndexFunc(s.chunks, func(c chunk) bool { return c.max >= mint })
	if first < 0 || s.chunks[first].min > maxt {
		return nil
	}
	v := &view{labels: s.labels, chunks: slices.Clone(s.chunks[first:]), mint: mint, maxt: maxt}
	if s.app != nil {
		open := &v.chunks[len(v.chunks)-1]
		copied := chunkenc.NewXORChunk()
		copied.Reset(slices.Clone(open.data.Bytes()))
		open.data = copied
	}
	return v
}

func (v *view) Labels() labels.Labels { return v.labels }

// Iterator reads the samples. An iterator of another view may be used again.
func (v *view) Iterator(used chunkenc.Iterator) chunkenc.Iterator {
	it, ok := used.(*sampleIterator)
	if !ok {
		it = new(sampleIterator)
	}
	*it = sampleIterator{view: v, used: it.used}
	return it
}

// sampleIterator reads the samples of a view, chunk by chunk.
type sampleIterator struct {
	view *view
	next int               // the chunk after the current one
	cur  chunkenc.Iterator // nil before the first chunk and after the last
	used chunkenc.Iterator // cur, to be used again
	err  error
}

func (it *sampleIterator) Next() chunkenc.ValueType {
	for it.err == nil {
		if it.cur == nil && !it.open() {
			return chunkenc.ValNone
		}
		for it.cur.Next() != chunkenc.ValNone {
			switch t := it.cur.AtT(); {
			case t > it.view.maxt:
				it.cur, it.next = nil, len(it.view.chunks)
				return chunkenc.ValNone
			case t >= it.view.mint:
				return chunkenc.ValFloat
			}
		}
		it.err = it.cur.Err()
		it.cur = nil
	}
	return chunkenc.ValNone
}

// open begins the next chunk, and tells whether there is one.
func (it *sampleIterator) open() bool {
	if it.next >= len(it.view.chunks) {
		return false
	}
	it.used = it.view.chunks[it.next].data.Iterator(it.used)
	it.cur = it.used
	it.next++
	return true
}

// millis is Unix milliseconds. The alias keeps go vet from taking Seek for that
// of io.Seeker.
type millis = int64

func (it *sampleIterator) Seek(t millis) chunkenc.ValueType {
	if it.cur != nil && it.cur.AtT() >= max(t, it.view.mint) && it.cur.AtT() <= it.view.maxt {
		return chunkenc.ValFloat
	}
	if it.cur != nil && it.view.chunks[it.next-1].max < t {
		it.cur = nil
	}
	for it.cur == nil && it.next < len(it.view.chunks) && it.view.chunks[it.next].max < t {
		it.next++
	}
	for it.Next() != chunkenc.ValNone {
		if it.cur.AtT() >= t {
			return chunkenc.ValFloat
		}
	}
	return chunkenc.ValNone
}

func (it *sampleIterator) At() (int64, float64) { return it.cur.At() }
func (it *sampleIterator) AtT() int64           { return it.cur.AtT() }
func (it *sampleIterator) AtST() int64          { return 0 }

func (it *sampleIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	panic(noHistogram)
}

func (it *sampleIterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	panic(noHistogram)
}

// noHistogram is what no caller sees: Next and Seek never say that there is a
// histogram.
const noHistogram = "rules: the ring holds floats alone"

func (it *sampleIterator) Err() error {
	if it.err != nil {
		return fmt.Errorf("samples of %s: %w", it.view.labels, it.err)
	}
	return nil
}
