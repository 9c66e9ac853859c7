package monitoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Transport returns a round tripper for calls to one dependency: under its
// circuit breaker, each in a client span whose traceparent goes out with it,
// timed by the dependency's name. Transport errors and statuses of 500 and
// more count as failures; a 4xx, 429 too, says that the dependency works.
//
// The span, the breaker's call and its timeout end with the body, or when the
// timeout is over, whether the body is read and closed or not. Of a connection
// that is switched to another protocol they end with the handshake. A nil base
// means [http.DefaultTransport].
func (m *Monitor) Transport(b *breaker.Breaker, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{m, b, base}
}

// WithEndpoint names the endpoint that calls with this context go to, as a
// template such as "/repos/{owner}/{repo}/pulls": [Monitor.Transport] labels
// their time and names their span by it. Without one the label is "unmatched",
// and the span is called after the host: a raw path may hold an id.
func WithEndpoint(ctx context.Context, template string) context.Context {
	return context.WithValue(ctx, endpointKey{}, template)
}

type endpointKey struct{}

type transport struct {
	m    *Monitor
	b    *breaker.Breaker
	base http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	c := &call{t: t, start: time.Now(), endpoint: metric.Unmatched}
	name := r.Method + " " + r.URL.Host
	if template, ok := r.Context().Value(endpointKey{}).(string); ok && template != "" {
		c.endpoint, name = template, r.Method+" "+template
	}
	var err error
	if c.permit, err = t.b.Allow(); err != nil {
		closeBody(r.Body)
		trace.SpanFromContext(r.Context()).AddEvent("circuit breaker rejected the call", trace.WithAttributes(attribute.String("breaker", t.b.Name())))
		t.m.external(r.Context(), t.b.Name(), c.endpoint, "rejected", err, time.Since(c.start))
		return nil, err
	}
	c.caller, c.dead = r.Context(), r.Context().Err() != nil
	c.ctx, c.cancel = t.b.CallContext(r.Context())
	c.ctx, c.span = t.m.Traces.Start(c.ctx, name, tracing.StartOptions{Kind: trace.SpanKindClient, Attrs: []attribute.KeyValue{
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Host),
		attribute.String("url.path", r.URL.Path), attribute.String("peer.service", t.b.Name()),
	}})
	returned := false
	defer func() {
		if !returned {
			c.end(0, errPanicked)
		}
	}()
	resp, err := t.base.RoundTrip(c.outgoing(r))
	returned = true
	if err != nil {
		c.end(0, err)
		return nil, err
	}
	c.status = resp.StatusCode
	switch {
	case resp.Body == nil || resp.Body == http.NoBody, resp.StatusCode == http.StatusSwitchingProtocols:
		c.end(c.status, nil) // nothing more comes of it; a switched connection is the caller's
	default:
		resp.Body = &body{resp.Body, c, context.AfterFunc(c.ctx, func() { c.end(c.status, c.ctx.Err()) })}
	}
	return resp, nil
}

// outgoing is the request as it is sent: with the trace's headers.
func (c *call) outgoing(r *http.Request) *http.Request {
	out := r.Clone(c.ctx)
	if out.Header == nil {
		out.Header = http.Header{}
	}
	sc := c.span.SpanContext()
	out.Header.Set("Traceparent", tracing.Traceparent(sc))
	if state := sc.TraceState().String(); state != "" {
		out.Header.Set("Tracestate", state)
	}
	return out
}

var errPanicked = errors.New("panic")

func closeBody(b io.Closer) {
	if b != nil {
		b.Close() // the contract of a round tripper; the request was not sent
	}
}

// call is one request to the dependency, from its permit to its body's end.
type call struct {
	t        *transport
	start    time.Time
	endpoint string
	permit   breaker.Permit
	caller   context.Context // without the breaker's timeout
	dead     bool            // the caller's context was done before the call began
	ctx      context.Context
	cancel   context.CancelFunc
	span     tracing.Span
	status   int
	once     sync.Once
}

func (c *call) end(status int, err error) {
	c.once.Do(func() {
		word := "error"
		if status > 0 {
			word = strconv.Itoa(status)
			c.span.SetInt("http.response.status_code", int64(status))
		}
		outcome, why := breaker.Success, ""
		switch {
		case err != nil:
			outcome, why = c.outcome(err), err.Error()
			c.span.Fail(err)
		case status >= http.StatusInternalServerError:
			outcome, why = breaker.Failure, fmt.Sprintf("%d %s", status, http.StatusText(status))
			c.span.SetStatus(api.StatusError, why)
		}
		c.permit.Done(outcome, why)
		c.span.End()
		c.t.m.external(c.ctx, c.t.b.Name(), c.endpoint, word, err, time.Since(c.start))
		c.cancel()
	})
}

func (c *call) outcome(err error) breaker.Outcome {
	if c.dead {
		return breaker.Ignored
	}
	return c.t.b.Outcome(c.caller, c.ctx, err)
}

// body ends the call with the response's body.
type body struct {
	io.ReadCloser
	call *call
	stop func() bool // ends the watch for the end of the call's context
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
	b.call.end(b.call.status, err)
}
