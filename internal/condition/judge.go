package condition

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Needs says what of a server conditions are judged by.
type Needs struct {
	Ready, Health, Breakers, Cache bool
	Metrics                        []string // names of families, sorted; nil for none
}

// NeedsOf is what several conditions are judged by.
func NeedsOf(all []*Condition) (n Needs) {
	for _, c := range all {
		switch c.noun {
		case ready:
			n.Ready = true
		case health, check:
			n.Health = true
		case breaker:
			n.Breakers = true
		case cache:
			n.Cache = true
		case metric:
			n.Metrics = append(n.Metrics, c.metric.families()...)
		}
	}
	slices.Sort(n.Metrics)
	n.Metrics = slices.Compact(n.Metrics)
	return n
}

// Seen is what one server said, as far as [Needs] asked for it.
type Seen struct {
	Ready    bool
	Health   api.Health
	Breakers api.Breakers
	Cache    api.CacheStatus
	Metrics  []api.MetricFamily
}

// Outcome is how a condition stands at one server.
type Outcome struct {
	Condition string `json:"condition"`
	Met       bool   `json:"met"`
	Matched   int    `json:"matched"`             // breakers, checks, series that it is about
	Unmet     []Part `json:"unmet"`               // of them those that are not as wanted, at most 8
	UnmetMore int    `json:"unmet_more,omitzero"` // those beyond
	Reason    string `json:"reason,omitempty"`    // why it is not met where no part says that
	Never     string `json:"never,omitempty"`     // why waiting does not help
	Absent    bool   `json:"absent,omitempty"`    // nothing has the name that it is about
}

// Part is one of the things that a condition is about.
type Part struct {
	Name string `json:"name"`
	Is   string `json:"is"`             // its state, or its value
	Note string `json:"note,omitempty"` // why
}

// mostParts bounds what an outcome lists.
const mostParts = 8

func (o *Outcome) unmet(p Part) {
	if len(o.Unmet) == mostParts {
		o.UnmetMore++
		return
	}
	o.Unmet = append(o.Unmet, p)
}

// Unasked is the outcome at a server that said nothing, and why.
func (c *Condition) Unasked(why string) Outcome {
	return Outcome{Condition: c.text, Unmet: []Part{}, Reason: why}
}

// Judge tells how the condition stands at a server that said this.
func (c *Condition) Judge(s *Seen) Outcome {
	o := Outcome{Condition: c.text, Unmet: []Part{}}
	switch c.noun {
	case ready:
		o.Matched = 1
		if !s.Ready {
			o.unmet(Part{Name: "ready", Is: "no", Note: "a critical check fails"})
		}
	case health:
		c.part(&o, "health", s.Health.Status, "")
	case check:
		for _, name := range slices.Sorted(maps.Keys(s.Health.Checks)) {
			if c.about(name) {
				c.part(&o, name, s.Health.Checks[name].Status, s.Health.Checks[name].Error)
			}
		}
	case cache:
		c.caches(&o, &s.Cache)
	case breaker:
		c.breakers(&o, s.Breakers)
	case metric:
		c.metric.judge(&o, s.Metrics)
	}
	return c.settle(o)
}

// settle tells what becomes of what was found.
func (c *Condition) settle(o Outcome) Outcome {
	switch {
	case o.Matched == 0 && o.Reason == "" && c.every():
		o.Met = true // all of nothing
	case o.Matched == 0 && o.Reason == "":
		o.Absent, o.Reason = true, fmt.Sprintf("there is no %s %q", map[noun]string{check: "health check", breaker: "circuit breaker", metric: "metric"}[c.noun], c.subject())
	case o.Matched > 0:
		o.Met = len(o.Unmet) == 0
	}
	return o
}

func (c *Condition) subject() string {
	if c.noun == metric {
		return c.metric.name
	}
	return c.pattern
}

// part takes in one thing of a state.
func (c *Condition) part(o *Outcome, name, state, note string) {
	o.Matched++
	if !c.meets(state) {
		o.unmet(Part{Name: name, Is: state, Note: clip(note)})
	}
}

func (c *Condition) caches(o *Outcome, s *api.CacheStatus) {
	for _, tier := range []struct{ name, status, note string }{
		{"memory", s.Memory.Status, ""}, {"redis", s.Redis.Status, s.Redis.Reason},
	} {
		if !c.about(tier.name) || c.every() && tier.status == api.Disabled {
			continue // one that is not there is none of all
		}
		c.part(o, tier.name, tier.status, tier.note)
		if tier.status == api.Disabled && !c.meets(tier.status) {
			o.Absent, o.Reason = true, fmt.Sprintf("the %s cache is not configured", tier.name)
		}
	}
}

func (c *Condition) breakers(o *Outcome, all api.Breakers) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !c.about(name) {
			continue
		}
		b := all[name]
		note := ""
		if b.Why != nil {
			note = b.Why.Reason
		}
		state := strings.ReplaceAll(string(b.State), "_", "-")
		c.part(o, name, state, note)
		if f := b.Forced; o.Never == "" && !c.meets(state) && f != nil && f.Until == nil {
			o.Never = stuck(name, b.Mode, f)
		}
	}
}

// stuck says why a breaker stays as it is.
func stuck(name string, m api.Mode, f *api.BreakerForced) string {
	how := map[api.Mode]string{api.ModeForcedOpen: "forced open", api.ModeDisabled: "disabled"}[m]
	out := fmt.Sprintf("%s is %s without an end", name, how)
	if f.Actor != "" {
		out += " by " + clip(f.Actor)
	}
	if why := strings.TrimPrefix(strings.TrimPrefix(f.Reason, how), ": "); why != "" {
		out += " (" + clip(why) + ")"
	}
	return out
}

// parts are the suffixes of the series of a histogram or summary.
var parts = []string{"_bucket", "_sum", "_count"}

// families are the names that the family of a metric's series may have.
func (c *comparison) families() []string {
	out := []string{c.name}
	for _, suffix := range parts {
		if base, cut := strings.CutSuffix(c.name, suffix); cut && base != "" {
			out = append(out, base)
		}
	}
	return out
}

func (c *comparison) judge(o *Outcome, all []api.MetricFamily) {
	known := false
	for i := range all {
		for j := range all[i].Series {
			known = c.series(o, all[i].Name, &all[i].Series[j]) || known
		}
	}
	if known && o.Matched == 0 {
		o.Reason = "no series has these labels"
	}
}

// series takes in what of a series the condition is about, and tells whether it
// is of the metric's name.
func (c *comparison) series(o *Outcome, family string, m *api.MetricSeries) bool {
	suffix, of := strings.CutPrefix(c.name, family)
	switch {
	case !of:
		return false
	case suffix == "" && m.Value != nil:
		c.sample(o, m.Labels, "", 0, m.Value)
	case suffix == "" && len(m.Quantiles) > 0:
		for _, q := range m.Quantiles {
			c.sample(o, m.Labels, "quantile", q.Quantile, &q.Value)
		}
	case suffix == "_sum" && m.Sum != nil:
		c.sample(o, m.Labels, "", 0, m.Sum)
	case suffix == "_count" && m.Count != nil:
		c.sample(o, m.Labels, "", 0, m.Count)
	case suffix == "_bucket" && len(m.Buckets) > 0:
		for _, b := range m.Buckets {
			c.sample(o, m.Labels, "le", b.UpperBound, &b.Count)
		}
	default:
		return false
	}
	return true
}

// sample takes in one value; extra is the label of a bucket or quantile.
func (c *comparison) sample(o *Outcome, labels map[string]string, extra string, at api.Float, v *api.Float) {
	if extra != "" {
		labels = maps.Clone(labels)
		if labels == nil {
			labels = map[string]string{}
		}
		labels[extra] = number(at)
	}
	if slices.ContainsFunc(c.matchers, func(m matcher) bool { return !m.matches(labels) }) {
		return
	}
	o.Matched++
	if !c.holds(float64(*v)) {
		o.unmet(Part{Name: c.name + selector(labels), Is: number(*v)})
	}
}

func selector(labels map[string]string) string {
	if len(labels) == 0 {
		return ""
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, name+"="+strconv.Quote(clip(labels[name])))
	}
	return "{" + strings.Join(all, ",") + "}"
}

func number(v api.Float) string { return strconv.FormatFloat(float64(v), 'g', -1, 64) }

// clip bounds text of a server.
func clip(s string) string {
	const most = 160
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
