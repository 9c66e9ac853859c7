package monitoring_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// promServer is a real Prometheus that scrapes a service once a second.
type promServer struct {
	t   *testing.T
	url string
}

// newPrometheus starts one with these features on a free port. It ends with the
// test.
func newPrometheus(t *testing.T, target, features string) *promServer {
	t.Helper()
	program, dir := testkit.Need(t, "prometheus", "prometheus"), t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- {job_name: pulse, metrics_path: /monitoring/metrics, static_configs: [{targets: [%q]}]}
`, strings.TrimPrefix(target, "http://"))
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var log strings.Builder
	cmd := exec.Command(program, "--config.file="+path, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--enable-feature="+features, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() }) // it may have ended
		defer kill.Stop()
		_ = cmd.Process.Signal(syscall.SIGTERM) // the same
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus with %s:\n%s", features, log.String())
		}
	})
	return &promServer{t, "http://" + addr}
}

// ask asks the HTTP API and decodes the data of its answer.
func (p *promServer) ask(path string, q url.Values, data any) error {
	resp, err := http.Get(p.url + "/api/v1/" + path + "?" + q.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", q.Get("query"), answer.Error)
	}
	return nil
}

// value evaluates PromQL at a time; no sample, or several, is not a number.
func (p *promServer) value(expr string, at time.Time) float64 {
	p.t.Helper()
	var data struct{ Result []struct{ Value [2]any } }
	q := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1e3, 'f', 3, 64)}}
	if err := p.ask("query", q, &data); err != nil {
		return math.NaN() // it is starting
	}
	if len(data.Result) != 1 {
		return math.NaN()
	}
	v, err := strconv.ParseFloat(fmt.Sprint(data.Result[0].Value[1]), 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// await waits until an expression has a value.
func (p *promServer) await(expr string, want float64) {
	p.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); p.value(expr, time.Now()) != want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s = %v, want %v", expr, p.value(expr, time.Now()), want)
		}
	}
}

func (p *promServer) wantNear(expr string, at time.Time, want, tolerance float64) {
	p.t.Helper()
	if got := p.value(expr, at); !(math.Abs(got-want) <= tolerance*want) {
		p.t.Errorf("%s = %v, want %v ± %.0f %%", expr, got, want, tolerance*100)
	}
}

// exemplars are the traces that those of a selector name.
func (p *promServer) exemplars(selector string, from time.Time) (traces []string) {
	p.t.Helper()
	var data []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	q := url.Values{"query": {selector}, "start": {fmt.Sprint(from.Unix())}, "end": {fmt.Sprint(time.Now().Unix() + 1)}}
	if err := p.ask("query_exemplars", q, &data); err != nil {
		p.t.Fatal(err)
	}
	for _, s := range data {
		for _, e := range s.Exemplars {
			traces = append(traces, e.Labels["trace_id"])
		}
	}
	return traces
}

// sent is what the service of the test was asked.
type sent struct {
	from, until time.Time
	requests    []time.Time // answered with 200
	failed      int         // answered with 500
	timed       int         // of known durations: 5 ms, 10 ms, … each as often
}

// Two real Prometheuses, one that keeps classic buckets (it asks for
// OpenMetrics) and one that keeps native ones (it asks for protobuf), know what
// a service was sent: counts, rates, quantiles, and the traces of exemplars.
func TestPrometheusKnowsWhatWasSent(t *testing.T) {
	s := newService(t, monitoring.Options{})
	s.mux.HandleFunc("GET /items/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "bad" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	classic := newPrometheus(t, s.URL, "exemplar-storage")
	native := newPrometheus(t, s.URL, "exemplar-storage,native-histograms")
	for _, p := range []*promServer{classic, native} {
		p.await("up", 1)
	}
	load := send(t, s)
	const items, duration = `pulse_api_requests_total{endpoint="/items/{id}",method="GET",status_code=`, `pulse_api_request_duration_seconds`
	for _, p := range []*promServer{classic, native} {
		p.await(items+`"200"}`, float64(len(load.requests)))
		p.await(items+`"500"}`, float64(load.failed))
		p.await(`pulse_api_errors_total{endpoint="/items/{id}",error_type="http_500"}`, float64(load.failed))
		recent := 0
		for _, at := range load.requests {
			if at.After(load.until.Add(-3 * time.Second)) {
				recent++
			}
		}
		p.wantNear(`rate(`+items+`"200"}[3s])`, load.until, float64(recent)/3, .3)
		share := float64(load.failed) / float64(load.failed+len(load.requests))
		p.wantNear(`sum(rate(pulse_api_requests_total{status_code=~"5.."}[10s])) / sum(rate(pulse_api_requests_total{endpoint="/items/{id}"}[10s]))`, load.until, share, .3)
	}

	classic.await(duration+`_count{endpoint="/timed"}`, float64(load.timed))
	classic.wantNear(duration+`_sum{endpoint="/timed"}`, time.Now(), float64(load.timed)*.5025, 1e-9)
	classic.wantNear(`histogram_quantile(0.95, sum by (le) (`+duration+`_bucket{endpoint="/timed"}))`, time.Now(), .95, .01)
	classic.wantNear(`histogram_quantile(0.95, sum by (le) (rate(`+duration+`_bucket{endpoint="/timed"}[10s])))`, load.until, .95, .05)
	native.await(`histogram_count(`+duration+`{endpoint="/timed"})`, float64(load.timed))
	native.wantNear(`histogram_sum(`+duration+`{endpoint="/timed"})`, time.Now(), float64(load.timed)*.5025, 1e-9)
	native.wantNear(`histogram_quantile(0.95, `+duration+`{endpoint="/timed"})`, time.Now(), .95, .09)
	native.wantNear(`histogram_quantile(0.5, rate(`+duration+`{endpoint="/timed"}[10s]))`, load.until, .5025, .09)

	wantTraces(t, s, classic.exemplars(duration+`_bucket{endpoint="/items/{id}"}`, load.from))
	wantTraces(t, s, native.exemplars(duration+`{endpoint="/items/{id}"}`, load.from))
}

// send asks for 4 seconds, 50 times a second, and observes as often what took
// a known time.
func send(t *testing.T, s *service) sent {
	t.Helper()
	load := sent{from: time.Now()}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := range 200 {
		<-tick.C
		path := "/items/1"
		if i%5 == 4 {
			path = "/items/bad"
			load.failed++
		} else {
			load.requests = append(load.requests, time.Now())
		}
		s.get(t, path)
		s.m.ObserveRequest("GET", "/timed", http.StatusOK, time.Duration(i*77%200+1)*5*time.Millisecond)
		load.timed++
	}
	load.until = time.Now()
	return load
}

// wantTraces fails t unless there are traces, all of them kept, of the route.
func wantTraces(t *testing.T, s *service, ids []string) {
	t.Helper()
	if len(ids) == 0 {
		t.Error("no exemplar")
	}
	for _, id := range ids {
		tr, err := s.m.Traces.Get(id)
		if err != nil || tr.Root != "GET /items/{id}" || tr.Status == api.StatusActive {
			t.Errorf("the exemplar's trace %q: %q, %v", id, tr.Root, err)
		}
	}
}
