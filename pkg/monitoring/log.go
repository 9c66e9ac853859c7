package monitoring

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler puts request_id and trace_id on every record whose context is a
// request's or holds a span, and hands it on to next. They stand at the top of
// the record, whatever groups the logger has, and a record that brings one of
// them keeps its own.
func LogHandler(next slog.Handler) slog.Handler {
	switch next.(type) {
	case *logHandler, *jsonHandler:
		return next // does so already
	}
	return &logHandler{top: next, next: next}
}

type logHandler struct {
	top  slog.Handler                      // before the first group was opened
	next slog.Handler                      // with all groups and attributes
	then []func(slog.Handler) slog.Handler // what makes next of top, from the first group on
}

func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h *logHandler) Handle(ctx context.Context, rec slog.Record) error {
	rq, _ := ctx.Value(requestKey{}).(*request)
	sc := trace.SpanContextFromContext(ctx)
	if rq == nil && !sc.IsValid() {
		return h.next.Handle(ctx, rec)
	}
	var ids []slog.Attr
	own := &rec
	if len(h.then) > 0 {
		own = nil // its attributes are in a group
	}
	if rq != nil && !brings(own, "request_id") {
		ids = append(ids, slog.String("request_id", rq.id))
	}
	if sc.IsValid() && !brings(own, "trace_id") {
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

// brings tells whether the record has an attribute of that name. Nil has none.
func brings(rec *slog.Record, name string) (found bool) {
	if rec == nil {
		return false
	}
	rec.Attrs(func(a slog.Attr) bool {
		found = a.Key == name
		return !found
	})
	return found
}

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	if len(h.then) == 0 {
		next := h.next.WithAttrs(as)
		return &logHandler{top: next, next: next}
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
	return &logHandler{h.top, f(h.next), append(slices.Clip(h.then), f)}
}
