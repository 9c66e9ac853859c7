package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Acquire says which permit is wanted of a circuit breaker.
type Acquire struct {
	Action
	Lease  time.Duration // within which the permit must be reported or renewed; 0 means the breaker's call timeout
	Create bool          // make the breaker if there is none

	// Of a breaker that is made, or was by an earlier request; zero means the
	// server's default.
	FailureThreshold, SuccessThreshold int
	RecoveryTimeout                    time.Duration
	Timeout                            time.Duration // of a call; negative means none
}

func (a Acquire) query() url.Values {
	q := url.Values{}
	if a.DryRun {
		q.Set("dry_run", "true") // whoever gives permits knows it
	}
	if a.Lease > 0 {
		q.Set("lease", seconds(a.Lease))
	}
	if a.Create {
		q.Set("create", "true")
	}
	if a.FailureThreshold > 0 {
		q.Set("failure_threshold", strconv.Itoa(a.FailureThreshold))
	}
	if a.SuccessThreshold > 0 {
		q.Set("success_threshold", strconv.Itoa(a.SuccessThreshold))
	}
	if a.RecoveryTimeout > 0 {
		q.Set("recovery_timeout", seconds(a.RecoveryTimeout))
	}
	if a.Timeout != 0 {
		q.Set("timeout", seconds(max(a.Timeout, 0)))
	}
	return q
}

// AcquireBreaker asks for the right to make one call. A rejected call is an
// error of status 503 with a State. A server that gives no permits is
// [CodeUnsupported].
func (c *Client) AcquireBreaker(ctx context.Context, name string, a Acquire) (api.BreakerPermit, error) {
	var out api.BreakerPermit
	err := c.do(ctx, http.MethodPost, breakerPath(name, "acquire"), a.query(), nil, &out)
	var e *api.Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound && (strings.HasPrefix(e.Detail, noRoute) || strings.HasPrefix(e.Detail, "there is no ")) {
		return out, unsupported("this server gives no permits of its circuit breakers: want a pulsectl server that has them")
	}
	return out, err
}

// RenewBreaker starts the time of a permit anew.
func (c *Client) RenewBreaker(ctx context.Context, name, permit string) (api.BreakerPermit, error) {
	var out api.BreakerPermit
	err := c.do(ctx, http.MethodPost, breakerPath(name, "acquire"), url.Values{"permit": {permit}}, nil, &out)
	return out, err
}

// ReportBreaker says how the call of a permit ended. traceparent is the call's
// in the W3C's form, "" if it has none.
func (c *Client) ReportBreaker(ctx context.Context, name string, r api.BreakerReport, traceparent string) (api.BreakerReported, error) {
	var out api.BreakerReported
	body, err := json.Marshal(r)
	if err != nil {
		return out, err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if traceparent != "" {
		h.Set("Traceparent", traceparent)
	}
	err = c.doWith(ctx, http.MethodPost, breakerPath(name, "report"), nil, h, bytes.NewReader(body), &out)
	return out, err
}
