package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// exporter is a server whose metrics a handler writes, with a client of it.
func exporter(t *testing.T, path string, h http.HandlerFunc) *client.Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc(path, h)
	ts := httptest.NewServer(mux)
	t.Cleanup(ts.Close)
	c, err := client.New(ts.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func text(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		w.Write([]byte(body))
	}
}

// long is an exposition of several chunks: a counter, a histogram whose lines
// stand together and one whose lines are spread.
func long(series int) string {
	var b strings.Builder
	b.WriteString("# HELP c_total Calls.\n# TYPE c_total counter\n# TYPE h histogram\n# TYPE spread histogram\n# TYPE \"dotted.name\" gauge\n")
	for i := range series {
		fmt.Fprintf(&b, "c_total{n=\"%d\"} %d\nuntyped_%d 1\n", i, i, i%50)
		for _, le := range []string{"1", "2", "+Inf"} {
			fmt.Fprintf(&b, "h_bucket{n=\"%d\",le=\"%s\"} 7\n", i, le)
		}
		fmt.Fprintf(&b, "h_sum{n=\"%d\"} 9\nh_count{n=\"%d\"} 7\n{\"dotted.name\",n=\"%d\"} 3\n", i, i, i)
	}
	for _, line := range []string{`spread_bucket{n="%d",le="1"} 2`, `spread_bucket{n="%d",le="+Inf"} 5`, `spread_count{n="%d"} 5`, `spread_sum{n="%d"} 8.5`} {
		for i := range series {
			fmt.Fprintf(&b, line+"\n", i)
		}
	}
	return b.String()
}

// Text is parsed in chunks; the reference is its parser at once on all of it.
func TestChunksAreNotSeen(t *testing.T) {
	in := long(3000)
	got, err := client.ParseMetrics([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	want, err := parser.TextToMetricFamilies(strings.NewReader(in))
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d families, want %d, %v", len(got), len(want), err)
	}
	for _, f := range got {
		w := want[f.Name]
		if f.Type != strings.ToLower(w.GetType().String()) || f.SeriesCount != len(w.Metric) || len(f.Series) != f.SeriesCount || f.Help != w.GetHelp() {
			t.Errorf("%s: %s with %d series, want %v with %d", f.Name, f.Type, f.SeriesCount, w.GetType(), len(w.Metric))
		}
		for _, m := range f.Series {
			if f.Type == "histogram" && (len(m.Buckets) < 2 || *m.Count != m.Buckets[len(m.Buckets)-1].Count || m.Sum == nil) {
				t.Fatalf("%s%v is in parts: %+v", f.Name, m.Labels, m)
			}
		}
	}
}

// Only counting, or keeping a part, gives what keeping all of it would.
func TestMetricQueries(t *testing.T) {
	c := exporter(t, "/monitoring/metrics", text(long(2000)))
	all, err := c.Metrics(t.Context(), client.MetricQuery{})
	if err != nil {
		t.Fatal(err)
	}
	counts, err := c.Metrics(t.Context(), client.MetricQuery{Count: true})
	if err != nil || len(counts) != len(all) {
		t.Fatalf("%d families, want %d: %v", len(counts), len(all), err)
	}
	for i, f := range counts {
		if f.Name != all[i].Name || f.Type != all[i].Type || f.SeriesCount != all[i].SeriesCount || len(f.Series) > 0 {
			t.Errorf("counted %+v, want %s with %d", f, all[i].Name, all[i].SeriesCount)
		}
	}
	for _, tt := range []struct {
		label string
		want  int
	}{{"n=7", 1}, {"n!=7", 1999}, {"n=~19..", 100}, {"n!~[0-9]{4}", 1000}, {"n=", 0}, {"other=", 2000}, {"n=~.*", 2000}} {
		m, err := client.ParseLabelMatch(tt.label)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Metrics(t.Context(), client.MetricQuery{Names: []string{"h"}, Labels: []client.LabelMatch{m}})
		if err != nil || len(got) != 1 || got[0].SeriesCount != tt.want || len(got[0].Series) != tt.want {
			t.Errorf("%s: %d families, %v", tt.label, len(got), err)
		}
	}
	for _, bad := range []string{"", "n", "=7", "n~7", "n!7", "n=~("} {
		if _, err := client.ParseLabelMatch(bad); err == nil {
			t.Errorf("%q is a condition", bad)
		}
	}
}

// What is no exposition is the server's failure, and the error says what came.
func TestWhatIsNoExposition(t *testing.T) {
	for _, tt := range []struct {
		name, kind, body, says string
	}{
		{"a page", "text/html", "<html>", `it is "text/html"`},
		{"JSON", "application/json", "{}", `it is "application/json"`},
		{"a content type that is none", "text plain;;", "a 1\n", "content type"},
		{"text", "text/plain", "hello there\n", "expected float as value"},
		{"an error after several chunks", "text/plain", long(3000) + "b 1\nb{ 1\n", "line " + fmt.Sprint(strings.Count(long(3000), "\n")+2)},
		{"cut in a line", "text/plain", long(10) + "half 1", "unexpected end of input"},
		{"a huge line", "text/plain", "a{b=\"" + strings.Repeat("x", 2<<20) + "\"} 1\n", "a line is longer than 1048576 bytes"},
		{"protobuf that claims to be huge", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "\xff\xff\xff\xff\x7f", "a family of 34359738367 bytes"},
		{"protobuf cut off", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited", "\x20\x0a", "EOF"},
		{"two types", "text/plain", "# TYPE a counter\n# TYPE a gauge\na 1\n", "second TYPE line"},
	} {
		c := exporter(t, "/monitoring/metrics", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.kind)
			w.Write([]byte(tt.body))
		})
		_, err := c.Metrics(t.Context(), client.MetricQuery{})
		wantError(t, tt.name, err, 0, client.CodeUnreadable)
		if err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", tt.name, err, tt.says)
		}
	}
	c := exporter(t, "/monitoring/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "100000")
		w.Write([]byte("a 1\n"))
	})
	_, err := c.Metrics(t.Context(), client.MetricQuery{})
	wantError(t, "half an answer", err, 0, client.CodeUnreachable)
}

// Names are told to a server of ours alone, and an exporter is read where it is.
func TestWhereMetricsAreAsked(t *testing.T) {
	for _, tt := range []struct {
		name, path, index, asked string
	}{
		{"ours", "/monitoring/metrics", `{"service":"x","capabilities":["dry_run"]}`, "/monitoring/metrics?name%5B%5D=a"},
		{"python", "/monitoring/metrics", "", "/monitoring/metrics"},
		{"an exporter", "/metrics", "", "/metrics"},
	} {
		asked := ""
		mux := http.NewServeMux()
		mux.HandleFunc(tt.path, func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.RequestURI()
			text("a 1\nb 2\n")(w, r)
		})
		if tt.index != "" {
			mux.HandleFunc("/monitoring/{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(tt.index)) })
		}
		ts := httptest.NewServer(mux)
		c, err := client.New(ts.URL, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		fs, err := c.Metrics(t.Context(), client.MetricQuery{Names: []string{"a"}})
		if err != nil || len(fs) != 1 || asked != tt.asked {
			t.Errorf("%s: asked %s, %d families, %v", tt.name, asked, len(fs), err)
		}
		ts.Close()
	}
	c := exporter(t, "/nothing", text(""))
	_, err := c.Metrics(t.Context(), client.MetricQuery{})
	wantError(t, "neither", err, 404, "")
}

// client_golang's own handler is read in each of its forms: the native buckets
// and exemplars of protobuf, and OpenMetrics, which is not asked for.
func TestFormsOfClientGolang(t *testing.T) {
	reg := prometheus.NewRegistry()
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h_seconds", Buckets: []float64{.1, 1}, NativeHistogramBucketFactor: 1.1})
	plain := prometheus.NewCounter(prometheus.CounterOpts{Name: "c_total", Help: "C."})
	reg.MustRegister(h, plain)
	plain.Add(3)
	for range 100 {
		h.Observe(rand.ExpFloat64())
	}
	h.(prometheus.ExemplarObserver).ObserveWithExemplar(.05, prometheus.Labels{"trace_id": "4bf9"})
	serve := promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
	c := exporter(t, "/monitoring/metrics", serve.ServeHTTP)
	open := exporter(t, "/monitoring/metrics", func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		serve.ServeHTTP(w, r)
	})
	ask := func(c *client.Client, native bool) api.MetricSeries {
		fs, err := c.Metrics(t.Context(), client.MetricQuery{Native: native})
		if err != nil || len(fs) != 2 || *fs[0].Series[0].Value != 3 {
			t.Fatalf("%+v, %v", fs, err)
		}
		return fs[1].Series[0]
	}
	fromText, fromProtobuf, fromOpen := ask(c, false), ask(c, true), ask(open, false)
	if fromText.Native != nil || fromProtobuf.Native == nil || fromProtobuf.Native.Schema != 3 {
		t.Errorf("native = %+v", fromProtobuf.Native)
	}
	held := fromProtobuf.Native.ZeroCount
	for i, b := range fromProtobuf.Native.Buckets {
		if held += b.Count; i > 0 && b.Lower < fromProtobuf.Native.Buckets[i-1].Upper*.999999 {
			t.Errorf("bucket %d begins before the one before ends", i)
		}
	}
	if held != 101 || *fromProtobuf.Count != 101 {
		t.Errorf("native buckets hold %v of %v", held, *fromProtobuf.Count)
	}
	if e := fromProtobuf.Buckets[0].Exemplar; e == nil || e.Labels["trace_id"] != "4bf9" || e.Value != .05 || e.Time == nil {
		t.Errorf("exemplar = %+v", e)
	}
	bare := func(bs []api.MetricBucket) (out []api.MetricBucket) {
		for _, b := range bs {
			out = append(out, api.MetricBucket{UpperBound: b.UpperBound, Count: b.Count})
		}
		return out
	}
	if !reflect.DeepEqual(bare(fromText.Buckets), bare(fromOpen.Buckets)) || !slices.Equal(bare(fromText.Buckets)[:2], bare(fromProtobuf.Buckets)[:2]) {
		t.Errorf("buckets: text %v, OpenMetrics %v, protobuf %v", fromText.Buckets, fromOpen.Buckets, fromProtobuf.Buckets)
	}
}

// Servers name OpenMetrics with more or less; its exemplars are none of the
// older form.
func TestOpenMetricsByAnyName(t *testing.T) {
	const page = "# TYPE a counter\na_total{b=\"c\"} 5 1.5 # {trace_id=\"x\"} 1 2\n# EOF\n"
	for kind, want := range map[string]string{
		"application/openmetrics-text; version=1.0.0; charset=utf-8": "", "application/openmetrics-text": "",
		"application/openmetrics-text; version=1.0.0": "", "application/openmetrics-text;charset=utf-8;version=0.0.1": "",
		"application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values": "",
		"application/openmetrics-text; version=2.0.0":                                 `OpenMetrics "2.0.0": want 1.0.0`,
	} {
		c := exporter(t, "/monitoring/metrics", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, page)
		})
		fs, err := c.Metrics(t.Context(), client.MetricQuery{})
		if want != "" {
			if err == nil || !strings.HasSuffix(err.Error(), want) {
				t.Errorf("%s: error %v, want %s", kind, err, want)
			}
			continue
		}
		if err != nil || len(fs) != 1 || fs[0].Name != "a_total" || fs[0].Type != "counter" || *fs[0].Series[0].Value != 5 {
			t.Errorf("%s: %+v, %v", kind, fs, err)
		}
	}
}

type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// Whatever a server sends, in either form, what is read of it can be told in
// JSON, compared with itself and drawn.
func FuzzMetrics(f *testing.F) {
	f.Add([]byte(long(3)), false)
	f.Add([]byte("# TYPE h histogram\nh_bucket{le=\"NaN\"} 3\nh_bucket{le=\"-Inf\"} +Inf\nh_count -1\n"), false)
	for _, h := range []*dto.Histogram{
		{Schema: proto.Int32(-4), PositiveSpan: []*dto.BucketSpan{{Offset: proto.Int32(1 << 20), Length: proto.Uint32(9)}}, PositiveDelta: []int64{5, -2, 1 << 62}},
		{Schema: proto.Int32(8), ZeroThreshold: proto.Float64(math.NaN()), ZeroCount: proto.Uint64(1 << 63), NegativeSpan: []*dto.BucketSpan{{Length: proto.Uint32(1 << 31)}}, NegativeCount: []float64{math.Inf(1), 2}},
	} {
		h.SampleCount = proto.Uint64(7)
		var b bytes.Buffer
		if _, err := protodelim.MarshalTo(&b, &dto.MetricFamily{Name: proto.String("h"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: h}}}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes(), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, protobuf bool) {
		kind := "text/plain"
		if protobuf {
			kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
		}
		c, err := client.New("http://server", client.Options{Transport: transport(func(*http.Request) *http.Response {
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(bytes.NewReader(body))}
		})})
		if err != nil {
			t.Fatal(err)
		}
		fs, err := c.Metrics(t.Context(), client.MetricQuery{})
		if err != nil {
			return
		}
		for i := range fs {
			scrape.Changes(&fs[i], &fs[i], time.Second)
			for j := range fs[i].Series {
				scrape.Describe(&fs[i].Series[j].MetricHistogram)
			}
			rs := []api.Result[api.MetricFamily]{{Instance: "http://server", Value: fs[i]}}
			if err := render.Metric(io.Discard, rs, render.Options{Width: 60}); err != nil {
				t.Error(err)
			}
			for j := range fs[i].Series {
				fs[i].Series[j].Change = nil
			}
			if err := render.Metric(io.Discard, rs, render.Options{Width: 60}); err != nil {
				t.Error(err)
			}
			scrape.By(&fs[i], []string{"a"})
		}
		if _, err := json.Marshal(fs); err != nil {
			t.Errorf("families of %q: %v", body, err)
		}
		if err := render.Exposition(io.Discard, []api.Result[[]api.MetricFamily]{{Value: fs}}); err != nil {
			t.Error(err)
		}
	})
}

// What is kept of 100,000 series that are only counted is their number.
func BenchmarkCount100k(b *testing.B) {
	in := []byte(long(14000)) // 14,000 of each of seven kinds of lines
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = bytes.NewReader(in).WriteTo(w) // the client tells
	}))
	defer ts.Close()
	c, err := client.New(ts.URL, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Metrics(b.Context(), client.MetricQuery{Count: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// wantError fails t unless err is one of the API with this status and code.
func wantError(t *testing.T, name string, err error, status int, code string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Status != status || e.Code != code {
		t.Errorf("%s: %v, want an error of status %d and code %q", name, err, status, code)
	}
}
