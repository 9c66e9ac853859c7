package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/demo"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// consult asks the doctor about a server.
func consult(t *testing.T, server string, args ...string) (api.Diagnosis, error) {
	t.Helper()
	var out, errs bytes.Buffer
	a := newApp(streams{in: strings.NewReader(""), out: &out, err: &errs}, func(string) string { return "" })
	err := a.run(t.Context(), append([]string{"doctor", "-o", "json", "-s", server}, args...))
	var got struct{ Items []api.Diagnosis }
	if jerr := json.Unmarshal(out.Bytes(), &got); jerr != nil || len(got.Items) != 1 {
		t.Fatalf("%v, %v: %s%s", err, jerr, out.Bytes(), errs.Bytes())
	}
	return got.Items[0], err
}

// monitored serves a monitor's API and what mount adds, until the test ends.
func monitored(t *testing.T, o monitoring.Options, mount func(context.Context, *monitoring.Monitor, *http.ServeMux) func(url string) error) string {
	t.Helper()
	m, err := monitoring.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	mux := http.NewServeMux()
	run := mount(ctx, m, mux)
	m.Mount(mux)
	server := httptest.NewServer(m.Middleware(mux))
	done := make(chan error, 2)
	go func() { done <- m.Run(ctx) }()
	go func() { done <- run(server.URL) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		server.Close()
	})
	return server.URL
}

// The demo's dependencies fail: the doctor names them, and blames nothing else
// that this machine is not to blame for.
func TestDoctorNamesTheTrueCause(t *testing.T) {
	const speed = 2
	url := monitored(t, monitoring.Options{Service: "pulse-api", SlowThreshold: time.Second / speed}, func(ctx context.Context, m *monitoring.Monitor, mux *http.ServeMux) func(string) error {
		d, err := demo.NewAtSpeed(m, nil, speed)
		if err != nil {
			t.Fatal(err)
		}
		d.Mount(mux)
		return func(url string) error { return d.Run(ctx, url) }
	})
	causes := map[string]bool{}
	for begun := time.Now(); !(causes["breaker-open openai_api"] && causes["dependency-slow openai_api"]); {
		if time.Since(begun) > time.Minute {
			t.Fatalf("found %v alone", causes)
		}
		v, err := consult(t, url, "--for", "1s")
		if len(v.Findings) > 0 && exitStatus(err) != exitNo {
			t.Fatalf("%d findings end with %d: %v", len(v.Findings), exitStatus(err), err)
		}
		for _, f := range v.Findings {
			causes[f.Rule+" "+f.Subject] = true
			if !strings.HasPrefix(f.Next, "pulsectl ") || len(f.Evidence) == 0 {
				t.Errorf("not whole: %+v", f)
			}
		}
	}
	known := []string{"breaker-open", "breaker-flapping", "calls-fail", "calls-slow", "check-failing", "dependency-slow", "route-errors"}
	known = append(known, "cpu-host", "profiling-cost") // the machine's, and the race detector's
	for c := range causes {
		if rule, subject, _ := strings.Cut(c, " "); !slices.Contains(known, rule) && subject != "event_archive" {
			t.Errorf("it blames %s", c)
		}
	}
}

// A server that does little, and that well, has nothing wrong with it. Whether
// the machine has a processor to spare is not the server's to say.
func TestDoctorFindsNothingWrongWithAHealthyServer(t *testing.T) {
	url := monitored(t, monitoring.Options{Service: "quiet"}, func(ctx context.Context, m *monitoring.Monitor, mux *http.ServeMux) func(string) error {
		mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
		return func(url string) error {
			for tick := time.NewTicker(50 * time.Millisecond); ; {
				select {
				case <-ctx.Done():
					tick.Stop()
					return nil
				case <-tick.C:
					if resp, err := http.Get(url + "/hello"); err == nil {
						resp.Body.Close()
					}
				}
			}
		}
	})
	v, err := consult(t, url, "--for", "2s")
	findings := slices.DeleteFunc(v.Findings, func(f api.Finding) bool { return f.Rule == "cpu-host" })
	if len(findings) > 0 {
		t.Errorf("found %+v", findings)
	}
	if len(v.Findings) == 0 && err != nil {
		t.Errorf("ends with %v", err)
	}
	if len(v.NotJudged) == 0 || v.Rules < 15 || v.Interval.Duration() < 2*time.Second {
		t.Errorf("%d rules over %v, not judged %v", v.Rules, v.Interval.Duration(), v.NotJudged)
	}
}
