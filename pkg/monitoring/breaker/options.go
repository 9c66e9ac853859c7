package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Outcome is what a call's result means to its breaker.
type Outcome int

// The outcomes of a call.
const (
	Success Outcome = iota
	Failure
	Timeout // a failure, counted apart
	Ignored // says nothing about the dependency: the caller gave up
)

// String returns the outcome as it stands in metrics.
func (o Outcome) String() string { return [...]string{"success", "failure", "timeout", "ignored"}[o] }

// Options configures a [Breaker]. The zero value is ready to use: failures in a
// row open it, and no rate does.
type Options struct {
	FailureThreshold int           // failures in a row that open it; 0 means 5
	RecoveryTimeout  time.Duration // time open before the first probe; 0 means 60s
	SuccessThreshold int           // probes in a row that close it; 0 means 3
	Probes           int           // probes at once while half-open; 0 means 1
	Timeout          time.Duration // of one call; 0 means 30s, negative means none (a lost probe is given up after 5m then)

	FailureRate float64       // share of failures in the window that opens it, 0…1; 0 means none does
	SlowRate    float64       // share of slow calls in the window that opens it, those in flight included, 0…1; 0 means none does
	SlowCall    time.Duration // from when on a call is slow; 0 means half of Timeout, without one 5s if SlowRate is set, else calls are not timed
	MinCalls    int           // calls in the window before a rate counts; 0 means 20, or WindowCalls if that is less
	Window      time.Duration // that the rates are of, 1s…1h; 0 means 60s
	WindowCalls int           // the rates are of so many calls instead, however old, at most 10,000; 0 means of Window

	Backoff       float64       // by which RecoveryTimeout grows with each failed recovery, 1…10; 0 means 1
	MaxRecovery   time.Duration // to which it grows at most; 0 means ten times RecoveryTimeout
	Jitter        float64       // share of itself by which a recovery is longer at random, 0…1
	MaxRetryAfter time.Duration // a dependency's Retry-After is obeyed up to this; 0 means 5m, negative means never

	// Classify decides what the error of a call means, which is not nil; nil
	// means [Classify].
	Classify func(error) Outcome
	// OnEvent is told of each change of state or mode, in order, from a
	// goroutine that exists only while there is something to tell. At most 256
	// events wait for it; what it was too slow for, Event.Lost counts. Nil
	// means no one listens.
	OnEvent func(Event)
}

// Classify is the default: the caller's cancellation is ignored, a deadline is
// a timeout, all else a failure.
func Classify(err error) Outcome {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, context.Canceled):
		return Ignored
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Failure
}

const (
	maxWindowCalls       = 10_000
	defaultMaxRetryAfter = 5 * time.Minute
)

func (o Options) withDefaults() (Options, error) {
	if err := o.check(); err != nil {
		return o, err
	}
	o.FailureThreshold = cmp.Or(o.FailureThreshold, 5)
	o.RecoveryTimeout = cmp.Or(o.RecoveryTimeout, time.Minute)
	o.SuccessThreshold = cmp.Or(o.SuccessThreshold, 3)
	o.Probes = cmp.Or(o.Probes, 1)
	o.Timeout = max(cmp.Or(o.Timeout, 30*time.Second), 0) // 0 means none from here on
	o.SlowCall = cmp.Or(o.SlowCall, o.Timeout/2)
	if o.SlowRate > 0 {
		o.SlowCall = cmp.Or(o.SlowCall, 5*time.Second)
	}
	o.Window = cmp.Or(o.Window, time.Minute)
	if o.MinCalls == 0 {
		o.MinCalls = 20
		if o.WindowCalls > 0 {
			o.MinCalls = min(o.MinCalls, o.WindowCalls)
		}
	}
	o.Backoff = cmp.Or(o.Backoff, 1)
	o.MaxRecovery = max(cmp.Or(o.MaxRecovery, saturate(10*float64(o.RecoveryTimeout))), o.RecoveryTimeout)
	o.MaxRetryAfter = cmp.Or(o.MaxRetryAfter, defaultMaxRetryAfter)
	if o.Classify == nil {
		o.Classify = Classify
	}
	return o, nil
}

func (o Options) check() error {
	share := func(x float64) bool { return x >= 0 && x <= 1 } // NaN is none
	switch {
	case o.FailureThreshold < 0:
		return fmt.Errorf("failure threshold %d: want 1 or more", o.FailureThreshold)
	case o.SuccessThreshold < 0:
		return fmt.Errorf("success threshold %d: want 1 or more", o.SuccessThreshold)
	case o.Probes < 0:
		return fmt.Errorf("probes %d: want 1 or more", o.Probes)
	case o.RecoveryTimeout < 0:
		return fmt.Errorf("recovery timeout %s: want more than 0s", o.RecoveryTimeout)
	case !share(o.FailureRate):
		return fmt.Errorf("failure rate %g: want a share from 0 to 1", o.FailureRate)
	case !share(o.SlowRate):
		return fmt.Errorf("slow rate %g: want a share from 0 to 1", o.SlowRate)
	case o.SlowCall < 0 || o.MinCalls < 0:
		return fmt.Errorf("slow call %s, min calls %d: want 0 or more", o.SlowCall, o.MinCalls)
	case o.Window != 0 && (o.Window < time.Second || o.Window > time.Hour):
		return fmt.Errorf("window %s: want 1s to 1h", o.Window)
	case o.WindowCalls < 0 || o.WindowCalls > maxWindowCalls:
		return fmt.Errorf("window calls %d: want 0 to %d", o.WindowCalls, maxWindowCalls)
	case o.WindowCalls > 0 && o.MinCalls > o.WindowCalls:
		return fmt.Errorf("min calls %d: the window has %d", o.MinCalls, o.WindowCalls)
	case o.Backoff != 0 && !(o.Backoff >= 1 && o.Backoff <= 10):
		return fmt.Errorf("backoff %g: want a factor from 1 to 10", o.Backoff)
	case o.MaxRecovery < 0:
		return fmt.Errorf("max recovery %s: want more than 0s", o.MaxRecovery)
	case !share(o.Jitter):
		return fmt.Errorf("jitter %g: want a share from 0 to 1", o.Jitter)
	}
	return nil
}

// timed tells whether calls are timed: the clock is read twice then, for 46 ns.
func (o *Options) timed() bool { return o.SlowCall > 0 }

// patience is how long a probe may be out before it counts as lost: a little
// more than a call may take, so that the call itself can say what happened.
func (o *Options) patience() time.Duration {
	if o.Timeout <= 0 {
		return max(o.RecoveryTimeout, 5*time.Minute)
	}
	return o.Timeout + o.Timeout/10
}

// recovery is how long an opened breaker stays open, after so many recoveries
// that failed.
func (o *Options) recovery(failed int) time.Duration {
	d := float64(o.RecoveryTimeout) * math.Pow(o.Backoff, float64(failed))
	d = min(d, float64(o.MaxRecovery))
	return saturate(d * (1 + o.Jitter*rand.Float64()))
}

// saturate converts nanoseconds, of which there may be too many, to a duration.
func saturate(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}

// same tells whether two breakers so configured would decide alike.
func (o Options) same(p Options) bool { return o.String() == p.String() }

// String lists the settings that decide when the breaker moves.
func (o Options) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "failure threshold %d, recovery timeout %s, success threshold %d, timeout %s, slow call %s, failure rate %g of %d calls",
		o.FailureThreshold, o.RecoveryTimeout, o.SuccessThreshold, o.Timeout, o.SlowCall, o.FailureRate, o.MinCalls)
	if o.SlowRate > 0 {
		fmt.Fprintf(&s, ", slow rate %g", o.SlowRate)
	}
	if o.WindowCalls > 0 {
		fmt.Fprintf(&s, ", window of %d calls", o.WindowCalls)
	} else if o.Window != time.Minute {
		fmt.Fprintf(&s, ", window %s", o.Window)
	}
	if o.Probes > 1 {
		fmt.Fprintf(&s, ", probes %d", o.Probes)
	}
	if o.Backoff > 1 || o.Jitter > 0 {
		fmt.Fprintf(&s, ", backoff %g up to %s, jitter %g", o.Backoff, o.MaxRecovery, o.Jitter)
	}
	if o.MaxRetryAfter != defaultMaxRetryAfter {
		fmt.Fprintf(&s, ", retry after up to %s", max(o.MaxRetryAfter, 0))
	}
	return s.String()
}
