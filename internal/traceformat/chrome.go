package traceformat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// The members of the Trace Event Format, which chrome://tracing, Perfetto and
// speedscope load. Times are microseconds, with decimals.
type (
	chromeTrace struct {
		TraceEvents     []chromeEvent `json:"traceEvents"`
		DisplayTimeUnit string        `json:"displayTimeUnit"`
	}
	chromeEvent struct {
		Name      string      `json:"name"`
		Category  string      `json:"cat,omitempty"`
		Phase     string      `json:"ph"` // X complete, i instant, M metadata
		Timestamp json.Number `json:"ts,omitempty"`
		Duration  json.Number `json:"dur,omitempty"`
		PID       int         `json:"pid"`
		TID       int         `json:"tid"`
		Scope     string      `json:"s,omitempty"` // of an instant: t, its thread
		Args      any         `json:"args,omitempty"`
	}
	chromeProcess struct {
		Name     string        `json:"name"`
		Resource *jsonResource `json:"resource,omitempty"`
	}
	// chromeArgs are what the viewer shows of a span: the ids, the attributes, and
	// in otlp all else, so that the span can be read back.
	chromeArgs struct {
		TraceID    string                     `json:"trace_id"`
		SpanID     string                     `json:"span_id"`
		Attributes map[string]json.RawMessage `json:"attributes,omitempty"`
		Scope      *jsonScope                 `json:"scope,omitempty"`
		OTLP       jsonSpan                   `json:"otlp"`
	}
)

// chromeFile makes a process of each resource, and of each process as many
// threads as it takes for spans in one of them to nest.
func chromeFile(d Data) chromeTrace {
	out := chromeTrace{TraceEvents: []chromeEvent{}, DisplayTimeUnit: "ms"}
	pids := map[string]int{}
	threads := map[int]*lanes{}
	for _, spans := range d.byTrace() {
		for _, s := range spans {
			if pids[s.resource] == 0 {
				pids[s.resource] = len(pids) + 1
				threads[pids[s.resource]] = &lanes{}
				out.TraceEvents = append(out.TraceEvents, chromeProcessEvent(&s.batch.Resource, pids[s.resource]))
			}
			pid := pids[s.resource]
			tid := threads[pid].place(s.Start, max(s.End, s.Start))
			out.TraceEvents = append(out.TraceEvents, chromeSpan(s, pid, tid))
			for i := range s.Events {
				out.TraceEvents = append(out.TraceEvents, chromeEvent{
					Name: s.Events[i].Name, Phase: "i", Timestamp: microseconds(s.Events[i].Time), PID: pid, TID: tid, Scope: "t",
					Args: map[string]any{"span_id": fmt.Sprintf("%x", s.SpanID)},
				})
			}
		}
	}
	return out
}

func chromeProcessEvent(r *otlp.Resource, pid int) chromeEvent {
	name := r.Service
	if name == "" {
		name = "unknown_service"
	}
	return chromeEvent{Name: "process_name", Phase: "M", PID: pid, Args: chromeProcess{name, &jsonResource{keyValues(r.Attrs), r.Dropped}}}
}

func chromeSpan(s spanOf, pid, tid int) chromeEvent {
	args := chromeArgs{OTLP: otlpSpan(s.Span), Attributes: map[string]json.RawMessage{}}
	args.TraceID, args.SpanID = args.OTLP.TraceID, args.OTLP.SpanID
	args.OTLP.TraceID, args.OTLP.SpanID, args.OTLP.Attributes = "", "", nil
	if scope := otlpScope(&s.batch.Scope); scope.Name != "" || scope.Version != "" || len(scope.Attributes) > 0 || scope.Dropped > 0 {
		args.Scope = scope
	}
	for _, a := range s.Attrs {
		args.Attributes[a.Key] = nativeJSON(a.Value)
		if back := inlined(string(args.Attributes[a.Key])); back == nil || untyped(back) != a.Value {
			args.OTLP.Attributes = append(args.OTLP.Attributes, jsonKeyValue{a.Key, jsonValue{a.Value}})
		}
	}
	return chromeEvent{
		Name: s.Name, Category: chromeCategory(s.Span), Phase: "X", Timestamp: microseconds(s.Start), Duration: microseconds(max(s.End, s.Start) - s.Start),
		PID: pid, TID: tid, Args: args,
	}
}

// chromeCategory is what a viewer can filter by.
func chromeCategory(s *otlp.Span) string {
	category := kindTags[max(s.Kind, 1)]
	if s.Status == 2 {
		category += ",error"
	}
	return category
}

// nativeJSON writes a value as plain JSON, a float always with a point or an
// exponent.
func nativeJSON(v otlp.Value) json.RawMessage {
	if v.Kind == otlp.KindFloat {
		if _, isNumber := number(v.Float()).(float64); isNumber {
			s := strconv.FormatFloat(v.Float(), 'g', -1, 64)
			if !slices.ContainsFunc([]byte(s), func(c byte) bool { return c == '.' || c == 'e' }) {
				s += ".0"
			}
			return json.RawMessage(s)
		}
	}
	return json.RawMessage(inline(v.Any()))
}

// microseconds writes nanoseconds as microseconds with three decimals.
func microseconds(ns uint64) json.Number {
	return json.Number(fmt.Sprintf("%d.%03d", ns/1000, ns%1000))
}

// maxLanes bounds how long a place is searched for; what overlaps even then
// shares the last one.
const maxLanes = 256

// lanes holds for each thread the ends of its open spans, the innermost last.
type lanes struct{ open [][]uint64 }

// place returns the first thread, from 1, in which a span nests. Spans come in
// the order of their starts.
func (l *lanes) place(start, end uint64) int {
	for i := range l.open {
		ends := l.open[i]
		for len(ends) > 0 && ends[len(ends)-1] <= start {
			ends = ends[:len(ends)-1]
		}
		l.open[i] = ends
		if len(ends) == 0 || ends[len(ends)-1] >= end || i == maxLanes-1 {
			l.open[i] = append(ends, end)
			return i + 1
		}
	}
	l.open = append(l.open, []uint64{end})
	return len(l.open)
}
