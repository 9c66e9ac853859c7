package client

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Match returns what tells whether a trace, with its spans, fits the query, as
// this project's servers judge by it; and the order that the query asks for.
func (q TraceQuery) Match(now time.Time) (fits func(api.Trace) bool, compare func(a, b api.Trace) int, err error) {
	fits, err = q.matcher(now)
	return fits, q.compare, err
}

// matcher applies the query to traces of a Python server, as this project's
// would have.
func (q TraceQuery) matcher(now time.Time) (func(api.Trace) bool, error) {
	if q.Limit < 0 || q.Limit > 1000 {
		return nil, api.Invalid("limit", "want 1 to 1000")
	}
	since, err := instant("since", q.Since, now)
	if err != nil {
		return nil, err
	}
	until, err := instant("until", q.Until, now)
	if err != nil {
		return nil, err
	}
	var tags []func(string, any) bool
	for _, t := range q.Tags {
		f, err := tagMatcher(t)
		if err != nil {
			return nil, err
		}
		tags = append(tags, f)
	}
	return func(t api.Trace) bool {
		d := length(t, now)
		active := t.EndTime.IsZero()
		if q.HasProfile || q.State == "active" && !active || q.State == "finished" && active || q.Status != "" && q.Status != string(t.Status) ||
			d < q.MinDuration || q.MaxDuration > 0 && d > q.MaxDuration || !since.IsZero() && t.StartTime.Before(since) || !until.IsZero() && t.StartTime.After(until) {
			return false
		}
		for _, f := range tags {
			if !anyTag(t, f) {
				return false
			}
		}
		return q.namesMatch(t) && (q.Text == "" || holds(t, strings.ToLower(q.Text)))
	}, nil
}

func (q TraceQuery) namesMatch(t api.Trace) bool {
	if q.Service == "" && q.Operation == "" {
		return true
	}
	for _, s := range t.Spans {
		if (q.Service == "" || q.Service == s.Service) && (q.Operation == "" || q.Operation == s.OperationName) {
			return true
		}
	}
	return false
}

// compare is the order that the query asks for.
func (q TraceQuery) compare(a, b api.Trace) int {
	recent := b.StartTime.Compare(a.StartTime.Time)
	switch q.Sort {
	case "slowest":
		now := time.Now()
		return cmp.Or(cmp.Compare(length(b, now), length(a, now)), recent)
	case "errors":
		return cmp.Or(cmp.Compare(b.ErrorCount.Value(), a.ErrorCount.Value()), recent)
	case "spans":
		return cmp.Or(cmp.Compare(b.SpanCount.Value(), a.SpanCount.Value()), recent)
	default:
		return recent
	}
}

func length(t api.Trace, now time.Time) time.Duration {
	if t.Duration != nil {
		return t.Duration.Duration()
	}
	return now.Sub(t.StartTime.Time)
}

func anyTag(t api.Trace, f func(string, any) bool) bool {
	for k, v := range t.Metadata {
		if f(k, v) {
			return true
		}
	}
	for _, s := range t.Spans {
		for k, v := range s.Tags {
			if f(k, v) {
				return true
			}
		}
	}
	return false
}

// holds looks for lower-case text in operations, tag values and log messages.
func holds(t api.Trace, text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	for _, s := range t.Spans {
		if has(s.OperationName) {
			return true
		}
		for _, l := range s.Logs {
			if has(l.Message) {
				return true
			}
		}
	}
	return anyTag(t, func(_ string, v any) bool { return v != nil && has(fmt.Sprint(v)) })
}

// tagMatcher reads a condition on a tag: key, key=value, key!=value, key~regex,
// key>n, key<n.
func tagMatcher(text string) (func(string, any) bool, error) {
	i := strings.IndexAny(text, "=!~<>")
	if i < 0 && text != "" {
		return func(k string, _ any) bool { return k == text }, nil
	}
	if i <= 0 {
		return nil, badFilter("tag", text)
	}
	key, op, value := text[:i], text[i], text[i+1:]
	var fits func(string) bool
	switch op {
	case '!':
		want, ok := strings.CutPrefix(value, "=")
		if !ok {
			return nil, badFilter("tag", text)
		}
		fits = func(v string) bool { return v != want }
	case '~':
		re, err := regexp.Compile(value)
		if err != nil {
			return nil, badFilter("tag", text)
		}
		fits = re.MatchString
	case '=':
		fits = func(v string) bool { return v == value }
	default:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, badFilter("tag", text)
		}
		fits = func(v string) bool {
			m, err := strconv.ParseFloat(v, 64)
			return err == nil && (op == '>' && m > n || op == '<' && m < n)
		}
	}
	return func(k string, v any) bool { return k == key && fits(fmt.Sprint(v)) }, nil
}

// instant reads an RFC 3339 time, Unix seconds, or a duration back from now.
func instant(name, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	var unix api.Time
	if err := unix.UnmarshalJSON([]byte(text)); err == nil && !unix.IsZero() {
		return unix.Time, nil
	}
	return time.Time{}, badFilter(name, text)
}

func badFilter(name, text string) error {
	return api.Errorf(http.StatusUnprocessableEntity, "%s: %.100q is no such filter", name, text)
}
