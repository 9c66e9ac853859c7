package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// capabilityQuery is what a server with a query engine tells.
const capabilityQuery = "query"

// Query evaluates a PromQL expression over the server's own samples at a time;
// the zero time means now.
func (c *Client) Query(ctx context.Context, expr string, at time.Time) (api.QueryResult, error) {
	q := url.Values{"expr": {expr}}
	if !at.IsZero() {
		q.Set("time", unixSeconds(at))
	}
	var out api.QueryResult
	err := c.engine(ctx, "/monitoring/metrics/query", q, &out)
	return out, err
}

// QueryRange evaluates a PromQL expression at each step from start to end.
func (c *Client) QueryRange(ctx context.Context, expr string, start, end time.Time, step time.Duration) (api.QueryResult, error) {
	q := url.Values{"expr": {expr}, "start": {unixSeconds(start)}, "end": {unixSeconds(end)}, "step": {step.String()}}
	var out api.QueryResult
	err := c.engine(ctx, "/monitoring/metrics/query_range", q, &out)
	return out, err
}

// Exemplars lists the requests that a metric's series point to, newest first,
// since a time in a form that the API takes, "" for all.
func (c *Client) Exemplars(ctx context.Context, name, since string) (api.Exemplars, error) {
	q := url.Values{"name": {name}}
	if since != "" {
		q.Set("since", since)
	}
	var out api.Exemplars
	err := c.engine(ctx, "/monitoring/metrics/exemplars", q, &out)
	return out, err
}

// Alerts returns the server's rules with the alerts of each.
func (c *Client) Alerts(ctx context.Context) (api.AlertRules, error) {
	var out api.AlertRules
	err := c.engine(ctx, "/monitoring/alerts", nil, &out)
	return out, err
}

// engine asks what needs a query engine. A server without one cannot do it,
// which is no such thing as a metric that is not found.
func (c *Client) engine(ctx context.Context, path string, q url.Values, out any) error {
	err := c.get(ctx, path, q, out)
	var p *api.Error
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		if ix, ierr := c.Index(ctx); ierr != nil || !slices.Contains(ix.Capabilities, capabilityQuery) {
			return &api.Error{Status: p.Status, Code: CodeUnsupported, Detail: "this server has no query engine: pulsectl serve has one, a Python server and a service that embeds the stack have none"}
		}
	}
	return err
}

// unixSeconds writes a time as the API reads it, to the millisecond.
func unixSeconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}
