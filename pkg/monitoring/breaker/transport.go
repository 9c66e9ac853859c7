package breaker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Transport returns a round tripper for the calls to one dependency, under its
// breaker. Transport errors and statuses of 500 and more count as failures. A
// 4xx says that the dependency works; a 429 with Retry-After opens the breaker
// until then, Options.MaxRetryAfter at most.
//
// The call and its timeout end with the body, or when the timeout is over,
// whether the body is read and closed or not. Of a connection that is switched
// to another protocol they end with the handshake. A nil base means
// [http.DefaultTransport].
func Transport(b *Breaker, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{b, base}
}

type transport struct {
	b    *Breaker
	base http.RoundTripper
}

// RoundTrip makes one call, or returns an [OpenError].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	permit, err := t.b.Allow()
	if err != nil {
		if r.Body != nil {
			r.Body.Close() // the contract of a round tripper; the request was not sent
		}
		return nil, err
	}
	c := &exchange{permit: permit, caller: r.Context(), dead: r.Context().Err() != nil}
	c.ctx, c.cancel = permit.opts.callContext(r.Context())
	returned := false
	defer func() {
		if !returned {
			c.once.Do(func() { c.permit.finish(panicked(c.ctx)); c.cancel() })
		}
	}()
	resp, err := t.base.RoundTrip(r.WithContext(c.ctx))
	returned = true
	if err != nil {
		c.end(err)
		return nil, err
	}
	c.status = resp.StatusCode
	if wait := resp.Header.Get("Retry-After"); c.status == http.StatusTooManyRequests && wait != "" {
		permit.Throttled(c.ctx, retryAfter(wait, time.Now()), StatusError{c.status}) // at once: its body may take a while
	}
	AfterBody(c.ctx, resp, c.end)
	return resp, nil
}

// exchange is one request to the dependency, from its permit to its body's end.
type exchange struct {
	permit Permit
	caller context.Context // without the breaker's timeout
	ctx    context.Context
	cancel context.CancelFunc
	dead   bool // the caller's context was done before the call began
	status int
	once   sync.Once
}

func (c *exchange) end(err error) {
	c.once.Do(func() {
		defer c.cancel()
		switch {
		case err != nil:
			c.permit.conclude(c.caller, c.ctx, c.dead, err)
		case c.status >= http.StatusInternalServerError:
			c.permit.End(c.ctx, Failure, StatusError{c.status})
		default:
			c.permit.Done(Success, "")
		}
	})
}

// retryAfter reads a Retry-After, seconds or a date (RFC 9110, section 10.2.3);
// 0 if it is neither, or over.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// AfterBody calls end, at least once, when nothing more comes of a response: its
// body is read to the end, closed, or fails, or ctx is done while no one reads
// it. Without a body that is at once, and so it is of a connection that was
// switched to another protocol: that is the caller's.
func AfterBody(ctx context.Context, resp *http.Response, end func(error)) {
	if resp.Body == nil || resp.Body == http.NoBody || resp.StatusCode == http.StatusSwitchingProtocols {
		end(nil)
		return
	}
	resp.Body = &body{resp.Body, end, context.AfterFunc(ctx, func() { end(ctx.Err()) })}
}

type body struct {
	io.ReadCloser
	ended func(error)
	stop  func() bool // ends the watch for the end of the call's context
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.end(nil)
	case err != nil:
		b.end(err)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end(nil)
	return err
}

func (b *body) end(err error) {
	b.stop()
	b.ended(err)
}
