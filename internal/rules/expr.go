package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// What an expression may hold. No rule of anybody's comes near; a hostile one
// would make texts that double with each call.
const (
	maxExpr    = 8 << 10 // bytes
	maxLiteral = 1 << 10 // bytes of a text in it
	maxGrowth  = 64      // times that nested calls may lengthen a label
)

// parse reads an expression and refuses one that could do harm.
func parse(text string) (parser.Expr, error) {
	if len(text) > maxExpr {
		return nil, fmt.Errorf("an expression of %d bytes: want at most %d", len(text), maxExpr)
	}
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("no expression: want PromQL")
	}
	e, err := parser.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	long := 0
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.StringLiteral); ok {
			long = max(long, len(s.Val))
		}
		return nil
	})
	if long > maxLiteral {
		return nil, fmt.Errorf("a text of %d bytes: want at most %d", long, maxLiteral)
	}
	if g := growth(e); g > maxGrowth {
		return nil, fmt.Errorf("nested label_join and label_replace lengthen a label up to %.0f times: want at most %d", g, maxGrowth)
	}
	return e, nil
}

// growth is how many times as long as those of its samples the labels of an
// expression may be.
func growth(n parser.Node) float64 {
	most := 1.0
	for c := range parser.ChildrenIter(n) {
		most = max(most, growth(c))
	}
	call, ok := n.(*parser.Call)
	if !ok {
		return most
	}
	switch call.Func.Name {
	case "label_join":
		return most * float64(max(1, len(call.Args)-3))
	case "label_replace":
		if s, ok := call.Args[2].(*parser.StringLiteral); ok {
			return most * float64(max(1, strings.Count(s.Val, "$")))
		}
	}
	return most
}

// names are the metrics that an expression names, each once, sorted.
func names(e parser.Expr) []string {
	found := map[string]bool{}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for _, m := range s.LabelMatchers {
				if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
					found[m.Value] = true
				}
			}
		}
		return nil
	})
	return slices.Sorted(maps.Keys(found))
}

// need is how far back from the time of its evaluation an expression looks:
// ranges, subqueries and offsets. An instant selector alone looks back not at
// all. A time that it names with @ counts from at.
func need(e parser.Expr, at time.Time) (back time.Duration) {
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		d := s.OriginalOffset
		if s.Timestamp != nil {
			d += at.Sub(time.UnixMilli(*s.Timestamp))
		}
		for i := len(path) - 1; i >= 0; i-- {
			switch p := path[i].(type) {
			case *parser.MatrixSelector:
				d += p.Range
			case *parser.SubqueryExpr:
				if s.Timestamp == nil {
					d += p.Range + p.OriginalOffset
					if p.Timestamp != nil {
						d += at.Sub(time.UnixMilli(*p.Timestamp))
						s = &parser.VectorSelector{Timestamp: p.Timestamp} // what is outside of it no longer counts
					}
				}
			}
		}
		back = max(back, d)
		return nil
	})
	return min(back, math.MaxInt64/4)
}

// missing is how much of what is needed from a time on is not there.
func missing(need time.Time, start, now time.Time) time.Duration {
	if start.IsZero() {
		start = now
	}
	return max(0, start.Sub(need))
}
