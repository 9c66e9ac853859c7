package profiling

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Mode says how much profiling goes on by itself.
type Mode string

// The modes of a [Profiler].
const (
	ModeOff   Mode = "off"   // nothing
	ModeWatch Mode = "watch" // slow requests, by goroutine snapshots
	ModeOn    Mode = "on"    // also CPU windows and the flight recorder; recordings are kept however fast they are
)

var modes = [...]Mode{ModeOff, ModeWatch, ModeOn}

func modeIndex(m Mode) int { return slices.Index(modes[:], m) }

// Mode returns the mode that is set.
func (p *Profiler) Mode() Mode { return modes[p.mode.Load()] }

// setMode is called under p.mu, as the mode and its end belong together.
func (p *Profiler) setMode(m Mode) {
	p.mode.Store(uint32(modeIndex(m)))
	p.cpu.always(m == ModeOn)
	p.pokeTrace()
}

// Enable sets mode on for a duration, 0 meaning until Disable, then back to
// watch. A slowThreshold of 0 leaves the threshold as it is, and another leaves
// those of Options.Thresholds. It returns when the mode ends; zero means never.
func (p *Profiler) Enable(d, slowThreshold time.Duration) (until time.Time) {
	if d > 0 {
		until = time.Now().Add(d)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slowThreshold > 0 {
		p.threshold.Store(int64(slowThreshold))
	}
	p.until = until
	p.setMode(ModeOn)
	return until
}

// Disable sets mode watch or off. The slow threshold is as configured again.
func (p *Profiler) Disable(m Mode) error {
	if m != ModeWatch && m != ModeOff {
		return fmt.Errorf("profiling mode %q: want watch or off", m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	p.threshold.Store(int64(p.opts.SlowThreshold))
	p.setMode(m)
	return nil
}

// lapse ends mode on when its time is over.
func (p *Profiler) lapse(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.until.IsZero() && now.After(p.until) {
		p.until = time.Time{}
		p.threshold.Store(int64(p.opts.SlowThreshold))
		p.setMode(ModeWatch)
	}
}

// SlowThreshold returns how long a request takes before it is slow.
func (p *Profiler) SlowThreshold() time.Duration { return time.Duration(p.threshold.Load()) }

// thresholdOf returns the threshold of a route.
func (p *Profiler) thresholdOf(route string) time.Duration {
	if d, ok := p.opts.Thresholds[route]; ok {
		return d
	}
	if _, path, ok := strings.Cut(route, " "); ok {
		if d, ok := p.opts.Thresholds[path]; ok {
			return d
		}
	}
	return p.SlowThreshold()
}

// lowestThreshold is below which no request is slow, in nanoseconds.
func (p *Profiler) lowestThreshold() int64 {
	least := p.threshold.Load()
	for _, d := range p.opts.Thresholds {
		least = min(least, int64(d))
	}
	return least
}

// route returns the pattern that a request takes, as far as that is known.
func (p *Profiler) route(w who) string {
	if p.opts.Route == nil || w.Method == "" {
		return ""
	}
	return p.opts.Route(w.Method, w.Host, w.Path)
}
