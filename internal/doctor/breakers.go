package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	// quietFor is how long after its time a breaker may wait for a call before
	// nobody calls it: shorter than that is any service's pause.
	quietFor = time.Minute
	// flapsOver and flaps: three outages in ten minutes are no longer three
	// accidents, and each costs a recovery timeout of rejected calls.
	flapsOver = 10 * time.Minute
	flaps     = 3
	// fewestCalls is of a window whose rates mean something: with 20, one more
	// failure moves the rate by 5 points.
	fewestCalls = 20
	// failingShare of calls that fail is more than any dependency's noise.
	failingShare = 0.2
	// slowShare of calls over a breaker's own limit for a slow one.
	slowShare = 0.2
)

const fromBreakers = "circuit-breakers"

var breakerRules = []Rule{
	{ID: "breaker-open", About: "a breaker rejects calls, and why it opened", Looks: 1, quick: true, judge: breakerOpen},
	{ID: "breaker-idle", About: "a breaker waits for a call that nobody makes", Looks: 2, judge: breakerIdle},
	{ID: "breaker-flapping", About: "a breaker opens and closes again and again", Looks: 1, judge: breakerFlapping},
	{ID: "breaker-forced", About: "someone holds a breaker open, or has turned it off", Looks: 1, quick: true, judge: breakerForced},
	{ID: "breaker-local", About: "a breaker that is to be shared by the fleet is not", Looks: 1, quick: true, judge: breakerLocal},
	{ID: "calls-fail", About: "calls fail though the breaker is closed", Looks: 1, judge: callsFail},
	{ID: "calls-slow", About: "calls take longer than the breaker's limit for a slow one", Looks: 1, judge: callsSlow},
}

func breakerOpen(j *judge) {
	for name, b := range j.breakers {
		if b.State == api.StateClosed || b.State == "" || forced(b) || j.unused(b) {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityCritical, Confidence: 1,
			Cause: fmt.Sprintf("Circuit breaker %s is open: %s.", name, whyOpen(b)), Next: "pulsectl breakers show " + argument(name),
		}, dependencies: []string{name}}
		if b.State == api.StateHalfOpen { // it lets trial calls through, and may be closed in a moment
			f.Severity, f.Cause = api.SeverityWarning, fmt.Sprintf("Circuit breaker %s is trying to recover: %s.", name, whyOpen(b))
		}
		f.Evidence = openEvidence(b, j.now)
		j.find(f)
	}
}

func forced(b api.Breaker) bool { return b.Mode == api.ModeForcedOpen || b.Mode == api.ModeDisabled }

func whyOpen(b api.Breaker) string {
	switch {
	case b.Why != nil && b.Why.Reason != "":
		return b.Why.Reason
	case b.LastError != "":
		return b.LastError
	case b.Stats.ConsecutiveFailures > 0:
		return plural(int64(b.Stats.ConsecutiveFailures), "failure") + " in a row"
	}
	return "the server does not tell why"
}

func openEvidence(b api.Breaker, now time.Time) (out []api.Evidence) {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if w := b.Why; w != nil {
		if !w.OpenedAt.IsZero() {
			add("opened %s ago", short(max(now.Sub(w.OpenedAt.Time), 0)))
		}
		add("%s rejected since", plural(int64(w.Rejected), "call"))
		if w.Failed > 0 {
			add("%s failed", plural(int64(w.Failed), "recovery attempt"))
		}
	} else {
		add("%d of %s failed", b.Stats.FailedRequests, plural(int64(b.Stats.TotalRequests), "call"))
	}
	if b.RetryAt != nil && b.State == api.StateOpen && b.RetryAt.After(now) {
		add("next probe in %s", short(b.RetryAt.Sub(now)))
	}
	out = append(out, observed(fromBreakers, "%s", strings.Join(parts, ", ")))
	parts = nil
	for i, e := range b.Errors {
		if i < 3 {
			add("%d× %s", e.Count, cmp.Or(e.Message, e.Kind))
		}
	}
	if len(parts) > 0 {
		out = append(out, observed(fromBreakers, "last errors: %s", strings.Join(parts, "; ")))
	}
	if b.Why != nil && b.Why.TraceID != "" {
		out = append(out, observed(fromBreakers, "opened by a call of trace %s", b.Why.TraceID))
	}
	return out
}

// unused tells whether a breaker that is due for a probe has not been called
// between two looks, and could have been for a while.
func (j *judge) unused(b api.Breaker) bool {
	if j.Before.At.IsZero() {
		return false
	}
	was, known := j.Before.Breakers[b.Name]
	due := dueSince(b)
	return known && !due.IsZero() && j.now.Sub(due) > quietFor && b.Stats.InFlight.Value() == 0 &&
		was.Stats.TotalRequests == b.Stats.TotalRequests && was.Stats.Rejected.Value() == b.Stats.Rejected.Value()
}

// dueSince is since when a breaker waits for a trial call; zero if it does not.
func dueSince(b api.Breaker) time.Time {
	switch {
	case b.State == api.StateHalfOpen && b.Since != nil:
		return b.Since.Time
	case b.State == api.StateOpen && b.RetryAt != nil && !b.RetryAt.IsZero():
		return b.RetryAt.Time
	case b.State == api.StateOpen && b.RetryAt == nil && !b.Stats.LastFailureTime.IsZero(): // a Python server's
		return b.Stats.LastFailureTime.Add(b.Config.RecoveryTimeout.Duration())
	}
	return time.Time{}
}

func breakerIdle(j *judge) {
	for name, b := range j.breakers {
		if forced(b) || !j.unused(b) {
			continue
		}
		j.find(finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityNotice, Confidence: 0.9,
			Cause: fmt.Sprintf("Circuit breaker %s is not closed because nobody calls it: only a call can show that the dependency works.", name),
			Evidence: []api.Evidence{
				observed(fromBreakers, "%s, due for a trial call for %s, none in %s", b.State, short(j.now.Sub(dueSince(b))), short(j.apart())),
				observed(fromBreakers, "it had opened: %s", whyOpen(b)),
			},
			Next: "pulsectl breakers reset " + argument(name) + " --dry-run",
		}, dependencies: []string{name}})
	}
}

func breakerFlapping(j *judge) {
	if j.Events == nil {
		if len(j.Now.Breakers) > 0 {
			j.lacks(PartEvents)
		}
		return
	}
	opened, reasons := map[string]int64{}, map[string]string{}
	for _, e := range j.Events {
		if e.To == api.StateOpen && e.From == api.StateClosed && e.Actor == "" && j.now.Sub(e.Time.Time) <= flapsOver {
			opened[e.Name]++
			reasons[e.Name] = cmp.Or(reasons[e.Name], e.Reason)
		}
	}
	for name := range j.breakers {
		if opened[name] < flaps {
			continue
		}
		j.find(finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityWarning, Confidence: 0.9,
			Cause:    fmt.Sprintf("Circuit breaker %s flaps: its dependency recovers and fails again.", name),
			Evidence: []api.Evidence{observed("circuit-breakers/events", "opened %s in %s, last: %s", plural(opened[name], "time"), short(flapsOver), reasons[name])},
			Next:     "pulsectl breakers events " + argument(name),
		}, dependencies: []string{name}})
	}
}

func breakerForced(j *judge) {
	for name, b := range j.breakers {
		if !forced(b) {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityWarning, Confidence: 1,
			Cause: fmt.Sprintf("Circuit breaker %s is held open: all calls are rejected.", name), Next: "pulsectl breakers show " + argument(name),
		}, dependencies: []string{name}}
		if b.Mode == api.ModeDisabled {
			f.Cause = fmt.Sprintf("Circuit breaker %s is turned off: nothing stops calls to a dependency that fails.", name)
		}
		text := "until told otherwise"
		if by := b.Forced; by != nil {
			if by.Until != nil && !by.Until.IsZero() {
				f.Severity, text = api.SeverityNotice, "for another "+short(max(by.Until.Sub(j.now), 0))
			}
			text = fmt.Sprintf("by %s, %s ago, %s", cmp.Or(by.Actor, "an unknown actor"), short(max(j.now.Sub(by.Since.Time), 0)), text)
			if by.Reason != "" {
				text += ": " + by.Reason
			}
		}
		f.Evidence = []api.Evidence{observed(fromBreakers, "%s", text)}
		j.find(f)
	}
}

func breakerLocal(j *judge) {
	for name, b := range j.breakers {
		if b.ScopeNote == "" {
			continue
		}
		j.find(finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityWarning, Confidence: 1,
			Cause:    fmt.Sprintf("Circuit breaker %s decides alone: it does not hear of the other replicas.", name),
			Evidence: []api.Evidence{observed(fromBreakers, "%s", b.ScopeNote)},
			Next:     "pulsectl cache status",
		}, dependencies: []string{"redis"}})
	}
}

// recent are the calls of a breaker's window, or of the time between two looks
// where a server has none.
func (j *judge) recent(b api.Breaker) (calls, failures int64, over string, ok bool) {
	if w := b.Stats.Window; w != nil && w.Seconds > 0 {
		return int64(w.Calls), int64(w.Failures), short(w.Seconds.Duration()), true
	}
	was, known := j.Before.Breakers[b.Name]
	if j.Before.At.IsZero() || !known || b.Stats.TotalRequests < was.Stats.TotalRequests || b.Stats.FailedRequests < was.Stats.FailedRequests {
		return 0, 0, "", false
	}
	return int64(b.Stats.TotalRequests - was.Stats.TotalRequests), int64(b.Stats.FailedRequests - was.Stats.FailedRequests), short(j.apart()), true
}

func callsFail(j *judge) {
	few := int64(0)
	for name, b := range j.breakers {
		calls, failures, over, ok := j.recent(b)
		if !ok || calls < fewestCalls {
			few++
			continue
		}
		if low, _ := sure(failures, calls); b.State != api.StateClosed || low < failingShare/2 || float64(failures) < failingShare*float64(calls) {
			continue
		}
		f := finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityWarning, Confidence: 0.9,
			Cause:    fmt.Sprintf("Calls to %s fail, and its breaker stays closed.", name),
			Evidence: []api.Evidence{observed(fromBreakers, "%d of %d calls failed in %s (%s)", failures, calls, over, share(float64(failures)/float64(calls)))},
			Next:     "pulsectl breakers show " + argument(name),
		}, dependencies: []string{name}}
		if b.LastError != "" {
			f.Evidence = append(f.Evidence, observed(fromBreakers, "last error: %s", b.LastError))
		}
		j.find(f)
	}
	if few > 0 {
		j.cannot("%s with fewer than %d calls", plural(few, "breaker"), fewestCalls)
	}
}

func callsSlow(j *judge) {
	few := int64(0)
	for name, b := range j.breakers {
		w := b.Stats.Window
		if w == nil || b.Config.SlowCall == 0 || w.Calls < fewestCalls {
			few++
			continue
		}
		if low, _ := sure(int64(w.Slow), int64(w.Calls)); w.SlowRate < slowShare || low < slowShare/2 {
			continue
		}
		j.find(finding{Finding: api.Finding{
			Subject: name, Severity: api.SeverityWarning, Confidence: 0.85,
			Cause: fmt.Sprintf("Calls to %s are slow.", name),
			Evidence: []api.Evidence{observed(fromBreakers, "%d of %d calls took more than %s in %s (%s), p95 %s", w.Slow, w.Calls,
				shortSeconds(b.Config.SlowCall), shortSeconds(w.Seconds), share(w.SlowRate), shortSeconds(w.P95))},
			Next: "pulsectl breakers show " + argument(name),
		}, dependencies: []string{name}})
	}
	if few > 0 {
		j.cannot("%s with fewer than %d timed calls", plural(few, "breaker"), fewestCalls)
	}
}
