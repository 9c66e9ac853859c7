package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// skewed is how far two clocks may surely be apart: leases of breakers and
	// ages of events are of seconds.
	skewed = time.Second
	// hereSkew is for one server against this machine, which may be the wrong one.
	hereSkew = 5 * time.Second
	// rollout is how long replicas may differ: one that began later is a new
	// version on its way.
	rollout = 15 * time.Minute
)

var fleetRules = []Rule{
	{ID: "clock-skew", About: "the clocks of replicas, or of this machine, differ", Looks: 1, fleet: clockSkew},
	{ID: "version-skew", About: "replicas run different versions", Looks: 1, quick: true, fleet: versionSkew},
}

func clockSkew(j *judgment) {
	var with []*Instance
	for i := range j.all {
		in := &j.all[i]
		if in.Clock == nil {
			j.cannot(in.Name, cmp.Or(in.Missing[PartClock], "the server does not tell its time"))
			continue
		}
		with = append(with, in)
	}
	if len(with) == 0 {
		return
	}
	slices.SortStableFunc(with, func(a, b *Instance) int { return cmp.Compare(a.Clock.Offset, b.Clock.Offset) })
	first, last := with[0], with[len(with)-1]
	f := finding{Finding: api.Finding{Rule: "clock-skew", Next: "pulsectl health"}}
	for _, in := range with {
		f.Instances = append(f.Instances, in.Name)
		f.Evidence = append(f.Evidence, api.Evidence{Source: "health/detailed", Instance: in.Name,
			Text: fmt.Sprintf("%s ± %s", ahead(in.Clock.Offset), short(in.Clock.Within))})
	}
	apart := last.Clock.Offset - first.Clock.Offset - last.Clock.Within - first.Clock.Within
	here := min(first.Clock.Offset.Abs(), last.Clock.Offset.Abs()) - max(first.Clock.Within, last.Clock.Within)
	switch {
	case len(with) > 1 && apart > skewed:
		f.Severity, f.Confidence = api.SeverityWarning, 0.95
		f.Cause = fmt.Sprintf("Clocks differ by %s: times of spans, leases and events do not agree.", short(last.Clock.Offset-first.Clock.Offset))
	case here > hereSkew:
		f.Severity, f.Confidence = api.SeverityNotice, 0.8
		f.Cause = fmt.Sprintf("The clock here and there differ by about %s: ages that are shown are wrong by that.", short(here))
	default:
		return
	}
	j.found = append(j.found, f)
}

func ahead(d time.Duration) string {
	if d < 0 {
		return short(-d) + " behind this machine"
	}
	return short(d) + " ahead of this machine"
}

func versionSkew(j *judgment) {
	of := map[string][]string{}
	var versions []string
	var latest time.Time
	for i := range j.all {
		in := &j.all[i]
		if in.Version == "" {
			j.cannot(in.Name, "the server does not tell its version")
			continue
		}
		v := in.Version
		if in.Commit != "" {
			v += " (" + in.Commit[:min(len(in.Commit), 12)] + ")"
		}
		if of[v] == nil {
			versions = append(versions, v)
		}
		of[v] = append(of[v], in.Name)
		if in.StartedAt.After(latest) {
			latest = in.StartedAt
		}
	}
	if len(versions) < 2 {
		return
	}
	f := finding{Finding: api.Finding{
		Rule: "version-skew", Severity: api.SeverityWarning, Confidence: 0.9, Cause: fmt.Sprintf("Replicas run %d versions.", len(versions)), Next: "pulsectl status -o wide",
	}}
	if !latest.IsZero() && j.now.Sub(latest) < rollout {
		f.Severity, f.Confidence = api.SeverityNotice, 0.6
		f.Cause = fmt.Sprintf("Replicas run %d versions; one began %s ago, so a rollout may be on its way.", len(versions), short(max(j.now.Sub(latest), 0)))
	}
	slices.Sort(versions)
	for _, v := range versions {
		f.Evidence = append(f.Evidence, observed("monitoring/", "%s: %s", v, strings.Join(of[v], ", ")))
		f.Instances = append(f.Instances, of[v]...)
	}
	j.found = append(j.found, f)
}
