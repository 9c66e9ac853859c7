package monitoring_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

type recommendation struct{ Title string }

var (
	ctx = context.Background()
	m   *monitoring.Monitor
)

func init() {
	var err error
	if m, err = monitoring.New(monitoring.Options{Service: "pulse-api"}); err != nil {
		panic(err)
	}
}

// A service with everything on.
func Example() {
	options, err := monitoring.FromEnvironment(os.Getenv)
	if err != nil {
		fmt.Println(err)
		return
	}
	options.Service = "pulse-api"
	options.Log = slog.New(monitoring.JSONHandler(os.Stderr, slog.LevelInfo))
	m, err := monitoring.New(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /priority/{id}", func(w http.ResponseWriter, r *http.Request) {})
	m.Mount(mux)
	go m.Run(ctx)
	_ = http.Server{Addr: "127.0.0.1:8000", Handler: m.Middleware(mux)}
}

// The counterpart of the decorator @trace_request.
func ExampleTrace() {
	rec, err := monitoring.Trace(ctx, m, "priority_generation", func(ctx context.Context) (recommendation, error) {
		return recommendation{"ship it"}, nil
	})
	fmt.Println(rec.Title, err)
	// Output: ship it <nil>
}

// The counterpart of @profile_operation, with memory checkpoints and timings.
func ExampleProfile() {
	n, err := monitoring.Profile(ctx, m, "analyze_large_dataset", func(ctx context.Context) (int, error) {
		monitoring.Checkpoint(ctx, "loaded")
		monitoring.Timing(ctx, "sort", 10*time.Millisecond)
		return 42, nil
	})
	fmt.Println(n, err)
	// Output: 42 <nil>
}

// The counterpart of @track_db_query.
func ExampleTrackDBQuery() {
	rows, err := monitoring.TrackDBQuery(ctx, m, "select", "events", func(ctx context.Context) ([]string, error) {
		return []string{"push", "review"}, nil
	})
	fmt.Println(rows, err)
	// Output: [push review] <nil>
}

// The counterpart of @track_external_api.
func ExampleTrackExternalAPI() {
	n, err := monitoring.TrackExternalAPI(ctx, m, "linear", "issues", func(ctx context.Context) (int, error) {
		return 3, nil
	})
	fmt.Println(n, err)
	// Output: 3 <nil>
}

// The counterpart of @circuit_breaker.
func ExampleGuard() {
	github, err := m.Breaker("github", breaker.Options{FailureThreshold: 1, Timeout: 10 * time.Second})
	if err != nil {
		fmt.Println(err)
		return
	}
	fetch := func(context.Context) (int, error) { return 0, errors.New("502 Bad Gateway") }
	for range 2 {
		_, err = monitoring.Guard(ctx, github, fetch)
	}
	fmt.Println(errors.Is(err, breaker.ErrOpen))
	// Output: true
}

// The counterpart of the cache decorators: memory, then Redis, then the function.
func ExampleCached() {
	load := func(context.Context) (recommendation, error) { return recommendation{"loaded"}, nil }
	rec, err := monitoring.Cached(ctx, m, "priority:u_8812", time.Minute, load)
	fmt.Println(rec.Title, err)
	// Output: loaded <nil>
}

// A cache of one type: stale values are served while they are renewed, and that
// there is no such thing is cached, too.
func ExampleNewCache() {
	users, err := monitoring.NewCache(m, cache.Options[string]{Prefix: "user", TTL: time.Minute, Stale: 5 * time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		_, err = users.GetOrLoad(ctx, "7", 0, func(context.Context) (string, error) {
			fmt.Println("asked the database")
			return "", fmt.Errorf("user 7: %w", cache.ErrNotFound)
		})
	}
	fmt.Println(errors.Is(err, cache.ErrNotFound))
	// Output:
	// asked the database
	// true
}

// Whole answers are kept where they say that they may be.
func ExampleMonitor_CacheResponses() {
	keep, err := m.CacheResponses(cache.ResponseOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	report := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "dear")
	})
	handler := m.Middleware(keep(report))
	for range 2 {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/report", nil))
		fmt.Printf("%s %q\n", w.Body, w.Header().Get("Age"))
	}
	// Output:
	// dear ""
	// dear "0"
}

// A client whose calls pass a breaker, carry the trace on and are timed.
func ExampleMonitor_Transport() {
	openai, err := m.Breaker("openai", breaker.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := http.Client{Transport: m.Transport(openai, nil)}
	fmt.Println(client.Transport != nil)
	// Output: true
}

// Spans by hand, with tags.
func ExampleMonitor_StartSpan() {
	_, span := m.StartSpan(ctx, "rank.priorities", attribute.String("model", "gpt-4"))
	span.SetInt("candidates", 12)
	span.AddLog("info", "started")
	span.Fail(errors.New("no candidate fits"))
	span.End()
	fmt.Println(span.SpanContext().IsValid())
	// Output: true
}

// Work that no middleware sees is counted like a request.
func ExampleMonitor_ObserveRequest() {
	m.ObserveRequest("POST", "queue:events", 200, 30*time.Millisecond)
	// Output:
}

// Business counters.
func ExampleMonitor_PriorityRecommendation() {
	m.PriorityRecommendation("sprint", "gpt-4")
	m.Feedback("priority", "5")
	m.EventIngested("github", "push")
	// Output:
}

// A health check of the service's own.
func ExampleMonitor_AddCheck() {
	err := m.AddCheck(health.Check{Name: "search", Critical: false, Timeout: time.Second, Run: func(ctx context.Context) (map[string]any, error) {
		return map[string]any{"documents": 1204}, nil
	}})
	fmt.Println(err)
	// Output: <nil>
}

// A database pool, read at each scrape.
func ExampleMonitor_WatchDB() {
	var db *sql.DB // from sql.Open
	if db != nil {
		if err := m.WatchDB("main", db); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
}

// A collector of the service's own.
func ExampleMonitor_Registry() {
	queued := prometheus.NewGauge(prometheus.GaugeOpts{Name: "myapp_queue_length", Help: "Jobs that wait."})
	m.Registry().MustRegister(queued)
	// Output:
}

// Any OpenTelemetry instrumentation records into the same traces.
func ExampleMonitor_TracerProvider() {
	_, span := m.TracerProvider().Tracer("redisotel").Start(ctx, "GET")
	span.End()
	// Output:
}

// Every record that the service logs names its request and its trace.
func ExampleLogHandler() {
	log := slog.New(monitoring.LogHandler(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "trace_id" {
			return slog.Attr{}
		}
		return a
	}})))
	ctx, span := m.StartSpan(ctx, "job")
	defer span.End()
	log.InfoContext(ctx, "working")
	// Output: level=INFO msg=working
}

// A route under a router that keeps its patterns to itself.
func ExampleMonitor_Handle() {
	users := m.Handle("/users/{id}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "ada")
	}))
	// chi: router.Get("/users/{id}", users.ServeHTTP)
	w := httptest.NewRecorder()
	m.Middleware(users).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/users/7", nil))
	fmt.Println(w.Code, w.Body)
	// Output: 200 ada
}

// One line of a hundred for the health checks, one of ten for what is not found,
// each for the rest. What is slow or fails has its line in any case.
func ExampleLogRule() {
	options := monitoring.Options{LogRules: []monitoring.LogRule{
		{Endpoint: "/health", Every: 100},
		{Status: http.StatusNotFound, Every: 10},
	}}
	_, err := monitoring.New(options)
	fmt.Println(err)
	// Output: <nil>
}
