package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Events calls f with what happens on the server from now on, of the kinds that
// are named; none means all that the caller may see. opened is called once the
// stream is there. Kinds that this client does not know are left out.
func (c *Client) Events(ctx context.Context, kinds []string, opened func(), f func(api.Event) error) error {
	const path = "/monitoring/events"
	if python, err := c.isPython(ctx); err != nil {
		return err
	} else if python {
		return api.Errorf(http.StatusNotFound, "this server has no stream of events: it is a Python server")
	}
	q := url.Values{}
	if len(kinds) > 0 {
		q.Set("kind", strings.Join(kinds, ","))
	}
	return c.follow(ctx, path, q, opened, func(kind string, data []byte) error {
		switch kind {
		case api.EventBreaker, api.EventSlow, api.EventTrace, api.EventHealth, api.EventAudit, api.EventAlert:
		default:
			return nil
		}
		var e api.Event
		if err := decode(data, &e); err != nil {
			return unreadable(0, "%s: an event of kind %q: %v", path, kind, err)
		}
		return f(e)
	})
}
