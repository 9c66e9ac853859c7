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
	shown, total, rank := 0, 0, map[string]int{}
	for i, name := range o.Order {
		rank[name] = i - len(o.Order) // before those that it does not name
	}
	err := fleetTable(s, rs, breakerColumns(), func(all api.Breakers) [][]string {
		var rows [][]string
		worst := worstFirst(all)
		slices.SortStableFunc(worst, func(a, b api.Breaker) int { return cmp.Compare(rank[a.Name], rank[b.Name]) })
		total += len(worst)
		if left := o.Limit - shown; o.Limit > 0 && len(worst) > left {
			worst = worst[:left]
		}
		shown += len(worst)
		for _, b := range worst {
			rows = append(rows, s.breakerRow(b))
		}
		return rows
	})
	if err != nil {
		return err
	}
	s.breakerScopes(rs)
	s.leftOut(shown, total, "circuit breakers")
	if len(states) == 0 && answered(rs) > 0 {
		s.line(s.muted.Render("No circuit breakers."))
	}
	return s.flush()
}

func breakerColumns() []column {
	return []column{
		{name: "NAME", flex: true}, {name: "STATE"}, {name: "FAILURES", right: true, drop: 1},
		{name: "CALLS", right: true, drop: 3}, {name: "ERR%", right: true},
		{name: "P95", right: true, drop: 4}, {name: "FAILURES/S, 1m", drop: 5},
		{name: "FOR", right: true, drop: 2}, {name: "NEXT", drop: 6},
	}
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
		if win.Calls > 0 && win.P95 > 0 { // 0: calls are not timed
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
		name, s.stateIn(b.State, b.Mode), fails, count(int64(b.Stats.TotalRequests)), rate,
		p95, load, since, s.muted.Render(s.breakerNext(b)),
	}
}

// breakerNext says what happens to a breaker by itself.
func (s *screen) breakerNext(b api.Breaker) string {
	switch {
	case b.Mode != "" && b.Mode != api.ModeAutomatic:
		if b.Forced == nil || b.Forced.Until == nil || b.Forced.Until.IsZero() {
			return "until told otherwise"
		}
		return map[api.Mode]string{api.ModeForcedOpen: "half-open in ", api.ModeDisabled: "decides in "}[b.Mode] + age(b.Forced.Until.Sub(s.Now).Round(time.Second))
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
