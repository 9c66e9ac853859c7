package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

const (
	reportTime = 5 * time.Second // for the server to take the outcome: the command has ended and somebody waits
	traceTime  = 2 * time.Second // for it to take the trace, meanwhile
)

// acquire asks for the right to run the command. Settings that stand on the
// command line go along; all of them do where the breaker must be made first.
func (g *guarded) acquire(ctx context.Context) (api.BreakerPermit, error) {
	want := client.Acquire{Action: g.action(), Lease: g.Lease}
	all := client.Acquire{
		Action: g.action(), Lease: g.Lease, Create: true,
		FailureThreshold: g.FailureThreshold, SuccessThreshold: g.SuccessThreshold, RecoveryTimeout: g.RecoveryTimeout, Timeout: g.Timeout,
	}
	if g.explicit("failure-threshold") {
		want.FailureThreshold = all.FailureThreshold
	}
	if g.explicit("success-threshold") {
		want.SuccessThreshold = all.SuccessThreshold
	}
	if g.explicit("recovery-timeout") {
		want.RecoveryTimeout = all.RecoveryTimeout
	}
	if g.explicit("timeout") {
		want.Timeout = all.Timeout
	}
	if all.Timeout == 0 {
		all.Timeout = -1 // a command takes the time that it takes
	}
	permit, err := g.server.AcquireBreaker(ctx, g.breaker, want)
	var e *api.Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		permit, err = g.server.AcquireBreaker(ctx, g.breaker, all)
	}
	if err == nil && permit.Config != nil {
		g.compare(*permit.Config)
	}
	return permit, err
}

// compare warns of settings on the command line that the breaker does not go
// by: it is the service's own, and has its own.
func (g *guarded) compare(c api.BreakerConfig) {
	var other []string
	differs := func(flag string, is, want any) {
		if is != want && g.explicit(flag) {
			other = append(other, fmt.Sprintf("%s %v, not %v", strings.ReplaceAll(flag, "-", " "), is, want))
		}
	}
	differs("failure-threshold", int(c.FailureThreshold), g.FailureThreshold)
	differs("success-threshold", int(c.SuccessThreshold), g.SuccessThreshold)
	if g.RecoveryTimeout > 0 {
		differs("recovery-timeout", c.RecoveryTimeout.Duration(), g.RecoveryTimeout)
	}
	if len(other) > 0 {
		g.say("warning: %s is the service's own and has %s", g.breaker, strings.Join(other, ", "))
	}
}

// keep renews the permit until stop is called.
func (g *guarded) keep(permit api.BreakerPermit) (stop func()) {
	if permit.Permit == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.Tick(max(permit.Timeout.Duration()/3, time.Second/4)); ; {
			select {
			case <-tick:
			case <-ctx.Done():
				return
			}
			_, err := g.server.RenewBreaker(ctx, g.breaker, permit.Permit)
			var e *api.Error
			if errors.As(err, &e) && (e.Status == http.StatusConflict || e.Status == http.StatusNotFound) {
				return // report will say so
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// report tells the breaker how the command ended. That it cannot is said, and
// changes nothing about the command's status.
func (g *guarded) report(permit api.BreakerPermit, r api.BreakerReport, traceparent string) {
	if permit.Permit == "" {
		return
	}
	r.Permit = permit.Permit
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	if _, err := g.server.ReportBreaker(ctx, g.breaker, r, traceparent); err != nil {
		g.say("warning: %s: the outcome %s was not counted: %v", g.breaker, r.Outcome, err)
	}
}

// sendTrace brings the trace of the run, or leaves it: it is worth no wait.
func (g *guarded) sendTrace(request []byte) {
	if request == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), traceTime)
	defer cancel()
	if _, _, err := g.server.ImportSpans(ctx, request); err != nil && g.Verbose {
		g.say("warning: the trace was not taken: %v", err)
	}
}
