package monitoring

import (
	"context"
	"errors"
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
// circuit breaker as [breaker.Transport] says, each in a client span whose
// traceparent goes out with it, timed by the dependency's name. The span ends
// with the breaker's call. A nil base means [http.DefaultTransport].
func (m *Monitor) Transport(b *breaker.Breaker, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &guarded{m, b, breaker.Transport(b, &transport{m, b.Name(), base})}
}

// guarded notes the calls that the breaker rejects.
type guarded struct {
	m    *Monitor
	b    *breaker.Breaker
	base http.RoundTripper
}

func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	start := g.m.clock.now()
	resp, err := g.base.RoundTrip(r)
	if errors.Is(err, breaker.ErrOpen) {
		noteRejected(r.Context(), g.b)
		endpoint, _ := endpointOf(r)
		g.m.external(g.b.Name(), endpoint, "rejected", err, since(r.Context(), start))
	}
	return resp, err
}

// WithEndpoint names the endpoint that calls with this context go to, as a
// template such as "/repos/{owner}/{repo}/pulls": [Monitor.Transport] labels
// their time and names their span by it. Without one the label is "unmatched",
// and the span is called after the host: a raw path may hold an id.
func WithEndpoint(ctx context.Context, template string) context.Context {
	return context.WithValue(ctx, endpointKey{}, template)
}

type endpointKey struct{}

// endpointOf returns the label and the span's name of a request.
func endpointOf(r *http.Request) (endpoint, name string) {
	if template, ok := r.Context().Value(endpointKey{}).(string); ok && template != "" {
		return template, r.Method + " " + template
	}
	return metric.Unmatched, r.Method + " " + r.URL.Host
}

// transport makes the spans of calls that the breaker lets through.
type transport struct {
	m       *Monitor
	service string
	base    http.RoundTripper
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	endpoint, name := endpointOf(r)
	c := &call{t: t, start: t.m.clock.now(), endpoint: endpoint}
	c.ctx, c.span = t.m.Traces.Start(r.Context(), name, tracing.StartOptions{Kind: trace.SpanKindClient, Attrs: []attribute.KeyValue{
		attribute.String("http.request.method", r.Method), attribute.String("server.address", r.URL.Host),
		attribute.String("url.path", r.URL.Path), attribute.String("peer.service", t.service),
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
	breaker.AfterBody(c.ctx, resp, func(err error) { c.end(c.status, err) })
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

// call is one request to the dependency, from its start to its body's end.
type call struct {
	t        *transport
	start    time.Time
	endpoint string
	ctx      context.Context
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
		switch {
		case err != nil:
			c.span.Fail(err)
		case status >= http.StatusInternalServerError:
			c.span.SetStatus(api.StatusError, breaker.StatusError{Status: status}.Error())
		}
		c.span.End()
		c.t.m.external(c.t.service, c.endpoint, word, err, since(c.ctx, c.start))
	})
}
