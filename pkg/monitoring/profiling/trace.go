package profiling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/trace"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
)

const (
	traceAge        = 12 * time.Second      // that the flight recorder keeps, if its bytes allow
	traceGap        = time.Second           // between two snapshots at least
	traceRefresh    = 4 * time.Second       // between two while a followed request runs
	traceTick       = 50 * time.Millisecond // the recorder looks at what is due so often
	traceRetry      = 5 * time.Second       // after another library was in the way
	traceWait       = 15 * time.Second      // that a profile waits for its explanation
	traceTime       = 10 * time.Second      // for one batch of explanations
	maxTraceBytes   = 64 << 20              // of snapshots kept
	maxSampledSpans = 64                    // CPU windows remembered
	explainShare    = 0.02                  // of a core, for explanations; those that wait are explained together
	explainBurst    = 3 * time.Second       // of processor time, saved up
)

var errTraceBusy = errors.New("another library of this process holds the flight recorder")

// traceShot is a snapshot of the flight recorder.
type traceShot struct {
	at   int64 // it shows what was until then
	data []byte
}

// recorder owns the process's flight recorder while mode on lasts, and explains
// with it where the time of slow requests went. It belongs to one goroutine.
//
// A snapshot is taken soon after a request has become slow, for its start
// leaves the recorder's window, then every few seconds while it runs, and when
// it has ended; one snapshot serves all requests of its time.
type recorder struct {
	p       *Profiler
	fr      *trace.FlightRecorder // nil while it does not record
	last    int64                 // the newest snapshot shows what was until then
	retry   time.Time             // not to be started before
	budget  *budget
	shots   []traceShot
	bytes   int
	waiting []*capture // ended, not yet explained
	marked  int64      // the newest mark that a snapshot answered
	keptRaw time.Time  // when a snapshot that nobody could read was kept last
}

// pokeTrace tells the recorder that there may be something to do.
func (p *Profiler) pokeTrace() {
	select {
	case p.traceNow <- struct{}{}:
	default:
	}
}

// awaitTrace hands an ended capture to the recorder, if there is room.
func (p *Profiler) awaitTrace(c *capture) bool {
	select {
	case p.traced <- c:
		return true
	default:
		p.store.Drop("trace_queue_full")
		return false
	}
}

// explainTraces runs the flight recorder until ctx is done.
func (p *Profiler) explainTraces(ctx context.Context) {
	r := &recorder{p: p, budget: newBudget(explainShare, explainBurst)}
	defer r.stop()
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.finish()
			return
		case c := <-p.traced:
			r.waiting = append(r.waiting, c)
		case <-p.traceNow:
		case <-tick.C:
		}
		r.turn(ctx, time.Now())
		if r.fr != nil || len(r.waiting) > 0 || p.Mode() == ModeOn {
			tick.Reset(traceTick)
		}
	}
}

// turn does what is due.
func (r *recorder) turn(ctx context.Context, now time.Time) {
	on := r.p.Mode() == ModeOn
	if on && r.fr == nil && !now.Before(r.retry) {
		r.start(now)
	}
	if r.fr != nil && r.due(on) {
		r.snapshot()
	}
	r.explain(ctx)
	if !on && len(r.waiting) == 0 {
		r.stop()
	}
	r.forget()
}

func (r *recorder) start(now time.Time) {
	fr := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: traceAge, MaxBytes: uint64(r.p.opts.TraceBytes)})
	if err := fr.Start(); err != nil {
		r.retry = now.Add(traceRetry)
		r.p.traceBusy.Store(true)
		r.p.log.Warn("no flight recorder", slog.Any("error", err))
		return
	}
	r.fr = fr
	r.p.traceBusy.Store(false)
	r.p.tracing.Store(true)
}

func (r *recorder) stop() {
	r.p.tracing.Store(false)
	r.p.traceBusy.Store(false)
	if r.fr != nil {
		r.fr.Stop()
		r.fr = nil
	}
}

// due tells whether a snapshot is.
func (r *recorder) due(on bool) bool {
	now, last := r.p.now(), r.last
	if last != 0 && now-last < int64(traceGap) {
		return false
	}
	for _, c := range r.waiting {
		if c.end > last {
			return true
		}
	}
	marked, running := r.p.lastMark()
	if !on || marked == 0 {
		return false
	}
	return marked > r.marked || running && now-last > int64(traceRefresh)
}

// lastMark returns when the newest of the running requests that are followed
// was marked, 0 for none.
func (p *Profiler) lastMark() (at int64, running bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.active {
		at = max(at, c.marked)
	}
	return at, len(p.active) > 0
}

func (r *recorder) snapshot() {
	defer r.p.cost.measure(time.Now())
	var b bytes.Buffer
	r.marked, _ = r.p.lastMark()
	r.last = r.p.now()
	if _, err := r.fr.WriteTo(&b); err != nil {
		r.p.store.Drop("trace_unreadable")
		return
	}
	r.shots = append(r.shots, traceShot{r.last, b.Bytes()})
	r.bytes += b.Len()
	for len(r.shots) > 1 && r.bytes > maxTraceBytes {
		r.drop()
	}
}

func (r *recorder) drop() {
	r.bytes -= len(r.shots[0].data)
	r.shots = append(r.shots[:0:0], r.shots[1:]...)
}

// forget drops the snapshots that no request needs any more: those taken before
// the first of them began.
func (r *recorder) forget() {
	first := r.p.now()
	r.p.mu.Lock()
	for _, c := range r.p.active {
		first = min(first, c.start)
	}
	for _, c := range r.p.settling {
		first = min(first, c.start)
	}
	r.p.mu.Unlock()
	for len(r.shots) > 0 && r.shots[0].at < first {
		r.drop()
	}
}

// explain explains the requests that a snapshot shows to their end, all in one
// go, and stores their profiles.
func (r *recorder) explain(ctx context.Context) {
	now, spent := r.p.now(), r.budget.wait(time.Now()) > 0
	var batch, stay []*capture
	for _, c := range r.waiting {
		switch {
		case r.last >= c.end && !spent:
			batch = append(batch, c)
		case r.fr == nil:
			r.p.storeWall(c, nil, "there is no trace: the flight recorder had stopped")
		case now-c.end > int64(traceWait):
			r.p.store.Drop("explain_budget")
			r.p.storeWall(c, nil, "there is no trace: explanations have used up their share of the processor")
		default:
			stay = append(stay, c)
		}
	}
	r.waiting = stay
	if len(batch) > 0 {
		r.explainBatch(ctx, batch)
	}
}

func (r *recorder) explainBatch(ctx context.Context, batch []*capture) {
	begin := time.Now()
	first := batch[0].start
	requests := make([]exectrace.Request, len(batch))
	for i, c := range batch {
		first = min(first, c.start)
		requests[i] = exectrace.Request{Goroutines: []int64{c.goroutine}, From: r.p.base.Add(duration(c.start)), To: r.p.base.Add(duration(c.end))}
	}
	var shots [][]byte
	for _, s := range r.shots {
		if s.at >= first {
			shots = append(shots, s.data)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, traceTime)
	defer cancel()
	results, err := r.p.readTraces(ctx, shots, requests, exectrace.Options{MaxBytes: 2 * maxTraceBytes, Sampled: r.p.cpu.sampled()})
	r.budget.spend(begin)
	r.p.cost.measure(begin)
	note := ""
	if err != nil {
		note = r.keepRaw(batch[0], shots, err)
	}
	for i, c := range batch {
		switch {
		case err != nil:
			r.p.storeWall(c, nil, note)
		case results[i].Err != nil:
			r.p.storeWall(c, nil, results[i].Err.Error())
		default:
			r.p.storeWall(c, results[i].Explanation, "")
		}
	}
}

// keepRaw keeps the newest snapshot of those that could not be read, at most
// one a minute, and returns a sentence that says so.
func (r *recorder) keepRaw(c *capture, shots [][]byte, cause error) (note string) {
	note = fmt.Sprintf("the trace could not be read: %v", cause)
	r.p.log.Warn("trace not explained", slog.String("profile_id", c.id), slog.Any("error", cause))
	if len(shots) == 0 || time.Since(r.keptRaw) < time.Minute {
		return note
	}
	s := r.p.summary(c, NewID(), typeTrace)
	s.Note = note
	if !r.p.keepTrace(s, shots[len(shots)-1]) {
		return note
	}
	r.keptRaw = time.Now()
	return note + "; it is kept as " + s.ProfileID
}

// finish stores what waits, without an explanation by the trace if there is no
// snapshot yet.
func (r *recorder) finish() {
	for len(r.p.traced) > 0 {
		r.waiting = append(r.waiting, <-r.p.traced)
	}
	for _, c := range r.waiting {
		r.p.storeWall(c, nil, "there is no trace: the process stopped")
	}
	r.waiting = nil
}
