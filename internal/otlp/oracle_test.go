package otlp_test

import (
	"fmt"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/pulsectl/pulsectl/internal/otlp"
)

// describe writes everything about a span as text, in the form describeOracle
// writes it in.
func describe(service, scope string, s *otlp.Span) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %x %x %x %q %d %q %d %d %d %d %d %d %d %q", service, scope, s.TraceID, s.SpanID, s.ParentID,
		s.TraceState, s.Flags, s.Name, s.Kind, s.Start, s.End, s.DroppedAttrs, s.DroppedEvents, s.DroppedLinks, s.Status, s.StatusMessage)
	attrs(&b, s.Attrs)
	for _, e := range s.Events {
		fmt.Fprintf(&b, "\n  event %d %q %d", e.Time, e.Name, e.Dropped)
		attrs(&b, e.Attrs)
	}
	for _, l := range s.Links {
		fmt.Fprintf(&b, "\n  link %x %x %q %d %d", l.TraceID, l.SpanID, l.TraceState, l.Flags, l.Dropped)
		attrs(&b, l.Attrs)
	}
	return b.String()
}

func attrs(b *strings.Builder, kvs []otlp.KeyValue) {
	for _, a := range kvs {
		fmt.Fprintf(b, " %q=%s", a.Key, a.Value.Text())
	}
}

func describeOracle(td ptrace.Traces) (out []string) {
	for _, rs := range td.ResourceSpans().All() {
		service := ""
		for k, v := range rs.Resource().Attributes().All() {
			if k == "service.name" && v.Type() == pcommon.ValueTypeStr {
				service = v.Str()
			}
		}
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				out = append(out, describeOracleSpan(service, ss.Scope().Name(), s))
			}
		}
	}
	return out
}

func describeOracleSpan(service, scope string, s ptrace.Span) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %x %x %x %q %d %q %d %d %d %d %d %d %d %q", service, scope, [16]byte(s.TraceID()), [8]byte(s.SpanID()), [8]byte(s.ParentSpanID()),
		s.TraceState().AsRaw(), s.Flags(), s.Name(), s.Kind(), uint64(s.StartTimestamp()), uint64(s.EndTimestamp()),
		s.DroppedAttributesCount(), s.DroppedEventsCount(), s.DroppedLinksCount(), s.Status().Code(), s.Status().Message())
	oracleAttrs(&b, s.Attributes())
	for _, e := range s.Events().All() {
		fmt.Fprintf(&b, "\n  event %d %q %d", uint64(e.Timestamp()), e.Name(), e.DroppedAttributesCount())
		oracleAttrs(&b, e.Attributes())
	}
	for _, l := range s.Links().All() {
		fmt.Fprintf(&b, "\n  link %x %x %q %d %d", [16]byte(l.TraceID()), [8]byte(l.SpanID()), l.TraceState().AsRaw(), l.Flags(), l.DroppedAttributesCount())
		oracleAttrs(&b, l.Attributes())
	}
	return b.String()
}

func oracleAttrs(b *strings.Builder, m pcommon.Map) {
	for k, v := range m.All() {
		fmt.Fprintf(b, " %q=%s", k, oracleValue(v).Text())
	}
}

// oracleValue converts a value of the Collector's into one of ours.
func oracleValue(v pcommon.Value) otlp.Value {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return otlp.String(v.Str())
	case pcommon.ValueTypeBool:
		return otlp.Bool(v.Bool())
	case pcommon.ValueTypeInt:
		return otlp.Int(v.Int())
	case pcommon.ValueTypeDouble:
		return otlp.Float(v.Double())
	case pcommon.ValueTypeBytes:
		return otlp.Bytes(string(v.Bytes().AsRaw()))
	case pcommon.ValueTypeSlice:
		var items []otlp.Value
		for _, item := range v.Slice().All() {
			items = append(items, oracleValue(item))
		}
		return otlp.Array(items...)
	case pcommon.ValueTypeMap:
		var pairs []otlp.KeyValue
		for k, item := range v.Map().All() {
			pairs = append(pairs, otlp.KeyValue{Key: k, Value: oracleValue(item)})
		}
		return otlp.Map(pairs...)
	default:
		return otlp.Value{}
	}
}
