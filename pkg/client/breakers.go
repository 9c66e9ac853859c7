package client

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const breakersPath = "/monitoring/circuit-breakers"

// Breakers returns every circuit breaker of the server.
func (c *Client) Breakers(ctx context.Context) (api.Breakers, error) {
	var out api.Breakers
	err := c.get(ctx, breakersPath, nil, &out)
	for name, b := range out {
		b.Name = cmp.Or(b.Name, name)
		out[name] = b
	}
	return out, err
}

// Breaker returns one circuit breaker. It is found in the map of all, which
// every server has.
func (c *Client) Breaker(ctx context.Context, name string) (api.Breaker, error) {
	all, err := c.Breakers(ctx)
	if err != nil {
		return api.Breaker{}, err
	}
	if b, ok := all[name]; ok {
		return b, nil
	}
	return api.Breaker{}, api.Errorf(404, "circuit breaker not found: %q", name)
}

// Reset says how breakers are reset.
type Reset struct {
	Action
	HalfOpen bool // to half-open, so that trial calls decide; closed ones stay closed
}

func (r Reset) query() url.Values {
	q := url.Values{}
	if r.HalfOpen {
		q.Set("to", string(api.StateHalfOpen))
	}
	return q
}

// ResetBreaker resets one circuit breaker. A Python server does not tell the
// state before: it is looked up first.
func (c *Client) ResetBreaker(ctx context.Context, name string, r Reset) (api.BreakerReset, error) {
	var out api.BreakerReset
	if err := c.CanReset(ctx, r, name); err != nil {
		return out, err
	}
	python, err := c.isPython(ctx)
	if err != nil {
		return out, err
	}
	if python {
		before, err := c.Breaker(ctx, name)
		if err != nil {
			return out, err
		}
		out.PreviousState = before.State
	}
	err = c.act(ctx, breakersPath+"/"+url.PathEscape(name)+"/reset", r.query(), r.Action, &out)
	return out, err
}

// ResetAllBreakers resets every circuit breaker. A Python server's answer tells
// no names: it is completed from its list of before.
func (c *Client) ResetAllBreakers(ctx context.Context, r Reset) (api.BreakersReset, error) {
	var out api.BreakersReset
	if err := c.CanReset(ctx, r); err != nil {
		return out, err
	}
	before, err := c.Breakers(ctx)
	if err != nil {
		return out, err
	}
	if err := c.act(ctx, breakersPath+"/reset-all", r.query(), r.Action, &out); err != nil {
		return out, err
	}
	if out.Total == nil {
		out.Total = api.CountOf(len(before))
		for _, name := range slices.Sorted(maps.Keys(before)) {
			out.Reset = append(out.Reset, api.ResetBreaker{Name: name, PreviousState: before[name].State})
		}
	}
	return out, nil
}

// CanReset refuses with [CodeUnsupported] a reset that the server would not do
// as asked: a Python server knows closed ones only, and no name with a slash.
func (c *Client) CanReset(ctx context.Context, r Reset, names ...string) error {
	if r.DryRun {
		if _, err := c.DryRun(ctx, nil); err != nil {
			return err
		}
	}
	if r.HalfOpen {
		return c.refusePython(ctx, "a Python server has no reset to half-open and would close the breakers")
	}
	for _, name := range names {
		if strings.Contains(name, "/") {
			return c.refusePython(ctx, fmt.Sprintf("a Python server cannot reset %q by name, for its slash: a reset of all does", name))
		}
	}
	return nil
}
