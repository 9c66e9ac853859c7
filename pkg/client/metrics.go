package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	metricsPath   = "/monitoring/metrics"
	maxExposition = 1 << 30 // bytes; it is read as it comes
)

// MetricQuery says what of a scrape is kept. The zero value keeps everything.
type MetricQuery struct {
	Names   []string               // families by name; a server of ours sends no others
	Matches func(name string) bool // families by any other rule; nil for all
	Labels  []LabelMatch           // series whose labels match all of these
	Count   bool                   // not the series but their number
	Native  bool                   // native histograms and exemplars too, where the server has them
}

// Metrics returns the families of one scrape, by name, their series in the order
// of their labels. A server without the /monitoring API is asked for /metrics,
// where any exporter of Prometheus has them.
func (c *Client) Metrics(ctx context.Context, q MetricQuery) ([]api.MetricFamily, error) {
	var params url.Values
	if len(q.Names) > 0 {
		if python, err := c.isPython(ctx); err == nil && !python {
			params = url.Values{"name[]": q.Names}
		}
	}
	out, err := c.scrape(ctx, metricsPath, params, q)
	if !notFound(err) {
		return out, err
	}
	if elsewhere, eerr := c.scrape(ctx, "/metrics", nil, q); !notFound(eerr) {
		return elsewhere, eerr
	}
	return nil, err
}

func notFound(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

func (c *Client) scrape(ctx context.Context, path string, params url.Values, q MetricQuery) ([]api.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	accept := "text/plain;version=0.0.4;q=0.5, */*;q=0.1"
	if q.Native {
		accept = string(expfmt.NewFormat(expfmt.TypeProtoDelim)) + ", " + accept
	}
	resp, err := c.Send(ctx, http.MethodGet, path, params, http.Header{"Accept": {accept}}, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what is there of it says enough
		return nil, problem(resp, path, body)
	}
	body := &bodyReader{r: resp.Body, left: maxExposition}
	got := collected{q: q, at: map[string]*kept{}}
	err = readExposition(body, resp.Header.Get("Content-Type"), got.add)
	switch {
	case body.err != nil:
		return nil, transportError(body.err)
	case body.left < 0:
		return nil, unreadable(0, "GET %s: the answer is larger than %d MiB", path, maxExposition>>20)
	case err != nil:
		return nil, unreadable(0, "GET %s: the answer is no exposition: %v", path, err)
	}
	return got.families(), nil
}

// bodyReader tells an answer that broke off from one that cannot be read.
type bodyReader struct {
	r    io.Reader
	left int64
	err  error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errors.New("too large")
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		b.err = err
	}
	return n, err
}

// ParseMetrics reads an exposition in Prometheus's text form, as
// [Client.Metrics] does.
func ParseMetrics(text []byte) ([]api.MetricFamily, error) {
	got := collected{at: map[string]*kept{}}
	if err := readText(bytes.NewReader(text), got.add); err != nil {
		return nil, err
	}
	return got.families(), nil
}

// collected is what a query keeps of a scrape.
type collected struct {
	q  MetricQuery
	at map[string]*kept
}

// kept is one family, of which more parts may come.
type kept struct {
	api.MetricFamily
	places map[uint64]int // in Series, of histograms and summaries by the hash of their labels: their lines may be spread
}

// add keeps what of a part of a family is asked for.
func (c *collected) add(mf *dto.MetricFamily) {
	name := mf.GetName()
	if len(c.q.Names) > 0 && !slices.Contains(c.q.Names, name) || c.q.Matches != nil && !c.q.Matches(name) {
		return
	}
	f := c.at[name]
	if f == nil {
		f = &kept{places: map[uint64]int{}, MetricFamily: api.MetricFamily{
			Name: name, Type: strings.ToLower(mf.GetType().String()), Unit: unitOf(name), Series: []api.MetricSeries{},
		}}
		c.at[name] = f
	}
	if f.Help == "" {
		f.Help = mf.GetHelp()
	}
	for _, m := range mf.Metric {
		if c.matches(m) {
			f.add(m, c.q.Count)
		}
	}
}

func (c *collected) matches(m *dto.Metric) bool {
	if len(c.q.Labels) == 0 {
		return true
	}
	of := labels(m.Label)
	return !slices.ContainsFunc(c.q.Labels, func(l LabelMatch) bool { return !l.matches(of) })
}

func (f *kept) add(m *dto.Metric, count bool) {
	if m.Histogram == nil && m.Summary == nil { // a line a series; a double is shown as one
		f.SeriesCount++
		if !count {
			f.Series = append(f.Series, series(m))
		}
		return
	}
	key := maphash.String(seed, api.SeriesKey(labels(m.Label)))
	i, found := f.places[key]
	if !found {
		f.places[key] = len(f.Series)
		f.SeriesCount++
	}
	switch {
	case count:
	case found:
		part := series(m)
		join(&f.Series[i], &part)
	default:
		f.Series = append(f.Series, series(m))
	}
}

// seed makes hashes of series that no server can foresee.
var seed = maphash.MakeSeed()

// families are those that were kept, in order.
func (c *collected) families() []api.MetricFamily {
	out := make([]api.MetricFamily, 0, len(c.at))
	for _, f := range c.at {
		for i := range f.Series {
			finish(&f.Series[i])
		}
		sortSeries(f.Series)
		out = append(out, f.MetricFamily)
	}
	slices.SortFunc(out, func(a, b api.MetricFamily) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// sortSeries sorts by labels, whose keys are made once.
func sortSeries(all []api.MetricSeries) {
	type keyed struct {
		key string
		m   api.MetricSeries
	}
	sorted := make([]keyed, len(all))
	for i, m := range all {
		sorted[i] = keyed{api.SeriesKey(m.Labels), m}
	}
	slices.SortStableFunc(sorted, func(a, b keyed) int { return strings.Compare(a.key, b.key) })
	for i := range sorted {
		all[i] = sorted[i].m
	}
}

// LabelMatch is a condition on a label of a series.
type LabelMatch struct {
	name  string
	want  string
	re    *regexp.Regexp // nil: want itself
	other bool           // the series that do not match
}

// ParseLabelMatch reads NAME=VALUE, NAME!=VALUE, NAME=~REGEXP or NAME!~REGEXP,
// as PromQL has them: a label that is not there is empty, and a regular
// expression is of the whole value.
func ParseLabelMatch(s string) (LabelMatch, error) {
	i := strings.IndexAny(s, "=!")
	if i <= 0 || s[i] == '!' && !strings.HasPrefix(s[i:], "!=") && !strings.HasPrefix(s[i:], "!~") {
		return LabelMatch{}, fmt.Errorf("label %q: want NAME=VALUE, NAME!=VALUE, NAME=~REGEXP or NAME!~REGEXP", s)
	}
	m, rest := LabelMatch{name: s[:i], other: s[i] == '!'}, s[i+1:]
	pattern, isRegexp := strings.CutPrefix(rest, "~")
	switch {
	case isRegexp:
		re, err := regexp.Compile("^(?s:" + pattern + ")$")
		if err != nil {
			return LabelMatch{}, fmt.Errorf("label %q: %w", s, err)
		}
		m.re = re
	case m.other:
		m.want = rest[1:]
	default:
		m.want = rest
	}
	return m, nil
}

func (l LabelMatch) matches(labels map[string]string) bool {
	v := labels[l.name]
	if l.re != nil {
		return l.re.MatchString(v) != l.other
	}
	return (v == l.want) != l.other
}

// unitOf is the unit that a metric's name ends in, "" if none.
func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	for _, unit := range []string{"seconds", "bytes", "percent", "ratio"} {
		if strings.HasSuffix(name, "_"+unit) {
			return unit
		}
	}
	return ""
}
