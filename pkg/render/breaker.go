package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Breaker draws all that is known of one circuit breaker: where it stands and
// why, then what it counted, then how it decides.
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
	v := stateVerdict(b.State)
	s.heading("Circuit breaker "+clean(b.Name), s.mark(v, stateWord(b.State)))
	s.line()
	facts := []fact{{"state", s.style(v).Render(stateWord(b.State)) + s.breakerSince(b)}}
	facts = append(facts, s.breakerMode(b)...)
	facts = append(facts, s.breakerScope(b)...)
	if b.Why != nil {
		facts = append(facts, s.breakerWhy(*b.Why)...)
	}
	if next := s.breakerNext(b); next != "" {
		facts = append(facts, fact{"next", next})
	}
	facts = append(facts, s.breakerCalls(b)...)
	facts = append(facts, s.breakerErrors(b)...)
	facts = append(facts, fact{"config", configWords(b.Config)})
	s.facts(facts)
}

// configWords says how a breaker decides, what is not the default included.
func configWords(c api.BreakerConfig) string {
	words := fmt.Sprintf("opens after %d failures in a row", c.FailureThreshold)
	if c.FailureRate > 0 {
		words += ", at " + share(c.FailureRate) + " failed"
	}
	if c.SlowRate > 0 {
		words += ", at " + share(c.SlowRate) + " that took " + duration(c.SlowCall.Duration()) + " or more"
	}
	if c.MinCalls > 0 {
		words += fmt.Sprintf(" (of %d calls at least)", c.MinCalls)
	}
	words += ", probes after " + duration(c.RecoveryTimeout.Duration())
	if c.Backoff > 1 {
		words += fmt.Sprintf(", %g times longer each time up to %s", c.Backoff, duration(c.MaxRecovery.Duration()))
	}
	if c.Probes > 1 {
		words += fmt.Sprintf(" with %d at once", c.Probes)
	}
	return words + fmt.Sprintf(", closes after %d, call timeout %s", c.SuccessThreshold, timeoutWord(c.Timeout))
}

func (s *screen) breakerSince(b api.Breaker) string {
	if b.Since == nil || b.Since.IsZero() {
		return ""
	}
	return " for " + age(s.Now.Sub(b.Since.Time)) + ", since " + s.time(b.Since.Time)
}

// breakerMode says who forced the state, and until when.
func (s *screen) breakerMode(b api.Breaker) []fact {
	if b.Mode == "" || b.Mode == api.ModeAutomatic {
		return nil
	}
	words := modeWord(b.Mode)
	if f := b.Forced; f != nil {
		if f.Actor != "" {
			words += " by " + clean(f.Actor)
		}
		words += s.until(f.Until)
		// The reason begins with what was done.
		if reason := strings.TrimPrefix(strings.TrimPrefix(clean(f.Reason), modeWord(b.Mode)), ": "); reason != "" {
			words += ": " + reason
		}
	}
	return []fact{{"mode", s.warn.Render(words)}}
}

// until says when a forced state ends.
func (s *screen) until(t *api.Time) string {
	if t == nil || t.IsZero() {
		return " until told otherwise"
	}
	return " until " + s.time(t.Time) + ", " + age(t.Sub(s.Now).Round(time.Second)) + " from now"
}

func (s *screen) breakerWhy(w api.BreakerWhy) []fact {
	var facts []fact
	if w.Threshold == nil || w.Threshold.Kind != "forced" { // the mode says that
		facts = append(facts, fact{"why", clean(w.Reason)})
		if w.Actor != "" {
			facts = append(facts, fact{"opened by", clean(w.Actor)})
		}
	}
	if w.Threshold != nil {
		if words := crossed(*w.Threshold); words != "" {
			facts = append(facts, fact{"crossed", words})
		}
	}
	facts = append(facts, fact{"rejected", Plural(int(w.Rejected), "call") + " since it opened, " + age(s.Now.Sub(w.OpenedAt.Time)) + " ago"})
	if w.Failed > 0 {
		facts = append(facts, fact{"recoveries", Plural(int(w.Failed), "time") + " half-open and back"})
	}
	if w.TraceID != "" {
		facts = append(facts, fact{"trace", "pulsectl traces show " + clean(w.TraceID)})
	}
	return facts
}

// crossed says in numbers which threshold opened a breaker.
func crossed(t api.BreakerThreshold) string {
	over := ""
	if t.Over != "" {
		over = " over " + clean(t.Over)
	}
	switch t.Kind {
	case "failures_in_row":
		return fmt.Sprintf("%g failures in a row, the limit is %g", t.Value, t.Limit)
	case "failure_rate":
		return fmt.Sprintf("%s failed%s, the limit is %s: %d of %d calls", share(t.Value), over, share(t.Limit), t.Failures, t.Calls)
	case "slow_rate":
		return fmt.Sprintf("%s were slow%s, the limit is %s: %d of %d calls, %d of them in flight", share(t.Value), over, share(t.Limit), t.Slow, t.Calls, t.InFlight)
	case "probe":
		return "a trial call while it was half-open"
	case "retry_after":
		return "the service asked to be left alone: Retry-After"
	}
	return ""
}

func (s *screen) breakerCalls(b api.Breaker) []fact {
	st, v := b.Stats, stateVerdict(b.State)
	facts := []fact{
		{"calls", fmt.Sprintf("%s  %s ok  %s failed  %s timed out", count(int64(st.TotalRequests)),
			count(int64(st.SuccessfulRequests)), count(int64(st.FailedRequests)), count(int64(st.Timeouts)))},
		{"in a row", fmt.Sprintf("%d failures of %d, %d successes of %d", st.ConsecutiveFailures, b.Config.FailureThreshold,
			st.ConsecutiveSuccesses, b.Config.SuccessThreshold)},
	}
	if st.Rejected != nil {
		label := "rejected"
		if b.Why != nil {
			label = "rejected ever"
		}
		facts = append(facts, fact{label, count(st.Rejected.Value())})
	}
	if st.SlowCalls != nil { // calls are timed
		facts = append(facts, fact{"slow", count(st.SlowCalls.Value())})
	}
	if st.InFlight != nil {
		facts = append(facts, fact{"in flight", count(st.InFlight.Value())})
	}
	if win := st.Window; win != nil {
		recent := "no calls"
		if win.Calls > 0 {
			recent = fmt.Sprintf("%s calls  %s failed", count(int64(win.Calls)), share(win.FailureRate))
		}
		if win.Calls > 0 && win.P95 > 0 {
			recent += "  p95 " + duration(win.P95.Duration())
		}
		facts = append(facts, fact{"last " + age(win.Seconds.Duration()), recent},
			fact{"failures/s", s.spark(win.FailuresPerSecond, s.style(max(v, between)))})
	}
	return append(facts, fact{"opened", Plural(int(st.CircuitOpens), "time") + ", closed " + Plural(int(st.CircuitCloses), "time")})
}

// breakerErrors tells the last failure, or the last of each kind where the
// server tells kinds.
func (s *screen) breakerErrors(b api.Breaker) (facts []fact) {
	label := "errors"
	for _, e := range b.Errors {
		facts = append(facts, fact{label, fmt.Sprintf("%s  %s×  last %s ago  %s", clean(e.Kind), count(int64(e.Count)), age(s.Now.Sub(e.Last.Time)), clean(e.Message))})
		label = ""
	}
	if len(facts) > 0 || b.Stats.LastFailureTime.IsZero() {
		return facts
	}
	why := ""
	if b.LastError != "" {
		why = "  " + clean(b.LastError)
	}
	return []fact{{"last failure", age(s.Now.Sub(b.Stats.LastFailureTime.Time)) + " ago" + why}}
}

func timeoutWord(d api.Seconds) string {
	if d == 0 {
		return "none"
	}
	return duration(d.Duration())
}

func modeWord(m api.Mode) string { return strings.ReplaceAll(clean(string(m)), "_", " ") }
