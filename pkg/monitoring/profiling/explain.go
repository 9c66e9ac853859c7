package profiling

import (
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// encodeWall makes a profile of the stacks that were seen, each snapshot
// standing for the same time, and notes in s how far it can be trusted.
func (c *capture) encodeWall(p *Profiler, s *api.Profile) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	period := (c.end - c.marked) / max(c.snapshots, 1)
	b := hotspot.NewBuilder(wallTypes, period)
	for _, st := range c.wall.list {
		b.Add(st.frames, st.count, st.count*period)
	}
	s.Note = accuracy(c.samples)
	if before := c.marked - c.start; s.Note != "" && c.trigger == api.TriggerSlow {
		s.Note += fmt.Sprintf(", from %v on", duration(before).Round(time.Millisecond))
	}
	if c.wall.lost > 0 {
		s.Note = join(s.Note, fmt.Sprintf("%d samples of stacks that found no room are not in it", c.wall.lost))
	}
	return b.Encode(p.base.Add(duration(c.marked)), duration(c.end-c.marked))
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// explain makes what it can of the goroutine snapshots.
func (c *capture) explain(note string) *api.Explanation {
	c.mu.Lock()
	own := c.wall.own(c.start, c.outer)
	c.mu.Unlock()
	x := exectrace.FromSamples(own, duration(c.end-c.start))
	if note != "" {
		x.Notes = append(x.Notes, note)
	}
	return x
}
