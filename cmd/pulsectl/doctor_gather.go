package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/doctor"
	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// doctorFamilies are the metric families that rules read.
var doctorFamilies = []string{
	scrape.Requests, scrape.Durations, scrape.InFlight, "process_open_fds", "process_max_fds",
	"pulse_api_db_connections_active", "pulse_api_db_connections_max", "pulse_api_db_connections_wait_seconds_total",
	"pulse_api_spans_received_total", "pulse_api_spans_dropped_total", "pulse_api_spans_unlogged_total", "pulse_api_series_refused_total",
}

// picture is what becomes known of one server. Its parts are asked for at once.
type picture struct {
	in doctor.Instance

	mu sync.Mutex // guards in.Missing
}

// part asks for one part, and notes why it is missing if it is.
func (p *picture) part(name string, ask func() error) {
	if err := ask(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.in.Missing[name] = err.Error()
	}
}

// gather looks at a server: twice, so long apart, unless that is 0. Health and
// breakers must come.
func gather(ctx context.Context, c *client.Client, apart time.Duration, now func() time.Time) (doctor.Instance, error) {
	p := &picture{in: doctor.Instance{Name: c.Instance(), Missing: map[string]string{}}}
	ix, err := c.Index(ctx)
	if err != nil {
		return p.in, err
	}
	p.in.Python, p.in.Commit, p.in.StartedAt = len(ix.Capabilities) == 0, ix.Commit, ix.StartedAt.Time
	if apart > 0 {
		if p.in.Before, err = p.look(ctx, c, now); err != nil {
			return p.in, err
		}
		if err := pause(ctx, apart); err != nil {
			return p.in, err
		}
		clear(p.in.Missing)
	}
	if p.in.Now, err = p.look(ctx, c, now); err != nil {
		return p.in, err
	}
	p.in.Version = p.in.Now.Health.Version
	p.past(ctx, c)
	return p.in, ctx.Err()
}

// look asks for what changes from moment to moment.
func (p *picture) look(ctx context.Context, c *client.Client, now func() time.Time) (doctor.Look, error) {
	out := doctor.Look{At: now()}
	var healthErr, breakersErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		sent := now()
		h, err := c.Health(ctx)
		if healthErr = err; err == nil {
			out.Health = &h
			p.clock(h.Timestamp, sent, now())
		}
	})
	wg.Go(func() { out.Breakers, breakersErr = c.Breakers(ctx) })
	wg.Go(func() {
		p.part(doctor.PartSystem, func() (err error) { out.System, err = have(c.System(ctx)); return err })
	})
	wg.Go(func() {
		p.part(doctor.PartProfiling, func() (err error) { out.Profiling, err = have(c.ProfilingStats(ctx)); return err })
	})
	wg.Go(func() {
		p.part(doctor.PartMetrics, func() (err error) {
			out.Metrics, err = c.Metrics(ctx, client.MetricQuery{Names: doctorFamilies, Native: true})
			return err
		})
	})
	wg.Wait()
	if healthErr != nil {
		return out, healthErr
	}
	return out, breakersErr
}

// have is nil for an answer that did not come.
func have[T any](v T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// clock takes the server's time from its answer: it is of an instant between
// the two of ours. The answer that came fastest tells it best.
func (p *picture) clock(timestamp string, sent, received time.Time) {
	theirs, err := time.Parse(time.RFC3339Nano, timestamp)
	if err != nil {
		p.part(doctor.PartClock, func() error { return api.Errorf(0, "its timestamp %q names no zone", timestamp) })
		return
	}
	within := received.Sub(sent) / 2
	if p.in.Clock == nil || within < p.in.Clock.Within {
		p.in.Clock = &doctor.Clock{Offset: theirs.Sub(sent.Add(within)), Within: within}
	}
}

// past asks for what has happened before.
func (p *picture) past(ctx context.Context, c *client.Client) {
	threshold := doctor.SlowThreshold
	if s := p.in.Now.Profiling; s != nil && s.SlowThreshold != nil && *s.SlowThreshold > 0 {
		threshold = s.SlowThreshold.Duration()
	}
	var wg sync.WaitGroup
	for name, ask := range map[string]func() error{
		doctor.PartEvents: func() error {
			e, err := c.BreakerEvents(ctx, client.EventQuery{Limit: 1000})
			if err == nil {
				p.in.Events = append([]api.BreakerEvent{}, e.Events...) // none are not unknown
			}
			return err
		},
		doctor.PartStats: func() (err error) {
			p.in.Stats, err = have(c.TraceStats(ctx, client.StatsQuery{Since: doctor.StatsSpan.String(), Interval: doctor.StatsInterval}))
			return err
		},
		doctor.PartSlow: func() error { return p.slow(ctx, c, threshold) },
		doctor.PartHot:  func() error { return p.hot(ctx, c) },
		"failed traces": func() error {
			if p.in.Python {
				return nil
			}
			list, err := c.Traces(ctx, client.TraceQuery{State: "finished", Status: "error", Since: doctor.SlowSpan.String(), Limit: doctor.MostTraces, Spans: true})
			p.in.Failed = list.Traces
			return err
		},
	} {
		wg.Go(func() { p.part(name, ask) })
	}
	wg.Wait()
}

func (p *picture) slow(ctx context.Context, c *client.Client, threshold time.Duration) error {
	if p.in.Python {
		return api.Errorf(404, "a Python server keeps no finished traces")
	}
	list, err := c.Traces(ctx, client.TraceQuery{
		State: "finished", Sort: "slowest", MinDuration: threshold, Since: doctor.SlowSpan.String(), Limit: doctor.MostTraces, Spans: true,
	})
	if err == nil {
		p.in.Slow = &doctor.SlowTraces{Threshold: threshold, Traces: list.Traces, Total: list.Total.Value()}
	}
	return err
}

// hotApart is the least time between two processor profiles that are compared.
const hotApart = time.Minute

// hot compares the newest processor profile with the oldest of the same thing.
func (p *picture) hot(ctx context.Context, c *client.Client) error {
	list, err := c.Profiles(ctx, client.ProfileQuery{Type: "cpu", Limit: 50})
	if err != nil {
		return err
	}
	whole := slices.DeleteFunc(list.Profiles, func(p api.Profile) bool { return p.State == "active" || p.StartTime == nil })
	for i, now := range whole {
		for k := len(whole) - 1; k > i; k-- {
			before := whole[k]
			apart := now.StartTime.Sub(before.StartTime.Time)
			if apart < hotApart || before.OperationName != now.OperationName || before.Trigger != now.Trigger || !maps.Equal(before.Labels, now.Labels) {
				continue
			}
			h := &doctor.Hot{Apart: apart}
			if h.Now, err = c.ProfileTop(ctx, now.ProfileID, client.ProfileTopQuery{Limit: 100}); err != nil {
				return err
			}
			if h.Before, err = c.ProfileTop(ctx, before.ProfileID, client.ProfileTopQuery{Limit: 100}); err != nil {
				return err
			}
			p.in.Hot = h
			return nil
		}
	}
	return api.Errorf(404, "there are not two of the same operation, a minute apart: pulsectl profiles capture --type cpu takes one")
}
