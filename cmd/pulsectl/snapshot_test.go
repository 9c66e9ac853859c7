package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// The secrets that careful reads out of the code of a careless service: each
// has a place of its own, and none may be in a snapshot.
var planted = map[string]string{
	"redis":    "planted-redis-7Hq2",
	"env":      "planted-env-9Zk4vX",
	"attr":     "planted-attr-1Bn8",
	"url":      "planted-url-5Tt3",
	"log":      "planted-log-4Rw6",
	"bearer":   "planted-bearer-8Mm0",
	"breaker":  "planted-breaker-2Kc1",
	"check":    "planted-check-6Yp5",
	"key":      "planted-key-3Ds7",
	"reason":   "planted-reason-0Lf9",
	"label":    "planted-label-5Vb2",
	"profile":  "planted-profile-8Xg4",
	"argument": "planted-argument-7Jn3",
	"metric":   "planted-metric-1Qe6",
}

// careless is a server that has seen a bit of everything, and secrets where none
// belong. Nothing happens in it any more.
func careless(t *testing.T) (*monitoring.Monitor, *httptest.Server) {
	t.Helper()
	t.Setenv("BILLING_API_TOKEN", planted["env"])
	m, err := monitoring.New(monitoring.Options{Service: "careless", RedisURL: "redis://app:" + planted["redis"] + "@127.0.0.1:1/0", RedisTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	carelessTraces(m.Traces)
	b, err := m.Breaker("github_api", breaker.Options{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Breaker("linear_api", breaker.Options{}); err != nil {
		t.Fatal(err)
	}
	breaker.Do(t.Context(), b, func(context.Context) (int, error) {
		return 0, errors.New("Get https://bot:" + planted["breaker"] + "@api.example.com/?api_key=" + planted["url"] + ": 502; sent Authorization: Bearer " + planted["bearer"])
	})
	err = m.AddCheck(health.Check{Name: "database", Run: func(context.Context) (map[string]any, error) {
		return nil, errors.New("psql --password " + planted["argument"] + ": dial postgres://app:" + planted["check"] + "@db/x and " + planted["env"])
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1200 {
		m.Memory.Set(t.Context(), fmt.Sprintf("user:%04d", i), []byte("v"), time.Hour)
	}
	m.Memory.Set(t.Context(), "GET /me?access_token="+planted["key"], []byte("v"), time.Hour)
	m.Metrics.External("s3", "https://x:"+planted["metric"]+"@bucket/", "200", metric.Observation{Duration: time.Second})
	carelessProfiles(t, m)
	mux := http.NewServeMux()
	m.Mount(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	for _, path := range []string{"circuit-breakers/linear_api/force-open?for=1h", "circuit-breakers/linear_api/automatic"} {
		r, _ := http.NewRequest(http.MethodPost, s.URL+"/monitoring/"+path, nil)
		r.Header.Set("X-Pulsectl-Reason", "password="+planted["reason"])
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	return m, s
}

// carelessTraces records some finished traces and one that runs.
func carelessTraces(s *tracing.Store) {
	begun := time.Now().Add(-10 * time.Minute)
	for i := range 30 {
		start := begun.Add(time.Duration(i) * time.Second)
		ctx, root := s.Start(context.Background(), "POST /order", tracing.StartOptions{Time: start, RequestID: fmt.Sprintf("req-%d", i)})
		_, call := s.Start(ctx, "charge", tracing.StartOptions{Time: start.Add(time.Millisecond)})
		call.SetAttributes(
			attribute.String("http.request.header.authorization", "Bearer "+planted["attr"]), attribute.Int("n", i),
			attribute.String("note", "curl -H 'X-Api-Key: "+planted["bearer"]+"' https://u:"+planted["url"]+"@pay/"),
		)
		call.AddLog("info", "logging in with token="+planted["log"])
		if i%7 == 3 {
			call.Fail(errors.New("card refused"))
		}
		call.EndAt(start.Add(time.Duration(5+i) * time.Millisecond))
		root.EndAt(start.Add(time.Duration(10+3*i) * time.Millisecond))
	}
	ctx, _ := s.Start(context.Background(), "GET /report", tracing.StartOptions{Time: begun.Add(time.Minute)})
	_, part := s.Start(ctx, "render", tracing.StartOptions{Time: begun.Add(2 * time.Minute)})
	part.EndAt(begun.Add(3 * time.Minute))
}

// carelessProfiles brings two profiles, with secrets in their labels.
func carelessProfiles(t *testing.T, m *monitoring.Monitor) {
	t.Helper()
	var goroutines bytes.Buffer
	pprof.Do(t.Context(), pprof.Labels("api_token", planted["label"], "route", "GET /x?secret="+planted["profile"]), func(context.Context) {
		if err := pprof.Lookup("goroutine").WriteTo(&goroutines, 0); err != nil {
			t.Fatal(err)
		}
	})
	for _, name := range []string{"first", "second"} {
		if _, err := m.Profiles.AddUpload(goroutines.Bytes(), name, "careless", map[string]string{"session_id": planted["label"]}); err != nil {
			t.Fatal(err)
		}
	}
}

// pulse runs a command line in this process.
func pulse(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := newApp(streams{strings.NewReader(""), &stdout, &stderr}, func(name string) string {
		return map[string]string{"COLUMNS": "100"}[name]
	})
	err := a.run(t.Context(), args)
	return stdout.String(), exitStatus(err)
}

// No secret is anywhere in an archive, in no form; and what was masked is said.
func TestSnapshotHoldsNoSecret(t *testing.T) {
	_, s := careless(t)
	file := filepath.Join(t.TempDir(), "s.tar.gz")
	if _, status := pulse(t, "snapshot", "create", file, "-s", s.URL); status != exitDone {
		t.Fatalf("snapshot create ends with %d", status)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := snapshot.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	server := got.Servers[0]
	for _, p := range server.Manifest.Parts {
		data, _ := server.File(p.Name)
		if strings.HasSuffix(p.Name, ".gz") {
			data = unpacked(t, data)
		}
		for where, secret := range planted {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s holds the secret of %s", p.Name, where)
			}
		}
	}
	if int(server.Manifest.Redacted) < len(planted) {
		t.Errorf("the manifest says %d were masked, want at least %d", server.Manifest.Redacted, len(planted))
	}
	for _, l := range server.Manifest.LeftOut {
		t.Errorf("left out: %s: %s", l.What, l.Why)
	}
}

func unpacked(t *testing.T, data []byte) []byte {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(gz); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// asFromSnapshot are command lines whose JSON does not change with the time.
var asFromSnapshot = []string{
	"breakers show linear_api", "breakers list --state closed", "breakers events", "breakers events github*", "breakers events --limit 1", "breakers show nobody",
	"traces list", "traces list --limit 3", "traces list --state active", "traces list --state finished --sort slowest", "traces list --sort spans --limit 5",
	"traces list --status error", "traces list --status active", "traces list --service careless", "traces list --operation charge", "traces list --min-duration 60ms",
	"traces list --tag n=7", "traces list --tag n>20 --limit 4", "traces list --tag n=x", "traces list --query card", "traces list --since 2000-01-01T00:00:00Z", "traces list --until 2000-01-01T00:00:00Z",
	"traces list --spans --limit 2", "traces list --has-profile", "traces show @slowest", "traces show @error", "traces show @last --state finished", "traces show beefbeef",
	"traces diff @slowest @p50", "traces export @slowest", "traces services",
	"profiles list", "profiles list --operation first", "profiles list --type cpu", "profiles top", "profiles top --cum --limit 3", "profiles tree", "profiles tags", "profiles stats",
	"cache keys memory", "cache keys memory user:00*", "cache keys memory --limit 0",
	"audit list", "audit list --limit 1", "audit list --since 1h", "metrics get pulse_api_external_duration_seconds", "metrics list pulse_api_circuit*",
	"api GET circuit-breakers/events",
}

// varies is what the moment of asking changes, and what a mask covers.
var varies = regexp.MustCompile(`"(observedAt|ttl|idle|overhead|to)": ?("[^"]*"|[0-9.e+-]+)|planted-\w+-\w+|\*\*\*+|"bytes": ?\d+`)

// Every reading command says the same from a snapshot as from the server.
func TestFromSnapshotIsTheSame(t *testing.T) {
	_, s := careless(t)
	file := filepath.Join(t.TempDir(), "s.tar.gz")
	if _, status := pulse(t, "snapshot", "create", file, "-s", s.URL); status != exitDone {
		t.Fatalf("snapshot create ends with %d", status)
	}
	for _, line := range asFromSnapshot {
		t.Run(line, func(t *testing.T) {
			args := append(strings.Fields(line), "-o", "json", "-s", s.URL)
			live, want := pulse(t, args...)
			from, got := pulse(t, append(args[:len(args)-2], "--from", file)...)
			if got != want {
				t.Errorf("status %d from the snapshot, %d from the server", got, want)
			}
			live, from = varies.ReplaceAllString(live, "~"), varies.ReplaceAllString(from, "~")
			if live != from {
				t.Errorf("they differ:\n%s", firstDifference(live, from))
			}
		})
	}
}

func firstDifference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(i-80, 0)
	return fmt.Sprintf("server:   %.300s\nsnapshot: %.300s", a[from:], b[from:])
}

// What follows, compares two looks or changes something is refused.
func TestSnapshotIsStill(t *testing.T) {
	_, s := careless(t)
	file := filepath.Join(t.TempDir(), "s.tar.gz")
	if _, status := pulse(t, "snapshot", "create", file, "-s", s.URL); status != exitDone {
		t.Fatalf("snapshot create ends with %d", status)
	}
	for line, want := range map[string]int{
		"breakers reset github_api":     exitRefused,
		"breakers reset-all -y":         exitRefused,
		"traces cleanup -y":             exitRefused,
		"cache clear memory -y":         exitRefused,
		"profiles enable":               exitRefused,
		"traces tail":                   exitRefused,
		"breakers events -f":            exitRefused,
		"audit tail":                    exitRefused,
		"cache status -w":               exitUsage,
		"metrics top":                   exitUsage,
		"snapshot create " + file + "2": exitRefused,
		"snapshot create " + file:       exitRefused,
		"status":                        exitDone,
		"system":                        exitDone,
		"health":                        exitNo,
		"cache status":                  exitDone,
		"traces stats":                  exitDone,
		"traces stats --since 1h":       exitDone,
	} {
		if _, got := pulse(t, append(strings.Fields(line), "--from", file)...); got != want {
			t.Errorf("%s ends with %d, want %d", line, got, want)
		}
	}
}

// A fleet is one file, with what did not answer.
func TestSnapshotOfFleet(t *testing.T) {
	_, s := careless(t)
	file := filepath.Join(t.TempDir(), "s.tar.gz")
	if _, status := pulse(t, "snapshot", "create", file, "-s", s.URL+",http://127.0.0.1:1"); status != exitPartial {
		t.Fatalf("snapshot create ends with %d, want %d", status, exitPartial)
	}
	out, status := pulse(t, "breakers", "list", "-o", "json", "--from", file)
	var e struct {
		Items  []struct{ Instance string }
		Errors []struct{ Instance, Detail string }
	}
	if err := json.Unmarshal([]byte(out), &e); err != nil || status != exitPartial {
		t.Fatalf("status %d, error %v, want %d and none", status, err, exitPartial)
	}
	if len(e.Items) != 2 || e.Items[0].Instance != s.URL || len(e.Errors) != 1 || e.Errors[0].Instance != "http://127.0.0.1:1" || !strings.Contains(e.Errors[0].Detail, "connection refused") {
		t.Errorf("got %+v", e)
	}
	if out, status := pulse(t, "snapshot", "inspect", file); status != exitPartial || !strings.Contains(out, "whole") {
		t.Errorf("inspect ends with %d and says %s", status, out)
	}
}
