package metric_test

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// ours keeps the families of this package.
func ours(all []*dto.MetricFamily) (kept []*dto.MetricFamily) {
	for _, f := range all {
		if strings.HasPrefix(f.GetName(), "pulse_api_") {
			kept = append(kept, f)
		}
	}
	return kept
}

func gather(t testing.TB, m *metric.Metrics) []*dto.MetricFamily {
	t.Helper()
	all, err := m.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return ours(all)
}

// number finds what is a number in a line: after a space or in le="…".
var number = regexp.MustCompile(`( |le=")([-+0-9.e]+)`)

// lines returns the lines about our families.
func lines(page []byte) (out []string) {
	for line := range strings.Lines(string(page)) {
		if strings.Contains(line, "pulse_api_") {
			out = append(out, line)
		}
	}
	return out
}

// alike tells whether two lines say the same: numbers may be written in other
// ways, and differ in their last digit.
func alike(a, b string) bool {
	var numbers [2][]float64
	var rest [2]string
	for i, line := range []string{a, b} {
		rest[i] = number.ReplaceAllStringFunc(line, func(s string) string {
			at := strings.LastIndexAny(s, ` "`) + 1
			v, err := strconv.ParseFloat(s[at:], 64)
			if err != nil {
				return s
			}
			numbers[i] = append(numbers[i], v)
			return s[:at]
		})
	}
	return rest[0] == rest[1] && slices.EqualFunc(numbers[0], numbers[1], func(x, y float64) bool {
		return x == y || math.Abs(x-y) <= 1e-14*math.Abs(y)
	})
}

// sameLines compares a page of ours with client_golang's of the same families.
func sameLines(t testing.TB, m *metric.Metrics, accept string) {
	t.Helper()
	page, header := scrape(t, m, accept)
	var want bytes.Buffer
	enc := expfmt.NewEncoder(&want, expfmt.Format(header.Get("Content-Type")))
	all := gather(t, m) // by name: take them in the order of the page
	at := func(f *dto.MetricFamily) int {
		return bytes.Index(page, []byte("# HELP "+strings.TrimSuffix(f.GetName(), "_total")))
	}
	slices.SortStableFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(at(a), at(b)) })
	for _, f := range all {
		if err := enc.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	got, ref := lines(page), lines(want.Bytes())
	for i := range max(len(got), len(ref)) {
		if i >= len(got) || i >= len(ref) || !alike(got[i], ref[i]) {
			t.Fatalf("line %d differs from client_golang's:\n%q\n%q", i, got[min(i, len(got)-1)], ref[min(i, len(ref)-1)])
		}
	}
}

// The reference is client_golang's encoder, fed with the same families.
func TestPagesAreThoseOfClientGolang(t *testing.T) {
	m := full(t)
	sameLines(t, m, "text/plain")
	sameLines(t, m, openMetrics)
	got := byName(t, m, protobuf)
	for _, want := range gather(t, m) {
		if f := got[want.GetName()]; !proto.Equal(f, want) || len(f.ProtoReflect().GetUnknown()) > 0 {
			t.Errorf("family = %v\nwant %v", f, want)
		}
	}
}

// What is negotiated is what promhttp would.
func TestAcceptIsReadAsPromhttpDoes(t *testing.T) {
	m := full(t)
	theirs := promhttp.HandlerFor(m, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError})
	for _, accept := range []string{
		"", "*/*", "text/plain", "text/html", openMetrics, protobuf,
		"application/openmetrics-text;version=0.0.1", "application/openmetrics-text; version=9.0.0",
		"text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.75",
		"application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.9",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3",
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4",
		"text/plain; version=1.0.0; escaping=dots",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=compact-text",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		theirs.ServeHTTP(w, r)
		body, header := scrape(t, m, accept)
		if got, want := header.Get("Content-Type"), w.Header().Get("Content-Type"); got != want {
			t.Errorf("Accept %q: content type %q, want %q", accept, got, want)
		}
		if n, want := bytes.Count(body, []byte("pulse_api_")), bytes.Count(w.Body.Bytes(), []byte("pulse_api_")); n != want {
			t.Errorf("Accept %q: names %d times, want %d", accept, n, want)
		}
	}
}

// A name with a dot, of the service's registry, is escaped as the client asks.
func TestEscapingIsForTheRegistry(t *testing.T) {
	m := full(t)
	m.Registry().MustRegister(gauge("my.gauge"))
	for escaping, want := range map[string]string{"allow-utf-8": `{"my.gauge"} 0`, "underscores": "my_gauge 0", "dots": "my_dot_gauge 0"} {
		page, _ := scrape(t, m, "text/plain; version=0.0.4; escaping="+escaping)
		if !bytes.Contains(page, []byte("\n"+want+"\n")) {
			t.Errorf("escaping %s: no line %s", escaping, want)
		}
	}
}

// Whatever a label holds, every format is read back with it, and there is one
// series for it.
func FuzzLabels(f *testing.F) {
	for _, s := range []string{
		"", "plain", "\xff\xfe", "line\nfeed", `quo"te`, `back\slash`, "\\", "\\n", "a\x00b", "\r\n", "\u2028", "🦊", "{}", `le="1"`, " ", "#", "# EOF\n",
		strings.Repeat("é", 100), strings.Repeat("x", 127) + "é",
	} {
		f.Add(s, "endpoint", int64(5e6))
		f.Add("service", s, int64(math.MaxInt64))
	}
	f.Fuzz(func(t *testing.T, a, b string, ns int64) {
		m, err := metric.New(metric.Options{Service: a, Version: b, Sources: metric.Sources{
			Breakers: func() []metric.BreakerSample {
				return []metric.BreakerSample{{Name: a, Calls: map[string]uint64{b: 7}}, {Name: b}}
			},
		}})
		if err != nil {
			t.Fatal(err)
		}
		m.External(a, b, "200", metric.Observation{Duration: time.Duration(ns), End: time.Unix(0, max(ns, 1)), Trace: [16]byte{1}})
		m.EventIngested(b, a)
		m.Route("GET " + a).Observe(metric.Request{Method: b, Status: int(ns % 1000), Kind: b})
		readBack(t, m, a, b)
		sameLines(t, m, "text/plain")
		sameLines(t, m, openMetrics)
	})
}

func readBack(t *testing.T, m *metric.Metrics, a, b string) {
	t.Helper()
	for _, f := range []map[string]*dto.MetricFamily{families(t, m), byName(t, m, protobuf)} {
		got := map[string]string{}
		for _, l := range f["pulse_api_events_ingested_total"].Metric[0].Label {
			got[l.GetName()] = l.GetValue()
		}
		if got["source"] != label(b) || got["event_type"] != label(a) {
			t.Errorf("labels = %q, want source %q and event_type %q", got, label(b), label(a))
		}
		if n := len(f["pulse_api_external_duration_seconds"].Metric); n != 1 {
			t.Errorf("series = %d, want 1", n)
		}
	}
}

// label is what becomes of a string as a label.
func label(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), 128)], string(utf8.RuneError))
}

// byName scrapes and decodes protobuf.
func byName(t testing.TB, m *metric.Metrics, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	body, header := scrape(t, m, accept)
	out := map[string]*dto.MetricFamily{}
	dec := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(header))
	for {
		f := new(dto.MetricFamily)
		if err := dec.Decode(f); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out[f.GetName()] = f
	}
}
