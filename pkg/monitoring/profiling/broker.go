package profiling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// maxSubscribers bounds who shares the CPU profiler at once.
const maxSubscribers = 16

// errCPUBusy says that the process's CPU profiler is not ours.
var errCPUBusy = errors.New("another library of this process holds the CPU profiler")

// window is a stretch of time with the CPU profile of the whole process.
type window struct {
	from, to time.Time
	data     []byte
}

// broker owns the process's CPU profiler. It profiles in windows while someone
// wants them; a window ends early where a subscription begins or ends, so that
// each subscriber gets whole windows and several share them.
type broker struct {
	length time.Duration
	slice  func(window) // gets every window while always is set
	wake   chan struct{}

	mu     sync.Mutex
	on     bool
	subs   []*subscription
	halted bool
}

// subscription is one reader of the CPU profiler.
type subscription struct {
	duration time.Duration
	ready    chan error            // answers whether it began
	done     func([][]byte, error) // called once with all windows, or why there are none
	until    time.Time             // zero until it began
	windows  [][]byte
}

func newBroker(length time.Duration, slice func(window)) *broker {
	return &broker{length: length, slice: slice, wake: make(chan struct{}, 1), halted: true}
}

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

// subscribe asks for d of CPU profile; done gets its windows later. The answer
// says whether it has begun.
func (b *broker) subscribe(ctx context.Context, d time.Duration, done func([][]byte, error)) error {
	s := &subscription{duration: d, ready: make(chan error, 1), done: done}
	b.mu.Lock()
	switch {
	case b.halted:
		b.mu.Unlock()
		return ErrNotRunning
	case len(b.subs) >= maxSubscribers:
		b.mu.Unlock()
		return fmt.Errorf("%d readers share the CPU profiler already", maxSubscribers)
	}
	b.subs = append(b.subs, s)
	b.mu.Unlock()
	b.poke()
	select {
	case err := <-s.ready:
		return err
	case <-ctx.Done(): // it goes on without its caller
		return ctx.Err()
	}
}

// run profiles until ctx is done.
func (b *broker) run(ctx context.Context) {
	b.mu.Lock()
	b.halted = false
	b.mu.Unlock()
	defer b.halt()
	for ctx.Err() == nil {
		if !b.wanted() {
			select {
			case <-ctx.Done():
			case <-b.wake:
			}
			continue
		}
		var buf bytes.Buffer
		from := time.Now()
		if err := pprof.StartCPUProfile(&buf); err != nil {
			b.refuse()
			sleep(ctx, time.Second)
			continue
		}
		b.admit(from)
		b.waitWindow(ctx, from)
		pprof.StopCPUProfile()
		b.deliver(window{from, time.Now(), buf.Bytes()})
	}
}

func sleep(ctx context.Context, d time.Duration) {
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
	return b.on || len(b.subs) > 0
}

// refuse answers those who wait to begin, and ends those whose time is up.
func (b *broker) refuse() {
	b.end(func(s *subscription) bool { return s.until.IsZero() || time.Now().After(s.until) }, errCPUBusy)
}

// halt ends everything when Run does.
func (b *broker) halt() {
	b.mu.Lock()
	b.halted = true
	b.mu.Unlock()
	b.end(func(*subscription) bool { return true }, ErrNotRunning)
}

// end takes out the subscriptions that over picks and tells them err, unless
// they have windows.
func (b *broker) end(over func(*subscription) bool, err error) {
	b.mu.Lock()
	var out, stay []*subscription
	for _, s := range b.subs {
		if over(s) {
			out = append(out, s)
		} else {
			stay = append(stay, s)
		}
	}
	b.subs = stay
	b.mu.Unlock()
	for _, s := range out {
		switch {
		case s.until.IsZero():
			s.ready <- err
		case len(s.windows) == 0:
			s.done(nil, err)
		default:
			s.done(s.windows, nil)
		}
	}
}

// admit begins the waiting subscriptions with the window that has just begun.
func (b *broker) admit(from time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.subs {
		if s.until.IsZero() {
			s.until = from.Add(s.duration)
			s.ready <- nil
		}
	}
}

// waitWindow waits until the window must end: its length is up, a subscription
// ends, another wants to begin, or nobody wants it any more.
func (b *broker) waitWindow(ctx context.Context, from time.Time) {
	for {
		end := from.Add(b.length)
		b.mu.Lock()
		pending := !b.on && len(b.subs) == 0
		for _, s := range b.subs {
			if s.until.IsZero() {
				pending = true
			} else if s.until.Before(end) {
				end = s.until
			}
		}
		b.mu.Unlock()
		left := time.Until(end)
		if pending || left <= 0 {
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

func (b *broker) deliver(w window) {
	b.mu.Lock()
	on := b.on
	for _, s := range b.subs {
		if !s.until.IsZero() {
			s.windows = append(s.windows, w.data)
		}
	}
	b.mu.Unlock()
	if on {
		b.slice(w)
	}
	b.end(func(s *subscription) bool { return !s.until.IsZero() && !w.to.Before(s.until) }, nil)
}

// mergeWindows makes one profile of several.
func mergeWindows(windows [][]byte) ([]byte, error) {
	if len(windows) == 1 {
		return windows[0], nil
	}
	var all []*profile.Profile
	for _, w := range windows {
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

// sliceWindow gives each followed request the CPU samples of its label, and
// stores the CPU profiles of those that ended before the window did.
func (p *Profiler) sliceWindow(w window) {
	p.cutWindow(w)
	to := int64(w.to.Sub(p.base))
	p.mu.Lock()
	var done, wait []*capture
	for _, c := range p.ended {
		if c.end <= to {
			done = append(done, c)
		} else {
			wait = append(wait, c)
		}
	}
	p.ended = wait
	p.mu.Unlock()
	for _, c := range done {
		p.storeCPU(c)
	}
}

func (p *Profiler) cutWindow(w window) {
	defer p.cost.measure(time.Now())
	parsed, err := hotspot.Parse(w.data, uploadLimits)
	if err != nil {
		p.store.Drop("unreadable")
		return
	}
	from, byLabel := int64(w.from.Sub(p.base)), map[string][]*capture{}
	p.mu.Lock()
	for _, c := range p.active {
		byLabel[c.label] = append(byLabel[c.label], c)
	}
	for _, c := range p.ended {
		byLabel[c.label] = append(byLabel[c.label], c)
	}
	p.mu.Unlock()
	var stack []hotspot.Frame
	parsed.EachLabelled(labelKey, func(i int, label string) {
		for _, c := range byLabel[label] {
			if from >= c.cleanFrom {
				stack = parsed.Stack(stack[:0], i)
				c.addCPU(stack, parsed.Values(i), parsed.Period)
			}
		}
	})
}

func (c *capture) addCPU(stack []hotspot.Frame, values []int64, period int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cpu == nil {
		c.cpu = hotspot.NewBuilder(cpuTypes, period)
	}
	c.cpu.Add(stack, values...)
	c.cpuSamples += values[0]
}
