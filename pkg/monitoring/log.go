package monitoring

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler puts request_id and trace_id on every record whose context is a
// request's or holds a span, and hands it on to next. They stand at the top of
// the record, whatever groups the logger has, and a record or a logger that
// brings one of them keeps its own.
func LogHandler(next slog.Handler) slog.Handler {
	switch next.(type) {
	case *logHandler, *jsonHandler:
		return next // does so already
	}
	return &logHandler{top: next, next: next}
}

// ownIDs tells which ids a record or its logger brings.
type ownIDs struct{ request, trace bool }

func (o *ownIDs) note(key string) {
	o.request = o.request || key == "request_id"
	o.trace = o.trace || key == "trace_id"
}

// with is o with those that a record brings that is in no group.
func (o ownIDs) with(rec *slog.Record) ownIDs {
	rec.Attrs(func(a slog.Attr) bool {
		o.note(a.Key)
		return true
	})
	return o
}

type logHandler struct {
	top  slog.Handler                      // before the first group was opened
	next slog.Handler                      // with all groups and attributes
	then []func(slog.Handler) slog.Handler // what makes next of top, from the first group on
	own  ownIDs                            // of top
}

func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *logHandler) Handle(ctx context.Context, rec slog.Record) error {
	rq, _ := ctx.Value(requestKey{}).(*request)
	sc := trace.SpanContextFromContext(ctx)
	if rq == nil && !sc.IsValid() {
		return h.next.Handle(ctx, rec)
	}
	var ids []slog.Attr
	own := h.own
	if len(h.then) == 0 { // else its attributes are in a group
		own = own.with(&rec)
	}
	if rq != nil && !own.request {
		ids = append(ids, slog.String("request_id", rq.id))
	}
	if sc.IsValid() && !own.trace {
		ids = append(ids, slog.String("trace_id", sc.TraceID().String()))
	}
	if len(h.then) == 0 {
		rec = rec.Clone()
		rec.AddAttrs(ids...)
		return h.next.Handle(ctx, rec)
	}
	out := h.top.WithAttrs(ids)
	for _, f := range h.then {
		out = f(out)
	}
	return out.Handle(ctx, rec)
}

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	if len(h.then) == 0 {
		next, own := h.next.WithAttrs(as), h.own
		for _, a := range as {
			own.note(a.Key)
		}
		return &logHandler{top: next, next: next, own: own}
	}
	return h.and(func(to slog.Handler) slog.Handler { return to.WithAttrs(as) })
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.and(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *logHandler) and(f func(slog.Handler) slog.Handler) slog.Handler {
	return &logHandler{h.top, f(h.next), append(slices.Clip(h.then), f), h.own}
}
