package profiling

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	maxCaptures     = 4        // at once
	maxCaptureTrace = 32 << 20 // bytes of an execution trace that is kept
	maxTraceTime    = time.Minute
)

// CaptureOptions says what [Profiler.Capture] takes.
type CaptureOptions struct {
	Type      string        // one of [Types]; of a target also others that it has
	Duration  time.Duration // 1s to 300s; 0 means 30s of cpu, 5s of trace, and of the others all there is; else what changed
	Target    string        // one of Options.Targets; "" means this process
	Operation string        // "" means the type
	Labels    map[string]string
}

func (o *CaptureOptions) fill() {
	switch {
	case o.Duration != 0:
	case o.Type == "cpu":
		o.Duration = 30 * time.Second
	case o.Type == typeTrace:
		o.Duration = 5 * time.Second
	}
	o.Operation = cmp.Or(o.Operation, o.Type)
}

// Capture takes a profile of this process or of a target and returns the id it
// will have. What takes time lists as active until it is there; what does not is
// there at once. At most four run at a time; CPU captures share one profiler.
// The error is an [*api.Error]; where Run does not run it wraps [ErrNotRunning].
func (p *Profiler) Capture(ctx context.Context, o CaptureOptions) (id string, err error) {
	o.fill()
	if err := p.checkCapture(o); err != nil {
		return "", err
	}
	select {
	case p.captures <- struct{}{}:
	default:
		return "", api.Errorf(429, "%d captures are being taken already: ask again when one is done", cap(p.captures))
	}
	s := newSummary(NewID(), o.Operation, api.TriggerManual, time.Now())
	s.Type, s.Service, s.Labels, s.Target = o.Type, p.opts.Service, o.Labels, o.Target
	switch {
	case o.Target != "":
		s.Service = o.Target
		p.begin(s, func(ctx context.Context) error { return p.fetch(ctx, s, p.target(o.Target), o.Duration) })
	case o.Type == "cpu":
		err = p.captureCPU(ctx, s, o.Duration)
	case o.Type == typeTrace:
		p.begin(s, func(ctx context.Context) error { return p.captureTrace(ctx, s, o.Duration) })
	case o.Duration > 0:
		p.begin(s, func(ctx context.Context) error { return p.captureKept(ctx, s, o.Duration) })
	default:
		err = p.captureKept(ctx, s, 0)
		<-p.captures
	}
	if err != nil {
		return "", err
	}
	return s.ProfileID, nil
}

// CanCapture says why Capture would refuse o, as an [*api.Error], or nil.
func (p *Profiler) CanCapture(o CaptureOptions) error {
	o.fill()
	return p.checkCapture(o)
}

func (p *Profiler) checkCapture(o CaptureOptions) error {
	if o.Target == "" {
		if err := checkType(o.Type); err != nil {
			return err
		}
	} else if p.target(o.Target) == nil {
		return api.Invalid("target", "%.100q: want %s", o.Target, p.targetNames())
	}
	switch {
	case o.Duration != 0 && (o.Duration < time.Second || o.Duration > 300*time.Second):
		return api.Invalid("seconds", "%v: want 1s to 300s", o.Duration)
	case o.Type == typeTrace && o.Duration > maxTraceTime:
		return api.Invalid("seconds", "%v: of a trace want 1s to %v", o.Duration, maxTraceTime)
	case o.Type == "goroutineleak" && o.Duration > 0:
		return api.Invalid("seconds", "leaked goroutines stay: there is nothing to wait for")
	case !p.running.Load():
		return refused(503, ErrNotRunning)
	}
	return nil
}

// begin has Run take a capture that takes time, and give its place back.
func (p *Profiler) begin(s api.Profile, take func(context.Context) error) {
	s.State = "active"
	p.setManual(s, true)
	p.jobs <- func(ctx context.Context) { // there are as many places as captures
		defer func() { <-p.captures }()
		defer p.setManual(s, false)
		if err := take(ctx); err != nil {
			p.failed(s, err)
		}
	}
}

// failed counts a capture that gave nothing.
func (p *Profiler) failed(s api.Profile, err error) {
	p.store.Drop("capture_failed")
	p.log.Warn("capture failed", slog.String("profile_id", s.ProfileID), slog.String("type", s.Type), slog.String("target", s.Target), slog.Any("error", err))
}

// work does what Capture began, until ctx is done.
func (p *Profiler) work(ctx context.Context) {
	defer p.background.Wait()
	for {
		select {
		case <-ctx.Done():
			for len(p.jobs) > 0 {
				(<-p.jobs)(ctx) // which ends at once
			}
			return
		case job := <-p.jobs:
			p.background.Go(func() { job(ctx) })
		}
	}
}

// captureKept takes one of the profiles that the runtime keeps.
func (p *Profiler) captureKept(ctx context.Context, s api.Profile, d time.Duration) error {
	data, note, err := p.Lookup(ctx, s.Type, LookupOptions{Duration: d, GC: s.Type == "heap"})
	if err != nil {
		return err
	}
	s.Note, s.Duration = note, api.Seconds(d)
	p.keep(s, data)
	return nil
}

func (p *Profiler) captureTrace(ctx context.Context, s api.Profile, d time.Duration) error {
	var b bytes.Buffer
	note, err := p.Trace(ctx, &b, d, maxCaptureTrace)
	if err != nil {
		return err
	}
	s.Note, s.Duration = note, api.Seconds(time.Since(s.StartTime.Time))
	p.keepTrace(s, b.Bytes())
	return nil
}

// captureCPU joins the CPU profiler for d.
func (p *Profiler) captureCPU(ctx context.Context, s api.Profile, d time.Duration) error {
	s.State = "active"
	p.setManual(s, true)
	_, err := p.cpu.read(ctx, d, func(got parts, err error) {
		defer func() { <-p.captures }()
		defer p.setManual(s, false)
		var data []byte
		if err == nil {
			data, err = got.merge()
		}
		if err != nil {
			p.failed(s, err)
			return
		}
		s.State, s.Duration, s.Note = "", api.Seconds(time.Since(s.StartTime.Time)), got.note(d)
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

// typeTrace is the type of a Go execution trace among the profiles. Its data is
// the trace itself, kept compressed.
const typeTrace = "trace"

// keepTrace stores an execution trace.
func (p *Profiler) keepTrace(s api.Profile, raw []byte) bool {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // a level that there is
	if _, err := z.Write(raw); err != nil {
		p.store.Drop("unreadable")
		return false
	}
	if err := z.Close(); err != nil {
		p.store.Drop("unreadable")
		return false
	}
	s.Type, s.Size, s.State = typeTrace, api.CountOf(len(raw)), ""
	return p.store.Add(s, b.Bytes())
}

// plainTrace returns a trace as it was recorded.
func plainTrace(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, int64(uploadLimits.MaxRaw)))
}

// isTrace tells whether a body is a Go execution trace.
func isTrace(body []byte) bool {
	return len(body) > 16 && bytes.HasPrefix(body, []byte("go 1.")) && bytes.Contains(body[:16], []byte(" trace"))
}
