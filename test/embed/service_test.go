// Package embed is a service as a user would write it: pkg/monitoring beside
// OpenTelemetry's own instrumentation of net/http.
package embed

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

const token = "a long random string that is no secret here"

// service is the program under test: an index page, a route that calls another
// service, and the stack around both.
type service struct {
	*httptest.Server
	m *monitoring.Monitor
}

func newService(t *testing.T) *service {
	t.Helper()
	m, err := monitoring.New(monitoring.Options{
		Service: "shop", Log: slog.New(monitoring.JSONHandler(t.Output(), slog.LevelInfo)),
		Access: monitoring.Access{Tokens: []monitoring.Token{{Name: "ops", Role: "operator", SHA256: sha256.Sum256([]byte(token))}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stock, err := m.Breaker("stock", breaker.Options{FailureThreshold: 3, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	provider := otelhttp.WithTracerProvider(m.TracerProvider())
	propagate := otelhttp.WithPropagators(propagation.TraceContext{})

	// The other service: all it knows of the first is the traceparent it gets.
	other := httptest.NewServer(otelhttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "7")
	}), "GET /stock", provider, propagate))
	base := &http.Transport{}
	client := http.Client{Transport: m.Transport(stock, base)}
	otelBase := &http.Transport{}
	otelClient := http.Client{Transport: otelhttp.NewTransport(otelBase, provider, propagate)}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the shop") })
	mux.HandleFunc("GET /item/{id}", func(w http.ResponseWriter, r *http.Request) {
		if err := fetch(r.Context(), &client, other.URL+"/stock/"+r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if err := fetch(r.Context(), &otelClient, other.URL+"/price/"+r.PathValue("id")); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	m.Mount(mux)
	srv := httptest.NewServer(m.Middleware(otelhttp.NewHandler(mux, "shop", provider, propagate)))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		srv.Close()
		base.CloseIdleConnections()
		otelBase.CloseIdleConnections()
		other.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return &service{srv, m}
}

func fetch(ctx context.Context, c *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// get asks the service, as the operator or as anyone.
func (s *service) get(t *testing.T, path, bearer string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// trace asks the API for a trace until it has all its spans.
func (s *service) trace(t *testing.T, id string, spans int) (tr api.Trace) {
	t.Helper()
	for range 200 {
		_, body := s.get(t, "/monitoring/traces/"+id, token)
		if json.Unmarshal([]byte(body), &tr) == nil && len(tr.Spans) == spans && tr.Status != api.StatusActive {
			return tr
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, sp := range tr.Spans {
		t.Logf("%s %s (%s)", sp.SpanID, sp.OperationName, sp.Scope)
	}
	t.Fatalf("trace %s has %d spans and is %s, want %d and an end", id, len(tr.Spans), tr.Status, spans)
	return tr
}

// One trace holds our spans and OpenTelemetry's, each below the one that caused
// it, across two services.
func TestOneTrace(t *testing.T) {
	s := newService(t)
	resp, body := s.get(t, "/item/7?api_key=s3cret", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("answer = %s %s", resp.Status, body)
	}
	tr := s.trace(t, resp.Header.Get("X-Trace-ID"), 6)
	byID := map[string]api.Span{}
	for _, sp := range tr.Spans {
		byID[sp.SpanID] = sp
	}
	scopes := map[bool]int{}
	roots := 0
	for _, sp := range tr.Spans {
		scopes[strings.HasSuffix(sp.Scope, "/otelhttp")]++
		if sp.ParentSpanID == nil {
			roots++
			if sp.OperationName != "GET /item/{id}" {
				t.Errorf("root = %q, want the route, though otelhttp stands between", sp.OperationName)
			}
			continue
		}
		if _, ok := byID[*sp.ParentSpanID]; !ok {
			t.Errorf("%s: its parent %s is missing", sp.OperationName, *sp.ParentSpanID)
		}
	}
	if roots != 1 || scopes[false] != 2 || scopes[true] != 4 {
		t.Errorf("%d roots, %d spans of ours, %d of otelhttp; want 1, 2 and 4", roots, scopes[false], scopes[true])
	}
	if all, _ := json.Marshal(tr); strings.Contains(string(all), "s3cret") {
		t.Errorf("the trace has a secret: %s", all)
	}
}

func TestMetrics(t *testing.T) {
	s := newService(t)
	s.get(t, "/item/1", "")
	s.get(t, "/item/2", "")
	s.get(t, "/no/such/page", "")
	_, body := s.get(t, "/monitoring/metrics", token)
	for _, want := range []string{
		`pulse_api_requests_total{endpoint="/item/{id}",method="GET",status_code="200"} 2`,
		`pulse_api_requests_total{endpoint="/",method="GET",status_code="200"} 1`,
		`pulse_api_external_duration_seconds_count{endpoint="unmatched",service="stock",status_code="200"} 2`,
		`pulse_api_circuit_breaker_calls_total{name="stock",outcome="success"} 2`,
		`pulse_api_circuit_breaker_state{name="stock"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// The service's own page is at /, the API and the probes beside it, the API for
// those with a token.
func TestAPIBesideTheService(t *testing.T) {
	s := newService(t)
	for _, tt := range []struct {
		path, token string
		want        int
	}{
		{"/", "", 200}, {"/health", "", 200}, {"/health/live", "", 200}, {"/health/ready", "", 200},
		{"/monitoring/", "", 401}, {"/monitoring/", "wrong", 401}, {"/monitoring/", token, 200},
		{"/monitoring/circuit-breakers/stock", token, 200}, {"/monitoring/health/detailed", token, 200},
		{"/monitoring/nothing", token, 404},
	} {
		resp, body := s.get(t, tt.path, tt.token)
		if resp.StatusCode != tt.want || resp.Header.Get("X-Request-ID") == "" {
			t.Errorf("%s = %s %.200s, want %d and a request id", tt.path, resp.Status, body, tt.want)
		}
	}
	resp, err := http.Post(s.URL+"/monitoring/circuit-breakers/reset-all", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("reset without a token = %s", resp.Status)
	}
}
