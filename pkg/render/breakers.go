package render

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Breakers draws a table of circuit breakers, the worst first.
func Breakers(w io.Writer, rs []api.Result[api.Breakers], o Options) error {
	s := newScreen(w, o)
	states := map[api.State]int{}
	for _, r := range rs {
		for _, b := range r.Value {
			states[b.State]++
		}
	}
	if !o.NoHeaders {
		s.heading("Circuit breakers", s.breakerCounts(states))
		s.line()
	}
	cols := []column{
		{name: "NAME", flex: true}, {name: "STATE"}, {name: "FAILURES", right: true, drop: 1},
		{name: "CALLS", right: true, drop: 3}, {name: "ERR%", right: true},
		{name: "P95", right: true, drop: 4}, {name: "FAILURES/S, 1m", drop: 5},
		{name: "FOR", right: true, drop: 2}, {name: "NEXT", drop: 6},
	}
	err := fleetTable(s, rs, cols, func(all api.Breakers) [][]string {
		var rows [][]string
		for _, b := range worstFirst(all) {
			rows = append(rows, s.breakerRow(b))
		}
		return rows
	})
	if err != nil {
		return err
	}
	s.breakerScopes(rs)
	if len(states) == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No circuit breaker is registered."))
	}
	return s.flush()
}

func (s *screen) breakerCounts(states map[api.State]int) string {
	var parts []string
	for _, st := range []api.State{api.StateOpen, api.StateHalfOpen, api.StateClosed} {
		if n := states[st]; n > 0 {
			parts = append(parts, s.mark(stateVerdict(st), fmt.Sprintf("%d %s", n, stateWord(st))))
		}
	}
	return strings.Join(parts, "  ")
}

func (s *screen) breakerRow(b api.Breaker) []string {
	v := stateVerdict(b.State)
	name, rate := clean(b.Name), fmt.Sprintf("%.2f", b.Stats.FailureRate*100)
	fails := fmt.Sprintf("%d of %d", b.Stats.ConsecutiveFailures, b.Config.FailureThreshold)
	if v != fine {
		name, rate, fails = s.title.Render(name), s.style(v).Render(rate), s.style(v).Render(fails)
	}
	p95, load, since := "–", "", "–"
	if win := b.Stats.Window; win != nil {
		if win.Calls > 0 {
			p95 = duration(win.P95.Duration())
		}
		style := s.style(v)
		if v == fine {
			style = s.muted
		}
		load = s.spark(resample(win.FailuresPerSecond, 18), style)
	}
	if b.Since != nil && !b.Since.IsZero() {
		since = age(s.Now.Sub(b.Since.Time))
	}
	return []string{
		name, s.mark(v, stateWord(b.State)), fails, count(int64(b.Stats.TotalRequests)), rate,
		p95, load, since, s.muted.Render(s.breakerNext(b)),
	}
}

// breakerNext says what happens to a breaker by itself.
func (s *screen) breakerNext(b api.Breaker) string {
	switch {
	case b.State == api.StateHalfOpen:
		return fmt.Sprintf("probe %d of %d", b.Stats.ConsecutiveSuccesses+1, b.Config.SuccessThreshold)
	case b.State == api.StateOpen && b.RetryAt != nil && !b.RetryAt.IsZero():
		return s.probeAt(b.RetryAt.Time)
	case b.State == api.StateOpen && b.Mode == "" && !b.Stats.LastFailureTime.IsZero(): // a Python server's goes by its last failure
		return s.probeAt(b.Stats.LastFailureTime.Add(b.Config.RecoveryTimeout.Duration()))
	}
	return ""
}

func (s *screen) probeAt(t time.Time) string {
	if wait := t.Sub(s.Now); wait > 0 {
		return "probe in " + age(wait+time.Second-1)
	}
	return "probe at next call"
}

// Breaker draws all that is known of one circuit breaker.
func Breaker(w io.Writer, rs []api.Result[api.Breaker], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, b api.Breaker) error {
		s.breaker(b)
		if where != "" {
			s.facts([]fact{{"instance", where}})
		}
		return nil
	})
}

func (s *screen) breaker(b api.Breaker) {
	st, v := b.Stats, stateVerdict(b.State)
	s.heading("Circuit breaker "+clean(b.Name), s.mark(v, stateWord(b.State)))
	s.line()
	facts := []fact{{"state", s.style(v).Render(stateWord(b.State)) + s.breakerSince(b)}}
	if b.Mode != "" && b.Mode != api.ModeAutomatic {
		facts = append(facts, fact{"mode", strings.ReplaceAll(clean(string(b.Mode)), "_", " ")})
	}
	facts = append(facts, s.breakerScope(b)...)
	if next := s.breakerNext(b); next != "" {
		facts = append(facts, fact{"next", next})
	}
	facts = append(facts,
		fact{"calls", fmt.Sprintf("%s  %s ok  %s failed  %s timed out", count(int64(st.TotalRequests)),
			count(int64(st.SuccessfulRequests)), count(int64(st.FailedRequests)), count(int64(st.Timeouts)))},
		fact{"in a row", fmt.Sprintf("%d failures of %d, %d successes of %d", st.ConsecutiveFailures, b.Config.FailureThreshold,
			st.ConsecutiveSuccesses, b.Config.SuccessThreshold)})
	if st.Rejected != nil {
		facts = append(facts, fact{"rejected", count(st.Rejected.Value())},
			fact{"slow", count(st.SlowCalls.Value())}, fact{"in flight", count(st.InFlight.Value())})
	}
	if win := st.Window; win != nil {
		recent := "no calls"
		if win.Calls > 0 {
			recent = fmt.Sprintf("%s calls  %s failed  p95 %s", count(int64(win.Calls)), share(win.FailureRate), duration(win.P95.Duration()))
		}
		facts = append(facts, fact{"last " + age(win.Seconds.Duration()), recent},
			fact{"failures/s", s.spark(win.FailuresPerSecond, s.style(max(v, between)))})
	}
	facts = append(facts, fact{"opened", plural(int(st.CircuitOpens), "time") + ", closed " + plural(int(st.CircuitCloses), "time")})
	if !st.LastFailureTime.IsZero() {
		why := ""
		if b.LastError != "" {
			why = "  " + clean(b.LastError)
		}
		facts = append(facts, fact{"last failure", age(s.Now.Sub(st.LastFailureTime.Time)) + " ago" + why})
	}
	facts = append(facts, fact{"config", fmt.Sprintf("opens after %d failures in a row, probes after %s, closes after %d, call timeout %s",
		b.Config.FailureThreshold, duration(b.Config.RecoveryTimeout.Duration()), b.Config.SuccessThreshold, timeoutWord(b.Config.Timeout))})
	s.facts(facts)
}

func (s *screen) breakerSince(b api.Breaker) string {
	if b.Since == nil || b.Since.IsZero() {
		return ""
	}
	return " for " + age(s.Now.Sub(b.Since.Time)) + ", since " + s.time(b.Since.Time)
}

func timeoutWord(d api.Seconds) string {
	if d == 0 {
		return "none"
	}
	return duration(d.Duration())
}

// BreakerResets draws what a reset to the state after did, a line for each
// breaker that was not closed: before → after.
func BreakerResets(w io.Writer, rs []api.Result[api.BreakersReset], after api.State, o Options) error {
	s := newScreen(w, o)
	for _, r := range rs {
		where := ""
		if len(rs) > 1 {
			where = instance(r.Instance) + "  "
		}
		switch {
		case r.Error == nil || len(r.Value.Reset) > 0:
			s.resets(where, r.Value, after)
		case where != "":
			s.failed(where, r.Error)
		}
	}
	return s.flush()
}

func (s *screen) resets(where string, r api.BreakersReset, after api.State) {
	names, moved := 0, 0
	for _, b := range r.Reset {
		names = max(names, cells(clean(b.Name)))
	}
	for _, b := range r.Reset {
		if b.PreviousState == "" || b.PreviousState == api.StateClosed {
			continue
		}
		moved++
		s.line(where, fit(clean(b.Name), names), "  ", s.mark(stateVerdict(b.PreviousState), stateWord(b.PreviousState)),
			" → ", s.mark(stateVerdict(after), stateWord(after)))
	}
	for _, b := range r.Skipped {
		s.line(where, clean(b.Name), "  ", s.warn.Render("skipped: "+clean(b.Reason)))
	}
	verb := "reset"
	if r.DryRun {
		verb = "would reset"
	}
	s.line(where, fmt.Sprintf("%s %d of %d circuit breakers, %d not closed before", verb, len(r.Reset), r.Total.Value(), moved))
}

func worstFirst(all api.Breakers) []api.Breaker {
	out := make([]api.Breaker, 0, len(all))
	for _, b := range all {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b api.Breaker) int {
		return cmp.Or(-cmp.Compare(stateVerdict(a.State), stateVerdict(b.State)),
			-cmp.Compare(a.Stats.FailureRate, b.Stats.FailureRate), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func stateVerdict(st api.State) verdict {
	switch st {
	case api.StateClosed:
		return fine
	case api.StateHalfOpen:
		return between
	}
	return broken
}

func stateWord(st api.State) string { return strings.ReplaceAll(clean(string(st)), "_", "-") }
