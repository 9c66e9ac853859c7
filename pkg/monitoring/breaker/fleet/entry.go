package fleet

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// entry is what is known of one breaker: where it is here, and where in the
// fleet. Fleet.mu guards it.
type entry struct {
	local    breaker.Event // by which it came to where it is here; Generation 0: it is not here
	reset    bool          // a reset is among the moves that are not told yet
	dirty    bool          // local is not told yet
	writing  bool          // it is being told
	queued   bool          // the name is in Fleet.queue
	applying bool          // the breaker is being moved
	probes   uint64        // generation of the half-open state for which the fleet let this replica probe
	shared   record        // the fleet's last move; seq 0: none
	base     uint64        // the last of the fleet's moves that local knows of
}

// entry returns the entry of a name, made if there is room; nil if there is
// none. The caller holds the lock.
func (f *Fleet) entry(name string) *entry {
	en := f.entries[name]
	if en != nil {
		return en
	}
	if len(f.entries) >= breaker.MaxBreakers && !f.forget() {
		return nil
	}
	en = &entry{}
	f.entries[name] = en
	return en
}

// forget makes room: it drops a breaker that is not here and is closed
// elsewhere. The caller holds the lock.
func (f *Fleet) forget() bool {
	for name, en := range f.entries {
		if en.local.Generation == 0 && plainRecord(en.shared) && !en.queued && !en.writing && !en.applying {
			delete(f.entries, name)
			return true
		}
	}
	return false
}

// adopt takes in a breaker that was made just now, before its first call: it
// goes where the fleet's is.
func (f *Fleet) adopt(b *breaker.Breaker) {
	f.mu.Lock()
	if en := f.entry(b.Name()); en != nil {
		en.local, en.base, en.reset = breaker.Event{}, 0, false // one of that name may have been removed
	}
	f.mu.Unlock()
	f.note(b.Latest())
}

// note takes in where a breaker of this replica is.
func (f *Fleet) note(e breaker.Event) {
	f.mu.Lock()
	en := f.entry(e.Name)
	if en == nil || e.Generation <= en.local.Generation { // settings, or a longer wait: no move
		f.mu.Unlock()
		return
	}
	first := en.local.Generation == 0
	en.local = e
	switch {
	case e.Remote, first && plain(e):
	case !e.Ordered && plain(e) && !en.writing && plainRecord(en.shared):
		en.dirty, en.base = false, en.shared.seq // the fleet is there already: a time was over everywhere
	default:
		en.reset = en.reset || e.Reset
		f.enqueue(e.Name, en)
	}
	f.mu.Unlock()
	f.settle(e.Name)
	f.signal()
}

// enqueue has a breaker's move told. The caller holds the lock.
func (f *Fleet) enqueue(name string, en *entry) {
	en.dirty = true
	if !en.queued {
		en.queued = true
		f.queue = append(f.queue, name)
	}
}

// signal wakes the writer.
func (f *Fleet) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// plain is where every breaker begins: nothing to tell.
func plain(e breaker.Event) bool { return e.To == api.StateClosed && e.Mode == api.ModeAutomatic }

func plainRecord(r record) bool {
	return r.seq == 0 || r.body.State == api.StateClosed && r.body.Mode == api.ModeAutomatic
}

// fold takes in a move of the fleet's history. The caller holds the lock.
func (f *Fleet) fold(r record) {
	en := f.entry(r.body.Name)
	if en == nil {
		f.count.Ignored++
		return
	}
	if r.seq > en.shared.seq {
		r.due = f.due(r)
		en.shared = r
	}
}

// due is when a move's time is over. Left is what the mover had left when Redis
// took the move, by Redis's clock; since then Redis's clock has gone on. The
// result lies between now and now plus Left whatever that clock does.
func (f *Fleet) due(r record) time.Time {
	if r.body.Left == 0 {
		return time.Time{}
	}
	now, left := time.Now(), time.Duration(r.body.Left)*time.Millisecond
	passed := f.link.clock + now.Sub(f.born) - time.Duration(r.at)*time.Millisecond
	return now.Add(min(max(left-passed, 0), left))
}

// settle moves this replica's breaker to where the fleet's is, unless it has
// moves of its own to tell first. It holds no lock while the breaker moves.
func (f *Fleet) settle(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		en := f.entries[name]
		if en == nil || !en.behind() {
			return
		}
		b, err := f.opts.Breakers.Get(name)
		if err != nil {
			en.local = breaker.Event{} // it was removed
			return
		}
		seq, r := en.shared.seq, en.remote()
		if en.agrees(f.origin) {
			en.base = seq
			continue
		}
		en.applying = true
		f.mu.Unlock()
		moved, err := b.Apply(r)
		now := b.Latest()
		f.mu.Lock()
		en.applying = false
		if err != nil || !moved && now.Generation != r.Generation {
			if en.local.Generation == r.Generation {
				return // it has moved by itself: that is about to be noted
			}
			continue // that was noted meanwhile
		}
		en.base = max(en.base, seq)
		if moved {
			f.count.Applied++
		}
		if now.Remote && now.Generation > en.local.Generation {
			en.local = now
		}
	}
}

// behind tells whether the fleet has moved on and nothing is under way here.
func (en *entry) behind() bool {
	return en.shared.seq > en.base && en.local.Generation != 0 && !en.dirty && !en.writing && !en.applying
}

// agrees tells whether the fleet's last move leaves this replica's breaker where
// it is: it is our own, read before it was known to be taken, or another's claim
// to probe while we do, for our claim ran out and our probe may yet succeed.
func (en *entry) agrees(origin string) bool {
	m := en.shared.body
	return m.Origin == origin && m.Generation == strconv.FormatUint(en.local.Generation, 10) ||
		en.claimed() && en.probes == en.local.Generation
}

// claimed tells whether another replica probes.
func (en *entry) claimed() bool {
	return en.shared.body.State == api.StateHalfOpen && en.shared.body.Mode == api.ModeAutomatic
}

// remote is the fleet's last move as this replica's breaker is told it.
func (en *entry) remote() breaker.Remote {
	m := en.shared.body
	r := breaker.Remote{
		State: m.State, Mode: m.Mode, Until: en.shared.due, Reason: m.Reason, Actor: m.Actor, TraceID: m.TraceID,
		Generation: en.local.Generation, Reset: m.Reset,
	}
	if m.Instance != "" {
		r.Reason = m.Instance + ": " + m.Reason
	}
	if en.claimed() {
		r.State, r.Wait, r.Reason = api.StateOpen, true, m.Instance+" probes"
	}
	if r.State == api.StateOpen {
		if r.Mode == api.ModeAutomatic || !r.Until.IsZero() {
			r.Until = later(r.Until)
		}
		r.Wait = r.Wait || en.local.To == api.StateOpen && en.local.Mode == r.Mode && en.local.Reason == r.Reason
	}
	return r
}

// A replica that was told to open waits a little longer than the one that told
// it, so that this one probes first and the others hear of it. They do not wait
// equally long, lest they all take its place at once.
const (
	leastStagger = 250 * time.Millisecond
	mostStagger  = 750 * time.Millisecond
)

func later(t time.Time) time.Time {
	return time.Now().Add(max(time.Until(t), 0) + leastStagger + rand.N(mostStagger-leastStagger))
}

// How long others wait for the outcome of a claim to probe: as long as the
// breaker would have been open, within these bounds.
const (
	leastClaim = time.Second
	mostClaim  = 10 * time.Second
)

// body is the local move as the fleet is told it. The caller holds the lock.
func (f *Fleet) body(name string, en *entry) body {
	e := en.local
	m := body{
		Name: name, State: e.To, Mode: e.Mode, Reason: clip(e.Reason, maxWords), Actor: clip(e.Actor, maxWords), TraceID: clip(e.TraceID, 64),
		Origin: f.origin, Generation: strconv.FormatUint(e.Generation, 10), Ordered: e.Ordered, Reset: en.reset,
	}
	if !e.Remote {
		m.Instance = f.opts.Name
	}
	switch {
	case !e.Until.IsZero():
		m.Left = min(max(time.Until(e.Until), time.Millisecond), maxLeft).Milliseconds()
	case e.To == api.StateHalfOpen:
		m.Left = f.claim(name).Milliseconds()
	}
	return m
}

func (f *Fleet) claim(name string) time.Duration {
	b, err := f.opts.Breakers.Get(name)
	if err != nil {
		return leastClaim
	}
	return min(max(b.Options().RecoveryTimeout, leastClaim), mostClaim)
}
