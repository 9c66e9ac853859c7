package metric_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

// A collector of the service's that hangs costs the service's families alone,
// and no more of the scrape's time than Prometheus has.
func TestCollectorsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := metric.New(metric.Options{})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		m.Registry().MustRegister(gauge("mine"), prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "hangs"}, func() float64 {
			<-release
			return 1
		}))
		h := m.Handler()
		scrape := func(timeout string) (string, time.Duration) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
			w, start := httptest.NewRecorder(), time.Now()
			h.ServeHTTP(w, r)
			return w.Body.String(), time.Since(start)
		}
		for _, tt := range []struct {
			timeout string
			want    time.Duration
		}{{"", 9 * time.Second}, {"5", 4500 * time.Millisecond}, {"1e300", 54 * time.Second}, {"-1", 9 * time.Second}, {"NaN", 9 * time.Second}} {
			page, took := scrape(tt.timeout)
			if took != tt.want {
				t.Errorf("timeout %q: the scrape took %v, want %v", tt.timeout, took, tt.want)
			}
			if !strings.Contains(page, "pulse_api_info{") || !strings.Contains(page, "go_goroutines ") || strings.Contains(page, "mine") {
				t.Errorf("timeout %q: page %s", tt.timeout, page)
			}
		}
		for range 50 { // more than may hang
			scrape("1")
		}
		if page, took := scrape("1"); took != 0 || !strings.Contains(page, `promhttp_metric_handler_errors_total{cause="gathering"} 55`) {
			t.Errorf("a scrape beyond those that hang took %v:\n%s", took, page)
		}
		close(release)
		synctest.Wait()
		if page, _ := scrape(""); !strings.Contains(page, "\nmine 0\n") || !strings.Contains(page, "\nhangs 1\n") {
			t.Errorf("after that:\n%s", page)
		}
	})
}

// pipes is a listener at which connections without a buffer come in.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// Clients that do not read lose their places after a minute; the next scrape on
// a connection has its own time.
func TestClientsThatDoNotReadLoseTheirPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := full(t)
		in := make(pipes)
		srv := &http.Server{Handler: m.Handler()}
		go srv.Serve(in) // until Close
		defer func() { close(in); srv.Close(); synctest.Wait() }()
		dial := func() net.Conn {
			client, server := net.Pipe()
			in <- server
			return client
		}
		const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
		for range 40 {
			io.WriteString(dial(), request)
		}
		synctest.Wait()
		reader := dial()
		answers := bufio.NewReader(reader)
		get := func() (int, []byte) {
			io.WriteString(reader, request)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, b
		}
		if status, _ := get(); status != http.StatusServiceUnavailable {
			t.Errorf("status %d while others have all places, want 503", status)
		}
		for range 3 {
			time.Sleep(61 * time.Second)
			if status, page := get(); status != http.StatusOK || !bytes.Contains(page, []byte("pulse_api_info{")) {
				t.Errorf("status %d, page %.40q", status, page)
			}
		}
	})
}
