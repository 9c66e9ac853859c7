// Package prometheus reads our metrics as a Prometheus does: by its own parsers.
package prometheus

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// What a Prometheus accepts, in the order in which it prefers them with and
// without native histograms.
const (
	protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6"
	openMetrics = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5"
	text        = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2"
)

// odd are label values that a parser may stumble over.
var odd = []string{
	"", "plain", "\xff\xfe", "line\nfeed", `quo"te`, `back\slash`, `\`, `\n`, "a\x00b", "\r\n", "\u2028", "🦊", "{}", `le="1"`, " # EOF\n", "# EOF\n",
	strings.Repeat("é", 100), strings.Repeat(`"`, 200),
}

// read is what a Prometheus has of a scrape.
type read struct {
	values     map[string]float64 // by the series' labels
	natives    map[string]uint64  // counts
	exemplars  map[string]string  // trace ids
	startTimes int
	units      int
}

func scrape(t *testing.T, h http.Handler, accept string) read {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	p, err := textparse.New(w.Body.Bytes(), w.Header().Get("Content-Type"), labels.NewSymbolTable(), textparse.ParserOptions{KeepClassicOnClassicAndNativeHistograms: true})
	if err != nil {
		t.Fatal(err)
	}
	out := read{map[string]float64{}, map[string]uint64{}, map[string]string{}, 0, 0}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("Accept %s: %v", accept, err)
		}
		out.take(t, p, entry)
	}
}

func (out *read) take(t *testing.T, p textparse.Parser, entry textparse.Entry) {
	var l labels.Labels
	switch entry {
	case textparse.EntryUnit:
		out.units++
		return
	case textparse.EntrySeries:
		_, _, v := p.Series()
		p.Labels(&l)
		if _, twice := out.values[l.String()]; twice {
			t.Errorf("series %s is there twice", l)
		}
		out.values[l.String()] = v
	case textparse.EntryHistogram:
		_, _, h, _ := p.Histogram()
		p.Labels(&l)
		if err := h.Validate(); err != nil {
			t.Errorf("histogram %s: %v", l, err)
		}
		out.natives[l.String()] = h.Count
	default:
		return
	}
	if p.StartTimestamp() != 0 {
		out.startTimes++
	}
	var e exemplar.Exemplar
	for p.Exemplar(&e) {
		out.exemplars[l.String()] = e.Labels.Get("trace_id")
	}
}

// Every format is read, whatever the labels hold, with the values that were
// counted; exemplars and native histograms where the format has them.
func TestPrometheusReadsEveryFormat(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for i, s := range odd {
		o := metric.Observation{Duration: 80 * time.Millisecond, End: time.Unix(1.8e9, 5e8), Trace: [16]byte{0xab, 15: byte(i)}}
		m.Metrics.DBQuery("select", s, o)
		m.EventIngested(s, "push")
		m.Metrics.Route("GET /" + s).Observe(metric.Request{Method: "GET", Kind: s, Observation: o})
		counted[strings.ToValidUTF8(s[:min(len(s), 128)], "\uFFFD")]++
	}
	for _, accept := range []string{text, openMetrics, protobuf} {
		got := scrape(t, m.Metrics.Handler(), accept)
		for s, n := range counted {
			key := labels.FromStrings("__name__", "pulse_api_events_ingested_total", "source", s, "event_type", "push").String()
			if got.values[key] != n {
				t.Errorf("Accept %s: %s = %v, want %v", accept, key, got.values[key], n)
			}
			key = labels.FromStrings("__name__", "pulse_api_db_query_duration_seconds_bucket", "query_type", "select", "table", s, "le", "0.1").String()
			if got.values[key] != n || (accept != text) != strings.HasPrefix(got.exemplars[key], "ab000000") {
				t.Errorf("Accept %s: %s = %v with exemplar %q, want %v", accept, key, got.values[key], got.exemplars[key], n)
			}
			key = labels.FromStrings("__name__", "pulse_api_db_query_duration_seconds", "query_type", "select", "table", s).String()
			if accept == protobuf && float64(got.natives[key]) != n {
				t.Errorf("native histogram %s counts %d, want %v", key, got.natives[key], n)
			}
		}
		if (accept == protobuf) != (got.startTimes > 0) || (accept == text) != (got.units == 0) {
			t.Errorf("Accept %s: %d creation times, %d units", accept, got.startTimes, got.units)
		}
		if got.values[`{__name__="go_goroutines"}`] == 0 {
			t.Errorf("Accept %s: nothing of the standard collectors", accept)
		}
	}
}

// A histogram that is empty, or that holds the extremes, is one that a
// Prometheus takes.
func TestPrometheusTakesExtremes(t *testing.T) {
	m, err := metric.New(metric.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range []time.Duration{-time.Second, 0, 1, 953, 954, time.Second, 1 << 62, 1<<63 - 1} {
		m.DBQuery("select", fmt.Sprint(i), metric.Observation{Duration: d})
		m.DBQuery("select", "all", metric.Observation{Duration: d})
	}
	for _, accept := range []string{text, openMetrics, protobuf} {
		got := scrape(t, m.Handler(), accept)
		if n := got.values[`{__name__="pulse_api_db_query_duration_seconds_count", query_type="select", table="all"}`]; n != 8 {
			t.Errorf("Accept %s: count = %v, want 8", accept, n)
		}
	}
}
