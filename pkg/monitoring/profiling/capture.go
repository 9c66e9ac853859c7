package profiling

import (
	"cmp"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// capture follows one request that is slow or forced.
type capture struct {
	id, trigger   string
	key, parent   uint64
	who           who
	route         string // as far as it was known before the end
	start, marked int64  // nanoseconds since the Profiler's base

	// Set by endMarked, before the capture is handed on.
	end       int64
	operation string
	rec       *Recording
	goroutine int64    // that served the request; 0 where no trace is recorded
	outer     []string // the functions it had yet to return to

	mu         sync.Mutex // guards what samplers add
	wall       *stacks
	cpu        *hotspot.Builder
	snapshots  int64 // that were taken while it ran
	samples    int64 // its goroutines in all snapshots
	cpuSamples int64
	stored     bool
}

var (
	wallTypes = []hotspot.ValueType{{Type: "samples", Unit: "count"}, {Type: "wall", Unit: "nanoseconds"}}
	cpuTypes  = []hotspot.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}
)

// newCapture follows the request of a slot that the caller has marked.
func (p *Profiler) newCapture(s *slot, run uint64, trigger, route string) *capture {
	return &capture{
		id: NewID(), trigger: trigger, key: s.key(genOf(run)), parent: s.parent.Load(), who: s.who, route: route,
		start: s.start, marked: p.now(), wall: newStacks(&p.stackBytes), rec: s.rec.Load(),
	}
}

// force marks a request that has just begun.
func (p *Profiler) force(h Handle) *capture {
	c := p.mark(h.s, h.run, api.TriggerRequest, "")
	if c == nil {
		return nil
	}
	select {
	case p.sampleNow <- struct{}{}:
	default: // a snapshot is due anyway
	}
	return c
}

// mark moves a running request to phaseMarked and follows it, unless it ended
// meanwhile. If too many are followed it is counted, once, and let go.
func (p *Profiler) mark(s *slot, run uint64, trigger, route string) *capture {
	p.mu.Lock()
	full := len(p.active) >= p.opts.MaxCaptures
	to := withPhase(run, phaseMarked)
	if full {
		to = withPhase(run, phaseMissed)
	}
	var c *capture
	ok := s.state.CompareAndSwap(run, to)
	if ok && !full {
		c = p.newCapture(s, run, trigger, route)
		p.active[c.key] = c
	}
	p.mu.Unlock()
	if ok && full {
		p.store.Drop("captures_at_once")
	}
	if c != nil {
		p.pokeTrace()
	}
	return c
}

// endMarked ends a request that is followed: it decides whether its profile is
// kept and hands it to Run without waiting.
func (p *Profiler) endMarked(h Handle, f Finish) string {
	late := p.cpu.profiling.Load()
	p.mu.Lock()
	c := p.active[h.key()]
	if c == nil { // missed, ended before, or only read when End came
		p.mu.Unlock()
		for _, phase := range [2]uint64{phaseMissed, phaseRunning} {
			if h.s.state.CompareAndSwap(withPhase(h.run, phase), withPhase(h.run, phaseFree)) {
				p.table.give(h.s, late)
				break
			}
		}
		return ""
	}
	delete(p.active, h.key())
	c.end, c.rec = p.now(), h.s.rec.Load()
	c.operation = operation(c.who.Method, cmp.Or(f.Route, c.who.Path))
	reason := p.refuse(c)
	if reason == "" {
		p.settling[c.id] = c
	}
	p.mu.Unlock()
	h.s.state.Store(withPhase(h.run, phaseFree))
	p.table.give(h.s, late)
	if reason == "" {
		if reason = p.handOn(c); reason == "" {
			return c.id
		}
	}
	c.free()
	p.store.Drop(reason)
	return ""
}

// handOn gives a capture that ended to Run. It says why it could not, or "".
func (p *Profiler) handOn(c *capture) (reason string) {
	c.outer = callers(2)
	if p.tracing.Load() {
		c.goroutine = goroutineID()
	}
	select {
	case p.finished <- c:
		p.awaitCPU(c)
		return ""
	default:
		p.settled(c)
		return "queue_full"
	}
}

// settled says that a capture's profile is there, or never will be.
func (p *Profiler) settled(c *capture) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.settling, c.id)
}

func (c *capture) free() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored = true
	c.wall.free()
}

// operation is a method and a route, which may be a pattern with its method, as
// "GET /reports/{id}" is.
func operation(method, route string) string {
	route = cut(route) // it may be a path that a client made up
	if method == "" || len(route) > len(method) && route[:len(method)] == method && route[len(method)] == ' ' {
		return route
	}
	return method + " " + route
}

// awaitCPU lets a capture that ended wait for the CPU window it ended in.
func (p *Profiler) awaitCPU(c *capture) {
	if p.Mode() != ModeOn {
		return
	}
	p.mu.Lock()
	full := len(p.ended) >= p.opts.MaxCaptures
	if !full {
		p.ended = append(p.ended, c)
	}
	p.mu.Unlock()
	if full {
		p.store.Drop("cpu_queue_full")
	}
}

// routeBurst counts the profiles of one operation since it was cool.
type routeBurst struct {
	since   int64
	kept    int
	slowest int64
}

// refuse says why a capture's profile is not kept, or "". Callers hold p.mu.
func (p *Profiler) refuse(c *capture) string {
	if !p.running.Load() {
		return "not_running"
	}
	if c.trigger == api.TriggerRequest && c.rec.name() == "" {
		return "" // an operator asked for this one
	}
	if minute := c.end / int64(time.Minute); minute != p.minute {
		p.minute, p.inMinute = minute, 0
	}
	if p.inMinute >= p.opts.MaxPerMinute {
		return "per_minute"
	}
	took, b := c.end-c.start, p.routes[c.operation]
	if b == nil || c.end-b.since > int64(p.opts.CoolDown) {
		if len(p.routes) >= 1000 { // operations may be made up by clients
			clear(p.routes)
		}
		b = &routeBurst{since: c.end}
		p.routes[c.operation] = b
	}
	if b.kept >= p.opts.RouteBurst && took <= b.slowest {
		return "cool_down"
	}
	b.kept++
	b.slowest = max(b.slowest, took)
	p.inMinute++
	return ""
}

// summary is what the profiles of a capture have in common.
func (p *Profiler) summary(c *capture, id, typ string) api.Profile {
	end := c.end
	if end == 0 {
		end = p.now()
	}
	name := c.operation
	if name == "" { // it runs
		name = operation(c.who.Method, cmp.Or(c.route, c.who.Path))
	}
	s := newSummary(id, name, c.trigger, p.base.Add(duration(c.start)))
	s.Type, s.TraceID, s.Duration, s.Service = typ, c.who.TraceID, api.Seconds(end-c.start), p.opts.Service
	s.Labels = map[string]string{}
	for k, v := range map[string]string{"method": c.who.Method, "host": c.who.Host, "path": c.who.Path, "request_id": c.who.RequestID} {
		if v != "" {
			s.Labels[k] = v[:min(len(v), 256)]
		}
	}
	c.rec.describe(&s)
	return s
}

func duration(ns int64) time.Duration { return time.Duration(ns) }

// storeWall keeps the wall profile of a capture that ended, with what its trace
// explains. Without that its samples explain what they can, and note says why.
func (p *Profiler) storeWall(c *capture, x *api.Explanation, note string) {
	begin := time.Now()
	defer p.settled(c)
	defer c.free()
	defer p.cost.measure(begin)
	defer p.budget.spend(begin)
	s := p.summary(c, c.id, "wall")
	data, err := c.encodeWall(p, &s)
	if err != nil {
		p.store.Drop("unreadable")
		p.log.Warn("wall profile not encoded", slog.String("profile_id", c.id), slog.Any("error", err))
		return
	}
	if x == nil {
		x = c.explain(note)
	}
	s.Explanation = x
	p.keep(s, data)
}

// storeCPU keeps the CPU samples of a capture whose last window is done.
func (p *Profiler) storeCPU(c *capture) {
	defer p.cost.measure(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cpuSamples == 0 {
		return
	}
	data, err := c.cpu.Encode(p.base.Add(duration(c.start)), duration(c.end-c.start))
	if err != nil {
		p.store.Drop("unreadable")
		return
	}
	s := p.summary(c, NewID(), "cpu")
	s.Note = accuracy(c.cpuSamples)
	p.keep(s, data)
}

// Active returns what is being taken: slow and forced requests, those that have
// just ended, and captures.
func (p *Profiler) Active() []api.Profile {
	p.mu.Lock()
	out := make([]api.Profile, 0, len(p.active)+len(p.settling)+len(p.manual))
	for _, s := range p.manual {
		out = append(out, s)
	}
	for _, c := range p.active {
		out = append(out, p.activeSummary(c))
	}
	for _, c := range p.settling {
		out = append(out, p.activeSummary(c))
	}
	p.mu.Unlock()
	sortNewest(out)
	return out
}

func (p *Profiler) activeSummary(c *capture) api.Profile {
	s := p.summary(c, c.id, "wall")
	s.State = "active"
	return s
}
