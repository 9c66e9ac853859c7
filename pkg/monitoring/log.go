package monitoring

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// LogHandler puts request_id and trace_id on every record whose context is a
// request's or holds a span, and hands it on to next. They stand at the top of
// the record, whatever groups the logger has, and a record that brings one of
// them keeps its own.
func LogHandler(next slog.Handler) slog.Handler { return &logHandler{top: next, next: next} }

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
	if rq != nil && !h.brings(rec, "request_id") {
		ids = append(ids, slog.String("request_id", rq.id))
	}
	if sc.IsValid() && !h.brings(rec, "trace_id") {
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

// brings tells whether the record has an attribute of that name at its top.
func (h *logHandler) brings(rec slog.Record, name string) (found bool) {
	if len(h.then) > 0 {
		return false // its attributes are in a group
	}
	rec.Attrs(func(a slog.Attr) bool {
		found = a.Key == name
		return !found
	})
	return found
}

func (h *logHandler) WithAttrs(as []slog.Attr) slog.Handler {
	if len(h.then) == 0 {
		return LogHandler(h.next.WithAttrs(as))
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

// JSONHandler writes a JSON line a record with the names that Pulse's log
// pipelines know: timestamp (RFC 3339, UTC), level, message, then the rest,
// request_id and trace_id among it.
func JSONHandler(w io.Writer, level slog.Leveler) slog.Handler {
	return LogHandler(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: pulseName}))
}

// pulseName renames what slog itself puts on a record. A record's own attribute
// under one of slog's names comes here too: it is told by its type, or renamed
// like slog's.
func pulseName(groups []string, a slog.Attr) slog.Attr {
	switch {
	case len(groups) > 0:
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		return slog.String("timestamp", a.Value.Time().UTC().Format(time.RFC3339Nano))
	case a.Key == slog.MessageKey:
		a.Key = "message"
	}
	return a
}
