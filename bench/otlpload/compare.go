package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// gotSpan is a span as pulsectl answers it. Of other servers only the id is read.
type gotSpan struct {
	SpanID        string         `json:"span_id"`
	ParentID      *string        `json:"parent_span_id"`
	Name          string         `json:"operation_name"`
	StartUnixNano string         `json:"start_unix_nano"`
	Duration      float64        `json:"duration"`
	Tags          map[string]any `json:"tags"`
	Logs          []gotLog       `json:"logs"`
	Status        string         `json:"status"`
	StatusMessage string         `json:"status_message"`
	Service       string         `json:"service"`
	Kind          string         `json:"kind"`
	Scope         string         `json:"scope"`
}

// gotLog is an event: timestamp, level and message beside its attributes.
type gotLog map[string]any

// readPulsectl reads the answer of pulsectl's /monitoring/traces?trace_id={id}.
func readPulsectl(body []byte) ([]gotSpan, error) {
	var doc struct {
		Trace struct {
			Spans []gotSpan `json:"spans"`
		} `json:"trace"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // 64-bit integers as they are
	err := d.Decode(&doc)
	return doc.Trace.Spans, err
}

// sentSpan is a span as it was sent.
type sentSpan struct {
	*tracepb.Span
	service, scope string
}

// sentTrace are the spans of one trace by their ids.
type sentTrace map[string]sentSpan

// sentTrace makes a batch again and picks one trace out of it.
func (l *load) sentTrace(b sentBatch, id [16]byte) (sentTrace, error) {
	var req coltracepb.ExportTraceServiceRequest
	if err := proto.Unmarshal(l.template(b).appendBatch(nil, l.seed, b.seq, b.base), &req); err != nil {
		return nil, err
	}
	out := sentTrace{}
	for _, r := range req.ResourceSpans {
		service, _ := attributes(r.Resource.Attributes)["service.name"].(string)
		for _, sc := range r.ScopeSpans {
			for _, s := range sc.Spans {
				if bytes.Equal(s.TraceId, id[:]) {
					out[hex.EncodeToString(s.SpanId)] = sentSpan{s, service, sc.Scope.Name}
				}
			}
		}
	}
	return out, nil
}

// compare says what differs between the spans found and those sent: of spans
// that are whole everything, of others the ids.
func (t sentTrace) compare(found []gotSpan) error {
	if len(found) != len(t) {
		return fmt.Errorf("%d spans, %d were sent", len(found), len(t))
	}
	left := maps.Clone(t)
	for _, got := range found {
		sent, ok := left[got.SpanID]
		if !ok {
			return fmt.Errorf("span %s was not sent, or came twice", got.SpanID)
		}
		delete(left, got.SpanID)
		if got.Name == "" && got.Tags == nil {
			continue // the id alone was read
		}
		if err := sent.compare(got); err != nil {
			return fmt.Errorf("span %s: %w", got.SpanID, err)
		}
	}
	return nil
}

func (s sentSpan) compare(got gotSpan) error {
	parent, status, message := "", "ok", s.Status.GetMessage()
	if got.ParentID != nil {
		parent = *got.ParentID
	}
	if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
		status = "error"
	}
	for _, f := range []struct{ name, got, sent string }{
		{"parent", parent, hex.EncodeToString(s.ParentSpanId)},
		{"name", got.Name, s.Name},
		{"service", got.Service, s.service},
		{"scope", got.Scope, s.scope},
		{"kind", got.Kind, strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"))},
		{"status", got.Status, status},
		{"status message", got.StatusMessage, message},
		{"start", got.StartUnixNano, strconv.FormatUint(s.StartTimeUnixNano, 10)},
		{"duration", fmt.Sprint(math.Round(got.Duration * 1e9)), fmt.Sprint(float64(s.EndTimeUnixNano - s.StartTimeUnixNano))},
	} {
		if f.got != f.sent {
			return fmt.Errorf("its %s is %q, %q was sent", f.name, f.got, f.sent)
		}
	}
	if err := sameAttributes(got.Tags, attributes(s.Attributes)); err != nil {
		return err
	}
	if len(got.Logs) != len(s.Events) {
		return fmt.Errorf("%d events, %d were sent", len(got.Logs), len(s.Events))
	}
	for i, e := range s.Events {
		fields := maps.Clone(got.Logs[i])
		for _, own := range []string{"timestamp", "level", "message"} {
			delete(fields, own)
		}
		if got.Logs[i]["message"] != e.Name {
			return fmt.Errorf("event %d is %q, %q was sent", i, got.Logs[i]["message"], e.Name)
		}
		if err := sameAttributes(fields, attributes(e.Attributes)); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	return nil
}

// attributes are those of the load: texts and integers, as JSON has them.
func attributes(list []*commonpb.KeyValue) map[string]any {
	out := map[string]any{}
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			out[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[a.Key] = json.Number(strconv.FormatInt(v.IntValue, 10))
		}
	}
	return out
}

func sameAttributes(got, sent map[string]any) error {
	if len(got) != len(sent) {
		return fmt.Errorf("%d attributes, %d were sent", len(got), len(sent))
	}
	for key, value := range sent {
		if got[key] != value {
			return fmt.Errorf("its %s is %#v, %#v was sent", key, got[key], value)
		}
	}
	return nil
}
