package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// profilingServer serves a Profiler that runs until the test ends.
func profilingServer(t *testing.T) (*httptest.Server, *profiling.Profiler) {
	t.Helper()
	p, err := profiling.New(profiling.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	s, err := server.New(server.Options{Profiler: p})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		ts.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ts, p
}

// ask makes a request and decodes its JSON answer into out, unless that is nil.
func ask(t *testing.T, ts *httptest.Server, method, path string, body io.Reader, out any) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, ts.URL+"/monitoring/profiling"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %v in %.200s", method, path, err, b)
		}
	}
	return resp
}

func TestProfilesOverHTTP(t *testing.T) {
	ts, _ := profilingServer(t)
	var kept api.Profile
	resp := ask(t, ts, "POST", "/profiles?operation=job&service=cron&label=k=v&label=host=a", strings.NewReader("main;work 3\nmain 1\n"), &kept)
	if resp.StatusCode != 201 || kept.OperationName != "job" || kept.Service != "cron" || kept.Labels["host"] != "a" || kept.Samples.Value() != 4 {
		t.Fatalf("upload: %s %+v", resp.Status, kept)
	}
	id := kept.ProfileID
	var list api.Profiles
	ask(t, ts, "GET", "/profiles?type=samples&trigger=upload&since=1h", nil, &list)
	if len(list.Profiles) != 1 || list.Profiles[id].ProfileID != id || list.TotalProfiles != 1 {
		t.Errorf("list = %+v", list)
	}
	var one api.ProfileGet
	if ask(t, ts, "GET", "/profiles?profile_id="+id[:6], nil, &one); one.Profile.ProfileID != id {
		t.Errorf("by prefix: %+v", one)
	}
	var summary api.Profile
	if ask(t, ts, "GET", "/profiles/"+id, nil, &summary); summary.ProfileID != id {
		t.Errorf("by path: %+v", summary)
	}
	var top api.ProfileTop
	if ask(t, ts, "GET", "/profiles/"+id+"/top?sort=cum&n=1&focus=work", nil, &top); len(top.Rows) != 1 || top.Functions != 2 || top.Total != 4 || top.Rows[0].Function != "main" || top.Rows[0].Cum != 3 {
		t.Errorf("top = %+v", top)
	}
	var stats api.ProfilingStats
	if ask(t, ts, "GET", "/stats", nil, &stats); stats.TotalProfiles != 1 || stats.Mode != "watch" || stats.ProfilerEnabled || stats.Bytes.Value() == 0 {
		t.Errorf("stats = %+v", stats)
	}
}

// TestPprofRoundTrip: what is uploaded can be fetched and read again.
func TestPprofRoundTrip(t *testing.T) {
	ts, p := profilingServer(t)
	id, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "goroutine"})
	for err != nil { // Run has just been started
		id, err = p.Capture(t.Context(), profiling.CaptureOptions{Type: "goroutine"})
	}
	for _, how := range []struct{ query, accept string }{{"?format=pprof", ""}, {"", "application/octet-stream"}} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", ts.URL+"/monitoring/profiling/profiles/"+id+how.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", how.accept)
		resp, err := ts.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.Header.Get("Content-Type") != "application/octet-stream" || !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
			t.Fatalf("%+v: %s %v %.20x", how, resp.Header.Get("Content-Type"), err, b)
		}
		if parsed, err := hotspot.Parse(b, hotspot.Limits{}); err != nil || parsed.Type() != "goroutine" {
			t.Errorf("parse: %v", err)
		}
		var again api.Profile
		if resp := ask(t, ts, "POST", "/profiles", bytes.NewReader(b), &again); resp.StatusCode != 201 || again.Type != "goroutine" {
			t.Errorf("upload: %s %+v", resp.Status, again)
		}
	}
}

func TestProfilingRefusals(t *testing.T) {
	ts, p := profilingServer(t)
	for _, tt := range []struct {
		name, method, path, body string
		status                   int
		parameter                string
	}{
		{"limit", "GET", "/profiles?limit=51", "", 422, "limit"},
		{"limit text", "GET", "/profiles?limit=abc", "", 422, "limit"},
		{"trigger", "GET", "/profiles?trigger=x", "", 422, "trigger"},
		{"unknown id", "GET", "/profiles/p_nope", "", 404, ""},
		{"unknown id of top", "GET", "/profiles/p_nope/top", "", 404, ""},
		{"regexp", "GET", "/profiles/x/top?focus=(", "", 422, "focus"},
		{"not a profile", "POST", "/profiles", "<html>", 400, ""},
		{"empty", "POST", "/profiles", "", 400, ""},
		{"label", "POST", "/profiles?label=novalue", "a 1", 422, "label"},
		{"operation", "POST", "/profiles?operation=a%0d%0aX-Bad:1", "a 1", 422, "operation"},
		{"too large", "POST", "/profiles", strings.Repeat("x", profiling.MaxUpload+1), 413, ""},
		{"capture type", "POST", "/capture?type=gpu", "", 422, "type"},
		{"capture seconds", "POST", "/capture?seconds=301", "", 422, "seconds"},
		{"capture target", "POST", "/capture?target=http://169.254.169.254/", "", 422, "target"},
		{"duration", "POST", "/enable?duration=-1s", "", 422, "duration"},
		{"threshold", "POST", "/enable?slow_threshold=0", "", 422, "slow_threshold"},
		{"mode", "POST", "/disable?mode=on", "", 422, "mode"},
		{"age", "POST", "/cleanup?max_age_seconds=299", "", 422, "max_age_seconds"},
		{"method", "GET", "/cleanup", "", 405, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e api.Error
			resp := ask(t, ts, tt.method, tt.path, strings.NewReader(tt.body), &e)
			if resp.StatusCode != tt.status || e.Detail == "" {
				t.Fatalf("%s %+v, want %d", resp.Status, e, tt.status)
			}
			if tt.parameter != "" && (len(e.Errors) != 1 || e.Errors[0].Parameter != tt.parameter) {
				t.Errorf("errors %+v, want one of %s", e.Errors, tt.parameter)
			}
		})
	}
	if st := p.Stats(); st.TotalProfiles != 0 || st.Mode != "watch" {
		t.Errorf("something changed: %+v", st)
	}
}

func TestProfilingActions(t *testing.T) {
	ts, p := profilingServer(t)
	var sw api.ProfilingSwitch
	if ask(t, ts, "POST", "/enable?dry_run=true", nil, &sw); !sw.DryRun || sw.EnabledUntil == nil || p.Mode() != profiling.ModeWatch {
		t.Errorf("dry run: %+v, mode %s", sw, p.Mode())
	}
	sw = api.ProfilingSwitch{}
	if ask(t, ts, "POST", "/enable?duration=0&slow_threshold=250ms", nil, &sw); sw.EnabledUntil != nil || sw.Mode != "on" || p.Mode() != profiling.ModeOn || p.SlowThreshold().Milliseconds() != 250 {
		t.Errorf("enable: %+v", sw)
	}
	if ask(t, ts, "POST", "/disable", nil, &sw); sw.Mode != "watch" || p.Mode() != profiling.ModeWatch {
		t.Errorf("disable: %+v", sw)
	}
	var started api.ProfileStarted
	if resp := ask(t, ts, "POST", "/capture?type=cpu&seconds=1", nil, &started); resp.StatusCode != 202 || started.ProfileID == "" {
		t.Errorf("capture: %s %+v", resp.Status, started)
	}
	var one api.Profile
	if ask(t, ts, "GET", "/profiles/"+started.ProfileID, nil, &one); one.State != "active" || one.Type != "cpu" {
		t.Errorf("just started: %+v", one)
	}
	var e api.Error
	if resp := ask(t, ts, "GET", "/profiles/"+started.ProfileID+"/top", nil, &e); resp.StatusCode != 409 {
		t.Errorf("top of an active profile: %s", resp.Status)
	}
	var cleaned api.Cleanup
	if ask(t, ts, "POST", "/cleanup", nil, &cleaned); cleaned.Removed == nil || cleaned.Removed.Value() != 0 {
		t.Errorf("cleanup: %+v", cleaned)
	}
}

// TestHostileUploads: bombs, cycles, bad ids and cut bodies end in one line each,
// and nothing of them is kept.
func TestHostileUploads(t *testing.T) {
	ts, p := profilingServer(t)
	real, _, err := p.Lookup(t.Context(), "heap", profiling.LookupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	zip := func(parts ...string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		for _, part := range parts {
			io.WriteString(z, part)
		}
		z.Close()
		return b.String()
	}
	bomb := strings.Repeat(zip(strings.Repeat("\x00", 1<<20)), 257) // MiB, one more than is inflated
	for _, tt := range []struct {
		name, body string
		status     int
	}{
		{"gzip bomb", bomb, 413},
		{"gzip in gzip", zip(zip("main 1\n")), 400},
		{"cut", string(real[:len(real)/2]), 400},
		{"cut trace header", "go 1.26 trace", 400},
		{"a length of 2^63", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 400},
		{"a sample of no location", "\x0a\x04\x0a\x00\x12\x00\x12\x06\x0a\x01\x63\x12\x01\x01\x32\x00", 400},
		{"html", "<html>\n" + strings.Repeat("<p>a</p>\n", 1000), 400},
	} {
		var e api.Error
		resp := ask(t, ts, "POST", "/profiles", strings.NewReader(tt.body), &e)
		if resp.StatusCode != tt.status || e.Detail == "" || strings.Contains(e.Detail, "\n") || len(e.Detail) > 400 {
			t.Errorf("%s: %s %+v, want %d", tt.name, resp.Status, e, tt.status)
		}
	}
	if st := p.Stats(); st.TotalProfiles != 0 {
		t.Errorf("%v kept", st.TotalProfiles)
	}
}
