package traceformat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/internal/traceformat"
)

// As Jaeger's query service and the OpenTracing clients before it write it: ids
// without leading zeros, an error by its tag alone, FOLLOWS_FROM as the only
// reference, a log without an event.
const thirdPartyJaeger = `{"data":[{"traceID":"7be2fd98d0973be3","spans":[
 {"traceID":"7be2fd98d0973be3","spanID":"1","flags":1,"operationName":"HTTP GET /dispatch","references":[],"startTime":1700000000000001,"duration":5000,
  "tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"error","type":"bool","value":true},{"key":"n","type":"int64","value":7},
   {"key":"f","type":"float64","value":2},{"key":"b","type":"binary","value":"AP8="},{"key":"internal.span.format","type":"string","value":"jaeger"}],
  "logs":[{"timestamp":1700000000000100,"fields":[{"key":"event","type":"string","value":"searching"},{"key":"level","type":"string","value":"info"}]},
   {"timestamp":1700000000000200,"fields":[{"key":"message","type":"string","value":"found"}]}],"processID":"p1","warnings":null},
 {"traceID":"7be2fd98d0973be3","spanID":"a2","operationName":"later","references":[{"refType":"FOLLOWS_FROM","traceID":"7be2fd98d0973be3","spanID":"1"}],
  "startTime":1700000000002000,"duration":0,"tags":[],"logs":[],"processID":"p2","warnings":["clock skew"]}],
 "processes":{"p1":{"serviceName":"frontend","tags":[{"key":"hostname","type":"string","value":"a"}]},"p2":{"serviceName":"driver","tags":[]}},"warnings":null}],
 "total":0,"limit":0,"offset":0,"errors":null}`

func TestReadJaeger(t *testing.T) {
	d := read(t, thirdPartyJaeger, traceformat.Jaeger)
	a, b := find(t, d, "HTTP GET /dispatch"), find(t, d, "later")
	if fmt.Sprintf("%x %x", a.TraceID, b.SpanID) != "00000000000000007be2fd98d0973be3 00000000000000a2" || b.ParentID != a.SpanID || len(b.Links) != 0 {
		t.Errorf("ids %x %x, parent %x, links %v", a.TraceID, b.SpanID, b.ParentID, b.Links)
	}
	if a.Status != 2 || a.Kind != 2 || a.Start != 1700000000000001000 || a.End != a.Start+5_000_000 || a.Flags != 1 {
		t.Errorf("status %d, kind %d, %d to %d, flags %d", a.Status, a.Kind, a.Start, a.End, a.Flags)
	}
	want := []otlp.KeyValue{{Key: "n", Value: otlp.Int(7)}, {Key: "f", Value: otlp.Float(2)}, {Key: "b", Value: otlp.Bytes("\x00\xff")}, {Key: "internal.span.format", Value: otlp.String("jaeger")}}
	if !slices.Equal(a.Attrs, want) {
		t.Errorf("attributes %v, want %v", a.Attrs, want)
	}
	if len(a.Events) != 2 || a.Events[0].Name != "searching" || a.Events[1].Name != "found" || a.Events[0].Attrs[0].Key != "level" {
		t.Errorf("events %+v", a.Events)
	}
	if d[0].Resource.Service != "frontend" || d[1].Resource.Service != "driver" || len(d[0].Resource.Attrs) != 2 {
		t.Errorf("resources %+v, %+v", d[0].Resource, d[1].Resource)
	}
}

// As Brave reports it: client and server share an id, and the server has a child.
const thirdPartyZipkin = `[
 {"traceId":"48485a3953bb6124","id":"48485a3953bb6124","name":"get /","kind":"SERVER","timestamp":1700000000000000,"duration":9000,"localEndpoint":{"serviceName":"web","ipv4":"10.0.0.1"}},
 {"traceId":"48485a3953bb6124","parentId":"48485a3953bb6124","id":"c1","name":"get /api","kind":"CLIENT","timestamp":1700000000001000,"duration":7000,
  "localEndpoint":{"serviceName":"web"},"remoteEndpoint":{"serviceName":"backend","ipv4":"10.0.0.2","port":9000},"tags":{"http.path":"/api"}},
 {"traceId":"48485a3953bb6124","parentId":"48485a3953bb6124","id":"c1","name":"get /api","kind":"SERVER","timestamp":1700000000002000,"duration":5000,"shared":true,
  "localEndpoint":{"serviceName":"backend"},"tags":{"error":"boom"},"annotations":[{"timestamp":1700000000002500,"value":"retry"}]},
 {"traceId":"48485a3953bb6124","parentId":"c1","id":"d1","name":"select","timestamp":1700000000003000,"localEndpoint":{"serviceName":"backend"}}]`

func TestReadZipkin(t *testing.T) {
	d := read(t, thirdPartyZipkin, traceformat.Zipkin)
	var client, server *otlp.Span
	for i := range d {
		for j := range d[i].Spans {
			switch sp := &d[i].Spans[j]; {
			case sp.Name == "get /api" && sp.Kind == 3:
				client = sp
			case sp.Name == "get /api":
				server = sp
			}
		}
	}
	child := find(t, d, "select")
	if client == nil || server == nil || server.SpanID == client.SpanID || server.ParentID != client.SpanID || child.ParentID != server.SpanID {
		t.Fatalf("the shared span: client %+v, server %+v, child %+v", client, server, child)
	}
	if server.Status != 2 || server.StatusMessage != "boom" || len(server.Events) != 1 || server.Events[0].Name != "retry" {
		t.Errorf("server %+v", server)
	}
	for _, want := range []otlp.KeyValue{{Key: "peer.service", Value: otlp.String("backend")}, {Key: "network.peer.port", Value: otlp.Int(9000)}, {Key: "http.path", Value: otlp.String("/api")}} {
		if !slices.Contains(client.Attrs, want) {
			t.Errorf("client has %v, want %v among them", client.Attrs, want)
		}
	}
	// The halves come one by one from their own services, and fit together all the same.
	half := func(n int) otlp.Span {
		parts := strings.Split(strings.Trim(thirdPartyZipkin, "[]"), "\n {\"traceId\"")
		d, err := traceformat.ReadZipkin([]byte(`[{"traceId"` + strings.TrimRight(parts[n+1], ",\n ") + `]`))
		if err != nil {
			t.Fatal(err)
		}
		return d[0].Spans[0]
	}
	if c, s := half(1), half(2); s.SpanID != server.SpanID || s.ParentID != c.SpanID {
		t.Errorf("alone the server is %x below %x, want %x below %x", s.SpanID, s.ParentID, server.SpanID, c.SpanID)
	}
}

// As a browser writes it: begin and end, complete events, names of processes.
const thirdPartyChrome = `[{"name":"process_name","ph":"M","pid":1,"args":{"name":"Browser"}},
 {"name":"load","ph":"B","pid":1,"tid":1,"ts":100},{"name":"parse","ph":"X","pid":1,"tid":1,"ts":110.5,"dur":20,"args":{"bytes":512}},
 {"name":"paint","ph":"X","pid":1,"tid":1,"ts":140,"dur":5},{"ph":"E","pid":1,"tid":1,"ts":150},{"name":"idle","ph":"X","pid":2,"tid":1,"ts":100,"dur":9},{"name":"x","ph":"C","pid":1,"ts":1}]`

func TestReadChrome(t *testing.T) {
	d := read(t, thirdPartyChrome, traceformat.Chrome)
	load, parse, paint, idle := find(t, d, "load"), find(t, d, "parse"), find(t, d, "paint"), find(t, d, "idle")
	if parse.ParentID != load.SpanID || paint.ParentID != load.SpanID || idle.ParentID != [8]byte{} || d.Spans() != 4 || len(d.TraceIDs()) != 1 {
		t.Errorf("%d spans of %d traces; parse below %x, paint below %x, idle below %x; load is %x", d.Spans(), len(d.TraceIDs()), parse.ParentID, paint.ParentID, idle.ParentID, load.SpanID)
	}
	if load.Start != 100_000 || load.End != 150_000 || parse.Start != 110_500 || parse.Attrs[0].Value != otlp.Int(512) || d[0].Resource.Service != "Browser" {
		t.Errorf("load %d to %d, parse at %d with %v, of %q", load.Start, load.End, parse.Start, parse.Attrs, d[0].Resource.Service)
	}
}

const nativeTrace = `{"apiVersion":"pulsectl/v1","kind":"Trace","items":[{"instance":"http://a","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","request_id":"r-1","metadata":{"http.method":"GET"},
 "spans":[{"span_id":"00f067aa0ba902b7","parent_span_id":null,"operation_name":"GET /","start_time":1700000000.000000001,"end_time":1700000000.5,"duration":0.499999999,"tags":{"n":1,"f":1.5,"l":["a",2]},
 "logs":[{"timestamp":1700000000.25,"level":"warn","message":"late","k":"v"}],"status":"timeout","start_unix_nano":"1700000000000000001","service":"web","kind":"server","scope":"net/http",
 "links":[{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b8"}],"dropped":2}]}]}`

func TestReadNative(t *testing.T) {
	d := read(t, nativeTrace, traceformat.Native)
	sp := find(t, d, "GET /")
	if sp.Start != 1700000000000000001 || sp.End != 1700000000500000000 || sp.Status != 2 || sp.Kind != 2 || sp.DroppedAttrs != 2 || len(sp.Links) != 1 ||
		d[0].Scope.Name != "net/http" || d[0].Resource.Service != "web" || sp.Events[0].Time != 1700000000250000000 || len(sp.Events[0].Attrs) != 2 {
		t.Errorf("span %+v of %+v, %+v", sp, d[0].Resource, d[0].Scope)
	}
	for _, want := range []otlp.KeyValue{{Key: "pulsectl.request_id", Value: otlp.String("r-1")}, {Key: "pulsectl.status", Value: otlp.String("timeout")}, {Key: "n", Value: otlp.Int(1)}} {
		if !slices.Contains(sp.Attrs, want) {
			t.Errorf("attributes %v, want %v among them", sp.Attrs, want)
		}
	}
}

// A file that somebody edited reads as edited: tags of ours do not stand over
// what no longer agrees with them.
func TestEdited(t *testing.T) {
	d := traceformat.Data{{Resource: otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String("web")}}}, Spans: []otlp.Span{{
		TraceID: [16]byte{1}, SpanID: [8]byte{1}, Name: "a", Start: 1_700_000_000_000_000_001, End: 1_700_000_000_000_005_001,
		Attrs: []otlp.KeyValue{{Key: "n", Value: otlp.Array(otlp.Int(1))}},
	}}}}
	for f, edit := range map[traceformat.Format][2]string{
		traceformat.Jaeger: {`"startTime":1700000000000000,`, `"startTime":1700000000000007,`},
		traceformat.Zipkin: {`"timestamp":1700000000000000,`, `"timestamp":1700000000000007,`},
		traceformat.Chrome: {`"ts":1700000000000000.001,`, `"ts":1700000000000007.000,`},
	} {
		b, err := traceformat.Write(f, d)
		if err != nil {
			t.Fatal(err)
		}
		edited := strings.Replace(strings.Replace(string(b), edit[0], edit[1], 1), `[1]`, `[2]`, 1)
		if edited == string(b) {
			t.Fatalf("%s: there is no %s in %s", f, edit[0], b)
		}
		sp := find(t, read(t, edited, f), "a")
		if sp.Start != 1_700_000_000_000_007_000 {
			t.Errorf("%s: start %d, want the edited one", f, sp.Start)
		}
		if got := sp.Attrs[0].Value.Text(); got != "[2]" {
			t.Errorf("%s: n is %s, want the edited one", f, got)
		}
	}
}

// What Jaeger's UI reads stands where it looks for it.
func TestJaegerFields(t *testing.T) {
	d := traceformat.Data{{
		Resource: otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String("web")}, {Key: "host.name", Value: otlp.String("a")}}},
		Scope:    otlp.Scope{Name: "net/http"},
		Spans: []otlp.Span{{
			TraceID: [16]byte{15: 1}, SpanID: [8]byte{7: 2}, ParentID: [8]byte{7: 9}, Name: "GET /", Kind: 3, Status: 2, StatusMessage: "boom", TraceState: "a=1",
			Start: 1_700_000_000_000_001_000, End: 1_700_000_000_000_004_000, Flags: 1, Attrs: []otlp.KeyValue{{Key: "n", Value: otlp.Int(7)}},
			Events: []otlp.Event{{Time: 1_700_000_000_000_002_000, Name: "retry"}}, Links: []otlp.Link{{TraceID: [16]byte{15: 3}, SpanID: [8]byte{7: 4}}},
		}},
	}}
	b, err := traceformat.Write(traceformat.Jaeger, d)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"data":[{"traceID":"00000000000000000000000000000001","spans":[{"traceID":"00000000000000000000000000000001","spanID":"0000000000000002","flags":1,
"operationName":"GET /","references":[{"refType":"CHILD_OF","traceID":"00000000000000000000000000000001","spanID":"0000000000000009"},{"refType":"FOLLOWS_FROM","traceID":"00000000000000000000000000000003","spanID":"0000000000000004"}],
"startTime":1700000000000001,"duration":3,"tags":[{"key":"n","type":"int64","value":7},{"key":"span.kind","type":"string","value":"client"},{"key":"otel.status_code","type":"string","value":"ERROR"},
{"key":"otel.status_description","type":"string","value":"boom"},{"key":"otel.scope.name","type":"string","value":"net/http"},{"key":"w3c.tracestate","type":"string","value":"a=1"},
{"key":"pulsectl.otlp.links","type":"string","value":"[{\"traceId\":\"00000000000000000000000000000003\",\"spanId\":\"0000000000000004\"}]"},{"key":"error","type":"bool","value":true}],
"logs":[{"timestamp":1700000000000002,"fields":[{"key":"event","type":"string","value":"retry"}]}],"processID":"p1","warnings":["the parent span 0000000000000009 is missing"]}],
"processes":{"p1":{"serviceName":"web","tags":[{"key":"host.name","type":"string","value":"a"}]}},"warnings":null}],"total":0,"limit":0,"offset":0,"errors":null}`
	var got, wanted any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
}

// In each thread of a Chrome file spans nest, or its viewers draw nonsense.
func TestChromeThreadsNest(t *testing.T) {
	d := traceformat.Data{{}}
	for i := range uint64(300) {
		start := 1000 * (i * 7919 % 300)
		d[0].Spans = append(d[0].Spans, otlp.Span{TraceID: [16]byte{1}, SpanID: [8]byte{byte(i >> 8), byte(i), 1}, Name: "s", Start: start, End: start + 1000*(i*104729%97)})
	}
	b, err := traceformat.Write(traceformat.Chrome, d)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []struct {
			Ph      string
			TID     int
			TS, Dur float64
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, a := range file.TraceEvents {
		for _, b := range file.TraceEvents[:i] {
			if a.Ph != "X" || b.Ph != "X" || a.TID != b.TID {
				continue
			}
			n++
			if a.TS < b.TS+b.Dur && b.TS < a.TS+a.Dur && !(a.TS >= b.TS && a.TS+a.Dur <= b.TS+b.Dur) && !(b.TS >= a.TS && b.TS+b.Dur <= a.TS+a.Dur) {
				t.Fatalf("thread %d: %v+%v and %v+%v overlap", a.TID, a.TS, a.Dur, b.TS, b.Dur)
			}
		}
	}
	if n == 0 {
		t.Error("no two spans share a thread")
	}
}

func read(t *testing.T, in string, want traceformat.Format) traceformat.Data {
	t.Helper()
	d, f, err := traceformat.Read([]byte(in))
	if err != nil || f != want {
		t.Fatalf("read as %q: %v", f, err)
	}
	return d
}

func find(t *testing.T, d traceformat.Data, name string) *otlp.Span {
	t.Helper()
	for i := range d {
		for j := range d[i].Spans {
			if d[i].Spans[j].Name == name {
				return &d[i].Spans[j]
			}
		}
	}
	t.Fatalf("no span %q", name)
	return nil
}
