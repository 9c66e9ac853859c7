package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// startSlow starts $SLOW, a service whose requests wait 600 ms on a channel and
// are slow from 100 ms on.
func startSlow(ctx context.Context, env *testscript.Env, t *testing.T) {
	t.Helper()
	m, err := monitoring.New(monitoring.Options{Service: "slow", SlowThreshold: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /reports/{id}", func(http.ResponseWriter, *http.Request) { waitForReport(600 * time.Millisecond) })
	m.Mount(mux)
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	s := httptest.NewServer(m.Middleware(mux))
	env.Setenv("SLOW", s.URL)
	env.Defer(func() { s.Close(); stop(); <-ended })
}

//go:noinline
func waitForReport(d time.Duration) {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	<-done
}

// getScript has the test's own process ask for a URL.
func getScript(ts *testscript.TestScript, _ bool, args []string) {
	resp, err := http.Get(args[0])
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if resp.StatusCode != http.StatusOK {
		ts.Fatalf("%s answered %s", args[0], resp.Status)
	}
	ts.Setenv("TRACE", resp.Header.Get("X-Trace-ID"))
}
