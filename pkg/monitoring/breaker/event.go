package breaker

import (
	"context"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Event is a change of a breaker's state, mode or settings.
type Event struct {
	Seq        uint64 // of this breaker's events, from 1
	Generation uint64 // of the state entered; see [Breaker]
	Time       time.Time
	Name       string
	From, To   api.State // equal if the mode or the settings alone changed
	Mode       api.Mode  // from now on
	Until      time.Time // open: when it lets a probe through; forced: when that ends; zero if neither or never by itself
	Reason     string    // in words: "5 failures in a row: 502 Bad Gateway", "reset"
	Actor      string    // who did it; "" means the breaker itself
	TraceID    string    // of the call that opened it; "" if it has none
	Remote     bool      // it came by [Breaker.Apply] from another replica
	Ordered    bool      // by a [Control], not by the breaker itself
	Reset      bool      // by [Breaker.Reset]
	Lost       int       // events before this one that its reader was too slow for
}

// API returns the event as the API tells it.
func (e Event) API() api.BreakerEvent {
	out := api.BreakerEvent{
		Seq: api.Count(e.Seq), Time: instant(e.Time), Name: e.Name, From: e.From, To: e.To, Mode: e.Mode,
		Reason: e.Reason, Actor: e.Actor, TraceID: e.TraceID, Remote: e.Remote, Lost: api.Count(e.Lost),
	}
	if !e.Until.IsZero() {
		until := instant(e.Until)
		out.Until = &until
	}
	return out
}

const (
	maxEvents  = 1000 // that a Set keeps, half a megabyte or so
	maxWaiting = 256  // events that wait for OnEvent, or for a subscriber
)

// events is a Set's log: the last events of all its breakers, and who listens.
type events struct {
	mu      sync.Mutex
	ring    []Event // oldest at next once it is full
	next    int
	readers map[*reader]struct{}
}

type reader struct {
	ch   chan Event
	lost int
}

// add never waits: a subscriber that is behind loses the event.
func (l *events) add(e Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < maxEvents {
		l.ring = append(l.ring, e)
	} else {
		l.ring[l.next] = e
		l.next = (l.next + 1) % maxEvents
	}
	for r := range l.readers {
		e.Lost = r.lost
		select {
		case r.ch <- e:
			r.lost = 0
		default:
			r.lost++
		}
	}
}

// EventQuery picks events. Its zero value picks all that are kept.
type EventQuery struct {
	Name  string    // a glob of package path; "" means all
	Since time.Time // older ones are left out
	Limit int       // the newest so many; 0 means all
}

// Events returns the last events of the set's breakers, newest first, of the
// 1,000 that are kept. A malformed glob is an error.
func (s *Set) Events(q EventQuery) ([]api.BreakerEvent, error) {
	if _, err := path.Match(q.Name, ""); err != nil {
		return nil, fmt.Errorf("name pattern %q: %w", q.Name, err)
	}
	l := &s.events
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []api.BreakerEvent{}
	for i := range l.ring {
		e := l.ring[(l.next+len(l.ring)-1-i)%len(l.ring)]
		if q.Limit > 0 && len(out) == q.Limit {
			break
		}
		if e.Time.Before(q.Since) {
			continue // not the end: two breakers' events may be logged out of order
		}
		if ok, _ := path.Match(q.Name, e.Name); ok || q.Name == "" {
			out = append(out, e.API())
		}
	}
	return out, nil
}

// Subscribe returns the set's events from now on, in order for each breaker.
// The channel is closed when ctx is done. No breaker waits for a reader: one
// that is 256 events behind loses the next, and Event.Lost tells how many.
func (s *Set) Subscribe(ctx context.Context) <-chan Event {
	r := &reader{ch: make(chan Event, maxWaiting)}
	l := &s.events
	l.mu.Lock()
	if l.readers == nil {
		l.readers = map[*reader]struct{}{}
	}
	l.readers[r] = struct{}{}
	l.mu.Unlock()
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.readers, r)
		close(r.ch)
	})
	return r.ch
}

// hook is the queue of events before OnEvent; Breaker.mu guards it.
type hook struct {
	waiting []Event
	lost    int
	running bool
}

// tell logs an event and queues it for OnEvent. The caller holds the lock, so
// the order is that of the changes.
func (b *Breaker) tell(e Event) {
	b.seq++
	e.Seq, e.Generation, e.Name, e.Mode = b.seq, b.generation, b.name, b.mode
	b.log.add(e)
	if b.settings().OnEvent == nil {
		return
	}
	if len(b.hook.waiting) >= maxWaiting {
		b.hook.lost++
		return
	}
	e.Lost, b.hook.lost = b.hook.lost, 0
	b.hook.waiting = append(b.hook.waiting, e)
	if !b.hook.running {
		b.hook.running = true
		go b.drain()
	}
}

// event is how the breaker came to where it is, from a state. The caller holds
// the lock.
func (b *Breaker) event(from api.State) Event {
	c := b.entered
	return Event{
		Time: c.now, From: from, To: b.state, Until: b.until, Reason: c.reason, Actor: c.actor, TraceID: c.traceID,
		Remote: c.remote, Ordered: c.ordered, Reset: c.reset,
	}
}

// Latest is the event by which the breaker came to where it is, for those who
// missed it; its From is not known, and is where it went. The generation tells
// whether one has seen it.
func (b *Breaker) Latest() Event {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake(now)
	e := b.event(b.state)
	e.Seq, e.Generation, e.Name, e.Mode = b.seq, b.generation, b.name, b.mode
	return e
}

// drain hands the waiting events to OnEvent, with no lock held, and ends when
// there are none.
func (b *Breaker) drain() {
	for {
		b.mu.Lock()
		if len(b.hook.waiting) == 0 {
			b.hook.running, b.hook.waiting = false, nil
			b.mu.Unlock()
			return
		}
		e := b.hook.waiting[0]
		b.hook.waiting = b.hook.waiting[1:]
		b.mu.Unlock()
		if f := b.settings().OnEvent; f != nil {
			f(e)
		}
	}
}
