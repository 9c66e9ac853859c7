package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// collect reads batches in the bubble until ctx ends.
func collect(t *testing.T, ctx context.Context, s *tracing.Store, q tracing.Query) func() (ids []string, lost int) {
	t.Helper()
	seq, err := s.Subscribe(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var ids []string
	lost := 0
	go func() {
		defer close(done)
		for b := range seq {
			for _, f := range b.Traces {
				ids = append(ids, f.Trace.TraceID)
			}
			lost += b.Lost
		}
	}()
	return func() ([]string, int) {
		<-done
		return ids, lost
	}
}

// A trace is told once: when nothing of it runs and it has been quiet, a while
// longer where something is missing; and only if it fits.
func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{Service: "web"})
		bring(t, s, foreign("early", otlp.Span{TraceID: trace16(1), SpanID: span8(1), Name: "before", Start: 1, End: 2}))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		all := collect(t, ctx, s, tracing.Query{})
		bad := collect(t, ctx, s, tracing.Query{Status: api.StatusError})
		_, root := s.Start(t.Context(), "GET /", tracing.StartOptions{Kind: trace.SpanKindServer})
		local := root.SpanContext().TraceID().String()
		root.Fail(errors.New("broken"))
		bring(t, s, foreign("web", otlp.Span{TraceID: trace16(2), SpanID: span8(2), ParentID: span8(1), Name: "orphan", Start: 1, End: 2}))
		bring(t, s, foreign("web", otlp.Span{TraceID: trace16(3), SpanID: span8(1), Name: "whole", Start: 1, End: 2}))
		time.Sleep(5 * time.Second)
		root.End()
		time.Sleep(5 * time.Second)
		bring(t, s, foreign("web", otlp.Span{TraceID: trace16(3), SpanID: span8(2), ParentID: span8(1), Name: "late", Start: 1, End: 2}))
		time.Sleep(5 * time.Second)
		cancel()
		if ids, lost := all(); lost != 0 || !slices.Equal(ids, []string{fmt.Sprintf("%032x", 3), local, fmt.Sprintf("%032x", 2)}) {
			t.Errorf("told %v, %d lost; want the whole one, then that of here, then the orphan", ids, lost)
		}
		if ids, _ := bad(); !slices.Equal(ids, []string{local}) {
			t.Errorf("told of failures: %v, want %s", ids, local)
		}
	})
}

// A trace that fits only with spans that come late is told then, whether the
// index knows that or a look into the spans.
func TestSubscribeToWhatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		tag, err := tracing.ParseTag("card=declined")
		if err != nil {
			t.Fatal(err)
		}
		tagged := collect(t, ctx, s, tracing.Query{Tags: []tracing.Tag{tag}})
		failed := collect(t, ctx, s, tracing.Query{Status: api.StatusError})
		bring(t, s, foreign("web", otlp.Span{TraceID: trace16(1), SpanID: span8(1), Name: "whole", Start: 1, End: 2}))
		time.Sleep(5 * time.Second)
		bring(t, s, foreign("web", otlp.Span{
			TraceID: trace16(1), SpanID: span8(2), ParentID: span8(1), Name: "late", Start: 1, End: 2, Status: 2,
			Attrs: []otlp.KeyValue{{Key: "card", Value: otlp.String("declined")}},
		}))
		time.Sleep(5 * time.Second)
		cancel()
		for what, told := range map[string]func() ([]string, int){"tagged": tagged, "failed": failed} {
			if ids, _ := told(); len(ids) != 1 {
				t.Errorf("told of %s traces: %v, want the one", what, ids)
			}
		}
	})
}

// A reader that comes back with the cursor of the last trace it got misses none
// and gets none twice.
func TestSubscribeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		cursor, got := "", map[string]int{}
		for i := range byte(20) {
			ctx, cancel := context.WithCancel(t.Context())
			seq, err := s.Subscribe(ctx, tracing.Query{Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			var spans []byte
			for n := range byte(5) {
				spans = append(spans, foreign("web", otlp.Span{TraceID: trace16(i*5 + n + 1), SpanID: span8(1), Name: "x", Start: 1, End: 2})...)
			}
			bring(t, s, spans)
			for b := range seq {
				cursor = b.Cursor
				if len(b.Traces) > 0 { // the connection breaks after the first
					got[b.Traces[0].Trace.TraceID]++
					cursor = b.Traces[0].Cursor
					break
				}
			}
			cancel()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		seq, err := s.Subscribe(ctx, tracing.Query{Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for b := range seq {
			for _, f := range b.Traces {
				got[f.Trace.TraceID]++
			}
		}
		if len(got) != 100 {
			t.Errorf("%d traces told, want 100", len(got))
		}
		for id, n := range got {
			if n != 1 {
				t.Errorf("%s told %d times", id, n)
			}
		}
		if _, err := s.Subscribe(ctx, tracing.Query{Cursor: "nonsense"}); !errors.Is(err, tracing.ErrCursor) {
			t.Errorf("a cursor of nonsense: %v", err)
		}
	})
}

// A flood is cut to the newest thousand of a batch, which says so; silence
// gives a batch each ten seconds.
func TestSubscribeBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tracing.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		all := collect(t, ctx, s, tracing.Query{})
		for i := range 1500 {
			bring(t, s, foreign("web", otlp.Span{TraceID: [16]byte{1, byte(i >> 8), byte(i)}, SpanID: span8(1), Name: "x", Start: 1, End: 2}))
		}
		time.Sleep(3 * time.Second)
		cancel()
		if ids, lost := all(); len(ids) != 1000 || lost != 500 {
			t.Errorf("%d told, %d lost; want 1000 and 500", len(ids), lost)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 31*time.Second)
		defer cancel()
		seq, err := s.Subscribe(ctx, tracing.Query{})
		if err != nil {
			t.Fatal(err)
		}
		beats := 0
		for b := range seq {
			if beats++; len(b.Traces) > 0 {
				t.Errorf("told %d in silence", len(b.Traces))
			}
		}
		if beats != 3 {
			t.Errorf("%d beats in 31 s, want 3", beats)
		}
	})
}
