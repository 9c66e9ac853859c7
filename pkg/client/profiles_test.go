package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// pythonProfiles is a Python server with a repaired profiler, as recorded.
const pythonProfiles = `{"profiles":{"a/b_1795415793436":{"profile_id":"a/b_1795415793436","operation_name":"GET /a/b","duration":0.0155,
"memory_usage":{"start":47788032},"custom_timings":{"request_start":1795415793.43,"sort":0.01},"total_calls":886,"primitive_calls":885,
"top_functions":[{"ncalls":"12/3","tottime":"0.010","percall":"0.001","cumtime":"0.012","percall_cum":"0.004","filename_function":"x.py:3(f)"}]},
"c_1795415799999":{"profile_id":"c_1795415799999","operation_name":"c","duration":1,"memory_usage":{},"custom_timings":{},"total_calls":1,"primitive_calls":1,"top_functions":[]}},"total_profiles":6}`

// python serves fixed bodies and counts the requests that reach each path.
func python(t *testing.T, bodies map[string]string) (*client.Client, map[string]int) {
	t.Helper()
	asked := map[string]int{}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.Method+" "+r.URL.RequestURI()]++
		body, ok := bodies[r.Method+" "+r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/monitoring/metrics":
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		case !ok:
			w.WriteHeader(404)
			body = `{"detail":"Not Found"}`
		case body == "500":
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(500)
			body = "Internal Server Error"
		}
		w.Write([]byte(body))
	}))
	t.Cleanup(ts.Close)
	c, err := client.New(ts.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func TestPythonProfiles(t *testing.T) {
	c, _ := python(t, map[string]string{"GET /monitoring/profiling/profiles": pythonProfiles})
	l, err := c.Profiles(t.Context(), client.ProfileQuery{Limit: 1})
	if err != nil || l.Total != 6 || len(l.Profiles) != 1 || l.Profiles[0].ProfileID != "c_1795415799999" {
		t.Fatalf("list = %+v, %v; want the newest of 6", l, err)
	}
	l, err = c.Profiles(t.Context(), client.ProfileQuery{Operation: "GET /a/b"})
	if err != nil || len(l.Profiles) != 1 {
		t.Fatalf("by operation: %+v, %v", l, err)
	}
	if f := l.Profiles[0].TopFunctions[0]; f.NCalls != 12 || f.CumTime != api.Seconds(12*time.Millisecond) {
		t.Errorf("row = %+v", f)
	}
}

// TestPythonRefusals: what a Python server would ignore is never sent to it.
func TestPythonRefusals(t *testing.T) {
	c, asked := python(t, map[string]string{
		"GET /monitoring/profiling/profiles": "500", "GET /monitoring/profiling/stats": "500",
		"POST /monitoring/profiling/enable":  `{"message":"Profiling enabled"}`,
		"POST /monitoring/profiling/disable": `{"message":"Profiling disabled"}`,
		"POST /monitoring/profiling/cleanup": `{"message":"Cleaned up profiles older than 3600 seconds"}`,
	})
	var e *api.Error
	if _, err := c.Profiles(t.Context(), client.ProfileQuery{}); !errors.As(err, &e) || !strings.Contains(e.Detail, "unreadable on this server") {
		t.Errorf("list: %v", err)
	}
	if _, err := c.ProfilingStats(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Detail, "unreadable on this server") {
		t.Errorf("stats: %v", err)
	}
	if _, err := c.EnableProfiling(t.Context(), time.Minute, 0, client.Action{}); !errors.As(err, &e) || e.Code != client.CodeUnsupported {
		t.Errorf("enable for a minute: %v", err)
	}
	if _, err := c.DisableProfiling(t.Context(), false, client.Action{DryRun: true}); !errors.As(err, &e) || e.Code != client.CodeUnsupported {
		t.Errorf("dry run: %v", err)
	}
	for what := range asked {
		if strings.HasPrefix(what, "POST") {
			t.Errorf("it was sent %s", what)
		}
	}
	if s, err := c.EnableProfiling(t.Context(), 0, 0, client.Action{}); err != nil || s.Message != "Profiling enabled" {
		t.Errorf("enable: %+v, %v", s, err)
	}
	if _, err := c.DisableProfiling(t.Context(), true, client.Action{}); err != nil || asked["POST /monitoring/profiling/disable"] != 1 {
		t.Errorf("disable: %v", err)
	}
	if d, err := c.CleanupProfiles(t.Context(), time.Hour, client.Action{}); err != nil || d.Removed != nil {
		t.Errorf("cleanup: %+v, %v", d, err)
	}
	if _, err := c.ProfileTop(t.Context(), "x", client.ProfileTopQuery{}); !errors.As(err, &e) || !strings.Contains(e.Detail, "unreadable on this server") {
		t.Errorf("top: %v", err)
	}
}

// TestRecordedPythonProfiles reads every recorded answer about profiles.
func TestRecordedPythonProfiles(t *testing.T) {
	dir, ok := testkit.Fixtures(t)
	if !ok {
		t.Skip("the folder of recorded answers is not here")
	}
	files, err := filepath.Glob(filepath.Join(dir, "python-api", "*profil*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d recorded answers, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			Request struct{ Method, Path string }
			Status  int
			Body    string
		}
		if err := json.Unmarshal(b, &rec); err != nil {
			t.Fatal(err)
		}
		if rec.Status != 200 || rec.Request.Method != "GET" {
			continue
		}
		path, _, _ := strings.Cut(rec.Request.Path, "?")
		c, _ := python(t, map[string]string{"GET " + path: rec.Body})
		if _, err := c.Profiles(t.Context(), client.ProfileQuery{}); strings.HasSuffix(path, "/profiles") && err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := c.ProfilingStats(t.Context()); strings.HasSuffix(path, "/stats") && err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What a command leaves open is left to the server; what it says is said once.
func TestProfileRequests(t *testing.T) {
	var asked []string
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch body, _ := io.ReadAll(r.Body); {
		case r.URL.Path == "/monitoring/":
			io.WriteString(w, `{"service":"x","capabilities":["dry_run"]}`)
			return
		default:
			asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		}
		switch {
		case r.URL.Query().Has("format"):
			io.WriteString(w, "raw\x00data")
		case r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/profiles"):
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"profile_id":"p_1"}`)
		default:
			w.WriteHeader(http.StatusAccepted)
			io.WriteString(w, `{"profile_id":"p_2"}`)
		}
	}))
	t.Cleanup(ts.Close)
	c, err := client.New(ts.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if b, err := c.ProfileData(ctx, "p/ 1"); err != nil || string(b) != "raw\x00data" {
		t.Errorf("ProfileData = %q, %v", b, err)
	}
	p, err := c.UploadProfile(ctx, []byte("a;b 1"), client.ProfileUpload{Operation: "nightly", Labels: []string{"k=v", "l=w"}})
	if err != nil || p.ProfileID != "p_1" {
		t.Errorf("UploadProfile = %+v, %v", p, err)
	}
	for _, o := range []client.Capture{{Type: "heap"}, {Type: "trace", Duration: 1200 * time.Millisecond, Target: "billing"}} {
		if s, err := c.CaptureProfile(ctx, o, client.Action{}); err != nil || s.ProfileID != "p_2" {
			t.Errorf("CaptureProfile(%+v) = %+v, %v", o, s, err)
		}
	}
	want := []string{
		"GET /monitoring/profiling/profiles/p%2F%201?format=pprof",
		"POST /monitoring/profiling/profiles?label=k%3Dv&label=l%3Dw&operation=nightly a;b 1",
		"POST /monitoring/profiling/capture?type=heap",
		"POST /monitoring/profiling/capture?seconds=2&target=billing&type=trace",
	}
	if !slices.Equal(asked, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}
