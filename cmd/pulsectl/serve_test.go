package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

// running is a `pulsectl serve` within the test.
type running struct {
	base string
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// serve starts the server as the command line would, on a free port, and stops
// it at the test's end, when nothing of it may be left. It has no ports for OTLP
// alone unless args name them.
func serve(t *testing.T, env map[string]string, args ...string) *running {
	t.Helper()
	return start(t, env, append([]string{"--otlp-http", "off", "--otlp-grpc", "off"}, args...)...)
}

func start(t *testing.T, env map[string]string, args ...string) *running {
	t.Helper()
	leaks, first := goleak.IgnoreCurrent(), serving.Add(1) == 1
	r := &running{log: new(syncBuffer)}
	pr, pw := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	a := newApp(streams{strings.NewReader(""), io.Discard, io.MultiWriter(pw, r.log)}, func(k string) string { return env[k] })
	done := make(chan error, 1)
	go func() {
		done <- a.run(ctx, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...))
		pw.Close()
	}()
	lines := bufio.NewScanner(pr)
	for r.base == "" && lines.Scan() {
		var line struct{ Message, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			r.base = line.Address
		}
	}
	go io.Copy(io.Discard, pr)
	if r.base == "" {
		t.Fatalf("the server did not start: %v\n%s", <-done, r.log)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve = %v", err)
		}
		serving.Add(-1)
		if first {
			goleak.VerifyNone(t, leaks)
		}
	})
	return r
}

// serving is how many servers run. The first of a test ends last and looks for
// what is left of all: one that started while another had goroutines yet to
// begin would take them for its own.
var serving atomic.Int32

func (r *running) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(r.base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// eventually asks until the answer holds a text.
func (r *running) eventually(t *testing.T, path, want string) {
	t.Helper()
	body := ""
	for range 100 {
		if _, body = r.get(t, path); strings.Contains(body, want) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s never had %s: %.600s", path, want, body)
}

func TestServeTakesThePulseNames(t *testing.T) {
	r := serve(t, map[string]string{"DEBUG": "true", "GITHUB_TIMEOUT": "7", "LINEAR_TIMEOUT": "1500ms", "PULSECTL_OPENAI_TIMEOUT": "9s", "OPENAI_TIMEOUT": "1"})
	_, body := r.get(t, "/monitoring/circuit-breakers")
	var all map[string]struct{ Config struct{ Timeout float64 } }
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"github_api": 7, "linear_api": 1.5, "openai_api": 9} {
		if got := all[name].Config.Timeout; got != want {
			t.Errorf("%s times out after %gs, want %gs", name, got, want)
		}
	}
	if _, body := r.get(t, "/monitoring/profiling/stats"); !strings.Contains(body, `"profiler_enabled":true`) {
		t.Errorf("with DEBUG=true: %s", body)
	}
	_, body = r.get(t, "/monitoring/debug/config")
	for _, want := range []string{`"external_apis.github_timeout":"environment"`, `"app.port":"flag"`, `"tracing.max_age":"default"`} {
		if !strings.Contains(body, want) {
			t.Errorf("config lacks %s: %s", want, body)
		}
	}
}

func TestServeReadsItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serve.yaml")
	if err := os.WriteFile(file, []byte("trace-max-age: 12h\nslow-threshold: 0.5 # seconds\nenvironment: staging\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := serve(t, map[string]string{"PULSECTL_ENVIRONMENT": "prod"}, "--config", file)
	_, body := r.get(t, "/monitoring/debug/config")
	for _, want := range []string{`"max_age":43200.0`, `"slow_threshold":0.5`, `"environment":"prod"`, `"tracing.max_age":"file"`, `"app.environment":"environment"`} {
		if !strings.Contains(body, want) {
			t.Errorf("config lacks %s: %s", want, body)
		}
	}
}

func TestServeRefusesNonsense(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"environment", map[string]string{"REDIS_TIMEOUT": "soon"}, nil, "REDIS_TIMEOUT: "},
		{"zero", map[string]string{"GITHUB_TIMEOUT": "0"}, nil, "github-timeout: want more than 0s"},
		{"debug", map[string]string{"DEBUG": "maybe"}, nil, "DEBUG: "},
		{"own name", map[string]string{"PULSECTL_TRACE_MAX_BYTES": "lots"}, nil, "PULSECTL_TRACE_MAX_BYTES: size \"lots\""},
		{"redis url", map[string]string{"REDIS_URL": "nonsense"}, nil, "REDIS_URL"},
		{"typo in file", nil, []string{"--config", file("a.yaml", "listen: 127.0.0.1:0\ntrace-max-agee: 1h\n")}, "a.yaml:2:1: there is no setting \"trace-max-agee\""},
		{"value in file", nil, []string{"--config", file("b.yaml", "trace-max-age: [1]\n")}, "b.yaml:1:1: trace-max-age: want one value"},
		{"no file", nil, []string{"--config", filepath.Join(dir, "none.yaml")}, "none.yaml"},
		{"open to the world", nil, []string{"--listen", "0.0.0.0:0"}, "without tokens only loopback is served"},
		{"token file", nil, []string{"--auth-token-file", file("tokens", "ops operator sha256:12\n")}, "line 1: digest of token ops"},
		{"role", nil, []string{"--new-token", "ops:king"}, "want NAME:ROLE"},
		{"tls", nil, []string{"--tls-cert", "x"}, "want both"},
		{"log level", nil, []string{"--log-level", "loud"}, "log level \"loud\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(k string) string { return tt.env[k] })
			err := a.run(t.Context(), append([]string{"serve", "--listen", "127.0.0.1:0"}, tt.args...))
			if err == nil || !strings.Contains(err.Error(), tt.want) || exitStatus(err) != exitUsage {
				t.Errorf("serve = %v (status %d), want status 2 and %q", err, exitStatus(err), tt.want)
			}
		})
	}
}

func TestServeWithTokens(t *testing.T) {
	var out, secret bytes.Buffer
	a := newApp(streams{strings.NewReader(""), &out, &secret}, func(string) string { return "" })
	if err := a.run(t.Context(), []string{"serve", "--new-token", "ops:operator"}); err != nil {
		t.Fatal(err)
	}
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r := serve(t, nil, "--auth-token-file", tokens)
	if status, _ := r.get(t, "/monitoring/circuit-breakers"); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d, want 401", status)
	}
	if status, _ := r.get(t, "/health"); status != http.StatusOK {
		t.Errorf("the probe without a token: %d, want 200", status)
	}
	token := strings.TrimSpace(secret.String()[strings.LastIndex(secret.String(), " ")+1:])
	for _, tt := range []struct {
		token string
		want  int
	}{{token, exitDone}, {"wrong", exitDenied}, {"", exitDenied}} {
		env := map[string]string{"PULSECTL_TOKEN": tt.token, "PULSECTL_SERVER": r.base}
		a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(k string) string { return env[k] })
		if err := a.run(t.Context(), []string{"breakers", "reset-all"}); exitStatus(err) != tt.want {
			t.Errorf("with token %q: %v, status %d, want %d", tt.token, err, exitStatus(err), tt.want)
		}
	}
	if !strings.Contains(r.log.String(), `"message":"audit"`) || !strings.Contains(r.log.String(), `"actor":"ops"`) {
		t.Errorf("no audit record: %s", r.log)
	}
}

func TestServeSeesRedisGoAndComeBack(t *testing.T) {
	redis := testkit.Redis(t)
	r := serve(t, map[string]string{"REDIS_URL": redis.URL(), "REDIS_TIMEOUT": "1"})
	r.eventually(t, "/monitoring/cache/status", `"redis":{"status":"healthy","connected":true`)
	redis.Kill()
	r.eventually(t, "/monitoring/cache/status", `"redis":{"status":"failed","connected":false`)
	if status, body := r.get(t, "/monitoring/health/detailed"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"status":"unhealthy"`) {
		t.Errorf("health while Redis is down: %d %s", status, body)
	}
	if status, _ := r.get(t, "/health/ready"); status != http.StatusOK {
		t.Errorf("ready while the cache is down: %d, want 200", status)
	}
	redis.Restart()
	r.eventually(t, "/monitoring/cache/status", `"redis":{"status":"healthy","connected":true`)
}

func TestServeTakesOTLP(t *testing.T) {
	r := serve(t, nil)
	body := `{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"checkout"}}]},"scopeSpans":[{"spans":[` +
		`{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"POST /pay","startTimeUnixNano":"1795434987000000000","endTimeUnixNano":"1795434988000000000"}]}]}]}`
	resp, err := http.Post(r.base+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("OTLP = %s", resp.Status)
	}
	if status, body := r.get(t, "/monitoring/traces?state=all&trace_id=4bf92f3577b34da6a3ce929d0e0e4736"); status != 200 || !strings.Contains(body, "POST /pay") {
		t.Errorf("readable when acknowledged: %d %s", status, body)
	}
	if _, body := r.get(t, "/monitoring/traces?state=all"); strings.Contains(body, "/v1/traces") {
		t.Errorf("the batch left a trace of itself: %s", body)
	}
}

// S3: a size is held to whatever Content-Length says, and without one.
func TestServeBoundsBodiesOfUnknownLength(t *testing.T) {
	r := serve(t, nil)
	for _, path := range []string{"/v1/traces", "/monitoring/profiling/profiles"} {
		endless := io.LimitReader(zeros{}, 65<<20)
		req, err := http.NewRequest(http.MethodPost, r.base+path, io.MultiReader(endless)) // no length: chunked
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-protobuf")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Logf("%s: cut off: %v", path, err) // before the answer was read: refused all the same
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s of 65 MiB = %s, want 413", path, resp.Status)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
