package live

import (
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Batch is what has become known since the one before: the screen is drawn once
// for all of it.
type Batch struct {
	Now  time.Time
	News []News
}

// News is what a server told of one part, or why it did not.
type News struct {
	Member int // its place among the servers
	Part   Part
	Value  any // see the parts
	Error  *api.Error
}

// Part is something that a server is asked for.
type Part int

// The parts, and what the news of them hold.
const (
	PartStream   Part = iota // nothing: the stream of events is there, or with an error it is not
	PartEvents               // []api.Event
	PartIndex                // api.Index
	PartHealth               // api.Health, of a server without a stream
	PartRates                // api.RouteRates; with a zero interval, where it is the first look
	PartBreakers             // api.Breakers
	PartRunning              // api.TraceList
	PartFinished             // api.TraceList, once, and again after events were missed
	PartTop                  // api.ProfileTop
	PartCache                // api.CacheStatus
	PartAlerts               // api.AlertRules
	PartDetail               // Detail
)

// keptText bounds a text of what is kept by the hundreds.
const keptText = 300

func cut(s string) string {
	if len(s) > keptText {
		return s[:keptText] + "…"
	}
	return s
}

// trim leaves of an event what a row shows.
func trim(e *api.Event) {
	if t := e.Trace; t != nil {
		trimTrace(t)
	}
	if p := e.Slow; p != nil {
		*p = api.Profile{
			ProfileID: cut(p.ProfileID), OperationName: cut(p.OperationName), Duration: p.Duration, StartTime: p.StartTime,
			TraceID: cut(p.TraceID), Trigger: cut(p.Trigger), State: cut(p.State),
		}
	}
	if b := e.Breaker; b != nil {
		b.Name, b.Reason, b.Actor = cut(b.Name), cut(b.Reason), cut(b.Actor)
	}
	if a := e.Alert; a != nil {
		*a = api.AlertChange{Rule: cut(a.Rule), Group: cut(a.Group), State: cut(a.State), From: cut(a.From), Value: a.Value, ActiveAt: a.ActiveAt}
	}
	if a := e.Audit; a != nil {
		a.Before, a.After = nil, nil
		a.Actor, a.Action, a.Target, a.Reason = cut(a.Actor), cut(a.Action), cut(a.Target), cut(a.Reason)
	}
}

func trimTrace(t *api.Trace) {
	t.Spans, t.Metadata, t.Services, t.UserID = nil, nil, nil, nil
	t.TraceID, t.Root, t.Service, t.RequestID = cut(t.TraceID), cut(t.Root), cut(t.Service), ""
}
