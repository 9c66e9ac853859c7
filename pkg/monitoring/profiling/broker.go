package profiling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/exectrace"
)

// maxReaders bounds who shares the CPU profiler at once.
const maxReaders = 64

// maxSpans bounds the windows whose times are remembered, for explanations.
const maxSpans = 64

// errCPUBusy says that the process's CPU profiler is not ours.
var errCPUBusy = errors.New("another library of this process holds the CPU profiler")

// window is a stretch of time with the CPU profile of the whole process, at the
// 100 Hz of [pprof.StartCPUProfile].
type window struct {
	from, to time.Time
	data     []byte
	sliced   bool      // mode on wants the requests' shares of it
	readers  []*reader // who get it
	over     []*reader // those of them whose last it is
}

// broker owns the process's CPU profiler. It profiles in windows while someone
// wants them; a window ends early where a reader begins or ends, so that each
// gets whole windows and many share them.
//
// Between two windows nothing is sampled: 1 ms, or 30 ms where every processor is
// busy and the runtime's writer waits for one. So the next begins before the
// last is looked at, and readers that come or go at about the same time do so
// together.
type broker struct {
	length    time.Duration
	slice     func(window)        // gets the windows that mode on wants
	relabel   func(window) []byte // makes of a window what readers get
	wake      chan struct{}
	profiling atomic.Bool // while windows are taken

	mu      sync.Mutex
	on      bool
	readers []*reader
	halted  bool
	busy    bool               // the profiler was another's at the last try
	since   time.Time          // of the window that is being taken; zero for none
	began   bool               // that window, while on was set: requests wait for it
	spans   []exectrace.Window // the newest ones that are over
}

// reader is one who wants the CPU profile of a time.
type reader struct {
	duration time.Duration
	asked    time.Time
	ready    chan error         // answers whether it began
	done     func(parts, error) // called once, with all windows or why there are none
	until    time.Time          // zero until it began
	parts    parts
}

// latest is when a reader must have begun: a little later than it asked, so that
// others can begin with it.
func (r *reader) latest() time.Time { return r.asked.Add(min(r.duration/100, 100*time.Millisecond)) }

// over tells whether a window that ended then was the last for a reader, which
// may lack 1 % of its time.
func (r *reader) over(then time.Time) bool {
	return !r.until.IsZero() && !then.Before(r.until.Add(-r.duration/100))
}

// parts are the windows that a reader got, and how much time they cover.
type parts struct {
	windows [][]byte
	covered time.Duration
}

func newBroker(length time.Duration) *broker {
	return &broker{length: length, wake: make(chan struct{}, 1), halted: true}
}

// always says whether windows are wanted though nobody reads them.
func (b *broker) always(on bool) {
	b.mu.Lock()
	b.on = on
	b.mu.Unlock()
	b.poke()
}

func (b *broker) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// held tells whether windows are wanted and another library has the profiler.
func (b *broker) held() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy
}

// read asks for d of CPU profile; done gets it later. The answer says whether
// it has begun. A reader that is no longer wanted is given up by forget.
func (b *broker) read(ctx context.Context, d time.Duration, done func(parts, error)) (r *reader, err error) {
	r = &reader{duration: d, asked: time.Now(), ready: make(chan error, 1), done: done}
	b.mu.Lock()
	switch {
	case b.halted:
		b.mu.Unlock()
		return nil, ErrNotRunning
	case len(b.readers) >= maxReaders:
		b.mu.Unlock()
		return nil, fmt.Errorf("%d readers share the CPU profiler already", maxReaders)
	}
	b.readers = append(b.readers, r)
	b.mu.Unlock()
	b.poke()
	select {
	case err := <-r.ready:
		return r, err
	case <-ctx.Done(): // it goes on without its caller
		return r, ctx.Err()
	}
}

// forget takes a reader out; its done is not called any more, unless it is being
// called already.
func (b *broker) forget(r *reader) {
	b.take(func(one *reader) bool { return one == r })
	b.poke()
}

// open lets readers in: run is about to begin.
func (b *broker) open() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.halted = false
}

// run profiles until ctx is done.
func (b *broker) run(ctx context.Context) {
	defer b.halt()
	var last *window
	for ctx.Err() == nil {
		if !b.wanted() {
			b.profiling.Store(false)
			b.deliver(last)
			last = nil
			select {
			case <-ctx.Done():
			case <-b.wake:
			}
			continue
		}
		b.profiling.Store(true)
		var buf bytes.Buffer
		from := time.Now()
		if err := pprof.StartCPUProfile(&buf); err != nil {
			b.deliver(last)
			last = nil
			b.refuse()
			pause(ctx, time.Second)
			continue
		}
		b.admit(from)
		b.deliver(last)
		b.waitWindow(ctx, from)
		pprof.StopCPUProfile()
		last = b.close(from, time.Now(), buf.Bytes())
	}
	b.profiling.Store(false)
	b.deliver(last)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (b *broker) wanted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.on && len(b.readers) == 0 {
		b.busy = false
		return false
	}
	return true
}

// refuse answers those who wait to begin, and ends those whose time is up.
func (b *broker) refuse() {
	b.mu.Lock()
	b.busy = true
	b.mu.Unlock()
	for _, r := range b.take(func(r *reader) bool { return r.until.IsZero() || time.Now().After(r.until) }) {
		r.end(errCPUBusy)
	}
}

// halt ends everything when Run does.
func (b *broker) halt() {
	b.mu.Lock()
	b.halted, b.busy = true, false
	b.mu.Unlock()
	for _, r := range b.take(func(*reader) bool { return true }) {
		r.end(ErrNotRunning)
	}
}

// take takes out the readers that over picks.
func (b *broker) take(over func(*reader) bool) (out []*reader) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var stay []*reader
	for _, r := range b.readers {
		if over(r) {
			out = append(out, r)
		} else {
			stay = append(stay, r)
		}
	}
	b.readers = stay
	return out
}

// end gives a reader what there is, or err if that is nothing.
func (r *reader) end(err error) {
	switch {
	case r.until.IsZero():
		r.ready <- err
	case len(r.parts.windows) == 0:
		r.done(parts{}, err)
	default:
		r.done(r.parts, nil)
	}
}

// sampled returns the windows of late, with the one that is being taken.
func (b *broker) sampled() []exectrace.Window {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.spans)
	if !b.since.IsZero() {
		out = append(out, exectrace.Window{From: b.since, To: time.Now()})
	}
	return out
}

// admit begins the waiting readers with the window that has just begun.
func (b *broker) admit(from time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy, b.since, b.began = false, from, b.on
	for _, r := range b.readers {
		if r.until.IsZero() {
			r.until = from.Add(r.duration)
			r.ready <- nil
		}
	}
}

// waitWindow waits until the window must end: its length is up, a reader's time
// is, another wants to begin, or nobody wants it any more.
func (b *broker) waitWindow(ctx context.Context, from time.Time) {
	for {
		left := time.Until(b.windowEnd(from))
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-b.wake:
			t.Stop()
		case <-t.C:
			return
		}
	}
}

// windowEnd returns when the window that began at from must end.
func (b *broker) windowEnd(from time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.on && len(b.readers) == 0 {
		return from // now
	}
	end := from.Add(b.length)
	for _, r := range b.readers {
		at := r.until
		if at.IsZero() {
			at = r.latest()
		}
		if at.Before(end) {
			end = at
		}
	}
	return end
}

// close makes a window of what was taken and tells who gets it.
func (b *broker) close(from, to time.Time, data []byte) *window {
	w := &window{from: from, to: to, data: data}
	w.over = b.take(func(r *reader) bool { return r.over(to) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.since = time.Time{}
	b.spans = append(b.spans[max(0, len(b.spans)-maxSpans):], exectrace.Window{From: from, To: to})
	w.sliced, w.readers = b.on || b.began, w.over[:len(w.over):len(w.over)]
	for _, r := range b.readers {
		if !r.until.IsZero() {
			w.readers = append(w.readers, r)
		}
	}
	return w
}

// deliver hands a window, if there is one, to those who get it.
func (b *broker) deliver(w *window) {
	if w == nil {
		return
	}
	if w.sliced {
		b.slice(*w)
	}
	if len(w.readers) > 0 {
		data := b.relabel(*w)
		for _, r := range w.readers {
			r.parts.windows = append(r.parts.windows, data)
			r.parts.covered += w.to.Sub(w.from)
		}
	}
	for _, r := range w.over {
		r.end(nil)
	}
}

// merge makes one profile of several windows.
func (s parts) merge() ([]byte, error) {
	if len(s.windows) == 1 {
		return s.windows[0], nil
	}
	var all []*profile.Profile
	for _, w := range s.windows {
		p, err := profile.ParseData(w)
		if err != nil {
			return nil, fmt.Errorf("merge CPU windows: %w", err)
		}
		all = append(all, p)
	}
	merged, err := profile.Merge(all)
	if err != nil {
		return nil, fmt.Errorf("merge CPU windows: %w", err)
	}
	var out bytes.Buffer
	if err := merged.Write(&out); err != nil {
		return nil, fmt.Errorf("merge CPU windows: %w", err)
	}
	return out.Bytes(), nil
}

// note says what a profile of d lacks, or "".
func (s parts) note(d time.Duration) string {
	if s.covered >= d-d/50 {
		return ""
	}
	return fmt.Sprintf("covers %v of %v: another library of this process held the CPU profiler, or profiling stopped",
		s.covered.Round(10*time.Millisecond), d)
}
