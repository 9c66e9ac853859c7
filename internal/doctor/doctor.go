// Package doctor says what is wrong with servers, why, and what to type next.
//
// It is pure: pictures of instances in, an [api.Diagnosis] out. Each rule of
// [Rules] looks for one kind of trouble and either finds it, finds nothing, or
// says what it lacked to judge. A false alarm is the worst that a rule can do:
// where there is too little traffic or too short a time, it does not judge.
// Thresholds are constants with their reasons, beside the rules that use them.
//
// What was found at several instances about the same thing is one finding. One
// that another explains (a route fails because a breaker is open because a
// dependency is slow) stands below it as an effect: see link.go.
package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Instance is what was gathered of one server. What it did not tell is nil, and
// why stands in Missing by the part's name.
type Instance struct {
	Name            string
	Python          bool
	Version, Commit string
	StartedAt       time.Time
	Clock           *Clock

	Before, Now Look // Before.At is zero where there was one look only

	Events  []api.BreakerEvent // newest first; nil where they are missing
	Stats   *api.TraceStats    // of at most [StatsSpan], with series of [StatsInterval]
	Slow    *SlowTraces
	Failed  []api.Trace // the newest failed ones, with their spans; nil where they are missing
	Hot     *Hot
	Missing map[string]string
}

// Look is what changes from moment to moment.
type Look struct {
	At        time.Time
	Health    *api.Health
	Breakers  api.Breakers
	System    *api.System
	Profiling *api.ProfilingStats
	Metrics   []api.MetricFamily
}

// Clock is a server's clock against that of whoever looks.
type Clock struct {
	Offset time.Duration // how much it is ahead
	Within time.Duration // to either side, by the time that the answer took
}

// SlowTraces are traces that took at least Threshold.
type SlowTraces struct {
	Threshold time.Duration
	Traces    []api.Trace // the slowest, with their spans
	Total     int64       // there are, over [SlowSpan]
}

// Hot are the hottest functions of two processor profiles of the same thing.
type Hot struct {
	Before, Now api.ProfileTop
	Apart       time.Duration
}

// What is to be gathered.
const (
	StatsSpan     = 30 * time.Minute // of trace statistics: long enough to tell what is usual
	StatsInterval = 30 * time.Second
	SlowSpan      = 5 * time.Minute // of slow traces
	SlowThreshold = time.Second     // where the server has none of its own
	MostTraces    = 20              // slow ones and failed ones each, with spans
)

// The parts that may be missing.
const (
	PartEvents    = "breaker events"
	PartSystem    = "system info"
	PartProfiling = "profiling"
	PartMetrics   = "metrics"
	PartStats     = "trace statistics"
	PartSlow      = "slow traces"
	PartHot       = "processor profiles"
	PartClock     = "clock"
)

// Options says how to judge.
type Options struct {
	Now   time.Time
	Only  []string // rules; empty means all
	Quick bool     // one look at the least there is: rules that need more are left out in silence
}

// Rule looks for one kind of trouble.
type Rule struct {
	ID    string
	About string // what it looks for
	Looks int    // that it needs
	quick bool   // health, breakers, system and profiling alone will do

	judge func(*judge)    // each instance; nil for a rule of the fleet
	fleet func(*judgment) // all of them
}

// Rules are all rules, by what they are about.
func Rules() []Rule {
	return slices.Concat(breakerRules, dependencyRules, routeRules, profileRules, cacheRules, processRules, hostRules, storeRules, fleetRules)
}

// Unknown returns the names that are no rules'.
func Unknown(names []string) (unknown []string) {
	rules := Rules()
	for _, n := range names {
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.ID == n }) {
			unknown = append(unknown, n)
		}
	}
	return unknown
}

// Diagnose judges instances, each by itself and all of them together.
func Diagnose(all []Instance, o Options) api.Diagnosis {
	j := judgment{all: all, now: o.Now}
	out := api.Diagnosis{Instances: []string{}, Findings: []api.Finding{}, NotJudged: []api.Unjudged{}}
	for i := range all {
		out.Instances = append(out.Instances, all[i].Name)
		if !all[i].Before.At.IsZero() {
			out.Interval = max(out.Interval, api.Seconds(all[i].Now.At.Sub(all[i].Before.At)))
		}
	}
	for _, r := range Rules() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, r.ID) || o.Quick && !r.quick {
			continue
		}
		out.Rules++
		j.apply(&r)
	}
	found := link(merge(j.found))
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(weight(a.Severity), weight(b.Severity)), cmp.Compare(b.Confidence, a.Confidence),
			cmp.Compare(len(b.Effects), len(a.Effects)))
	})
	for _, f := range found {
		out.Findings = append(out.Findings, f.Finding)
	}
	if !o.Quick {
		out.NotJudged = append(out.NotJudged, j.unjudged...)
	}
	return out
}

// weight orders severities, the worst first.
func weight(severity string) int {
	return slices.Index([]string{api.SeverityCritical, api.SeverityWarning, api.SeverityNotice}, severity)
}

// finding is a finding with what links it to others.
type finding struct {
	api.Finding
	dependencies []string // that it is about, or blames
	routes       []string // that suffer
}

// judgment is what is known so far.
type judgment struct {
	all      []Instance
	now      time.Time
	rule     *Rule
	found    []finding
	unjudged []api.Unjudged
}

func (j *judgment) apply(r *Rule) {
	j.rule = r
	if r.fleet != nil {
		r.fleet(j)
		return
	}
	for i := range j.all {
		in := &judge{judgment: j, Instance: &j.all[i]}
		if r.Looks > 1 && in.Before.At.IsZero() {
			in.cannot("it needs two looks")
			continue
		}
		r.judge(in)
	}
}

// cannot notes that the rule could not judge an instance. The same reason is
// told once.
func (j *judgment) cannot(instance, why string) {
	for i := range j.unjudged {
		if u := &j.unjudged[i]; u.Rule == j.rule.ID && u.Why == why {
			u.Instances = append(u.Instances, instance)
			return
		}
	}
	j.unjudged = append(j.unjudged, api.Unjudged{Rule: j.rule.ID, Why: why, Instances: []string{instance}})
}

// judge is a rule before an instance.
type judge struct {
	*judgment
	*Instance
}

func (j *judge) find(f finding) {
	f.Rule, f.Instances = j.rule.ID, []string{j.Name}
	j.found = append(j.found, f)
}

func (j *judge) cannot(format string, args ...any) {
	j.judgment.cannot(j.Name, fmt.Sprintf(format, args...))
}

// lacks notes that a part is missing, with the server's reason.
func (j *judge) lacks(part string) {
	if why := j.Missing[part]; why != "" {
		j.cannot("no %s: %s", part, why)
		return
	}
	j.cannot("no %s", part)
}

// apart is the time between the two looks.
func (j *judge) apart() time.Duration { return j.Now.At.Sub(j.Before.At) }

// breakers are the breakers by name.
func (j *judge) breakers(yield func(string, api.Breaker) bool) {
	for _, name := range slices.Sorted(maps.Keys(j.Now.Breakers)) {
		if !yield(name, j.Now.Breakers[name]) {
			return
		}
	}
}

// merge joins what was found about the same thing at several instances. Each
// piece of evidence says of which it is then.
func merge(found []finding) (out []finding) {
	for _, f := range found {
		i := slices.IndexFunc(out, func(o finding) bool { return o.Rule == f.Rule && o.Subject == f.Subject })
		if i < 0 {
			out = append(out, f)
			continue
		}
		to := &out[i]
		for k := range to.Evidence {
			to.Evidence[k].Instance = cmp.Or(to.Evidence[k].Instance, to.Instances[0])
		}
		for _, e := range f.Evidence {
			e.Instance = cmp.Or(e.Instance, f.Instances[0])
			to.Evidence = append(to.Evidence, e)
		}
		if weight(f.Severity) < weight(to.Severity) {
			to.Severity, to.Cause, to.Next = f.Severity, f.Cause, f.Next
		}
		to.Confidence = max(to.Confidence, f.Confidence)
		to.Instances = append(to.Instances, f.Instances...)
		to.dependencies = union(to.dependencies, f.dependencies)
		to.routes = union(to.routes, f.routes)
	}
	return out
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// observed is a piece of evidence.
func observed(source, format string, args ...any) api.Evidence {
	return api.Evidence{Text: fmt.Sprintf(format, args...), Source: source}
}

// argument is a text as a shell takes it for one argument.
func argument(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@%+,=", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
