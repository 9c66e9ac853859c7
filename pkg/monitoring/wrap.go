package monitoring

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// Trace runs f in a span of the given name below the one in ctx, and returns
// what f returns. An error or a panic marks the span failed.
func Trace[T any](ctx context.Context, m *Monitor, name string, f func(context.Context) (T, error)) (T, error) {
	return inSpan(ctx, m, name, trace.SpanKindInternal, f)
}

func inSpan[T any](ctx context.Context, m *Monitor, name string, kind trace.SpanKind, f func(context.Context) (T, error), tags ...tracing.Attr) (v T, err error) {
	ctx, span := m.Traces.Start(ctx, name, tracing.StartOptions{Kind: kind})
	if len(tags) > 0 {
		span.Set(tags...)
	}
	returned := false
	defer func() {
		reason := recover()
		switch {
		case reason != nil:
			span.SetStatus(api.StatusError, fmt.Sprint("panic: ", reason))
		case !returned: // by runtime.Goexit
			span.SetStatus(api.StatusAborted, "the goroutine was ended")
		default:
			span.Fail(err)
		}
		span.End()
		if reason != nil {
			panic(reason)
		}
	}()
	v, err = f(ctx)
	returned = true
	return v, err
}

// StartSpan starts a span by hand. Its tags are set on it, and it must be
// ended; ctx carries it to its children.
func (m *Monitor) StartSpan(ctx context.Context, name string, tags ...attribute.KeyValue) (context.Context, tracing.Span) {
	ctx, span := m.Traces.Start(ctx, name, tracing.StartOptions{})
	span.SetAttributes(tags...)
	return ctx, span
}

// Profile runs f and keeps a profile of it while profiling is enabled, or if it
// turns out slow. [Checkpoint] and [Timing] reach the profile through f's
// context.
func Profile[T any](ctx context.Context, m *Monitor, operation string, f func(context.Context) (T, error)) (T, error) {
	sc, traceID := trace.SpanContextFromContext(ctx), ""
	if sc.IsValid() {
		traceID = sc.TraceID().String()
	}
	ctx, rec := m.Profiles.Start(ctx, operation, traceID)
	defer func() {
		if id := rec.End(); id != "" && sc.IsValid() {
			m.Traces.Link(sc.TraceID(), id)
		}
	}()
	return f(ctx)
}

// Checkpoint notes the memory in use under a name, on the profile that ctx is
// bound to: of the request, or of [Profile]. Without one it does nothing.
func Checkpoint(ctx context.Context, name string) { profiling.FromContext(ctx).Checkpoint(name) }

// Timing adds a duration under a name to the profile that ctx is bound to.
// Without one it does nothing.
func Timing(ctx context.Context, name string, took time.Duration) {
	profiling.FromContext(ctx).Timing(name, took)
}

// TrackDBQuery runs a database query in a span and times it by its kind, such
// as "select", and its table. Both must be of closed sets: what belongs to a pair
// of them is worked out once.
func TrackDBQuery[T any](ctx context.Context, m *Monitor, kind, table string, f func(context.Context) (T, error)) (T, error) {
	q, start := m.queries.get([2]string{kind, table}, m.query), m.clock.now()
	defer func() { q.timer.Observe(since(ctx, start)) }()
	return inSpan(ctx, m, q.name, trace.SpanKindClient, f, q.attrs[0], q.attrs[1])
}

// query is what the queries of one kind on one table have in common.
type query struct {
	timer *metric.Timer
	name  string // of the span
	attrs [2]tracing.Attr
}

func (m *Monitor) query(k [2]string) ([2]string, *query) {
	kind, table := strings.Clone(k[0]), strings.Clone(k[1])
	return [2]string{kind, table}, &query{m.Metrics.DBQueryTimer(kind, table), "db." + kind, [2]tracing.Attr{
		m.Traces.TextKey("db.operation.name").Of(kind), m.Traces.TextKey("db.collection.name").Of(table),
	}}
}

// since returns what began at start and ends now, in the trace of ctx.
func since(ctx context.Context, start time.Time) metric.Observation {
	took := time.Since(start)
	return metric.Observation{Duration: took, End: start.Add(took), Trace: traceIn(ctx)}
}

// traceIn returns the trace of the span in ctx, zero for none.
func traceIn(ctx context.Context) tracing.TraceID {
	return trace.SpanContextFromContext(ctx).TraceID()
}

// TrackExternalAPI runs a call to an external service in a span and times it.
// service and endpoint must be of closed sets: what belongs to a pair of them is
// worked out once. An error may tell its HTTP status by a method StatusCode() int.
func TrackExternalAPI[T any](ctx context.Context, m *Monitor, service, endpoint string, f func(context.Context) (T, error)) (v T, err error) {
	c := m.calls.get([2]string{service, endpoint}, m.externalCall)
	start, outcome := m.clock.now(), errPanicked // until f has returned
	defer func() {
		if outcome == nil {
			c.good.Observe(since(ctx, start))
			return
		}
		m.external(service, endpoint, statusOf(outcome), outcome, since(ctx, start))
	}()
	v, err = inSpan(ctx, m, c.name, trace.SpanKindClient, f, c.attrs[0], c.attrs[1])
	outcome = err
	return v, err
}

// externalCall is what the calls to one endpoint of one service have in common.
type externalCall struct {
	good  *metric.Timer // of those that went well
	name  string        // of the span
	attrs [2]tracing.Attr
}

func (m *Monitor) externalCall(k [2]string) ([2]string, *externalCall) {
	service, endpoint := strings.Clone(k[0]), strings.Clone(k[1])
	return [2]string{service, endpoint}, &externalCall{m.Metrics.ExternalTimer(service, endpoint, statusOf(nil)), service + "." + endpoint, [2]tracing.Attr{
		m.Traces.TextKey("peer.service").Of(service), m.Traces.TextKey("http.route").Of(endpoint),
	}}
}

func statusOf(err error) string {
	var coded interface{ StatusCode() int }
	switch {
	case err == nil:
		return "200"
	case errors.As(err, &coded):
		return strconv.Itoa(coded.StatusCode())
	}
	return "error"
}

// external counts one call to an external service.
func (m *Monitor) external(service, endpoint, status string, err error, o metric.Observation) {
	m.Metrics.External(service, endpoint, status, o)
	if kind := errorKind(status, err); kind != "" {
		m.Metrics.ExternalError(service, kind)
	}
}

// errorKind names a failure by a word of a closed set, "" for none.
func errorKind(status string, err error) string {
	switch {
	case errors.Is(err, breaker.ErrOpen):
		return "circuit_open"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	if errors.Is(err, errPanicked) {
		return "panic"
	}
	if code, aerr := strconv.Atoi(status); aerr == nil && code >= http.StatusBadRequest {
		return "http_" + status
	}
	if err != nil {
		return "error"
	}
	return ""
}

// Guard calls f under a circuit breaker: not at all if it is open; the error
// then wraps [breaker.ErrOpen]. A rejection is noted on the span in ctx.
func Guard[T any](ctx context.Context, b *breaker.Breaker, f func(context.Context) (T, error)) (T, error) {
	v, err := breaker.Do(ctx, b, f)
	if errors.Is(err, breaker.ErrOpen) {
		noteRejected(ctx, b)
	}
	return v, err
}

// noteRejected notes a rejection on the span in ctx.
func noteRejected(ctx context.Context, b *breaker.Breaker) {
	trace.SpanFromContext(ctx).AddEvent("circuit breaker rejected the call", trace.WithAttributes(attribute.String("breaker", b.Name())))
}

// PriorityRecommendation counts a recommendation given. Its labels must be of
// closed sets; so must those of the other business counters.
func (m *Monitor) PriorityRecommendation(contextType, modelUsed string) {
	m.Metrics.PriorityRecommendation(contextType, modelUsed)
}

// Feedback counts a feedback on a recommendation.
func (m *Monitor) Feedback(recommendationType, score string) {
	m.Metrics.Feedback(recommendationType, score)
}

// EventIngested counts an event taken in.
func (m *Monitor) EventIngested(source, eventType string) { m.Metrics.EventIngested(source, eventType) }
