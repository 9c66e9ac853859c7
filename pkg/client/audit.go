package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Audit lists what was changed on the server, newest first: at most limit
// records, since a time in a form that the API takes, "" for all.
func (c *Client) Audit(ctx context.Context, since string, limit int) (api.Audit, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if since != "" {
		q.Set("since", since)
	}
	var out api.Audit
	err := c.get(ctx, "/monitoring/audit", q, &out)
	return out, err
}
