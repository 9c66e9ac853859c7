package monitoring_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// oracle is slog's own handler with the names of ours.
func oracle(w io.Writer) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch {
		case len(groups) > 0:
		case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
			return slog.String("timestamp", a.Value.Time().UTC().Format(time.RFC3339Nano))
		case a.Key == slog.MessageKey:
			a.Key = "message"
		}
		return a
	}})
}

func TestJSONHandlerIsASlogHandler(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return monitoring.JSONHandler(&out, nil)
	}, func(t *testing.T) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatalf("%s: %v", out.Bytes(), err)
		}
		for ours, theirs := range map[string]string{"timestamp": slog.TimeKey, "message": slog.MessageKey} {
			if v, ok := m[ours]; ok {
				m[theirs] = v
				delete(m, ours)
			}
		}
		return m
	})
}

type valuer struct{ v slog.Value }

func (v valuer) LogValue() slog.Value { return v.v }

type marshaler string

func (m marshaler) MarshalJSON() ([]byte, error) {
	if m == "bad" {
		return nil, errors.New("cannot")
	}
	return json.Marshal("<" + string(m) + ">")
}

type touchy struct{ text string }

func (t *touchy) Error() string { return t.text } // panics on nil

// oddValues are what a handler may stumble over.
var oddValues = []slog.Value{
	slog.StringValue("plain"), slog.StringValue("\"quoted\"\\\n\r\t\x00\x1f\x7f<&>\u2028\u2029é\xff\xc3(\ufffd😀"), slog.StringValue(""),
	slog.IntValue(-7), slog.Uint64Value(math.MaxUint64), slog.BoolValue(true),
	slog.Float64Value(0.1), slog.Float64Value(-1e-9), slog.Float64Value(1e21), slog.Float64Value(1e20), slog.Float64Value(math.NaN()),
	slog.Float64Value(math.Inf(1)), slog.Float64Value(math.Inf(-1)), slog.Float64Value(math.Copysign(0, -1)), slog.Float64Value(5e-324), slog.Float64Value(1e-100),
	slog.DurationValue(time.Second), slog.TimeValue(time.Date(2026, 11, 25, 1, 2, 3, 400, time.FixedZone("x", 3600))),
	slog.TimeValue(time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)), slog.TimeValue(time.Time{}),
	slog.AnyValue(nil), slog.AnyValue(errors.New("an \"error\"")), slog.AnyValue((*touchy)(nil)), slog.AnyValue(&touchy{"kept"}),
	slog.AnyValue(marshaler("good")), slog.AnyValue(marshaler("bad")), slog.AnyValue(make(chan int)), slog.AnyValue(func() {}),
	slog.AnyValue(map[string]any{"b": 1, "a": "<x>"}), slog.AnyValue([]byte("bytes")), slog.AnyValue(json.RawMessage(`{"raw": [1, 2]}`)),
	slog.AnyValue(struct{ A, B int }{1, 2}), slog.AnyValue(slog.LevelWarn + 1),
	slog.AnyValue(&slog.Source{Function: "f", Line: 3}), slog.AnyValue(&slog.Source{}), slog.AnyValue((*slog.Source)(nil)),
	slog.AnyValue(valuer{slog.StringValue("resolved")}), slog.AnyValue(valuer{slog.GroupValue(slog.Int("in", 1))}),
	slog.GroupValue(), slog.GroupValue(slog.Int("one", 1), slog.String("one", "again")), slog.GroupValue(slog.Group("deeper", slog.Bool("b", false))),
}

// differ runs a script of bytes on both handlers, each byte an attribute, a
// group or a call, and compares what they write.
func differ(t *testing.T, script []byte, text string) {
	var ours, theirs bytes.Buffer
	a, b := monitoring.JSONHandler(&ours, slog.LevelDebug), oracle(&theirs)
	keys := []string{"a", "b", "", "time", "msg", "level", text}
	at := time.Date(2026, 11, 25, 1, 2, 3, 456, time.Local)
	rec := slog.NewRecord(at, slog.LevelInfo+slog.Level(len(script)%3), text, 0)
	for i := 0; i+1 < len(script); i += 2 {
		attr := slog.Attr{Key: keys[int(script[i])%len(keys)], Value: oddValues[int(script[i+1])%len(oddValues)]}
		switch script[i] % 5 {
		case 0:
			a, b = a.WithGroup(text+"g"), b.WithGroup(text+"g")
		case 1:
			a, b = a.WithAttrs([]slog.Attr{attr}), b.WithAttrs([]slog.Attr{attr})
		case 2:
			rec.AddAttrs(slog.Group(keys[int(script[i+1])%len(keys)], attr, slog.String("s", text)))
		default:
			rec.AddAttrs(attr)
		}
	}
	if err := errors.Join(a.Handle(t.Context(), rec), b.Handle(t.Context(), rec)); err != nil {
		t.Fatal(err)
	}
	if !json.Valid(ours.Bytes()) {
		t.Fatalf("no JSON: %s", ours.Bytes())
	}
	if json.Valid(theirs.Bytes()) && ours.String() != theirs.String() { // slog forgets a comma after a group of empty groups
		t.Errorf("\n%sslog has\n%s", ours.Bytes(), theirs.Bytes())
	}
}

// What slog's handler writes is what ours does.
func TestJSONHandlerWritesAsSlogDoes(t *testing.T) {
	for v := range oddValues {
		for key := range byte(20) {
			differ(t, []byte{key, byte(v)}, "message")
			differ(t, []byte{key, byte(v), 3, 0, 0, 0, 4, 1}, "message")
		}
	}
}

func FuzzJSONHandler(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 0, 6}, "text")
	f.Add([]byte{0, 1, 0, 1, 1, 38, 2, 3}, "\xff\u2028\"")
	f.Fuzz(func(t *testing.T, script []byte, text string) { differ(t, script[:min(len(script), 64)], text) })
}

// Times in years that RFC 3339 has no form for are not JSON in slog's line.
func TestJSONHandlerLinesAreJSON(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(monitoring.JSONHandler(&out, nil))
	log.Info("odd", "at", time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), slog.Group("g", slog.Group("h")), "n", 1)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Errorf("%s: %v", out.Bytes(), err)
	}
	if fmt.Sprint(got["n"]) != "1" {
		t.Errorf("line %s, want n", out.Bytes())
	}
}

func requestRecord() (context.Context, slog.Record) {
	rec := slog.NewRecord(time.Now(), slog.LevelInfo, "request completed", 0)
	rec.AddAttrs(slog.String("method", "GET"), slog.String("endpoint", "/api/v1/users/{id}"), slog.Int("status_code", 200),
		slog.Float64("duration_ms", 1.234), slog.String("request_id", "9d2f3f7c1e6b4a5f8c7d6e5f4a3b2c1d"), slog.String("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"))
	return context.Background(), rec
}

func TestJSONHandlerAllocates(t *testing.T) {
	ctx, rec := requestRecord()
	h := monitoring.JSONHandler(io.Discard, nil)
	if n := testing.AllocsPerRun(100, func() { h.Handle(ctx, rec) }); n > 0 && !raceEnabled { // a writer that takes everything
		t.Errorf("%v allocations a line, want none", n)
	}
}

// BenchmarkJSONHandler writes one record, as the middleware does, with ours, with
// slog's, and with slog's that has our names.
func BenchmarkJSONHandler(b *testing.B) {
	ctx, rec := requestRecord()
	for _, h := range []struct {
		name string
		slog.Handler
	}{{"ours", monitoring.JSONHandler(io.Discard, nil)}, {"slog", slog.NewJSONHandler(io.Discard, nil)}, {"slog renaming", oracle(io.Discard)}} {
		b.Run(h.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Handle(ctx, rec) // a writer that takes everything
			}
		})
	}
}
