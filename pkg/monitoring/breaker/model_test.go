package breaker_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// spec is what a breaker must do, written plainly: no lock, no timer, no word.
// Time is told to it.
type spec struct {
	o          breaker.Options
	state      api.State
	mode       api.Mode
	until      time.Time
	generation int
	probes     []*specCall
	passed     int // probes in a row
	row        int // failures in a row
	failedBack int // recoveries that failed since it was closed
	window     []bool
	st         tallies
}

type tallies struct {
	until                                                        time.Time // while it is open or disabled
	state                                                        api.State
	mode                                                         api.Mode
	success, failure, timeout, ignored, rejected, flying, inARow int64
	opens, closes                                                int64
}

func (a tallies) equal(b tallies) bool {
	same := a.until.Equal(b.until)
	a.until, b.until = time.Time{}, time.Time{}
	return same && a == b
}

type specCall struct {
	generation int
	begun      time.Time
	done       bool
}

func (m *spec) enter(state api.State, mode api.Mode, until time.Time) {
	if state == api.StateOpen && mode == api.ModeAutomatic && until.IsZero() {
		panic("an automatic open state ends")
	}
	if m.state != state {
		switch state {
		case api.StateOpen:
			m.st.opens++
		case api.StateClosed:
			m.st.closes++
		}
	}
	if state == api.StateClosed {
		m.row, m.failedBack = 0, 0
	}
	m.state, m.mode, m.until = state, mode, until
	m.generation++
	m.probes, m.passed, m.window = nil, 0, nil
}

func (m *spec) open(now time.Time) {
	wait := float64(m.o.RecoveryTimeout) * math.Pow(m.o.Backoff, float64(m.failedBack))
	m.enter(api.StateOpen, api.ModeAutomatic, now.Add(time.Duration(min(wait, float64(m.o.MaxRecovery)))))
}

// due is the next instant at which something happens by itself.
func (m *spec) due() (time.Time, bool) {
	switch {
	case m.state == api.StateHalfOpen && len(m.probes) > 0:
		return m.probes[0].begun.Add(m.o.Timeout + m.o.Timeout/10), true
	case m.until.IsZero():
		return time.Time{}, false
	}
	return m.until, true
}

func (m *spec) advance(now time.Time) {
	for {
		at, ok := m.due()
		if !ok || at.After(now) {
			return
		}
		switch {
		case m.mode == api.ModeDisabled:
			m.enter(api.StateClosed, api.ModeAutomatic, time.Time{})
		case m.state == api.StateOpen:
			m.enter(api.StateHalfOpen, api.ModeAutomatic, time.Time{})
		default:
			m.end(m.probes[0], breaker.Timeout, at)
		}
	}
}

func (m *spec) allow(now time.Time) *specCall {
	if m.state == api.StateOpen || m.state == api.StateHalfOpen && len(m.probes) >= m.o.Probes {
		m.st.rejected++
		return nil
	}
	c := &specCall{generation: m.generation, begun: now}
	if m.state == api.StateHalfOpen {
		m.probes = append(m.probes, c)
	}
	m.st.flying++
	return c
}

func (m *spec) end(c *specCall, o breaker.Outcome, now time.Time) bool {
	if c.done {
		return false
	}
	c.done = true
	m.st.flying--
	m.probes = slices.DeleteFunc(m.probes, func(p *specCall) bool { return p == c })
	switch o {
	case breaker.Success:
		m.st.success++
	case breaker.Failure:
		m.st.failure++
	case breaker.Timeout:
		m.st.failure++
		m.st.timeout++
	case breaker.Ignored:
		m.st.ignored++
		return true
	}
	if c.generation != m.generation {
		return true
	}
	good := o == breaker.Success
	m.row++
	if good {
		m.row = 0
	}
	if m.window = append(m.window, !good); len(m.window) > m.o.WindowCalls {
		m.window = m.window[1:]
	}
	failures := 0
	for _, failed := range m.window {
		if failed {
			failures++
		}
	}
	switch {
	case m.mode != api.ModeAutomatic:
	case m.state == api.StateHalfOpen && good:
		if m.passed++; m.passed == m.o.SuccessThreshold {
			m.enter(api.StateClosed, api.ModeAutomatic, time.Time{})
		}
	case m.state == api.StateHalfOpen:
		m.failedBack++
		m.open(now)
	case m.row >= m.o.FailureThreshold,
		m.o.FailureRate > 0 && len(m.window) >= m.o.MinCalls && float64(failures) >= m.o.FailureRate*float64(len(m.window)):
		m.open(now)
	}
	return true
}

func (m *spec) force(mode api.Mode, state api.State, now time.Time, d time.Duration) {
	until := time.Time{}
	if d > 0 {
		until = now.Add(d)
	}
	m.enter(state, mode, until)
}

func (m *spec) automatic() {
	switch m.mode {
	case api.ModeForcedOpen:
		m.enter(api.StateHalfOpen, api.ModeAutomatic, time.Time{})
	case api.ModeDisabled:
		m.enter(api.StateClosed, api.ModeAutomatic, time.Time{})
	}
}

func (m *spec) reset(to api.State) {
	if m.state == api.StateClosed {
		to = api.StateClosed
	}
	m.enter(to, api.ModeAutomatic, time.Time{})
	m.row = 0
}

func (m *spec) tallies() tallies {
	m.st.state, m.st.mode, m.st.inARow, m.st.until = m.state, m.mode, int64(m.row), m.until
	return m.st
}

func talliesOf(b *breaker.Breaker) tallies {
	s := b.Snapshot()
	c := b.Sample().Calls
	until := s.RetryAt.Time
	if s.Forced != nil {
		until = s.Forced.Until.Time
	}
	return tallies{
		until: until, state: s.State, mode: s.Mode, success: c["success"], failure: int64(s.Stats.FailedRequests), timeout: c["timeout"], ignored: c["ignored"],
		rejected: c["rejected"], flying: s.Stats.InFlight.Value(), inARow: int64(s.Stats.ConsecutiveFailures),
		opens: int64(s.Stats.CircuitOpens), closes: int64(s.Stats.CircuitCloses),
	}
}

// step is one event of a history. Calls overlap: which of those in flight ends
// is drawn too.
type step struct {
	what, pick int
	outcome    breaker.Outcome
	wait       time.Duration
}

func drawOptions(t *rapid.T) breaker.Options {
	return breaker.Options{
		FailureThreshold: rapid.IntRange(1, 4).Draw(t, "failures"),
		SuccessThreshold: rapid.IntRange(1, 3).Draw(t, "successes"),
		Probes:           rapid.IntRange(1, 3).Draw(t, "probes"),
		RecoveryTimeout:  time.Duration(rapid.IntRange(1, 10).Draw(t, "recovery")) * time.Second,
		Timeout:          10 * time.Second,
		FailureRate:      rapid.SampledFrom([]float64{0, 0.5, 0.9}).Draw(t, "rate"),
		WindowCalls:      rapid.IntRange(2, 6).Draw(t, "window"),
		MinCalls:         2,
		Backoff:          rapid.SampledFrom([]float64{1, 2}).Draw(t, "backoff"),
		MaxRecovery:      15 * time.Second,
	}
}

var drawStep = rapid.Custom(func(t *rapid.T) step {
	return step{
		what: rapid.IntRange(0, 19).Draw(t, "what"), pick: rapid.IntRange(0, 7).Draw(t, "pick"),
		outcome: breaker.Outcome(rapid.IntRange(0, 3).Draw(t, "outcome")), wait: time.Duration(rapid.IntRange(0, 12).Draw(t, "wait")) * time.Second,
	}
})

// To run millions of histories:
//
//	go test ./pkg/monitoring/breaker -run TestModel -rapid.checks=1000000
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := drawOptions(rt)
		steps := rapid.SliceOfN(drawStep, 100, 300).Draw(rt, "steps")
		var trouble string
		synctest.Test(t, func(t *testing.T) { trouble = follow(t, o, steps) })
		if trouble != "" {
			rt.Fatal(trouble)
		}
	})
}

// follow lets a breaker and the spec live through the same history.
func follow(t *testing.T, o breaker.Options, steps []step) (trouble string) {
	b := newBreaker(t, o)
	m := &spec{o: b.Options(), state: api.StateClosed, mode: api.ModeAutomatic}
	type pair struct {
		permit breaker.Permit
		call   *specCall
	}
	var out []pair
	var history strings.Builder
	for i, s := range steps {
		now := time.Now()
		switch {
		case s.what < 7:
			p, err := b.Allow()
			c := m.allow(now)
			fmt.Fprintf(&history, "allow %t; ", err == nil)
			if (err == nil) != (c != nil) {
				return fmt.Sprintf("step %d: Allow = %v, the spec allows it: %t\n%s", i, err, c != nil, &history)
			}
			if c != nil {
				out = append(out, pair{p, c})
			}
		case s.what < 14 && len(out) > 0:
			c := out[s.pick%len(out)]
			fmt.Fprintf(&history, "done %d %s; ", s.pick%len(out), s.outcome)
			if got, want := c.permit.Done(s.outcome, "why"), m.end(c.call, s.outcome, now); got != want {
				return fmt.Sprintf("step %d: Done = %t, want %t\n%s", i, got, want, &history)
			}
		case s.what < 16:
			fmt.Fprintf(&history, "wait %s; ", s.wait)
			pass(s.wait)
			m.advance(time.Now())
		case s.what == 16:
			fmt.Fprintf(&history, "force open %s; ", s.wait)
			b.ForceOpen(breaker.Control{For: s.wait})
			m.force(api.ModeForcedOpen, api.StateOpen, now, s.wait)
		case s.what == 17:
			fmt.Fprintf(&history, "disable %s; ", s.wait)
			b.Disable(breaker.Control{For: s.wait})
			m.force(api.ModeDisabled, api.StateClosed, now, s.wait)
		case s.what == 18:
			fmt.Fprint(&history, "automatic; ")
			b.Automatic(breaker.Control{})
			m.automatic()
		case s.what == 19:
			to := []api.State{api.StateClosed, api.StateHalfOpen}[s.pick%2]
			fmt.Fprintf(&history, "reset %s; ", to)
			b.Reset(to, breaker.Control{})
			m.reset(to)
		}
		if got, want := talliesOf(b), m.tallies(); !got.equal(want) {
			return fmt.Sprintf("step %d of %s:\n got %+v\nwant %+v\n%s", i, b.Options(), got, want, &history)
		}
	}
	return ""
}

// Callers in goroutines of their own: whatever their order, these hold.
func TestModelConcurrently(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := drawOptions(rt)
		if rapid.Bool().Draw(rt, "plain") {
			o.Timeout, o.WindowCalls, o.MinCalls = -1, 0, 0
		}
		scripts := rapid.SliceOfN(rapid.SliceOfN(drawStep, 1, 20), 2, 8).Draw(rt, "callers")
		var trouble string
		synctest.Test(t, func(t *testing.T) { trouble = race(t, o, scripts) })
		if trouble != "" {
			rt.Fatal(trouble)
		}
	})
}

func race(t *testing.T, o breaker.Options, scripts [][]step) string {
	var set breaker.Set
	b, err := set.Add("github_api", o)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var made, rejected atomic.Int64
	for _, script := range scripts {
		wg.Go(func() {
			for _, s := range script {
				switch {
				case s.what < 15:
					err := caller(b, s)
					made.Add(1)
					if err != nil {
						rejected.Add(1)
					}
				case s.what < 18:
					time.Sleep(s.wait)
				case s.what == 18:
					b.ForceOpen(breaker.Control{For: s.wait + 1, Actor: "ada"})
				default:
					b.Reset(api.StateHalfOpen, breaker.Control{Actor: "ada"})
				}
			}
		})
	}
	wg.Wait()
	s := b.Snapshot().Stats
	if all := int64(s.TotalRequests) + s.Rejected.Value(); all != made.Load() || s.Rejected.Value() != rejected.Load() || s.InFlight.Value() != 0 {
		return fmt.Sprintf("%d calls made, %d rejected; stats %+v", made.Load(), rejected.Load(), s)
	}
	return legal(set.Events(breaker.EventQuery{}))
}

// caller makes one call, by a permit or by Do.
func caller(b *breaker.Breaker, s step) error {
	if s.pick%2 == 0 {
		rejected := true
		_, err := breaker.Do(context.Background(), b, func(context.Context) (int, error) {
			rejected = false
			time.Sleep(s.wait / 2)
			return 0, map[breaker.Outcome]error{breaker.Failure: errDown, breaker.Timeout: context.DeadlineExceeded, breaker.Ignored: context.Canceled}[s.outcome]
		})
		if rejected {
			return err
		}
		return nil
	}
	p, err := b.Allow()
	if err != nil {
		return err
	}
	time.Sleep(s.wait / 2)
	p.Done(s.outcome, "why")
	return nil
}

// legal tells whether each event follows from the one before.
func legal(events []api.BreakerEvent, err error) string {
	if err != nil {
		return err.Error()
	}
	slices.Reverse(events)
	state := api.StateClosed
	for i, e := range events {
		if int(e.Seq) != i+1 || e.From != state {
			return fmt.Sprintf("event %d does not follow from %s: %+v", i, state, e)
		}
		by := e.Actor != ""
		ok := by || e.From == api.StateClosed && e.To == api.StateOpen || e.From == api.StateOpen && e.To == api.StateHalfOpen ||
			e.From == api.StateHalfOpen && e.To != api.StateHalfOpen
		if !ok {
			return fmt.Sprintf("event %d moves where nothing leads: %+v", i, e)
		}
		state = e.To
	}
	return ""
}
