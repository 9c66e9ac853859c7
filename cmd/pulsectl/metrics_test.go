package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// startExporter starts $EXPORTER, which knows no API but has metrics that grow
// with each read, and below it paths whose metrics are none.
func startExporter(env *testscript.Env) {
	var reads atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		writeMetrics(w, reads.Add(1))
	})
	mux.HandleFunc("GET /page/metrics", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") })
	mux.HandleFunc("GET /half/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", "9999")
		writeMetrics(w, 1)
	})
	mux.HandleFunc("GET /cut/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "x 1\nx{a=\"b")
	})
	ts := httptest.NewServer(mux)
	env.Setenv("EXPORTER", ts.URL)
	env.Defer(ts.Close)
}

// writeMetrics writes what a service has counted by its n-th read.
func writeMetrics(w io.Writer, n int64) {
	fmt.Fprintln(w, "# TYPE pulse_api_requests_total counter\n# HELP pulse_api_requests_total Requests.")
	fmt.Fprintf(w, "pulse_api_requests_total{method=\"GET\",endpoint=\"/items\",status_code=\"200\"} %d\n", 90*n+10)
	fmt.Fprintf(w, "pulse_api_requests_total{method=\"GET\",endpoint=\"/items\",status_code=\"500\"} %d\n", 10*n)
	fmt.Fprintf(w, "pulse_api_requests_total{method=\"POST\",endpoint=\"/a\x1b[2Jb\",status_code=\"200\"} %d\n", n)
	fmt.Fprintln(w, "pulse_api_requests_total{method=\"GET\",endpoint=\"/idle\",status_code=\"200\"} 5")
	fmt.Fprintln(w, "# TYPE pulse_api_request_duration_seconds histogram")
	for _, b := range []struct {
		le string
		n  int64
	}{{"0.005", 40}, {"0.01", 100}, {"+Inf", 100}} {
		fmt.Fprintf(w, "pulse_api_request_duration_seconds_bucket{method=\"GET\",endpoint=\"/items\",le=\"%s\"} %d\n", b.le, b.n*n)
	}
	fmt.Fprintf(w, "pulse_api_request_duration_seconds_sum{method=\"GET\",endpoint=\"/items\"} %g\n", .6*float64(n))
	fmt.Fprintf(w, "pulse_api_request_duration_seconds_count{method=\"GET\",endpoint=\"/items\"} %d\n", 100*n)
	fmt.Fprintln(w, "# TYPE pulse_api_active_connections gauge\npulse_api_active_connections 3")
	fmt.Fprintln(w, "# TYPE odd gauge\nodd{a=\"1\"} NaN\nodd{a=\"1\"} +Inf\nodd{a=\"2\"} -Inf")
	for i := range n {
		fmt.Fprintf(w, "growing{n=\"%d\"} 1\n", i)
	}
	fmt.Fprintf(w, "# TYPE restarted_total counter\nrestarted_total %d\n", 1_000_000/n)
}

// A list of 100,000 series, 500,000 lines, takes no more memory than a short
// one: the peak is the process's, so this is a real one.
func TestManySeriesAreListed(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/monitoring/metrics" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain")
		out := bufio.NewWriter(w)
		defer out.Flush() // the client tells
		fmt.Fprintln(out, "# TYPE requests_total counter\n# TYPE seconds histogram")
		for i := range 60_000 {
			fmt.Fprintf(out, "requests_total{endpoint=\"/customers/%d/orders\",method=\"GET\",status_code=\"200\"} %d\n", i, i)
		}
		for i := range 40_000 {
			for _, le := range []string{".005", ".01", ".025", ".05", ".1", ".25", "1", "5", "+Inf"} {
				fmt.Fprintf(out, "seconds_bucket{endpoint=\"/customers/%d/orders\",le=\"%s\"} %d\n", i, le, i)
			}
			fmt.Fprintf(out, "seconds_sum{endpoint=\"/customers/%d/orders\"} 1\nseconds_count{endpoint=\"/customers/%d/orders\"} %d\n", i, i, i)
		}
	}))
	defer ts.Close()
	for _, tt := range []struct {
		args string
		says string
		mib  int64 // resident at most
	}{
		{"metrics list", "2 families  100,000 series", 64},
		{"metrics get seconds --total -n 1", "799,980,000 observed", 256},
		{"metrics get requests_total --label endpoint=/customers/59999/orders", "59,999", 64},
		{"metrics get requests_total --by method", "1,799,970,000", 256},
	} {
		cmd := exec.CommandContext(t.Context(), "pulsectl", append(strings.Fields(tt.args), "-s", ts.URL, "--request-timeout", "1m")...)
		out, peak, err := runMeasured(cmd)
		if err != nil || !strings.Contains(string(out), tt.says) {
			t.Errorf("%s: %v, want it to say %q:\n%.500s", tt.args, err, tt.says, out)
			continue
		}
		if peak >>= 20; peak > tt.mib {
			t.Errorf("%s: %d MiB resident at its peak, want at most %d", tt.args, peak, tt.mib)
		}
	}
}
