package profiling

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// capture follows one request that is slow or forced.
type capture struct {
	id, trigger, label string
	req                Request
	start, marked      int64 // nanoseconds since the Profiler's base
	cleanFrom          int64 // samples before it may be another request's

	// Set by endMarked, before the capture is handed on.
	end       int64
	operation string
	rec       *Recording

	mu         sync.Mutex // guards what samplers add
	wall, cpu  *hotspot.Builder
	snapshots  int64 // that were taken while it ran
	samples    int64 // its goroutines in all snapshots
	cpuSamples int64
}

var (
	wallTypes = []hotspot.ValueType{{Type: "samples", Unit: "count"}, {Type: "wall", Unit: "nanoseconds"}}
	cpuTypes  = []hotspot.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}
)

func (p *Profiler) newCapture(s *slot, gen uint64, trigger string) *capture {
	now := p.now()
	c := &capture{
		id: NewID(), trigger: trigger, label: labelOf(s, gen), req: s.req, start: s.start.Load(), marked: now,
		cleanFrom: s.began[(gen+1)%labelsPerSlot].Load(), wall: hotspot.NewBuilder(wallTypes, int64(snapshotPeriod)),
	}
	c.rec = s.rec.Load()
	return c
}

// force marks a request that has just begun.
func (p *Profiler) force(h Handle) string {
	c := p.mark(h.s, h.gen, api.TriggerRequest)
	if c == nil {
		return ""
	}
	select {
	case p.sampleNow <- struct{}{}:
	default: // a snapshot is due anyway
	}
	return c.id
}

// mark moves a running request to phaseMarked and follows it, unless it ended
// meanwhile. If too many are followed it is counted, once, and let go.
func (p *Profiler) mark(s *slot, gen uint64, trigger string) *capture {
	p.mu.Lock()
	full := len(p.active) >= p.opts.MaxCaptures
	to := stateOf(gen, phaseMarked)
	if full {
		to = stateOf(gen, phaseMissed)
	}
	var c *capture
	ok := s.state.CompareAndSwap(stateOf(gen, phaseRunning), to)
	if ok && !full {
		c = p.newCapture(s, gen, trigger)
		p.active[s.key(gen)] = c
	}
	p.mu.Unlock()
	if ok && full {
		p.store.Drop("captures_at_once")
	}
	return c
}

// endMarked ends a request that is followed: it decides whether its profile is
// kept and hands it to Run without waiting.
func (p *Profiler) endMarked(h Handle, f Finish) string {
	p.mu.Lock()
	c := p.active[h.s.key(h.gen)]
	if c == nil { // missed, or ended before
		p.mu.Unlock()
		if h.s.state.CompareAndSwap(stateOf(h.gen, phaseMissed), stateOf(h.gen, phaseFree)) {
			p.table.give(h.s)
		}
		return ""
	}
	delete(p.active, h.s.key(h.gen))
	c.end, c.rec = p.now(), h.s.rec.Load()
	c.operation = cmp.Or(f.Route, c.req.Path)
	if c.req.Method != "" {
		c.operation = c.req.Method + " " + trimMethod(c.operation, c.req.Method)
	}
	reason := p.refuse(c)
	p.mu.Unlock()
	h.s.state.Store(stateOf(h.gen, phaseFree))
	p.table.give(h.s)
	if reason == "" {
		select {
		case p.finished <- c:
			p.awaitCPU(c)
			return c.id
		default:
			reason = "queue_full"
		}
	}
	p.store.Drop(reason)
	return ""
}

// trimMethod takes the method from a pattern such as "GET /reports/{id}".
func trimMethod(route, method string) string {
	if len(route) > len(method) && route[:len(method)] == method && route[len(method)] == ' ' {
		return route[len(method)+1:]
	}
	return route
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
	s := newSummary(id, c.operation, c.trigger, p.base.Add(time.Duration(c.start)))
	s.Type, s.TraceID, s.Duration, s.Service = typ, c.req.TraceID, api.Seconds(end-c.start), p.opts.Service
	s.Labels = map[string]string{}
	for k, v := range map[string]string{"method": c.req.Method, "host": c.req.Host, "path": c.req.Path, "request_id": c.req.RequestID} {
		if v != "" {
			s.Labels[k] = v[:min(len(v), 256)]
		}
	}
	c.rec.describe(&s)
	return s
}

// storeWall keeps the wall profile of a capture that ended.
func (p *Profiler) storeWall(c *capture) {
	defer p.cost.measure(time.Now())
	c.mu.Lock()
	n, period := c.samples, (c.end-c.marked)/max(c.snapshots, 1)
	c.wall.Scale(period)
	data, err := c.wall.Encode(p.base.Add(time.Duration(c.marked)), time.Duration(c.end-c.marked))
	c.mu.Unlock()
	if err != nil {
		p.store.Drop("unreadable")
		p.log.Warn("wall profile not encoded", slog.String("profile_id", c.id), slog.Any("error", err))
		return
	}
	s := p.summary(c, c.id, "wall")
	s.Note = accuracy(n)
	if before := c.marked - c.start; s.Note != "" && c.trigger == api.TriggerSlow {
		s.Note += fmt.Sprintf(", from %v on", time.Duration(before).Round(time.Millisecond))
	}
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
	data, err := c.cpu.Encode(p.base.Add(time.Duration(c.start)), time.Duration(c.end-c.start))
	if err != nil {
		p.store.Drop("unreadable")
		return
	}
	s := p.summary(c, NewID(), "cpu")
	s.Note = accuracy(c.cpuSamples)
	p.keep(s, data)
}

// Active returns what is being taken: slow and forced requests, and captures.
func (p *Profiler) Active() []api.Profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]api.Profile, 0, len(p.active)+len(p.manual))
	for _, s := range p.manual {
		out = append(out, s)
	}
	for _, c := range p.active {
		running := *c.copyHead()
		running.operation = running.req.Method + " " + running.req.Path
		if running.req.Method == "" {
			running.operation = running.req.Path
		}
		s := p.summary(&running, c.id, "wall")
		s.State = "active"
		out = append(out, s)
	}
	sortNewest(out)
	return out
}

func (c *capture) copyHead() *capture {
	return &capture{id: c.id, trigger: c.trigger, req: c.req, start: c.start, marked: c.marked, rec: c.rec}
}
