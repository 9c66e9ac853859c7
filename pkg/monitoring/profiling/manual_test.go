package profiling_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/pprof"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

// TestCaptureAll: every type that this runtime has can be taken.
func TestCaptureAll(t *testing.T) {
	p := start(t, profiling.Options{})
	for _, typ := range profiling.Types() {
		o := profiling.CaptureOptions{Type: typ, Operation: "all", Labels: map[string]string{"k": "v"}}
		if typ == "cpu" || typ == "trace" {
			o.Duration = time.Second
		}
		id, err := p.Capture(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		s := get(t, p, id)
		if s.Type != typ || s.OperationName != "all" || s.Labels["k"] != "v" || s.Size.Value() == 0 {
			t.Errorf("%s: %+v", typ, s)
		}
	}
	for _, o := range []profiling.CaptureOptions{
		{Type: "gpu"}, {Type: "heap", Duration: time.Millisecond}, {Type: "trace", Duration: 2 * time.Minute}, {Type: "cpu", Target: "nobody"},
	} {
		if _, err := p.Capture(t.Context(), o); status(err) != 422 {
			t.Errorf("%+v: %v, want 422", o, err)
		}
	}
}

// TestTraceCapture: it is the runtime's own form, and no samples.
func TestTraceCapture(t *testing.T) {
	p := start(t, profiling.Options{Mode: profiling.ModeOn}) // the flight recorder runs beside it
	id, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "trace", Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	get(t, p, id)
	data, err := p.Data(id)
	if err != nil || !bytes.HasPrefix(data, []byte("go 1.")) {
		t.Fatalf("%.20q, %v", data, err)
	}
	if _, err := p.Top(id, profiling.TopOptions{}); status(err) != 409 {
		t.Errorf("top: %v, want 409", err)
	}
	s, err := p.AddUpload(data, "", "elsewhere", nil)
	if err != nil || s.Type != "trace" || s.Service != "elsewhere" {
		t.Errorf("upload: %+v, %v", s, err)
	}
}

//go:noinline
func keepSome() []byte { return make([]byte, 8<<20) }

// TestDifferences: with a time, a capture is what happened in it.
func TestDifferences(t *testing.T) {
	p := start(t, profiling.Options{})
	old := runtime.SetMutexProfileFraction(-1)
	ids := map[string]string{}
	for _, typ := range []string{"allocs", "mutex", "block"} {
		id, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: typ, Duration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ids[typ] = id
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for end := time.Now().Add(900 * time.Millisecond); time.Now().Before(end); {
		sink = keepSome()
		for range 4 {
			wg.Go(func() { mu.Lock(); time.Sleep(2 * time.Millisecond); mu.Unlock() })
		}
		wg.Wait()
	}
	allocs := get(t, p, ids["allocs"])
	top, err := p.Top(ids["allocs"], profiling.TopOptions{TopOptions: hotspot.TopOptions{Selection: hotspot.Selection{SampleType: "alloc_space"}}})
	if err != nil || len(top.Rows) == 0 || !strings.HasSuffix(top.Rows[0].Function, "keepSome") || allocs.Type != "allocs" {
		t.Errorf("allocs: %+v, %v", top, err)
	}
	for _, typ := range []string{"mutex", "block"} {
		if s := get(t, p, ids[typ]); s.Samples.Value() == 0 || s.Type != typ || s.Note == "" {
			t.Errorf("%s: %v samples, type %s, note %q", typ, s.Samples.Value(), s.Type, s.Note)
		}
	}
	if now := runtime.SetMutexProfileFraction(-1); now != old {
		t.Errorf("mutexes are sampled 1 in %d afterwards, before 1 in %d", now, old)
	}
	if _, note, err := p.Lookup(t.Context(), "mutex", profiling.LookupOptions{}); err != nil || old == 0 && !strings.Contains(note, "samples no mutexes") {
		t.Errorf("note %q, %v", note, err)
	}
}

// TestBase: the difference of two profiles that are kept.
func TestBase(t *testing.T) {
	p := start(t, profiling.Options{})
	var ids []string
	for _, folded := range []string{"main;work 3\nmain;idle 2\n", "main;work 5\nmain;idle 2\n"} {
		s, err := p.AddUpload([]byte(folded), "job", "cron", nil)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ProfileID)
	}
	top, err := p.Top(ids[1], profiling.TopOptions{Base: ids[0]})
	if err != nil || top.Rows[0].Function != "work" || top.Rows[0].Flat != 2 {
		t.Errorf("top = %+v, %v", top, err)
	}
	if _, err := p.Top(ids[1], profiling.TopOptions{Base: "p_nope"}); status(err) != 404 {
		t.Errorf("unknown base: %v, want 404", err)
	}
}

// pprofServer is another process's net/http/pprof, behind a token.
func pprofServer(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/elsewhere/debug/pprof/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/debug/pprof/heap", http.StatusFound)
	})
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(ts.Close)
	return ts
}

// TestTargets: profiles are pulled from what is configured, and from nothing
// that it points to.
func TestTargets(t *testing.T) {
	ts := pprofServer(t)
	auth := http.Header{"Authorization": {"Bearer secret"}}
	p := start(t, profiling.Options{Targets: []profiling.Target{
		{Name: "shop", URL: ts.URL, Header: auth},
		{Name: "moved", URL: ts.URL + "/elsewhere/debug/pprof", Header: auth},
		{Name: "locked", URL: ts.URL},
		{Name: "gone", URL: "http://127.0.0.1:1"},
	}})
	for _, typ := range []string{"heap", "trace", "goroutine"} {
		o := profiling.CaptureOptions{Type: typ, Target: "shop"}
		if typ == "trace" {
			o.Duration = time.Second
		}
		id, err := p.Capture(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if s := get(t, p, id); s.Target != "shop" || s.Service != "shop" || s.Type != typ || s.Trigger != api.TriggerManual || s.Size.Value() == 0 {
			t.Errorf("%s = %+v", typ, s)
		}
	}
	for i, name := range []string{"moved", "locked", "gone"} {
		if _, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: "heap", Target: name}); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" to fail", func() bool { return int64(p.Stats().Dropped["capture_failed"]) == int64(i+1) })
	}
	if got := strings.Join(p.Stats().Targets, " "); got != "shop moved locked gone" {
		t.Errorf("targets %q", got)
	}
}

// TestPolled: a target that is polled gives CPU and heap by itself.
func TestPolled(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/profile", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("seconds") != "10" {
			t.Errorf("asked for %q s", r.FormValue("seconds"))
		}
		w.Write([]byte("main;work 3\n"))
	})
	mux.HandleFunc("/debug/pprof/heap", pprof.Index)
	ts := httptest.NewServer(mux)
	defer ts.Close()
	p := start(t, profiling.Options{Targets: []profiling.Target{{Name: "shop", URL: ts.URL, Every: time.Hour}}})
	eventually(t, "both beside the one of start", func() bool { return p.Stats().CompletedProfiles >= 3 })
}

func TestBadTargets(t *testing.T) {
	for _, targets := range [][]profiling.Target{
		{{Name: "", URL: "http://h"}}, {{Name: "a", URL: "file:///etc/passwd"}}, {{Name: "a", URL: "h:80"}},
		{{Name: "a", URL: "http://h", Every: time.Second}}, {{Name: "a", URL: "http://h"}, {Name: "a", URL: "http://g"}},
	} {
		if _, err := profiling.New(profiling.Options{Targets: targets}); err == nil {
			t.Errorf("New accepted %+v", targets)
		}
	}
}

// TestStopped: captures that are under way when Run ends leave nothing behind.
func TestStopped(t *testing.T) {
	p, err := profiling.New(profiling.Options{Mode: profiling.ModeOn})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for _, typ := range []string{"cpu", "allocs", "trace"} {
		eventually(t, typ, func() bool {
			_, err := p.Capture(t.Context(), profiling.CaptureOptions{Type: typ, Duration: time.Minute})
			return err == nil
		})
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := p.Stats().ActiveProfiles; n != 0 {
		t.Errorf("%v profiles are active afterwards", n)
	}
}
