package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Health returns every dependency with the verdict. A server that says it is
// unhealthy, with 503, has answered: that is no error.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	var out api.Health
	const path = "/monitoring/health/detailed"
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	resp, err := c.Send(ctx, http.MethodGet, path, nil, nil, nil)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch {
	case err != nil:
		return out, transportError(err)
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable:
		return out, problem(resp, path, b)
	}
	read := decode
	if resp.StatusCode != http.StatusOK {
		read = json.Unmarshal // to tell it from a problem, whose status is a number
	}
	if err := read(b, &out); err != nil || out.Status == "" {
		if resp.StatusCode != http.StatusOK {
			return out, problem(resp, path, b)
		}
		return out, unreadable(0, "GET %s: the answer is not the API's: %s", path, cmp.Or(errors.Join(err), errNoStatus))
	}
	if out.Cache != nil && correctRedis(&out.Cache.Redis) {
		out.Status = api.Unhealthy
	}
	return out, nil
}

// Ready tells whether the server's critical checks pass. One that says no, with
// 503, has answered.
func (c *Client) Ready(ctx context.Context) (api.Ready, error) {
	var out api.Ready
	const path = "/health/ready"
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	resp, err := c.Send(ctx, http.MethodGet, path, nil, nil, nil)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return out, transportError(err)
	}
	var told struct{ Ready *bool }
	readable := json.Unmarshal(b, &told) == nil && told.Ready != nil
	switch {
	case readable && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusServiceUnavailable && !*told.Ready):
		err := json.Unmarshal(b, &out)
		out.Ready = *told.Ready
		if err != nil {
			return out, unreadable(0, "GET %s: the answer is not the API's: %v", path, err)
		}
		return out, nil
	case resp.StatusCode == http.StatusOK:
		return out, unreadable(0, "GET %s: the answer is not the API's: it does not say whether it is ready", path)
	}
	return out, problem(resp, path, b)
}

// System describes the server's process and its host.
func (c *Client) System(ctx context.Context) (api.System, error) {
	var out api.System
	err := c.get(ctx, "/monitoring/system/info", nil, &out)
	return out, err
}

var errNoStatus = errors.New("it has no status")

var credentials = regexp.MustCompile(`://[^/?#]*@`)

// correctRedis makes what a Python server says of its Redis true: there a
// "healthy" one that tells no memory does not answer, and its URL shows the
// password. It reports whether the status was wrong.
func correctRedis(r *api.RedisHealth) bool {
	r.Stats.RedisURL = credentials.ReplaceAllString(r.Stats.RedisURL, "://***@")
	if r.Status == api.Healthy && r.Stats.RedisMemory == "" {
		r.Status, r.Connected, r.Stats.Connected = api.Failed, false, false
		r.Stats.LastError = "the server calls it healthy, but it does not answer"
		return true
	}
	return false
}
