package monitoring_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	httppprof "net/http/pprof"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// profiled serves a service of one slow and one busy route.
func profiled(t *testing.T, o monitoring.Options) (*monitoring.Monitor, *httptest.Server) {
	t.Helper()
	m, err := monitoring.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	for m.Profiles.CanCapture(profiling.CaptureOptions{Type: "cpu"}) != nil { // it does not run yet
		time.Sleep(time.Millisecond)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /slow/{id}", func(w http.ResponseWriter, r *http.Request) {
		monitoring.Checkpoint(r.Context(), "parsed")
		time.Sleep(300 * time.Millisecond)
		monitoring.Timing(r.Context(), "db", 300*time.Millisecond)
	})
	mux.HandleFunc("GET /busy/{id}", func(w http.ResponseWriter, r *http.Request) {
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
			spun += spin()
		}
	})
	m.Mount(mux)
	ts := httptest.NewServer(m.Middleware(mux))
	t.Cleanup(func() {
		ts.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m, ts
}

var spun int // by one request at a time

//go:noinline
func spin() (n int) {
	for i := range 100_000 {
		n += i
	}
	return n
}

func fetch(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// TestParallelPprof: eight readers of the CPU profile over HTTP all get theirs,
// with the requests of the time named in it.
func TestParallelPprof(t *testing.T) {
	_, ts := profiled(t, monitoring.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, body := fetch(t, ts.URL+"/debug/pprof/profile?seconds=2")
			if resp.StatusCode != 200 {
				t.Errorf("%s: %s", resp.Status, body)
				return
			}
			p, err := profile.ParseData(body)
			if err != nil {
				t.Error(err)
				return
			}
			routes := map[string]int64{}
			for _, s := range p.Sample {
				if len(s.Label["route"]) > 0 && len(s.Label["trace_id"]) > 0 && len(s.Label["request_id"]) > 0 {
					routes[s.Label["route"][0]] += s.Value[0]
				}
			}
			if routes["GET /busy/{id}"] == 0 {
				t.Errorf("samples by route: %v", routes)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	for range 3 {
		fetch(t, ts.URL+"/busy/1")
	}
	wg.Wait()
}

// TestGoToolPprof: Go's own tool reads what is served.
func TestGoToolPprof(t *testing.T) {
	_, ts := profiled(t, monitoring.Options{})
	for _, page := range []string{"heap", "goroutine", "profile?seconds=1", "allocs?seconds=1"} {
		cmd := exec.CommandContext(t.Context(), "go", "tool", "pprof", "-top", ts.URL+"/debug/pprof/"+page)
		cmd.Env = append(cmd.Environ(), "PPROF_TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "Type: ") {
			t.Errorf("%s: %v\n%s", page, err, out)
		}
	}
	_, trace := fetch(t, ts.URL+"/debug/pprof/trace?seconds=0.1")
	if !strings.HasPrefix(string(trace), "go 1.") {
		t.Errorf("trace: %.40q", trace)
	}
}

// TestSlowRequestOverHTTP: from the request to its explanation and its trace.
func TestSlowRequestOverHTTP(t *testing.T) {
	m, ts := profiled(t, monitoring.Options{SlowThreshold: time.Minute, SlowThresholds: map[string]time.Duration{"/slow/{id}": 100 * time.Millisecond}, Debug: true})
	for end := time.Now().Add(10 * time.Second); !m.Profiles.Recording() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	answer := make(chan string, 1)
	go func() {
		resp, _ := fetch(t, ts.URL+"/slow/7")
		answer <- resp.Header.Get("X-Trace-ID")
	}()
	list := func(query string) (ps api.Profiles) {
		_, body := fetch(t, ts.URL+"/monitoring/profiling/profiles"+query)
		if err := json.Unmarshal(body, &ps); err != nil {
			t.Fatal(err)
		}
		return ps
	}
	time.Sleep(200 * time.Millisecond) // the threshold, and 100 ms
	active := list("")
	if len(active.Profiles) != 1 {
		t.Errorf("active: %+v", active)
	}
	for _, p := range active.Profiles {
		if p.State != "active" || p.OperationName != "GET /slow/{id}" {
			t.Errorf("active: %+v", p)
		}
	}
	id := <-answer
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, p := range list("?type=wall&trace_id=" + id).Profiles {
			if p.State == "active" {
				continue
			}
			x := p.Explanation
			if x == nil || x.Source != "exact (trace)" || x.States[0].State != api.StateSleep || x.States[0].Duration.Duration() < 290*time.Millisecond {
				t.Errorf("explanation %+v", x)
			}
			if p.OperationName != "GET /slow/{id}" || p.MemoryUsage["parsed"] == 0 || p.CustomTimings["db"] == 0 {
				t.Errorf("profile %+v", p)
			}
			return
		}
	}
	t.Error("no profile of the slow request")
}

// TestPprofAccess: the pages are under the API's access control.
func TestPprofAccess(t *testing.T) {
	secrets := map[string]string{}
	var tokens []server.Token
	for _, role := range []string{"viewer", "writer", "operator"} {
		secret, line, err := server.NewToken(role + ":" + role)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		more, err := monitoring.LoadTokens(file)
		if err != nil {
			t.Fatal(err)
		}
		tokens, secrets[role] = append(tokens, more...), secret
	}
	_, ts := profiled(t, monitoring.Options{Access: monitoring.Access{Tokens: tokens}})
	for _, tt := range []struct {
		page, role string
		status     int
	}{
		{"heap", "", 401}, {"", "", 401}, {"profile?seconds=1", "", 401}, {"trace?seconds=0.01", "", 401}, {"nope", "", 401},
		{"heap", "writer", 403}, {"heap", "viewer", 200}, {"", "viewer", 200},
		{"trace?seconds=0.01", "viewer", 403}, {"trace?seconds=0.01", "operator", 200}, {"cmdline", "operator", 404},
	} {
		resp, body := fetch(t, ts.URL+"/debug/pprof/"+tt.page, "X-API-Key", secrets[tt.role])
		if resp.StatusCode != tt.status {
			t.Errorf("%q as %q: %s, want %d: %.200s", tt.page, tt.role, resp.Status, tt.status, body)
		}
	}
}

// TestPprofOfTheService: pages that the service has already stay its own.
func TestPprofOfTheService(t *testing.T) {
	for _, pattern := range []string{"/debug/pprof/", "GET /debug/pprof/"} {
		m, err := monitoring.New(monitoring.Options{})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc(pattern, httppprof.Index)
		m.Mount(mux)
		w := httptest.NewRecorder()
		m.Middleware(mux).ServeHTTP(w, httptest.NewRequest("GET", "/debug/pprof/", nil))
		if !strings.Contains(w.Body.String(), "<html>") {
			t.Errorf("%s: %d %.100s", pattern, w.Code, w.Body)
		}
	}
	m, err := monitoring.New(monitoring.Options{NoPprof: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	m.Mount(mux)
	mux.HandleFunc("/debug/pprof/", httppprof.Index) // panics if it is there
}
