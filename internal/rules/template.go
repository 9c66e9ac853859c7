package rules

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/helpers/templates"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/strutil"

	"github.com/pulsectl/pulsectl/internal/gotemplate"
)

// variables are what Prometheus defines ahead of each template.
const variables = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

// asker answers the PromQL of templates.
type asker func(ctx context.Context, expr string, at time.Time) (promql.Vector, error)

// expander fills in the templates of one alert.
type expander struct {
	ctx   context.Context
	at    time.Time
	data  map[string]any
	query asker
}

func newExpander(ctx context.Context, at time.Time, s promql.Sample, query asker) *expander {
	return &expander{ctx, at, map[string]any{
		"Labels": labelMap(s), "ExternalLabels": map[string]any{}, "ExternalURL": "", "Value": s.F,
	}, query}
}

func labelMap(s promql.Sample) map[string]any {
	out := map[string]any{}
	for name, v := range s.Metric.Map() {
		out[name] = v
	}
	return out
}

// expand returns what a template comes to. One that fails comes to the error, as
// it does in Prometheus.
func (e *expander) expand(text string) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	t, err := e.parse(text)
	var out strings.Builder
	if err == nil {
		err = t.Execute(&out, e.data)
	}
	if err != nil {
		return fmt.Sprintf("<error expanding template: %s>", err)
	}
	return out.String()
}

func (e *expander) parse(text string) (*gotemplate.Template, error) {
	return gotemplate.ParseWith(variables+text, gotemplate.Options{Functions: e.functions(), Missing: new(string)})
}

// checkTemplate tells whether a template can be parsed.
func checkTemplate(text string) error {
	_, err := newExpander(context.Background(), time.Time{}, promql.Sample{}, nil).parse(text)
	return err
}

// functions are those that Prometheus has in templates of rules.
func (e *expander) functions() map[string]gotemplate.Function {
	fs := map[string]gotemplate.Function{
		"query": func(args []any) (any, error) { return e.ask(args) },
		"now":   func([]any) (any, error) { return float64(e.at.UnixMilli()) / 1000, nil },
		"args":  numbered,
		"first": one(func(v any) (any, error) {
			if all, _ := v.([]any); len(all) > 0 {
				return all[0], nil
			}
			return nil, errors.New("first() called on vector with no elements")
		}),
		"label":        func(args []any) (any, error) { return ofSample(args, 2, "Labels", 0) },
		"value":        func(args []any) (any, error) { return ofSample(args, 1, "Value", -1) },
		"strvalue":     one(func(v any) (any, error) { return ofSample([]any{"__value__", v}, 2, "Labels", 0) }),
		"sortByLabel":  sortByLabel,
		"reReplaceAll": reReplaceAll,
		"match": func(args []any) (any, error) {
			t, err := texts(args, 2)
			if err != nil {
				return nil, err
			}
			return regexp.MatchString(t[0], t[1])
		},
		"parseDuration": one(func(v any) (any, error) {
			d, err := model.ParseDurationAllowNegative(fmt.Sprint(v))
			return time.Duration(d).Seconds(), err
		}),
		"toDuration": number1(func(v float64) (string, error) { return time.Duration(v * float64(time.Second)).String(), nil }),
		"toTime": number1(func(v float64) (string, error) {
			return model.TimeFromUnixNano(int64(v * 1e9)).Time().UTC().String(), nil
		}),
		"humanize":           number1(humanize),
		"humanize1024":       number1(humanize1024),
		"humanizePercentage": number1(func(v float64) (string, error) { return fmt.Sprintf("%.4g%%", v*100), nil }),
		"humanizeDuration":   one(func(v any) (any, error) { return templates.HumanizeDuration(v) }),
		"humanizeTimestamp":  one(func(v any) (any, error) { return templates.HumanizeTimestamp(v) }),
		"externalURL":        func([]any) (any, error) { return "", nil },
		"pathPrefix":         func([]any) (any, error) { return "", nil },
	}
	for name, f := range map[string]func(string) string{
		"title": title, "toUpper": strings.ToUpper, "toLower": strings.ToLower, "safeHtml": func(s string) string { return s },
		"graphLink": strutil.GraphLinkForExpression, "tableLink": strutil.TableLinkForExpression,
		"stripPort": stripPort, "stripDomain": stripDomain, "urlQueryEscape": url.QueryEscape, "urlquery": url.QueryEscape, "html": html.EscapeString,
	} {
		fs[name] = func(args []any) (any, error) {
			t, err := texts(args, 1)
			if err != nil {
				return nil, err
			}
			return f(t[0]), nil
		}
	}
	return fs
}

// ask answers the function query: a list of samples.
func (e *expander) ask(args []any) (any, error) {
	t, err := texts(args, 1)
	if err != nil {
		return nil, err
	}
	v, err := e.query(e.ctx, t[0], e.at)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(v))
	for i, s := range v {
		out[i] = map[string]any{"Labels": labelMap(s), "Value": s.F}
	}
	return out, nil
}

func one(f func(any) (any, error)) gotemplate.Function {
	return func(args []any) (any, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("want 1 argument, got %d", len(args))
		}
		return f(args[0])
	}
}

// number1 is a function of a number, or of a text that holds one.
func number1(f func(float64) (string, error)) gotemplate.Function {
	return one(func(v any) (any, error) {
		n, err := templates.ConvertToFloat(v)
		if err != nil {
			return nil, err
		}
		return f(n)
	})
}

// texts wants a number of texts; nothing counts as an empty one.
func texts(args []any, n int) ([]string, error) {
	if len(args) != n {
		return nil, fmt.Errorf("want %d arguments, got %d", n, len(args))
	}
	out := make([]string, n)
	for i, a := range args {
		s, ok := a.(string)
		if !ok && a != nil {
			return nil, fmt.Errorf("argument %d is %v: want a text", i+1, a)
		}
		out[i] = s
	}
	return out, nil
}

func numbered(args []any) (any, error) {
	out := map[string]any{}
	for i, a := range args {
		out[fmt.Sprintf("arg%d", i)] = a
	}
	return out, nil
}

// ofSample gives a member of the sample that is the last argument, or the label
// that the argument at a place names.
func ofSample(args []any, n int, member string, name int) (any, error) {
	if len(args) != n {
		return nil, fmt.Errorf("want %d arguments, got %d", n, len(args))
	}
	s, ok := args[n-1].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%v is no sample of a query", args[n-1])
	}
	if name < 0 {
		return s[member], nil
	}
	ls, _ := s[member].(map[string]any)
	return ls[fmt.Sprint(args[name])], nil
}

func sortByLabel(args []any) (any, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("want 2 arguments, got %d", len(args))
	}
	all, _ := args[1].([]any)
	all = slices.Clone(all)
	key := func(v any) string {
		l, _ := ofSample([]any{args[0], v}, 2, "Labels", 0)
		s, _ := l.(string)
		return s
	}
	slices.SortStableFunc(all, func(a, b any) int { return strings.Compare(key(a), key(b)) })
	return all, nil
}

func reReplaceAll(args []any) (any, error) {
	t, err := texts(args, 3)
	if err != nil {
		return nil, err
	}
	re, err := regexp.Compile(t[0])
	if err != nil {
		return nil, err
	}
	return re.ReplaceAllString(t[2], t[1]), nil
}

// title makes the first letter of each word a capital.
func title(s string) string {
	before := ' '
	return strings.Map(func(r rune) rune {
		inside := unicode.IsLetter(before) || unicode.IsDigit(before) || before == '\'' || before == '_'
		before = r
		if inside {
			return r
		}
		return unicode.ToTitle(r)
	}, s)
}

func stripPort(hostPort string) string {
	if host, _, err := net.SplitHostPort(hostPort); err == nil {
		return host
	}
	return hostPort
}

func stripDomain(hostPort string) string {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	if net.ParseIP(host) != nil {
		return hostPort
	}
	host, _, _ = strings.Cut(host, ".")
	if port != "" {
		return net.JoinHostPort(host, port)
	}
	return host
}

func humanize(v float64) (string, error) {
	if abs(v) >= 1 {
		return scale(v, 1000, []string{"k", "M", "G", "T", "P", "E", "Z", "Y"}), nil
	}
	return shrink(v, []string{"m", "u", "n", "p", "f", "a", "z", "y"}), nil
}

func humanize1024(v float64) (string, error) {
	return scale(v, 1024, []string{"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}), nil
}

func abs(v float64) float64 { return max(v, -v) }

// scale writes a number of 1 or more with a prefix of its size.
func scale(v, by float64, prefixes []string) string {
	prefix := ""
	for _, p := range prefixes {
		if abs(v) < by || v-v != 0 { // infinite, or no number
			break
		}
		prefix, v = p, v/by
	}
	return fmt.Sprintf("%.4g%s", v, prefix)
}

// shrink writes a number below 1 with a prefix of its size.
func shrink(v float64, prefixes []string) string {
	prefix := ""
	for _, p := range prefixes {
		if abs(v) >= 1 || v == 0 || v-v != 0 {
			break
		}
		prefix, v = p, v*1000
	}
	return fmt.Sprintf("%.4g%s", v, prefix)
}
