package profiling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// The types of profiles that the runtime keeps by itself, and can give at once.
var kept = []string{"heap", "allocs", "goroutine", "goroutineleak", "mutex", "block", "threadcreate"}

// Types returns the types that [Profiler.Capture] takes in this process.
// goroutineleak is there only where the program was built with
// GOEXPERIMENT=goroutineleakprofile.
func Types() []string {
	types := []string{"cpu"}
	for _, t := range kept {
		if pprof.Lookup(t) != nil {
			types = append(types, t)
		}
	}
	return append(types, typeTrace)
}

// checkType says what is wrong with a type, in a problem.
func checkType(t string) error {
	if slices.Contains(Types(), t) {
		return nil
	}
	if t == "goroutineleak" {
		return api.Invalid("type", "this program's runtime finds no leaks: build it with GOEXPERIMENT=goroutineleakprofile")
	}
	return api.Invalid("type", "%.100q: want one of %s", t, strings.Join(Types(), ", "))
}

// The bounds of what is read from the runtime at once.
const (
	maxLookups = 16
	lookupWait = 100 * time.Millisecond
	mutexRate  = 10     // 1 of so many contentions, while a capture wants them
	blockRate  = 10_000 // nanoseconds of blocking for a sample, the same
)

// LookupOptions says how [Profiler.Lookup] reads a profile.
type LookupOptions struct {
	Duration time.Duration // what changed in that time; 0 means all there is
	GC       bool          // collect garbage before
	Debug    int           // 0 is gzipped pprof, 1 and 2 are texts
}

// Lookup returns one of the profiles that the runtime keeps, as gzipped pprof or
// as text, and a note on what it lacks. Where mutex or block contention is not
// sampled, it is during Duration. The error is an [*api.Error], or ctx's.
func (p *Profiler) Lookup(ctx context.Context, typ string, o LookupOptions) (data []byte, note string, err error) {
	if err := checkType(typ); err != nil {
		return nil, "", err
	}
	if !slices.Contains(kept, typ) || o.Duration > 0 && o.Debug > 0 {
		return nil, "", api.Invalid("type", "%s is not read that way", typ)
	}
	if err := p.enterLookup(); err != nil {
		return nil, "", err
	}
	defer func() { <-p.lookups }()
	if o.Duration > 0 {
		return p.difference(ctx, typ, o)
	}
	data, err = p.lookup(typ, o)
	return data, unsampled(typ), err
}

// enterLookup takes one of the places; [Profiler.Lookup] gives it back.
func (p *Profiler) enterLookup() error {
	t := time.NewTimer(lookupWait)
	defer t.Stop()
	select {
	case p.lookups <- struct{}{}:
		return nil
	case <-t.C:
		return api.Errorf(429, "%d profiles are being read already: ask again when one is done", cap(p.lookups))
	}
}

func (p *Profiler) lookup(typ string, o LookupOptions) ([]byte, error) {
	defer p.cost.measure(time.Now())
	if o.GC {
		runtime.GC()
	}
	var b bytes.Buffer
	if err := pprof.Lookup(typ).WriteTo(&b, o.Debug); err != nil {
		return nil, refused(500, err)
	}
	if o.Debug == 0 && typ == "goroutine" {
		return p.relabel(window{from: p.base, to: time.Now(), data: b.Bytes()}), nil
	}
	return b.Bytes(), nil
}

// difference returns what a profile gained while o.Duration passed.
func (p *Profiler) difference(ctx context.Context, typ string, o LookupOptions) ([]byte, string, error) {
	note, stop := p.rates.sample(typ)
	defer stop()
	begin := time.Now()
	before, err := p.lookup(typ, o)
	if err != nil {
		return nil, "", err
	}
	if pause(ctx, o.Duration); ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	after, err := p.lookup(typ, o)
	if err != nil {
		return nil, "", err
	}
	data, err := subtract(after, before, time.Since(begin))
	return data, note, err
}

// subtract returns what after has more than before.
func subtract(after, before []byte, d time.Duration) ([]byte, error) {
	a, err := profile.ParseData(after)
	if err != nil {
		return nil, refused(500, err)
	}
	b, err := profile.ParseData(before)
	if err != nil {
		return nil, refused(500, err)
	}
	b.Scale(-1)
	at := a.TimeNanos
	out, err := profile.Merge([]*profile.Profile{b, a})
	if err != nil {
		return nil, refused(500, err)
	}
	out.TimeNanos, out.DurationNanos = at-int64(d), int64(d)
	var buf bytes.Buffer
	if err := out.Write(&buf); err != nil {
		return nil, refused(500, err)
	}
	return buf.Bytes(), nil
}

// unsampled says that a profile is empty because nothing is sampled for it.
func unsampled(typ string) string {
	switch {
	case typ == "mutex" && runtime.SetMutexProfileFraction(-1) == 0:
		return "the process samples no mutexes: ask for a time, in which it does, or call runtime.SetMutexProfileFraction"
	case typ == "block" && pprof.Lookup("block").Count() == 0:
		return "the process seems to sample no blocking: ask for a time, in which it does, or call runtime.SetBlockProfileRate"
	}
	return ""
}

// rates turns the sampling of contention on while someone wants it. What the
// program itself has set stays. The rate of blocking cannot be read: a program
// that has no sample of it counts as one that takes none.
type rates struct {
	mu    sync.Mutex
	users map[string]int
}

// sample starts to sample what a type needs; stop ends it.
func (r *rates) sample(typ string) (note string, stop func()) {
	var set func(on bool)
	switch {
	case typ == "mutex":
		set = func(on bool) { runtime.SetMutexProfileFraction(map[bool]int{true: mutexRate}[on]) }
		note = fmt.Sprintf("1 of %d contentions was sampled", mutexRate)
	case typ == "block":
		set = func(on bool) { runtime.SetBlockProfileRate(map[bool]int{true: blockRate}[on]) }
		note = fmt.Sprintf("a sample for each %v of blocking", time.Duration(blockRate))
	default:
		return "", func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users[typ] == 0 && unsampled(typ) == "" {
		return "", func() {} // the program samples
	}
	if r.users == nil {
		r.users = map[string]int{}
	}
	if r.users[typ]++; r.users[typ] == 1 {
		set(true)
	}
	return note, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.users[typ]--; r.users[typ] == 0 {
			set(false)
		}
	}
}

// CPUProfile returns d of the process's CPU profile, and a note on what it
// lacks. Any number of readers up to 64 share the profiler, with each other and
// with mode on. The samples of requests carry their method, route, request_id
// and trace_id as labels. The error is an [*api.Error], or ctx's.
func (p *Profiler) CPUProfile(ctx context.Context, d time.Duration) (data []byte, note string, err error) {
	type answer struct {
		parts parts
		err   error
	}
	done := make(chan answer, 1)
	r, err := p.cpu.read(ctx, d, func(s parts, err error) { done <- answer{s, err} })
	if r != nil {
		defer p.cpu.forget(r)
	}
	if err != nil {
		return nil, "", p.noCPU(ctx, err)
	}
	select {
	case <-ctx.Done():
		return nil, "", ctx.Err()
	case a := <-done:
		if a.err == nil {
			data, a.err = a.parts.merge()
		}
		if a.err != nil {
			return nil, "", p.noCPU(ctx, a.err)
		}
		return data, a.parts.note(d), nil
	}
}

func (p *Profiler) noCPU(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return refused(503, err)
}

func refused(status int, cause error) error {
	e := api.Errorf(status, "no profile taken: %v", cause)
	e.Cause = cause
	return e
}

// errTraceTaken says that someone records an execution trace already.
var errTraceTaken = errors.New("an execution trace is being recorded already; one is possible at a time")

// Trace records an execution trace of d into w, and stops before it is longer
// than limit bytes or when ctx is done; 0 means no limit. It returns a note on
// what it lacks. The flight recorder goes on beside it. The error is an
// [*api.Error].
func (p *Profiler) Trace(ctx context.Context, w io.Writer, d time.Duration, limit int64) (note string, err error) {
	begin, lw := time.Now(), &limitedWriter{w: w, limit: limit, full: make(chan struct{})}
	if err := trace.Start(lw); err != nil {
		return "", refused(503, errTraceTaken)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-lw.full:
		note = fmt.Sprintf("covers %v of %v: more than %d MiB are not kept", time.Since(begin).Round(10*time.Millisecond), d, limit>>20)
	}
	trace.Stop()
	return note, nil
}

// limitedWriter tells when it has written much. It writes on: a trace ends only
// some time after it was told to.
type limitedWriter struct {
	w     io.Writer
	limit int64
	n     int64
	full  chan struct{}
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	was := l.n
	l.n += int64(len(b))
	if l.limit > 0 && was <= l.limit && l.n > l.limit {
		close(l.full)
	}
	return l.w.Write(b)
}
