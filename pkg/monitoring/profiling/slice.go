package profiling

import (
	"bytes"
	"cmp"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// labels turns the slot numbers of one CPU window into the requests that had
// them.
type labels struct {
	p        *Profiler
	from, to int64
	known    map[string]*tenant // nil for a label that is not one request's alone
}

func (p *Profiler) labelsOf(w window) *labels {
	return &labels{p: p, from: int64(w.from.Sub(p.base)), to: int64(w.to.Sub(p.base)), known: map[string]*tenant{}}
}

// tenant returns the one request whose goroutines carried a label during the
// window, or nil if there was none, or more than one.
func (l *labels) tenant(label string) *tenant {
	t, ok := l.known[label]
	if !ok {
		t = l.look(label)
		l.known[label] = t
	}
	return t
}

func (l *labels) look(label string) *tenant {
	s, turn := l.p.table.bySlot(label)
	if s == nil {
		return nil
	}
	last, state := s.lastTenant(turn), s.state.Load()
	if phaseOf(state) != phaseFree && genOf(state)%labelsPerSlot == turn && genOf(state) != last.gen {
		if now, ok := l.p.tenantNow(s, state); ok && now.from < l.to {
			now.before = last.to
			last = now
		}
	}
	if last.key == 0 || last.before > l.from {
		return nil
	}
	return &last
}

// tenantNow returns whose a slot in use is.
func (p *Profiler) tenantNow(s *slot, state uint64) (t tenant, ok bool) {
	gen := genOf(state)
	p.mu.Lock()
	c := p.active[s.key(gen)]
	p.mu.Unlock()
	var w who
	switch {
	case c != nil:
		w, t.from, t.route = c.who, c.start, c.route
	case phaseOf(state) == phaseRunning:
		if w, t.from, ok = p.peek(s, state); !ok {
			return t, false
		}
	default:
		return t, false
	}
	if t.route == "" {
		t.route = p.route(w)
	}
	t.gen, t.key, t.parent = gen, s.key(gen), s.parent.Load()
	t.method, t.traceID, t.requestID = w.Method, w.TraceID, w.RequestID
	return t, true
}

// relabel makes of a window what readers get: the labels of each sample say
// the request, not its place in our table.
func (p *Profiler) relabel(w window) []byte {
	defer p.cost.measure(time.Now())
	parsed, err := profile.ParseData(w.data)
	if err != nil {
		return w.data
	}
	who := p.labelsOf(w)
	for _, s := range parsed.Sample {
		numbers := s.Label[labelKey]
		if len(numbers) == 0 {
			continue
		}
		delete(s.Label, labelKey)
		if t := who.tenant(numbers[0]); t != nil {
			for k, v := range map[string]string{"method": t.method, "route": t.route, "request_id": t.requestID, "trace_id": t.traceID} {
				if _, own := s.Label[k]; v != "" && !own {
					s.Label[k] = []string{v}
				}
			}
		}
	}
	if one, err := profile.Merge([]*profile.Profile{parsed}); err == nil { // samples that are alike now
		parsed = one
	}
	var out bytes.Buffer
	if err := parsed.Write(&out); err != nil {
		return w.data
	}
	return out.Bytes()
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
	byKey := map[uint64]*capture{}
	p.mu.Lock()
	for _, c := range p.active {
		byKey[c.key] = c
	}
	for _, c := range p.ended {
		byKey[c.key] = c
	}
	p.mu.Unlock()
	if len(byKey) == 0 {
		return
	}
	who := p.labelsOf(w)
	var stack []hotspot.Frame
	parsed.EachLabelled(labelKey, func(i int, label string) {
		t := who.tenant(label)
		if t == nil {
			return
		}
		key, parent := t.key, t.parent
		for depth := 0; key != 0 && depth < 32; depth++ { // what a recording does counts for what it is part of
			next := uint64(0)
			if c := byKey[key]; c != nil {
				stack = parsed.Stack(stack[:0], i)
				c.addCPU(stack, parsed.Values(i), parsed.Period)
				next = c.parent
			}
			key, parent = cmp.Or(parent, next), 0
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
