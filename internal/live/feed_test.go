package live_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/live"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// service is one with the /monitoring API, which can be stopped and started.
type service struct {
	t       testing.TB
	monitor *monitoring.Monitor
	breaker *breaker.Breaker
	address string
	served  *http.Server

	mu    sync.Mutex
	asked map[string]int // by path
}

func newService(t testing.TB) *service {
	t.Helper()
	s := &service{t: t, asked: map[string]int{}, address: "127.0.0.1:0"}
	var err error
	if s.monitor, err = monitoring.New(monitoring.Options{Service: "shop"}); err != nil {
		t.Fatal(err)
	}
	if s.breaker, err = s.monitor.Breakers.Add("github_api", breaker.Options{FailureThreshold: 1}); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

func (s *service) start() {
	s.t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cart", func(http.ResponseWriter, *http.Request) {})
	s.monitor.Mount(mux)
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	inner := s.monitor.Middleware(mux)
	s.served = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.URL.Path]++
		s.mu.Unlock()
		inner.ServeHTTP(w, r)
	})}
	go s.served.Serve(l)
}

func (s *service) times(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

func (s *service) fails() {
	breaker.Do(context.Background(), s.breaker, func(context.Context) (int, error) { return 0, errors.New("502 Bad Gateway") })
}

// written is what was written to a terminal.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

// awaits waits for texts; what came until then is forgotten.
func (w *written) awaits(t *testing.T, texts ...string) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		seen := !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(w.b.String(), text) })
		if seen {
			w.b.Reset()
		}
		w.mu.Unlock()
		if seen {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t.Fatalf("not all of %q comes:\n%q", texts, w.b.String())
}

// A dashboard shows what happens as it happens, asks for no more than is shown,
// goes on where a server comes back, and leaves no goroutine behind.
func TestRunTop(t *testing.T) {
	s := newService(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	defer func() { s.served.Close() }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	c, err := client.New(s.address, client.Options{Transport: transport, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	in, keys, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer keys.Close()
	var out written
	ended := make(chan error, 1)
	go func() {
		ended <- live.RunTop(t.Context(), live.NewTop(live.Target{Name: "shop", Servers: []live.Server{{Client: c}}}, render.Options{Width: 120}), in, &out, render.NoColor)
	}()
	out.awaits(t, "● healthy", "● 1")
	s.fails()
	out.awaits(t, "502 Bad Gateway")
	io.WriteString(keys, "2")
	out.awaits(t, "github_api")
	io.WriteString(keys, "\r")
	out.awaits(t, "1 failures in a row: 502 Bad Gateway", "Circuit breaker events")
	if n := s.times("/monitoring/cache/status"); n > 0 {
		t.Errorf("the caches were asked for %d times before they were shown", n)
	}
	io.WriteString(keys, "\x1b5")
	io.WriteString(keys, "5")
	out.awaits(t, "memory")
	s.served.Close()
	out.awaits(t, "connection refused")
	s.start()
	io.WriteString(keys, "1")
	out.awaits(t, "Servers", "github_api  ✗ open")
	for deadline := time.Now().Add(10 * time.Second); s.times("/monitoring/events") < 2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	io.WriteString(keys, "q")
	if err := <-ended; err != nil {
		t.Errorf("RunTop = %v", err)
	}
	if n := s.times("/monitoring/events"); n != 2 {
		t.Errorf("%d streams of events, want 2: one, and one after the restart", n)
	}
}

// It ends when it is told to, though a server hangs.
func TestRunTopEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and answers none
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name, keys string
		cancelled  bool
		want       error
	}{
		{"quit", "q", false, nil}, {"interrupted", "\x03", false, context.Canceled}, {"cancelled", "", true, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			c, err := client.New(l.Addr().String(), client.Options{Transport: transport, Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			in, keys, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer keys.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out written
			ended := make(chan error, 1)
			go func() {
				ended <- live.RunTop(ctx, live.NewTop(live.Target{Name: "hung", Servers: []live.Server{{Client: c}}}, render.Options{Width: 80}), in, &out, render.NoColor)
			}()
			out.awaits(t, "asking")
			if tt.cancelled {
				cancel()
			}
			io.WriteString(keys, tt.keys)
			select {
			case err := <-ended:
				if !errors.Is(err, tt.want) {
					t.Errorf("RunTop = %v, want %v", err, tt.want)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it does not end")
			}
		})
	}
}
