package client

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Overview asks for all that tells whether to worry, at once. The server's
// health and its breakers must come; of the rest, what it cannot or may not
// tell is missing, with the reason: on a Python server the profiles may be
// unreadable for ever.
func (c *Client) Overview(ctx context.Context) (api.Overview, error) {
	ix, err := c.Index(ctx)
	if err != nil {
		return api.Overview{}, err
	}
	out := api.Overview{Service: ix.Service, Missing: map[string]string{}}
	needed := []func() error{
		func() (err error) { out.Health, err = c.Health(ctx); return err },
		func() (err error) { out.Breakers, err = c.Breakers(ctx); return err },
	}
	wanted := []func() error{
		func() (err error) { out.Profiling, err = optional(c.ProfilingStats(ctx)); return err },
		func() (err error) { out.System, err = optional(c.System(ctx)); return err },
		func() (err error) { out.Traces, err = c.traceOverview(ctx, len(ix.Capabilities) == 0); return err },
	}
	parts := []string{"profiling", "system", "traces"}
	errs := make([]error, len(needed)+len(wanted))
	var wg sync.WaitGroup
	for i, f := range append(needed, wanted...) {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	if err := errors.Join(errs[:len(needed)]...); err != nil {
		return out, first(errs)
	}
	for i, err := range errs[len(needed):] {
		switch {
		case err == nil:
		case !missing(err):
			return out, err
		default:
			out.Missing[parts[i]] = err.Error()
		}
	}
	out.Version, out.Environment = out.Health.Version, out.Health.Environment
	return out, nil
}

// optional is nil for an answer that did not come.
func optional[T any](v T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// missing tells whether a server answered that it cannot or may not tell.
func missing(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden || e.Status == http.StatusInternalServerError)
}

// traceOverview counts traces. A Python server keeps only the active ones.
func (c *Client) traceOverview(ctx context.Context, python bool) (*api.TraceOverview, error) {
	if python {
		list, err := c.Traces(ctx, TraceQuery{State: "active", Limit: 100})
		if err != nil {
			return nil, err
		}
		return &api.TraceOverview{Active: api.Count(len(list.Traces))}, nil
	}
	slow, err := c.Traces(ctx, TraceQuery{State: "finished", Sort: "slowest", Limit: 1})
	if err != nil {
		return nil, err
	}
	failed, err := c.Traces(ctx, TraceQuery{State: "finished", Status: "error", Limit: 1})
	if err != nil {
		return nil, err
	}
	out := &api.TraceOverview{Active: slow.TotalActive, Kept: slow.Total, Failed: failed.Total}
	if len(slow.Traces) > 0 {
		out.Slowest = &slow.Traces[0]
	}
	if len(failed.Traces) > 0 {
		out.Error = &failed.Traces[0]
	}
	return out, nil
}
