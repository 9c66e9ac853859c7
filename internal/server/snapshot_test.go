package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// full is a server with more traces than a snapshot of a mebibyte has room for.
func full(t testing.TB, traces int) *server.Server {
	t.Helper()
	store, err := tracing.New(tracing.Options{Service: "full"})
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now().Add(-time.Hour)
	for i := range traces {
		at := begun.Add(time.Duration(i) * time.Second)
		ctx, root := store.Start(context.Background(), "GET /priority/{id}", tracing.StartOptions{Time: at})
		for range 4 {
			_, sp := store.Start(ctx, "db.select", tracing.StartOptions{Time: at})
			sp.SetAttributes(attribute.String("db.statement", "select id, title from tasks where owner = $1 order by due"), attribute.Int("db.rows", i))
			sp.EndAt(at.Add(time.Millisecond))
		}
		root.EndAt(at.Add(2 * time.Millisecond))
	}
	checks := health.New(health.Options{})
	if err := checks.Register(health.Check{Name: "sick", Run: func(context.Context) (map[string]any, error) { panic("sick") }}); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Service: "full", Traces: store, Checks: checks})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What finds no room is the oldest traces, which the manifest says; everything
// else is there, from a server that is sick too.
func TestSnapshotLeavesOutTheOldest(t *testing.T) {
	var b bytes.Buffer
	const traces, most = 3000, 1 << 20
	if err := full(t, traces).Snapshot(t.Context(), &b, server.SnapshotOptions{MaxBytes: most, Cause: "request"}); err != nil {
		t.Fatal(err)
	}
	got, err := snapshot.Open(&b)
	if err != nil {
		t.Fatal(err)
	}
	m := got.Servers[0].Manifest
	if m.Bytes > most || m.Bytes < most*3/4 {
		t.Errorf("the parts have %d bytes, want up to %d and not much less", m.Bytes, most)
	}
	left := 0
	for _, l := range m.LeftOut {
		if l.What == "traces" {
			fmt.Sscanf(l.Why, "%d of 3000 traces, the oldest", &left)
		} else {
			t.Errorf("left out: %s: %s", l.What, l.Why)
		}
	}
	if left == 0 || left == traces {
		t.Errorf("left out are %d traces of %d", left, traces)
	}
	for _, name := range []string{"index.json", "health/detailed.json", "metrics.txt", "metrics.pb", "circuit-breakers.json", "audit.json", "traces/store.json"} {
		if _, found := got.Servers[0].File(name); !found {
			t.Errorf("%s is not in it", name)
		}
	}
}

// An archive that cannot be written to its end is an error, and one that the
// client sees as broken off.
func TestSnapshotBreaksOff(t *testing.T) {
	s := full(t, 10)
	if err := s.Snapshot(t.Context(), brokenPipe{}, server.SnapshotOptions{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error = %v, want that of the pipe", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Snapshot(ctx, io.Discard, server.SnapshotOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want that it was given up", err)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// The archive is an operator's alone.
func TestSnapshotIsForOperators(t *testing.T) {
	secret, line, err := server.NewToken("eyes:viewer")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := server.ParseTokens(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Access: server.Access{Tokens: tokens, Anonymous: "viewer"}})
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]int{"": http.StatusUnauthorized, secret: http.StatusForbidden} {
		r, _ := http.NewRequest(http.MethodGet, "/monitoring/snapshot", nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := &statusWriter{header: http.Header{}}
		s.ServeHTTP(w, r)
		if w.status != want {
			t.Errorf("status %d, want %d", w.status, want)
		}
	}
}

type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header         { return w.header }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }
func (w *statusWriter) Write(p []byte) (int, error) { return len(p), nil }

// A snapshot of 64 MiB, most of it traces.
func BenchmarkSnapshot(b *testing.B) {
	s := full(b, 80_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Snapshot(b.Context(), io.Discard, server.SnapshotOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
