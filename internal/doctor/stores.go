package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// shortest is how far back traces must reach to be of use: what happened while
// someone was called to the terminal.
const shortest = 5 * time.Minute

var storeRules = []Rule{
	{ID: "spans-dropped", About: "spans are refused or lost", Looks: 2, judge: spansDropped},
	{ID: "spans-unlogged", About: "spans do not reach the data directory", Looks: 2, judge: spansUnlogged},
	{ID: "traces-short", About: "traces are evicted within minutes", Looks: 2, judge: tracesShort},
	{ID: "series-refused", About: "metrics have too many series", Looks: 2, judge: seriesRefused},
}

// retention are the reasons by which the store keeps its own bounds, or was
// told to forget; a duplicate is there already.
var retention = []string{"evicted", "expired", "cleanup", "duplicate"}

func spansDropped(j *judge) {
	dropped := j.gains("pulse_api_spans_dropped_total", "reason")
	if dropped == nil {
		j.lacks(PartMetrics)
		return
	}
	var parts []string
	total := 0.0
	for _, reason := range slices.Sorted(maps.Keys(dropped)) {
		if n := dropped[reason]; n > 0 && !slices.Contains(retention, reason) {
			parts = append(parts, fmt.Sprintf("%.0f %s", n, strings.ReplaceAll(reason, "_", " ")))
			total += n
		}
	}
	if total == 0 {
		return
	}
	j.find(finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 1, Cause: "Spans are lost: traces have holes.",
		Evidence: []api.Evidence{observed(fromMetrics, "in %s: %s; %.0f received", short(j.apart()), strings.Join(parts, ", "), j.gains("pulse_api_spans_received_total", "")[""])},
		Next:     "pulsectl metrics get pulse_api_spans_dropped_total --rate 5s",
	}})
}

func spansUnlogged(j *judge) {
	n := j.gains("pulse_api_spans_unlogged_total", "")
	if n == nil {
		j.lacks(PartMetrics)
		return
	}
	if n[""] == 0 {
		return
	}
	j.find(finding{Finding: api.Finding{
		Severity: api.SeverityWarning, Confidence: 1, Cause: "Spans do not reach the disk: a restart loses them.",
		Evidence: []api.Evidence{observed(fromMetrics, "%.0f in %s are in memory alone", n[""], short(j.apart()))}, Next: "pulsectl system",
	}})
}

func tracesShort(j *judge) {
	if j.Stats == nil {
		j.lacks(PartStats)
		return
	}
	evicted := j.gains("pulse_api_spans_dropped_total", "reason")["evicted"]
	back := j.now.Sub(j.Stats.Store.Oldest.Time)
	if evicted == 0 || j.Stats.Store.Oldest.IsZero() || back >= shortest {
		return
	}
	j.find(finding{Finding: api.Finding{
		Severity: api.SeverityNotice, Confidence: 0.95, Cause: fmt.Sprintf("Traces reach back only %s: the store is too small for what comes in.", short(max(back, 0))),
		Evidence: []api.Evidence{observed("traces/stats", "%d traces in %s, %.0f spans evicted in %s", j.Stats.Store.Traces, bytes(int64(j.Stats.Store.Bytes)), evicted, short(j.apart()))},
		Next:     "pulsectl traces stats",
	}})
}

func seriesRefused(j *judge) {
	refused := j.gains("pulse_api_series_refused_total", "family")
	if refused == nil {
		j.lacks(PartMetrics)
		return
	}
	for _, family := range slices.Sorted(maps.Keys(refused)) {
		if refused[family] == 0 {
			continue
		}
		j.find(finding{Finding: api.Finding{
			Subject: family, Severity: api.SeverityWarning, Confidence: 1, Cause: fmt.Sprintf("The metric %s has all the series it may have: new ones are not counted.", family),
			Evidence: []api.Evidence{observed(fromMetrics, "%.0f observations refused in %s", refused[family], short(j.apart()))},
			Next:     "pulsectl metrics get " + argument(family),
		}})
	}
}
