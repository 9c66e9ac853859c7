package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Snapshot asks for the archive of everything that the server knows, a tar.gz
// whose parts have at most so many bytes, unpacked; 0 leaves that to the server.
// The caller reads it, closes it and bounds ctx: the server makes it as it is
// read. A Python server has none.
func (c *Client) Snapshot(ctx context.Context, maxBytes int64) (io.ReadCloser, error) {
	const path = "/monitoring/snapshot"
	q := url.Values{}
	if maxBytes > 0 {
		q.Set("max_bytes", strconv.FormatInt(maxBytes, 10))
	}
	resp, err := c.Send(ctx, http.MethodGet, path, q, nil, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return nil, transportError(err)
	}
	return nil, problem(resp, path, b)
}

// Unasked returns a client of a server that is known not to answer: everything
// asked of it is that error.
func Unasked(instance string, e *api.Error) *Client {
	return &Client{base: new(url.URL), instance: instance, broken: e}
}
