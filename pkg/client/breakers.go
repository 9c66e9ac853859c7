package client

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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
	HalfOpen bool      // to half-open, so that trial calls decide; closed ones stay closed
	State    api.State // of all: those in this state only; "" for any
	Name     string    // of all: those that this glob matches; "" for any
}

func (r Reset) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	if r.HalfOpen {
		q.Set("to", string(api.StateHalfOpen))
	}
	set("state", string(r.State))
	set("name", r.Name)
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
		out.PreviousState, out.State = before.State, api.StateClosed
	}
	err = c.act(ctx, breakerPath(name, "reset"), r.query(), r.Action, &out)
	return out, err
}

// ResetAllBreakers resets every circuit breaker that r selects. A Python
// server's answer tells no names: it is completed from its list of before.
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
			out.Reset = append(out.Reset, api.ResetBreaker{Name: name, PreviousState: before[name].State, State: api.StateClosed})
		}
	}
	return out, nil
}

// CanReset refuses with [CodeUnsupported] a reset that the server would not do
// as asked: a Python server knows closed ones only, resets all or one, and no
// name with a slash.
func (c *Client) CanReset(ctx context.Context, r Reset, names ...string) error {
	if r.DryRun {
		if _, err := c.DryRun(ctx, nil); err != nil {
			return err
		}
	}
	if r.HalfOpen {
		return c.refusePython(ctx, "a Python server has no reset to half-open and would close the breakers")
	}
	if r.State != "" || r.Name != "" {
		return c.refusePython(ctx, "a Python server would reset every breaker, not the selected ones")
	}
	for _, name := range names {
		if strings.Contains(name, "/") {
			return c.refusePython(ctx, fmt.Sprintf("a Python server cannot reset %q by name, for its slash: a reset of all does", name))
		}
	}
	return nil
}

// Force is a state that an operator can force upon a breaker, or end.
type Force string

// The orders of an operator, by their names in the API.
const (
	ForceOpen Force = "force-open" // reject every call; lapses into half-open
	Disable   Force = "disable"    // let every call through; lapses into closed
	Automatic Force = "automatic"  // end either
)

// Change is an order with what goes with it.
type Change struct {
	Action
	Force Force
	For   time.Duration // how long it holds; 0 until told otherwise
}

// CanChange refuses with [CodeUnsupported] what the server cannot do as asked.
func (c *Client) CanChange(ctx context.Context, o Change) error {
	if o.DryRun {
		if _, err := c.DryRun(ctx, nil); err != nil {
			return err
		}
	}
	return c.refusePython(ctx, "a Python server cannot force the state of a breaker")
}

// ChangeBreaker gives the order to one circuit breaker.
func (c *Client) ChangeBreaker(ctx context.Context, name string, o Change) (api.BreakerChange, error) {
	var out api.BreakerChange
	if err := c.CanChange(ctx, o); err != nil {
		return out, err
	}
	q := url.Values{}
	if o.Force != Automatic {
		q.Set("for", seconds(o.For))
	}
	err := c.act(ctx, breakerPath(name, string(o.Force)), q, o.Action, &out)
	return out, err
}

// EventQuery picks events of breakers; its zero value picks the newest 100.
type EventQuery struct {
	Name  string // a glob; "" means all
	Since string // as the API takes it: RFC 3339, Unix seconds, a duration back from now; "" means all that are kept
	Limit int    // 1–1000; 0 means the server's default
}

func (e EventQuery) query() url.Values {
	q := url.Values{}
	if e.Name != "" {
		q.Set("name", e.Name)
	}
	if e.Since != "" {
		q.Set("since", e.Since)
	}
	if e.Limit > 0 {
		q.Set("limit", strconv.Itoa(e.Limit))
	}
	return q
}

const noEvents = "a Python server keeps no events of its breakers"

// BreakerEvents returns what happened to the breakers, newest first.
func (c *Client) BreakerEvents(ctx context.Context, e EventQuery) (api.BreakerEvents, error) {
	var out api.BreakerEvents
	if err := c.refusePython(ctx, noEvents); err != nil {
		return out, err
	}
	err := c.get(ctx, breakersPath+"/events", e.query(), &out)
	return out, err
}

// FollowBreakerEvents calls f with each event from now on, until ctx is done,
// f fails, or the stream breaks, which is an error. Lost counts events that the
// server could not deliver.
func (c *Client) FollowBreakerEvents(ctx context.Context, e EventQuery, opened func(), f func(api.BreakerEvent) error) error {
	if err := c.refusePython(ctx, noEvents); err != nil {
		return err
	}
	q := e.query()
	q.Set("stream", "true")
	return c.follow(ctx, breakersPath+"/events", q, opened, func(kind string, data []byte) error {
		if kind != "transition" {
			return nil // of a newer server
		}
		var ev api.BreakerEvent
		if err := decode(data, &ev); err != nil {
			return unreadable(0, "the stream's event is not the API's: %v", err)
		}
		return f(ev)
	})
}

func breakerPath(name, verb string) string {
	return breakersPath + "/" + url.PathEscape(name) + "/" + verb
}

// seconds writes a duration as the API takes it, exactly.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }
