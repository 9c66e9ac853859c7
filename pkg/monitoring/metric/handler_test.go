package metric_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

func gauge(name string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "A gauge."})
}

// unpacked returns a body by its content coding.
func unpacked(t *testing.T, body io.Reader, coding string) []byte {
	t.Helper()
	var err error
	switch coding {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "zstd":
		body, err = zstd.NewReader(body)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswersAreCompressedAsTheClientLikesBest(t *testing.T) {
	m := full(t)
	for accept, want := range map[string]string{
		"": "", "gzip": "gzip", "zstd": "zstd", "br": "", "identity": "", "*": "zstd", "GZIP": "gzip",
		"gzip, deflate, br, zstd": "zstd", "gzip;q=1.0, zstd;q=0.5": "gzip", "gzip;q=0.2,zstd;q=0.4": "zstd",
		"gzip;q=0": "", "gzip;q=0, *": "zstd", "*;q=0": "", "identity;q=1, gzip;q=0.5": "", "identity, gzip": "gzip",
		"gzip;q=nonsense": "", "gzip; q=0.5, zstd; Q=0.3": "gzip", ";;,": "",
	} {
		for range 2 { // the second time by a writer that was used before
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Accept", openMetrics)
			r.Header.Set("Accept-Encoding", accept)
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, r)
			coding := w.Header().Get("Content-Encoding")
			if coding != want {
				t.Errorf("Accept-Encoding %q: coding %q, want %q", accept, coding, want)
			}
			if b := unpacked(t, w.Body, coding); !bytes.HasSuffix(b, []byte("# EOF\n")) {
				t.Errorf("Accept-Encoding %q: the page has no end", accept)
			}
		}
	}
	_, header := scrape(t, m, "")
	if vary := strings.Join(header.Values("Vary"), ", "); vary != "Accept, Accept-Encoding" {
		t.Errorf("vary = %s", vary)
	}
}

func TestNamesNarrowTheScrape(t *testing.T) {
	asked := 0
	m, err := metric.New(metric.Options{Sources: metric.Sources{Traces: func() metric.TraceSample {
		asked++
		return metric.TraceSample{}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	m.Registry().MustRegister(gauge("mine"), gauge("other"))
	m.Route("GET /a").Observe(metric.Request{Method: "GET"})
	for _, tt := range []struct {
		names, want []string
	}{
		{[]string{"pulse_api_requests_total"}, []string{"pulse_api_requests_total"}},
		{[]string{"mine", "pulse_api_active_connections"}, []string{"pulse_api_active_connections", "mine"}},
		{[]string{"go_goroutines"}, []string{"go_goroutines"}},
		{[]string{"nothing"}, nil},
		{[]string{""}, nil},
	} {
		for _, accept := range []string{"text/plain", openMetrics, protobuf, protobuf[:strings.LastIndexByte(protobuf, '=')] + "=text"} {
			r := httptest.NewRequest(http.MethodGet, "/?"+url.Values{"name[]": tt.names}.Encode(), nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, r)
			for _, name := range []string{"pulse_api_requests", "pulse_api_active_connections", "pulse_api_info", "mine", "other", "go_goroutines", "go_threads"} {
				wanted := slices.ContainsFunc(tt.want, func(s string) bool { return strings.HasPrefix(s, name) })
				if got := bytes.Contains(w.Body.Bytes(), []byte(name)); got != wanted {
					t.Errorf("name[]=%q as %s: %s is there = %v", tt.names, accept, name, got)
				}
			}
		}
	}
	if asked != 5 { // for the debugging form, which gathers everything
		t.Errorf("a source of families that were not asked for was asked %d times", asked)
	}
}

// stuck is a client that does not read.
type stuck struct {
	http.ResponseWriter
	begun func()
	go_on chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	s.begun()
	<-s.go_on
	return len(b), nil
}

// Clients that do not read hold up neither requests nor one another; too many
// are turned away.
func TestScrapesAtOnceAreBounded(t *testing.T) {
	m := full(t)
	h := m.Handler()
	var held, ended sync.WaitGroup
	release := make(chan struct{})
	for range 40 {
		held.Add(1)
		ended.Go(func() {
			w := &stuck{httptest.NewRecorder(), sync.OnceFunc(held.Done), release}
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		})
	}
	held.Wait()
	m.Route("GET /new").Observe(metric.Request{Method: "GET"}) // a series more, meanwhile
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	var p api.Error
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusServiceUnavailable || p.RetryAfter == nil || w.Header().Get("Retry-After") != "1" {
		t.Errorf("status = %d, retry after %q, problem %+v (%v)", w.Code, w.Header().Get("Retry-After"), p, err)
	}
	close(release)
	ended.Wait()
	for range 50 { // one after the other
		w = httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if !bytes.Contains(w.Body.Bytes(), []byte(`endpoint="/new"`)) {
			t.Fatal("no scrape after that, or not of the new series")
		}
	}
}

// gone is a client that has left.
type gone struct{ http.ResponseWriter }

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWhoLeavesCostsNoMore(t *testing.T) {
	asked := 0
	m, err := metric.New(metric.Options{Sources: metric.Sources{Profiles: func() metric.ProfileSample {
		asked++
		return metric.ProfileSample{}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 { // more than what is collected before it is written
		m.EventIngested("source", strings.Repeat("x", 100)+string(rune('a'+i%26))+strings.Repeat("y", i/26))
	}
	m.Handler().ServeHTTP(gone{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
	if asked != 0 {
		t.Error("a source was asked for a client that had left")
	}
}
