package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// grownBy is the share of the processor that a function must have gained: ten
	// points are far above what sampling errs by at fewestSamples.
	grownBy       = 0.10
	fewestSamples = 100
	// dear is a share of a core that profiling should never take.
	dear = 0.05
)

var profileRules = []Rule{
	{ID: "hot-function", About: "a function takes more of the processor than it did", Looks: 1, judge: hotFunction},
	{ID: "profiles-dropped", About: "profiles were taken and not kept", Looks: 2, judge: profilesDropped},
	{ID: "profiling-cost", About: "profiling itself takes much of the processor", Looks: 1, quick: true, judge: profilingCost},
}

func hotFunction(j *judge) {
	h := j.Hot
	switch {
	case h == nil:
		j.lacks(PartHot)
		return
	case h.Now.Samples < fewestSamples || h.Before.Samples < fewestSamples:
		j.cannot("the profiles have %d and %d samples: it needs %d", h.Before.Samples, h.Now.Samples, fewestSamples)
		return
	}
	before := map[string]float64{}
	for _, r := range h.Before.Rows {
		before[r.Function] = r.FlatRatio
	}
	var grown api.TopEntry
	for _, r := range h.Now.Rows {
		if r.FlatRatio-before[r.Function] > grown.FlatRatio-before[grown.Function] {
			grown = r
		}
	}
	gain := grown.FlatRatio - before[grown.Function]
	n, m := int64(h.Before.Samples), int64(h.Now.Samples)
	_, most := sure(int64(before[grown.Function]*float64(n)), n)
	least, _ := sure(int64(grown.FlatRatio*float64(m)), m)
	if gain < grownBy || least <= most {
		return
	}
	f := finding{Finding: api.Finding{
		Subject: grown.Function, Severity: api.SeverityNotice, Confidence: 0.75,
		Cause: fmt.Sprintf("%s takes %s of the processor time, before %s.", grown.Function, share(grown.FlatRatio), share(before[grown.Function])),
		Evidence: []api.Evidence{observed("profiling/profiles", "of %d samples in profile %s; %s earlier of %d in %s", m, h.Now.ProfileID, short(h.Apart), n,
			h.Before.ProfileID)},
		Next: "pulsectl profiles diff " + argument(h.Before.ProfileID) + " " + argument(h.Now.ProfileID),
	}}
	if grown.File != "" {
		f.Evidence = append(f.Evidence, observed("profiling/profiles", "%s", grown.File))
	}
	j.find(f)
}

// wantedDrops are those by which profiling keeps its own bounds.
var wantedDrops = []string{"evicted", "expired", "cleanup", "cool_down", "captures_at_once"}

func profilesDropped(j *judge) {
	was, is := j.Before.Profiling, j.Now.Profiling
	if was == nil || is == nil {
		j.lacks(PartProfiling)
		return
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(is.Dropped)) {
		if n := is.Dropped[reason] - was.Dropped[reason]; n > 0 && !slices.Contains(wantedDrops, reason) {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ReplaceAll(reason, "_", " ")))
		}
	}
	if len(parts) == 0 {
		return
	}
	j.find(finding{Finding: api.Finding{
		Severity: api.SeverityNotice, Confidence: 1, Cause: "Profiles are lost.", Next: "pulsectl profiles stats",
		Evidence: []api.Evidence{observed("profiling/stats", "in %s: %s", short(j.apart()), strings.Join(parts, ", "))},
	}})
}

func profilingCost(j *judge) {
	p := j.Now.Profiling
	if p == nil {
		j.lacks(PartProfiling)
		return
	}
	if p.Overhead == nil || *p.Overhead < dear {
		return
	}
	j.find(finding{Finding: api.Finding{
		Severity: api.SeverityNotice, Confidence: 0.9, Cause: fmt.Sprintf("Profiling takes %s of a core.", share(*p.Overhead)), Next: "pulsectl profiles disable",
		Evidence: []api.Evidence{observed("profiling/stats", "mode %s, %s active", p.Mode, plural(int64(p.ActiveProfiles), "profile"))},
	}})
}
