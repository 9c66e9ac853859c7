package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// watched is a server that writes snapshots of its crashes, and one route that
// panics.
func watched(t *testing.T, dataDir string) (*ownSnapshots, *httptest.Server) {
	t.Helper()
	o := serveOptions{DataDir: dataDir, SnapshotOn: []string{onCrash, onSigterm}, SnapshotEvery: time.Hour}
	own, err := o.ownSnapshots(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m, err := monitoring.New(monitoring.Options{Service: "watched", OnPanic: own.panicked})
	if err != nil {
		t.Fatal(err)
	}
	own.write = m.Snapshot
	if err := own.begin(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	m.Mount(mux)
	mux.HandleFunc("GET /broken", func(http.ResponseWriter, *http.Request) { panic("broken") })
	s := httptest.NewServer(m.Middleware(mux))
	t.Cleanup(s.Close)
	return own, s
}

// archives are the names of what is kept, and the archives among it opened.
func archives(t *testing.T, dir string) (names []string, opened map[string]*snapshot.Manifest) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	opened = map[string]*snapshot.Manifest{}
	for _, f := range all {
		names = append(names, f.Name())
		if !strings.HasSuffix(f.Name(), ".tar.gz") {
			continue
		}
		in, err := os.Open(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got, err := snapshot.Open(in)
		in.Close()
		if err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		opened[f.Name()] = got.Servers[0].Manifest
	}
	return names, opened
}

// A panic writes a snapshot at once, the end another; a run that ended so leaves
// nothing that looks like a death.
func TestOwnSnapshots(t *testing.T) {
	own, s := watched(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- own.Run(ctx) }()
	for range 3 { // one snapshot a minute
		resp, err := http.Get(s.URL + "/broken")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for found := false; !found; time.Sleep(10 * time.Millisecond) {
		found = len(ended(t, own.dir, "-crash.tar.gz")) == 1
		if time.Now().After(deadline) {
			t.Fatal("no snapshot of the panic after ten seconds")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	own.end(ctx)
	own.close()
	names, opened := archives(t, own.dir)
	if len(names) != 2 || len(opened) != 2 {
		t.Fatalf("kept are %q, want one of the panic and one of the end", names)
	}
	crash, end := opened[ended(t, own.dir, "-crash.tar.gz")[0]], opened[ended(t, own.dir, "-sigterm.tar.gz")[0]]
	if crash.Cause != "crash" || crash.Detail != "panic of type string in GET /broken" || end.Cause != "sigterm" {
		t.Errorf("the causes are %q (%q) and %q", crash.Cause, crash.Detail, end.Cause)
	}
}

func ended(t *testing.T, dir, suffix string) (out []string) {
	t.Helper()
	names, _ := archives(t, dir)
	for _, n := range names {
		if strings.HasSuffix(n, suffix) {
			out = append(out, n)
		}
	}
	return out
}

// A run that died leaves its last snapshot and its last words, without secrets,
// to the next; the last five are kept.
func TestOwnSnapshotsAfterDeath(t *testing.T) {
	dataDir := t.TempDir()
	for i := range 7 {
		own, _ := watched(t, dataDir)
		ctx, stop := context.WithCancel(t.Context())
		own.save(ctx, periodicName, monitoring.SnapshotOptions{Cause: "periodic"})
		stop()
		words := filepath.Join(own.dir, crashName)
		if err := os.WriteFile(words, []byte("panic: dial redis://app:hunter2secret@db/0 refused\n\ngoroutine 1 [running]:\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 1, 2, 3, i, 0, 0, time.UTC)
		if err := os.Chtimes(words, at, at); err != nil {
			t.Fatal(err)
		}
	}
	own, _ := watched(t, dataDir)
	own.close()
	names, _ := archives(t, own.dir)
	if len(names) != 10 || names[0] != "20260102T030200Z-death.tar.gz" || names[9] != "20260102T030600Z-death.txt" {
		t.Errorf("kept are %q, want the last five deaths", names)
	}
	text, err := os.ReadFile(filepath.Join(own.dir, names[9]))
	if err != nil || strings.Contains(string(text), "hunter2secret") || !strings.Contains(string(text), "goroutine 1 [running]") {
		t.Errorf("the last words are %q, %v", text, err)
	}
}

// What makes no sense is said at the start.
func TestOwnSnapshotsOptions(t *testing.T) {
	for name, o := range map[string]serveOptions{
		"unknown":      {DataDir: "d", SnapshotOn: []string{"alert"}, SnapshotEvery: time.Minute},
		"no directory": {SnapshotOn: []string{onCrash}, SnapshotEvery: time.Minute},
		"too often":    {DataDir: "d", SnapshotOn: []string{onCrash}},
	} {
		if own, err := o.ownSnapshots(slog.New(slog.DiscardHandler)); err == nil || own != nil {
			t.Errorf("%s: no error", name)
		}
	}
}
