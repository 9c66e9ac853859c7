package profiling

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime/pprof"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// CaptureOptions says what [Profiler.Capture] takes.
type CaptureOptions struct {
	Type      string        // cpu, heap or goroutine
	Duration  time.Duration // of a cpu capture, 1s to 300s; 0 means 30s
	Operation string        // "" means the type
	Labels    map[string]string
}

// Capture takes a profile of this process and returns the id it will have. A
// CPU capture lists as active until its time is up, a heap or goroutine one is
// there at once. At most four run at a time; CPU captures share one profiler.
// The error is an [*api.Error]; where Run does not run it wraps [ErrNotRunning].
func (p *Profiler) Capture(ctx context.Context, o CaptureOptions) (id string, err error) {
	o.Duration = cmp.Or(o.Duration, 30*time.Second)
	switch {
	case o.Type != "cpu" && o.Type != "heap" && o.Type != "goroutine":
		return "", api.Invalid("type", "%q: want cpu, heap or goroutine", o.Type)
	case o.Duration < time.Second || o.Duration > 300*time.Second:
		return "", api.Invalid("seconds", "%v: want 1s to 300s", o.Duration)
	case !p.running.Load():
		return "", refused(503, ErrNotRunning)
	}
	select {
	case p.captures <- struct{}{}:
	default:
		return "", api.Errorf(429, "%d captures are being taken already: ask again when one is done", cap(p.captures))
	}
	s := newSummary(NewID(), cmp.Or(o.Operation, o.Type), api.TriggerManual, time.Now())
	s.Type, s.Service, s.Labels = o.Type, p.opts.Service, o.Labels
	if o.Type == "cpu" {
		err = p.captureCPU(ctx, s, o.Duration)
	} else {
		err = p.captureNow(s)
		<-p.captures
	}
	if err != nil {
		return "", err
	}
	return s.ProfileID, nil
}

func refused(status int, cause error) error {
	e := api.Errorf(status, "no profile taken: %v", cause)
	e.Cause = cause
	return e
}

// captureNow takes a heap or goroutine profile.
func (p *Profiler) captureNow(s api.Profile) error {
	defer p.cost.measure(time.Now())
	var b bytes.Buffer
	if err := pprof.Lookup(s.Type).WriteTo(&b, 0); err != nil {
		return refused(500, err)
	}
	p.keep(s, b.Bytes())
	return nil
}

// captureCPU joins the CPU profiler for d.
func (p *Profiler) captureCPU(ctx context.Context, s api.Profile, d time.Duration) error {
	s.State = "active"
	p.setManual(s, true)
	err := p.cpu.subscribe(ctx, d, func(windows [][]byte, err error) {
		defer func() { <-p.captures }()
		defer p.setManual(s, false)
		var data []byte
		if err == nil {
			data, err = mergeWindows(windows)
		}
		if err != nil {
			p.store.Drop("capture_failed")
			p.log.Warn("cpu capture failed", slog.String("profile_id", s.ProfileID), slog.Any("error", err))
			return
		}
		s.State, s.Duration = "", api.Seconds(time.Since(s.StartTime.Time))
		p.keep(s, data)
	})
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // begun, or will be though its caller has gone
	}
	p.setManual(s, false)
	<-p.captures
	return refused(503, err)
}

func (p *Profiler) setManual(s api.Profile, active bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if active {
		p.manual[s.ProfileID] = s
	} else {
		delete(p.manual, s.ProfileID)
	}
}
