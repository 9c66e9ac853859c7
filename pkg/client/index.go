package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

const pythonService = "python"

// Index asks what the server is. A Python server has no index; then Service is
// "python" and there are no capabilities. So is whatever else answers there
// without telling capabilities: it is trusted with nothing that a Python server
// would misunderstand. The answer is kept.
func (c *Client) Index(ctx context.Context) (api.Index, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.index != nil {
		return *c.index, nil
	}
	var ix api.Index
	if err := c.get(ctx, "/monitoring/", nil, &ix); err != nil {
		var e *api.Error
		if !errors.As(err, &e) || !noIndex(e) {
			return api.Index{}, err
		}
		ix = api.Index{}
	}
	if len(ix.Capabilities) == 0 {
		ix.Service = cmp.Or(ix.Service, pythonService)
	}
	c.index = &ix
	return ix, nil
}

// noIndex tells whether an answer means that there is no index: a page that is
// not there, that is another one, or that lies elsewhere.
func noIndex(e *api.Error) bool {
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return true
	case 0:
		return e.Code == CodeUnreadable
	}
	return e.Status < http.StatusBadRequest
}

// isPython tells whether the server is one that ignores the parameters it does
// not know, and acts.
func (c *Client) isPython(ctx context.Context) (bool, error) {
	ix, err := c.Index(ctx)
	return err == nil && len(ix.Capabilities) == 0, err
}

// refusePython refuses with [CodeUnsupported] what a Python server would
// misunderstand. Nothing has been sent then.
func (c *Client) refusePython(ctx context.Context, why string) error {
	python, err := c.isPython(ctx)
	if err == nil && python {
		err = unsupported("%s; nothing was sent", why)
	}
	return err
}

// DryRun adds to the parameters of a state-changing request what makes it a dry
// run. A server that does not know dry runs would act: that is refused with
// [CodeUnsupported].
func (c *Client) DryRun(ctx context.Context, q url.Values) (url.Values, error) {
	ix, err := c.Index(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(ix.Capabilities, "dry_run") {
		return nil, unsupported("this server does not know dry runs and would act; nothing was sent")
	}
	out := url.Values{"dry_run": {"true"}}
	for k, v := range q {
		if k != "dry_run" {
			out[k] = v
		}
	}
	return out, nil
}

func unsupported(format string, args ...any) *api.Error {
	return &api.Error{Code: CodeUnsupported, Detail: fmt.Sprintf(format, args...)}
}

// leastPrefix is how many characters of an id name something.
const leastPrefix = 4

// unique finds the one thing whose id begins with a prefix, as this project's
// servers do themselves. none is the error if there is none.
func unique[T any](what, prefix string, all []T, id func(T) string, none error) (T, error) {
	var found []T
	var ids []string
	for _, v := range all {
		if len(prefix) >= leastPrefix && strings.HasPrefix(id(v), prefix) {
			found, ids = append(found, v), append(ids, id(v))
		}
	}
	var zero T
	switch len(found) {
	case 0:
		return zero, none
	case 1:
		return found[0], nil
	}
	e := api.Errorf(http.StatusNotFound, "the prefix %q is of %d %s: %s", prefix, len(ids), what, strings.Join(ids, ", "))
	e.Candidates = ids
	return zero, e
}
