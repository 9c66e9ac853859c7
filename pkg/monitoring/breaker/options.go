package breaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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

// Options configures a [Breaker]. The zero value is ready to use.
type Options struct {
	FailureThreshold int           // failures in a row that open it; 0 means 5
	RecoveryTimeout  time.Duration // time open before the first probe; 0 means 60s
	SuccessThreshold int           // probes in a row that close it; 0 means 3
	Timeout          time.Duration // of one call; 0 means 30s, negative means none (a lost probe is given up after 5m then)
	SlowCall         time.Duration // from when on a call counts as slow; 0 means half of Timeout, or 5s without one

	FailureRate float64 // share of failures in the last minute that opens it, 0…1; 0 means none
	MinCalls    int     // calls in the last minute before FailureRate counts; 0 means 20

	// Classify decides what the error of a call means; nil means [Classify].
	Classify func(error) Outcome
	// OnTransition is called after each change of state, in the goroutine that
	// caused it, with no lock held; nil means no one listens.
	OnTransition func(Transition)
}

// Classify is the default: no error is a success, the caller's cancellation is
// ignored, a deadline is a timeout, all else a failure.
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

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.FailureThreshold < 0:
		return o, fmt.Errorf("failure threshold %d: want 1 or more", o.FailureThreshold)
	case o.SuccessThreshold < 0:
		return o, fmt.Errorf("success threshold %d: want 1 or more", o.SuccessThreshold)
	case o.RecoveryTimeout < 0:
		return o, fmt.Errorf("recovery timeout %s: want more than 0s", o.RecoveryTimeout)
	case o.FailureRate < 0 || o.FailureRate > 1:
		return o, fmt.Errorf("failure rate %g: want a share from 0 to 1", o.FailureRate)
	case o.SlowCall < 0 || o.MinCalls < 0:
		return o, fmt.Errorf("slow call %s, min calls %d: want 0 or more", o.SlowCall, o.MinCalls)
	}
	o.FailureThreshold = cmp.Or(o.FailureThreshold, 5)
	o.RecoveryTimeout = cmp.Or(o.RecoveryTimeout, time.Minute)
	o.SuccessThreshold = cmp.Or(o.SuccessThreshold, 3)
	o.Timeout = cmp.Or(o.Timeout, 30*time.Second)
	o.SlowCall = cmp.Or(o.SlowCall, max(o.Timeout, 0)/2, 5*time.Second)
	o.MinCalls = cmp.Or(o.MinCalls, 20)
	if o.Classify == nil {
		o.Classify = Classify
	}
	return o, nil
}

// patience is how long a probe may be out before it counts as lost: a little
// more than a call may take, so that the call itself can say what happened.
func (o Options) patience() time.Duration {
	if o.Timeout <= 0 {
		return max(o.RecoveryTimeout, 5*time.Minute)
	}
	return o.Timeout + o.Timeout/10
}

// same tells whether two breakers so configured would decide alike.
func (o Options) same(p Options) bool {
	o.Classify, p.Classify, o.OnTransition, p.OnTransition = nil, nil, nil, nil
	return o.String() == p.String()
}

// String lists the settings that decide when the breaker moves.
func (o Options) String() string {
	return fmt.Sprintf("failure threshold %d, recovery timeout %s, success threshold %d, timeout %s, slow call %s, failure rate %g of %d calls",
		o.FailureThreshold, o.RecoveryTimeout, o.SuccessThreshold, o.Timeout, o.SlowCall, o.FailureRate, o.MinCalls)
}
