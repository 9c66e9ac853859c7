package monitoring_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// shared starts a replica of a service, with a breaker of the name api.
func shared(t *testing.T, o monitoring.Options) (*monitoring.Monitor, *breaker.Breaker) {
	t.Helper()
	o.SharedBreakers, o.RedisTimeout = true, 500*time.Millisecond
	m, err := monitoring.New(o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Breaker("api", breaker.Options{FailureThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return m, b
}

// ask sends a request to a replica's API and returns the body of its answer.
func ask(t *testing.T, m *monitoring.Monitor, method, path string) string {
	t.Helper()
	web := httptest.NewServer(m.Handler())
	defer web.Close()
	req, err := http.NewRequest(method, web.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer web.Client().CloseIdleConnections()
	resp, err := web.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestSharedBreakers(t *testing.T) {
	redis := testkit.Redis(t)
	web1, b1 := shared(t, monitoring.Options{Service: "web", RedisURL: redis.URL()})
	web2, b2 := shared(t, monitoring.Options{Service: "web", RedisURL: redis.URL()})
	_, staging := shared(t, monitoring.Options{Service: "web", Environment: "staging", RedisURL: redis.URL()})
	_, other := shared(t, monitoring.Options{Service: "other", RedisURL: redis.URL()})
	testkit.Until(t, "both share", func() bool { return web1.Fleet.Status().Shared && web2.Fleet.Status().Shared })

	p, err := b1.Allow()
	if err != nil {
		t.Fatal(err)
	}
	p.Done(breaker.Failure, "502 Bad Gateway")
	testkit.Until(t, "open on the other replica", func() bool { return b2.State() == api.StateOpen })
	var got api.Breaker
	if err := json.Unmarshal([]byte(ask(t, web2, http.MethodGet, "/monitoring/circuit-breakers/api")), &got); err != nil || got.Scope != api.ScopeShared || got.Why == nil || got.Why.Threshold.Kind != "remote" {
		t.Errorf("%v, %+v", err, got)
	}
	ask(t, web2, http.MethodPost, "/monitoring/cache/redis/clear") // which leaves the breakers alone
	ask(t, web2, http.MethodPost, "/monitoring/circuit-breakers/reset-all")
	testkit.Until(t, "closed on the one that opened it", func() bool { return b1.State() == api.StateClosed })
	if staging.State() != api.StateClosed || other.State() != api.StateClosed {
		t.Error("another environment or service took part")
	}

	if body := ask(t, web1, http.MethodGet, "/monitoring/health/detailed"); !strings.Contains(body, `"breaker_fleet":{"applied":1`) || !strings.Contains(body, `"scope":"shared"`) {
		t.Errorf("health: %s", body)
	}
	redis.Kill()
	testkit.Until(t, "health says that it is alone", func() bool {
		body := ask(t, web1, http.MethodGet, "/monitoring/health/detailed")
		return strings.Contains(body, "this replica's breakers are alone") && strings.Contains(body, `"scope":"local"`)
	})
	if body := ask(t, web1, http.MethodGet, "/monitoring/circuit-breakers"); !strings.Contains(body, `"scope":"local","scope_note":"this replica decides alone`) {
		t.Errorf("breakers: %s", body)
	}
}

func TestSharedBreakersNeedRedis(t *testing.T) {
	if _, err := monitoring.New(monitoring.Options{SharedBreakers: true}); err == nil || !strings.Contains(err.Error(), "they need a Redis URL") {
		t.Error(err)
	}
	o, err := monitoring.FromEnvironment(func(name string) string { return map[string]string{"PULSECTL_BREAKERS_SHARED": "true"}[name] })
	if err != nil || !o.SharedBreakers {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := monitoring.FromEnvironment(func(name string) string { return map[string]string{"PULSECTL_BREAKERS_SHARED": "often"}[name] }); err == nil {
		t.Error("nonsense is taken")
	}
}
