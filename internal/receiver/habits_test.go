package receiver_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// What SDKs send: testdata holds requests that OpenTelemetry's SDKs of Go
// (v1.47.0) and of JavaScript (v0.223.1, in protobuf and in JSON) wrote, each of
// a trace with a root and children, the last of which failed.
func TestBatchesOfSDKs(t *testing.T) {
	files, err := filepath.Glob("testdata/*-sdk.*")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d batches: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			contentType := protoType
			want, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(body)
			if strings.HasSuffix(file, ".json") {
				contentType = jsonType
				want, err = new(ptrace.JSONUnmarshaler).UnmarshalTraces(body)
			}
			if err != nil {
				t.Fatal(err)
			}
			store, srv := newReceiver(t, receiver.Options{})
			if res, answer := post(t, srv.URL, contentType, "", body); res.StatusCode != 200 || len(answer) > 2 {
				t.Fatalf("answer %d %s", res.StatusCode, answer)
			}
			checkKept(t, store.Get, want)
		})
	}
}

// checkKept compares what is kept of a batch with what the Collector's decoder
// reads in it.
func checkKept(t *testing.T, get func(string) (api.Trace, error), want ptrace.Traces) {
	t.Helper()
	spans := 0
	for _, rs := range want.ResourceSpans().All() {
		service, _ := rs.Resource().Attributes().Get("service.name")
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				spans++
				trace, err := get(s.TraceID().String())
				if err != nil {
					t.Fatal(err)
				}
				i := slices.IndexFunc(trace.Spans, func(k api.Span) bool { return k.SpanID == s.SpanID().String() })
				if i < 0 {
					t.Fatalf("span %s is not kept", s.SpanID())
				}
				checkSpan(t, trace.Spans[i], s, service.Str(), ss.Scope().Name())
			}
		}
	}
	if spans < 3 {
		t.Errorf("the batch has %d spans only", spans)
	}
}

func checkSpan(t *testing.T, got api.Span, want ptrace.Span, service, scope string) {
	t.Helper()
	parent := ""
	if got.ParentSpanID != nil {
		parent = *got.ParentSpanID
	}
	if got.OperationName != want.Name() || parent != want.ParentSpanID().String() || got.Service != service || got.Scope != scope ||
		got.StartUnixNano != api.Nano(want.StartTimestamp()) || got.StatusMessage != want.Status().Message() ||
		got.Status.Failed() != (want.Status().Code() == ptrace.StatusCodeError) || !strings.EqualFold(got.Kind, want.Kind().String()) {
		t.Errorf("kept %+v of %s", got, want.Name())
	}
	if got.Duration == nil || got.Duration.Duration() != want.EndTimestamp().AsTime().Sub(want.StartTimestamp().AsTime()) {
		t.Errorf("%s: duration %v", want.Name(), got.Duration)
	}
	if len(got.Tags) != want.Attributes().Len() || len(got.Logs) != want.Events().Len() || len(got.Links) != want.Links().Len() {
		t.Errorf("%s: %d attributes, %d events, %d links, want %d, %d, %d", want.Name(), len(got.Tags), len(got.Logs), len(got.Links),
			want.Attributes().Len(), want.Events().Len(), want.Links().Len())
	}
	for key, v := range want.Attributes().All() {
		wantTag := v.AsRaw()
		if b, ok := wantTag.([]byte); ok {
			wantTag = base64.StdEncoding.EncodeToString(b)
		}
		if diff := cmp.Diff(wantTag, got.Tags[key]); diff != "" {
			t.Errorf("%s: %s: %s", want.Name(), key, diff)
		}
	}
	for i, e := range want.Events().All() {
		if got.Logs[i].Message != e.Name() || len(got.Logs[i].Fields) != e.Attributes().Len() {
			t.Errorf("%s: event %d is %+v", want.Name(), i, got.Logs[i])
		}
	}
}

// rich is a batch with every field of a span that has a place on a screen.
func rich() ptrace.Traces {
	td := traces(3, false)
	rs := td.ResourceSpans().At(0)
	rs.Resource().Attributes().PutInt("process.pid", 4711)
	ss := rs.ScopeSpans().At(0)
	ss.Scope().SetName("io.opentelemetry.servlet-5.0")
	for i, s := range ss.Spans().All() {
		s.SetKind(ptrace.SpanKind(i + 2))
		s.Attributes().PutStr("http.route", "/orders/{id}")
		s.Attributes().PutInt("big", 1<<62)
		s.Attributes().PutDouble("ratio", 0.25)
		s.Attributes().PutBool("cached", true)
		s.Attributes().PutEmptyBytes("raw").FromRaw([]byte{1, 2, 3})
		list := s.Attributes().PutEmptySlice("list")
		list.AppendEmpty().SetStr("a")
		list.AppendEmpty().SetInt(-1)
		s.Attributes().PutEmptyMap("map").PutStr("in", "side")
		e := s.Events().AppendEmpty()
		e.SetName("exception")
		e.SetTimestamp(1_700_000_000_050_000_000)
		e.Attributes().PutStr("exception.message", "connection reset by peer")
		l := s.Links().AppendEmpty()
		l.SetTraceID(pcommon.TraceID{9})
		l.SetSpanID(pcommon.SpanID{9})
		if i > 0 {
			s.SetParentSpanID(pcommon.SpanID{1})
		}
		s.Status().SetCode(ptrace.StatusCode(i))
		s.Status().SetMessage(map[bool]string{true: "it failed"}[i == 2])
	}
	return td
}

// message says which fields of a message are messages themselves.
type message map[protowire.Number]*message

var schema = func() *message {
	value, list, values := message{}, message{}, message{}
	kv := message{2: &value}
	value[5], value[6], list[1], values[1] = &list, &values, &value, &kv
	span := message{9: &kv, 11: {3: &kv}, 13: {4: &kv}, 15: {}}
	return &message{1: {1: {1: &kv}, 2: {1: {3: &kv}, 2: &span}}}
}()

// field is one of an encoded message, its content encoded anew.
type field struct {
	num     protowire.Number
	typ     protowire.Type
	content []byte // without the tag; of a message without its length
}

// habit is a way to write a message that readers must understand.
type habit struct {
	name   string
	fields func(m *message, all []field) []field // what is written, nil as it is
	length func(n int) []byte                    // how a length is written, nil shortest
}

// rewrite encodes a message by a habit, from the inside out.
func (h habit) rewrite(t *testing.T, b []byte, m *message) []byte {
	t.Helper()
	var all []field
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		f := field{num, typ, b[:n]}
		b = b[n:]
		if typ == protowire.BytesType {
			f.content, _ = protowire.ConsumeBytes(f.content)
			if inner := (*m)[num]; inner != nil {
				f.content = h.rewrite(t, f.content, inner)
			}
		}
		all = append(all, f)
	}
	if h.fields != nil {
		all = h.fields(m, all)
	}
	var out []byte
	for _, f := range all {
		out = protowire.AppendTag(out, f.num, f.typ)
		if f.typ == protowire.BytesType && h.length != nil {
			out = append(out, h.length(len(f.content))...)
		} else if f.typ == protowire.BytesType {
			out = protowire.AppendVarint(out, uint64(len(f.content)))
		}
		out = append(out, f.content...)
	}
	return out
}

// padded writes a length in four bytes whatever it is: .NET's exporter leaves
// room for it and fills it in afterwards.
func padded(n int) []byte {
	return []byte{byte(n)&0x7f | 0x80, byte(n>>7)&0x7f | 0x80, byte(n>>14)&0x7f | 0x80, byte(n >> 21)}
}

var habits = []habit{
	{name: "as the schema has them"},
	{name: "last field first", fields: func(_ *message, all []field) []field {
		slices.SortStableFunc(all, func(a, b field) int { return int(b.num) - int(a.num) }) // lists keep their order
		return all
	}},
	{name: "lengths padded", length: padded},
	{name: "unknown fields", fields: func(_ *message, all []field) []field {
		future := []field{
			{2000, protowire.VarintType, []byte{1}}, {2001, protowire.Fixed64Type, make([]byte, 8)},
			{2002, protowire.BytesType, []byte("later")}, {2003, protowire.Fixed32Type, make([]byte, 4)},
		}
		return slices.Concat(future, all, future)
	}},
	{name: "zeros written out", fields: func(m *message, all []field) []field {
		if (*m)[15] != nil { // a span: JavaScript's and PHP's encoders write what is not set
			all = append(all, field{10, protowire.VarintType, []byte{0}}, field{12, protowire.VarintType, []byte{0}},
				field{14, protowire.VarintType, []byte{0}}, field{3, protowire.BytesType, nil}, field{16, protowire.Fixed32Type, make([]byte, 4)})
		}
		return all
	}},
	{name: "a field twice", fields: func(m *message, all []field) []field {
		if (*m)[15] != nil { // of a single field the last counts
			all = append([]field{{5, protowire.BytesType, []byte("wrong")}, {7, protowire.Fixed64Type, binary.LittleEndian.AppendUint64(nil, 1)}}, all...)
		}
		return all
	}},
}

func TestWireHabits(t *testing.T) {
	canonical := protobuf(t, rich())
	for _, h := range habits {
		t.Run(h.name, func(t *testing.T) {
			body := h.rewrite(t, canonical, schema)
			want, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(body)
			if err != nil {
				t.Fatalf("the Collector cannot read it: %v", err)
			}
			if got := protobuf(t, want); hex.EncodeToString(got) != hex.EncodeToString(canonical) {
				t.Fatal("it is not the same batch")
			}
			store, srv := newReceiver(t, receiver.Options{})
			if res, answer := post(t, srv.URL, protoType, "", body); res.StatusCode != 200 || answer != "" {
				t.Fatalf("answer %d %s", res.StatusCode, answer)
			}
			if got := call(t, srv.URL, frame(0, body)); got.status != "0" || len(got.body) != 5 {
				t.Errorf("by gRPC: %+v", got)
			}
			checkKept(t, store.Get, want)
		})
	}
}
