package condition_test

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/condition"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func number(v float64) *api.Float { f := api.Float(v); return &f }

var seen = condition.Seen{
	Ready: true,
	Health: api.Health{Status: api.Degraded, Checks: map[string]api.Check{
		"database": {Status: api.Healthy}, "disk": {Status: api.Unhealthy, Error: "full"},
	}},
	Cache: api.CacheStatus{Redis: api.RedisHealth{Status: api.Disabled}, Memory: api.MemoryHealth{Status: api.Healthy}},
	Breakers: api.Breakers{
		"github_api": {Name: "github_api", State: api.StateClosed},
		"a/b":        {Name: "a/b", State: api.StateHalfOpen, Why: &api.BreakerWhy{Reason: "5 failures in a row"}},
		"forced":     {Name: "forced", State: api.StateOpen, Mode: api.ModeForcedOpen, Forced: &api.BreakerForced{Actor: "ada", Reason: "INC-1"}},
		"for a time": {Name: "for a time", State: api.StateOpen, Mode: api.ModeForcedOpen, Forced: &api.BreakerForced{Until: &api.Time{}}},
		"x=y[1]":     {Name: "x=y[1]", State: api.StateClosed},
	},
	Metrics: []api.MetricFamily{
		{Name: "rate", Type: "gauge", Series: []api.MetricSeries{
			{Labels: map[string]string{"v": "a"}, Value: number(.05)}, {Labels: map[string]string{"v": "b"}, Value: number(.5)}, {Labels: map[string]string{"v": "nan"}, Value: number(math.NaN())},
		}},
		{Name: "took", Type: "histogram", Series: []api.MetricSeries{{Labels: map[string]string{}, MetricHistogram: api.MetricHistogram{
			Count: number(10), Sum: number(3), Buckets: []api.MetricBucket{{UpperBound: 1, Count: 7}, {UpperBound: api.Float(math.Inf(1)), Count: 10}},
		}}}},
		{Name: "asked", Type: "summary", Series: []api.MetricSeries{{Quantiles: []api.MetricQuantile{{Quantile: .5, Value: 2}, {Quantile: .99, Value: 9}}}}},
	},
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		text  string
		met   bool
		unmet string // names of the parts that do not meet it
		other string // absent, never, or a part of the reason
	}{
		{"ready", true, "", ""},
		{"health=healthy", false, "health", ""},
		{"health==degraded", true, "", ""},
		{"health=healthy,degraded", true, "", ""},
		{"health!=unhealthy", true, "", ""},
		{"breaker/github_api=closed", true, "", ""},
		{"breaker/github_api!=open,half-open", true, "", ""},
		{"breaker/a/b=half_open", true, "", ""},
		{"breaker/a/b=closed", false, "a/b", ""},
		{"breakers/x=y[1]=closed", true, "", ""},
		{"breaker/*=closed", false, "a/b for a time forced", "never"},
		{"breaker/*b=closed", false, "a/b", ""},
		{"breaker/for*=closed", false, "for a time forced", "never"},
		{"breaker/for a*=closed", false, "for a time", ""},
		{"breaker/forced=open", true, "", ""},
		{"breaker/nope=closed", false, "", "absent"},
		{"breaker/nope*=closed", false, "", "absent"},
		{"check/database=healthy", true, "", ""},
		{"check/*=healthy", false, "disk", ""},
		{"check/d?sk=unhealthy", true, "", ""},
		{"check/nope=healthy", false, "", "absent"},
		{"cache/memory=healthy", true, "", ""},
		{"cache/redis=healthy", false, "redis", "absent"},
		{"cache/redis=healthy,disabled", true, "", ""},
		{"cache/*=healthy", true, "", ""},
		{`rate<0.1`, false, `rate{v="b"} rate{v="nan"}`, ""},
		{`rate{v="a"}<0.1`, true, "", ""},
		{`rate{v='a'} < 1e-1`, true, "", ""},
		{`rate{v=~"a|b",} <= .5`, true, "", ""},
		{`rate{v!~"a|nan",v!="c"} == .5`, true, "", ""},
		{`{"rate",v="b"} > 0`, true, "", ""},
		{`rate{v="nan"} != 1`, true, "", ""},
		{`rate{v="none"}<1`, false, "", "no series has these labels"},
		{`none<1`, false, "", "absent"},
		{`took<1`, false, "", "absent"}, // a histogram has no value of its own
		{`took_count>=10`, true, "", ""},
		{`took_sum<3`, false, "took_sum", ""},
		{`took_bucket{le="1"}==7`, true, "", ""},
		{`took_bucket{le="+Inf"}==10`, true, "", ""},
		{`asked{quantile="0.99"}<5`, false, `asked{quantile="0.99"}`, ""},
	} {
		c, err := condition.Parse(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		o := c.Judge(&seen)
		var unmet []string
		for _, p := range o.Unmet {
			unmet = append(unmet, p.Name)
		}
		other := o.Reason
		if o.Absent {
			other = "absent"
		} else if o.Never != "" {
			other = "never"
		}
		if o.Met != tt.met || strings.Join(unmet, " ") != tt.unmet || !strings.Contains(other, tt.other) || tt.other == "" && other != "" {
			t.Errorf("%s: %+v", tt.text, o)
		}
		if o.Met == (len(o.Unmet) > 0 || o.Reason != "" || o.Never != "") {
			t.Errorf("%s: met or not, and why: %+v", tt.text, o)
		}
	}
}

// Of nothing at all, everything is as wanted; of a name, nothing is.
func TestJudgeNothing(t *testing.T) {
	for text, met := range map[string]bool{"breaker/*=closed": true, "breaker/a*=closed": false, "check/*=healthy": true, "health=healthy": false, "ready": false} {
		c, err := condition.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if o := c.Judge(&condition.Seen{}); o.Met != met {
			t.Errorf("%s: %+v", text, o)
		}
	}
}

// What is listed is bounded, and the rest counted; a server's text is cut.
func TestBounds(t *testing.T) {
	many := condition.Seen{Breakers: api.Breakers{}}
	for _, name := range strings.Fields("a b c d e f g h i j k l") {
		many.Breakers[name] = api.Breaker{State: api.StateOpen, Why: &api.BreakerWhy{Reason: strings.Repeat("é", 1000)}}
	}
	c, err := condition.Parse("breaker/*=closed")
	if err != nil {
		t.Fatal(err)
	}
	if o := c.Judge(&many); len(o.Unmet) != 8 || o.UnmetMore != 4 || o.Matched != 12 || len([]rune(o.Unmet[0].Note)) != 160 {
		t.Errorf("%+v", o)
	}
	if _, err := condition.Parse(strings.Repeat("a", 5000)); err == nil {
		t.Error("a condition of 5000 bytes is one")
	}
}

func TestNever(t *testing.T) {
	c, err := condition.Parse("breaker/forced=closed")
	if err != nil {
		t.Fatal(err)
	}
	if o := c.Judge(&seen); o.Never != "forced is forced open without an end by ada (INC-1)" {
		t.Errorf("never = %q", o.Never)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "want breaker/NAME=closed",
		"redy":                  "want breaker/NAME=closed",
		"helth=healthy":         "want breaker/NAME=closed",
		"health=well":           `there is no state "well": want one of healthy, degraded, unhealthy`,
		"health=healthy,":       `there is no state ""`,
		"breaker/=closed":       "it names nothing",
		"breaker/x=shut":        `there is no state "shut": want one of closed, open, half-open`,
		"breaker/[=closed":      "want a pattern",
		"breaker/x":             "want breaker/NAME=closed",
		"cache/disk=healthy":    `there is no cache "disk": want redis or memory`,
		"cache/redis=unhealthy": "want one of healthy, degraded, failed, disabled",
		"m<x":                   `"x" is no number`,
		"m{a}<1":                `label "a": want =`,
		`m{a=b}<1`:              "want a text in quotes",
		`m{a="b}<1`:             "want a text in quotes",
		`m{a='b}<1`:             "has no end",
		`m{a="b" c="d"}<1`:      "want a comma",
		`m{a=~"("}<1`:           "missing closing )",
		`m{="b"}<1`:             "want LABEL",
		`m{a="b"`:               "want a comma or a closing brace",
		"m<1 2":                 "want breaker/NAME=closed",
	} {
		if _, err := condition.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) error = %v, want %q", text, err, want)
		}
	}
}

func TestNeeds(t *testing.T) {
	var all []*condition.Condition
	for _, text := range []string{"ready", "check/x=healthy", "breaker/x=open", "cache/redis=healthy", "b_count<1", "a>1", "a<5"} {
		c, err := condition.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	got := condition.NeedsOf(all)
	if want := (condition.Needs{Ready: true, Health: true, Breakers: true, Cache: true, Metrics: []string{"a", "b", "b_count"}}); !reflect.DeepEqual(got, want) {
		t.Errorf("needs = %+v, want %+v", got, want)
	}
}

// What parses can be judged, and parses again from what it calls itself, to the
// same outcome.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"ready", "health!=unhealthy", "breaker/*=closed,half-open", "check/d?sk=healthy", "cache/redis=disabled",
		`rate{v=~"a|b",w!="\"c"}<=1e-3`, `{"rate", v='x'}!=NaN`, "took_bucket>+Inf", "breaker/x=y[1]==open"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := condition.Parse(text)
		if err != nil {
			return
		}
		again, err := condition.Parse(c.String())
		if err != nil {
			t.Fatalf("Parse(%q) = %q, which does not parse: %v", text, c, err)
		}
		o := c.Judge(&seen)
		if !reflect.DeepEqual(o, again.Judge(&seen)) {
			t.Fatalf("%q and %q differ", text, c)
		}
		if o.Met == (len(o.Unmet) > 0 || o.Reason != "") || len(o.Unmet) > o.Matched {
			t.Fatalf("%q: %+v", text, o)
		}
	})
}
