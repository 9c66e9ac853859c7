package monitoring_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

func TestBreakerClash(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Breaker("github_api", breaker.Options{FailureThreshold: 3})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := m.Breaker("github_api", breaker.Options{FailureThreshold: 3}); err != nil || again != a {
		t.Errorf("the same again = %p, %v; want the first one, %p", again, err, a)
	}
	for _, o := range []breaker.Options{{FailureThreshold: 4}, {FailureThreshold: 3, SlowRate: 0.5}, {FailureThreshold: 3, Probes: 2}, {FailureThreshold: 3, Backoff: 2}} {
		_, err := m.Breaker("github_api", o)
		if err == nil || strings.Count(err.Error(), "failure threshold") != 2 || !strings.Contains(err.Error(), "github_api") {
			t.Errorf("%+v: %v; want an error that names both", o, err)
		}
	}
}

// slowWriter is a log that takes a second a line.
type slowWriter struct {
	mu sync.Mutex
	bytes.Buffer
}

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.Write(p)
}

func (w *slowWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.String()
}

func TestSlowLogDelaysNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(slowWriter)
		m, err := monitoring.New(monitoring.Options{Log: slog.New(monitoring.JSONHandler(log, slog.LevelInfo))})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Memory.Close()
		b, err := m.Breaker("github_api", breaker.Options{FailureThreshold: 1, Timeout: -1})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, span := m.StartSpan(t.Context(), "job")
		monitoring.Guard(ctx, b, func(context.Context) (int, error) { return 0, errors.New("502") })
		if _, err := monitoring.Guard(ctx, b, func(context.Context) (int, error) { return 0, nil }); !errors.Is(err, breaker.ErrOpen) {
			t.Errorf("guarded call = %v", err)
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("the calls waited %s for the log", waited)
		}
		b.Reset(api.StateClosed, breaker.Control{Actor: "ada"})
		time.Sleep(time.Minute)
		id := span.SpanContext().TraceID().String()
		for _, want := range []string{`"level":"WARN"`, `"to":"open"`, `"trace_id":"` + id + `"`, `"to":"closed"`, `"actor":"ada"`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, log.String())
			}
		}
	})
}

// The gauge is true without traffic: a timer, not a call, leaves the open state.
func TestStateGaugeWithoutTraffic(t *testing.T) {
	s := newService(t, monitoring.Options{})
	b, err := s.m.Breaker("github_api", breaker.Options{FailureThreshold: 1, RecoveryTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	events := s.m.Breakers.Subscribe(t.Context())
	monitoring.Guard(t.Context(), b, func(context.Context) (int, error) { return 0, errors.New("502") })
	for _, to := range []api.State{api.StateOpen, api.StateHalfOpen} {
		if e := <-events; e.To != to {
			t.Fatalf("event = %+v, want %s", e, to)
		}
	}
	s.wantMetric(t, `pulse_api_circuit_breaker_state{name="github_api"} 2`)
	s.wantMetric(t, `pulse_api_circuit_breaker_transitions_total{from="open",name="github_api",to="half_open"} 1`)
}

func TestTransportObeysRetryAfter(t *testing.T) {
	d := newDependency(t, breaker.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	resp, err := d.client.Get(d.url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := d.client.Get(d.url); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("the call after = %v, want ErrOpen", err)
	}
	d.wantMetric(t, `pulse_api_external_errors_total{error_type="http_429",service="github_api"} 1`)
	d.wantMetric(t, `pulse_api_external_errors_total{error_type="circuit_open",service="github_api"} 1`)
}
