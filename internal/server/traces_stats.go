package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// statsQuery reads which spans a statistic is of.
func statsQuery(p *params, now time.Time) tracing.StatsQuery {
	return tracing.StatsQuery{
		Since: p.instant("since", now), Service: p.filter("service"), Operation: p.filter("operation"),
		Interval: p.duration("interval", 0, time.Second, 24*time.Hour),
	}
}

func (s *Server) traceStats(r *http.Request) (any, error) {
	p := query(r)
	q := statsQuery(p, time.Now())
	if err := p.problem(); err != nil {
		return nil, err
	}
	return api.TraceStats{StatsWindow: s.opts.Traces.Window(q), Operations: s.opts.Traces.Operations(q), Store: s.opts.Traces.Retention()}, nil
}

func (s *Server) traceServices(r *http.Request) (any, error) {
	p := query(r)
	q := statsQuery(p, time.Now())
	if err := p.problem(); err != nil {
		return nil, err
	}
	return s.opts.Traces.Graph(q), nil
}

// finishedTrace is the data of the event "trace".
type finishedTrace struct {
	api.Trace
	cursor string
}

func (f finishedTrace) eventID() string { return f.cursor }

// streamTraces answers with the traces that finish from now on, or after the one
// of Last-Event-ID, and fit the filters of the list.
func (s *Server) streamTraces(w http.ResponseWriter, r *http.Request) {
	p := query(r)
	q := traceQuery(p, time.Now())
	q.Spans, q.Cursor = p.text("view") == "full", r.Header.Get("Last-Event-ID")
	if q.Status == api.StatusActive {
		p.wrong("status", "want one of ok, error, timeout, aborted: what is told has finished")
	}
	if err := p.problem(); err != nil {
		s.fail(w, r, err)
		return
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	leave, err := s.enterStream()
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	batches, err := s.opts.Traces.Subscribe(ctx, q)
	if err != nil {
		cancel()
		if errors.Is(err, tracing.ErrCursor) {
			err = api.Invalid("Last-Event-ID", "%v", err)
		}
		s.fail(w, r, err)
		return
	}
	live, done := make(chan message), make(chan struct{})
	go func() {
		defer close(done)
		defer close(live)
		for b := range batches {
			if !pour(ctx, b, live) {
				return
			}
		}
	}()
	stream(s, w, r, nil, live, func(m message) (message, bool) { return m, true })
	cancel()
	<-done
}

// pour sends the events of a batch, until nobody takes them any more.
func pour(ctx context.Context, b tracing.Batch, live chan<- message) bool {
	send := func(kind string, data any) bool {
		select {
		case live <- message{kind, data}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if b.Lost > 0 && !send("lost", api.TracesLost{Count: api.Count(b.Lost)}) {
		return false
	}
	for _, f := range b.Traces {
		if !send("trace", finishedTrace{f.Trace, f.Cursor}) {
			return false
		}
	}
	return true
}
