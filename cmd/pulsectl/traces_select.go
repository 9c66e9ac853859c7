package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// selectorHelp tells how a trace is named.
const selectorHelp = `ID is a trace's id or a unique prefix of 4 or more characters, a file that
holds a trace as -o json writes it, - for that on standard input, or one of
  @last     the trace begun last, of those that have finished
  @slowest  the one that took longest
  @error    the newest with a failed span
  @p50      the median of the newest 1,000 by duration; @p95, @p99.9 and so on
--service, --operation, --since, --until and --tag narrow what these choose from.`

// selector is how a command line names a trace.
type selector struct {
	text string
	rank float64 // 0 to 1: the share of traces that are not slower; -1 for no quantile
}

var quantile = regexp.MustCompile(`^@p(\d{1,2}(?:\.\d{1,3})?|100)$`)

// queries find what the selectors without a rank name, in the order of trying:
// where nothing has finished, what runs will do. A Python server has no other.
var queries = map[string][]client.TraceQuery{
	"@last":    {{State: "finished", Limit: 1}, {Limit: 1}},
	"@slowest": {{State: "finished", Sort: "slowest", Limit: 1}, {Sort: "slowest", Limit: 1}},
	"@error": {
		{State: "finished", Status: string(api.StatusError), Limit: 1}, {State: "finished", Status: string(api.StatusTimeout), Limit: 1},
		{Sort: "errors", Limit: 1},
	},
}

// rankedOf is how many traces a quantile is taken of: one answer's.
const rankedOf = 1000

func parseSelector(text, command string) (selector, error) {
	s := selector{text: text, rank: -1}
	if m := quantile.FindStringSubmatch(text); m != nil {
		percent, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return s, err // no such number matches
		}
		s.rank = percent / 100
		return s, nil
	}
	if _, known := queries[text]; text != "" && text[0] == '@' && !known {
		return s, &usageError{fmt.Errorf("%s: want an id, @last, @slowest, @error, or @p50 and the like", text), command}
	}
	return s, nil
}

// isName tells whether the selector is one of a name, not of an id.
func (s selector) isName() bool { return s.text != "" && s.text[0] == '@' }

// narrowing adds the filters that selectors take.
func narrowing(fs *pflag.FlagSet, q *client.TraceQuery) {
	fs.StringVar(&q.Service, "service", "", "of @…: only traces with a span of this service")
	fs.StringVar(&q.Operation, "operation", "", "of @…: only traces with a span of this `NAME`")
	fs.StringVar(&q.Since, "since", "", "of @…: only traces begun since then: a `TIME`, or a duration back from now like 15m")
	fs.StringVar(&q.Until, "until", "", "of @…: only traces begun until then")
	fs.StringArrayVar(&q.Tags, "tag", nil, "of @…: only traces with such an attribute, a `CONDITION` as of traces list; repeatable")
}

// checkNarrowing refuses filters that nothing would be chosen by.
func checkNarrowing(q client.TraceQuery, command string, sels ...selector) error {
	given := q.Service != "" || q.Operation != "" || q.Since != "" || q.Until != "" || len(q.Tags) > 0
	if given && !slices.ContainsFunc(sels, selector.isName) {
		return &usageError{fmt.Errorf("an id names one trace: --service, --operation, --since, --until and --tag go with @slowest and the like"), command}
	}
	return nil
}

// picked is the trace that a selector names, and what it was chosen from.
type picked struct {
	trace api.Trace
	among int   // traces that a quantile was taken of; 0 for others
	fit   int64 // traces that it might have been taken of
}

// candidates asks a server for the traces that a selector may choose, without
// their spans: one at most, or of a quantile the newest. fit is how many there
// are.
func (s selector) candidates(ctx context.Context, c *client.Client, narrow client.TraceQuery) (all []api.Trace, fit int64, err error) {
	tries := queries[s.text]
	if s.rank >= 0 {
		tries = []client.TraceQuery{{State: "finished", Limit: rankedOf}, {Limit: rankedOf}}
	}
	for _, q := range tries {
		q.Service, q.Operation, q.Since, q.Until, q.Tags = narrow.Service, narrow.Operation, narrow.Since, narrow.Until, narrow.Tags
		list, err := c.Traces(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		for _, t := range list.Traces {
			if s.text != "@error" || t.ErrorCount.Value() > 0 || t.Status.Failed() {
				all = append(all, t)
			}
		}
		fit = max(list.Total.Value(), int64(len(all)))
		if len(all) > 0 && (s.text != "@error" || q.Status == string(api.StatusTimeout)) {
			break
		}
	}
	return all, fit, nil
}

// choose picks from candidates the index of the one that is named, -1 for none.
// Of a quantile it is not the one with the id but, as long as there are others:
// its neighbour.
func (s selector) choose(all []api.Trace, but string) int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	newest := func(i, j int) int { return all[j].StartTime.Compare(all[i].StartTime.Time) }
	slices.SortStableFunc(order, newest)
	at := 0
	switch {
	case len(all) == 0:
		return -1
	case s.rank >= 0:
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(took(&all[i]), took(&all[j])) })
		at = max(int(math.Ceil(s.rank*float64(len(all))))-1, 0)
		if all[order[at]].TraceID == but {
			if at > 0 {
				at--
			} else {
				at = 1
			}
		}
	case s.text == "@slowest":
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(took(&all[j]), took(&all[i])) })
	}
	return order[min(at, len(order)-1)]
}

// took is how long a trace took; one that runs goes by when it began.
func took(t *api.Trace) float64 {
	if t.Duration != nil {
		return t.Duration.Duration().Seconds()
	}
	return -float64(t.StartTime.Unix())
}

// find returns the trace that a selector names on one server.
func (s selector) find(ctx context.Context, c *client.Client, narrow client.TraceQuery) (picked, error) {
	p := picked{trace: api.Trace{TraceID: s.text}}
	if s.isName() {
		var err error
		if p, err = s.summary(ctx, c, narrow); err != nil {
			return p, err
		}
	}
	var err error
	p.trace, err = wholeTrace(ctx, c, p.trace.TraceID)
	return p, err
}

// wholeTrace returns a trace with its spans. Of one that is too long for an
// answer of the API it fetches the export, of which four times as many spans
// fit. If that cannot be had the answer stands, which says that it is cut.
func wholeTrace(ctx context.Context, c *client.Client, id string) (api.Trace, error) {
	t, err := c.Trace(ctx, id)
	if err != nil || !t.Truncated {
		return t, err
	}
	request, truncated, err := c.ExportTrace(ctx, t.TraceID)
	if err != nil {
		return t, nil
	}
	whole, err := foreignTrace(request)
	if err != nil || len(whole.Spans) < len(t.Spans) {
		return t, nil
	}
	t.Spans, t.Truncated = whole.Spans, truncated
	return t, nil
}

// summary returns the trace that a name stands for on one server, without its
// spans.
func (s selector) summary(ctx context.Context, c *client.Client, narrow client.TraceQuery) (picked, error) {
	all, fit, err := s.candidates(ctx, c, narrow)
	if err != nil {
		return picked{}, err
	}
	i := s.choose(all, "")
	if i < 0 {
		return picked{}, api.Errorf(http.StatusNotFound, "the server keeps no such trace: %s", s.text)
	}
	p := picked{trace: all[i]}
	if s.rank >= 0 {
		p.among, p.fit = len(all), fit
	}
	return p, nil
}
