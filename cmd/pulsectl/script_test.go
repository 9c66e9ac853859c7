package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pulsectl/pulsectl/internal/rules"
	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func TestMain(m *testing.M) {
	if os.Getenv(raceVariable) == "" {
		os.Setenv(raceVariable, "atexit_sleep_ms=0")
	}
	testscript.Main(m, map[string]func(){"pulsectl": main})
}

// raceVariable holds the race detector's options. Each of the hundreds of
// processes that the tests start would sleep a second at its end otherwise.
const raceVariable = "GORACE"

// TestScripts runs the scripts of testdata/script against two real servers:
// $PULSECTL_SERVER, whose breaker openai_api is open, and $SECOND. Two more
// answer as Python servers do: $PYTHON, and $UNREADABLE, whose profiles are 500
// for ever. $SHOP holds traces to compare; $EXPORTER has metrics and nothing else; $SLOW is a service with slow
// requests, which get asks for, and leaves the $TRACE of; $FREE is an address for a server of
// the script's own. The command actions prints what would have changed the
// former, serve starts a server process, $REAL, ends checks a status, and
// valid an envelope.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../../testdata/script",
		Setup: func(env *testscript.Env) error {
			ctx, stop := context.WithCancel(context.Background())
			env.Defer(stop)
			first, second := startServer(ctx, t, true), startServer(ctx, t, false)
			env.Setenv("PULSECTL_SERVER", first.URL)
			env.Setenv("SECOND", second.URL)
			env.Setenv("FREE", freeAddress(t))
			env.Setenv("COLUMNS", "100")
			env.Setenv(raceVariable, os.Getenv(raceVariable))
			env.Setenv("HOME", env.WorkDir)
			env.Defer(func() { first.Close(); second.Close() })
			env.Values["redis"] = new(scriptedRedis)
			startPythons(env, t)
			startFaulty(env)
			startShop(ctx, env, t)
			startExporter(env)
			startSlow(ctx, env, t)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"actions": func(ts *testscript.TestScript, _ bool, _ []string) {
				p, _ := ts.Value("python").(*testkit.PythonServer)
				fmt.Fprintln(ts.Stdout(), strings.Join(p.Actions(), "\n"))
			},
			"redis": func(ts *testscript.TestScript, _ bool, args []string) { scriptRedis(t, ts, args) },
			"serve": serveScript,
			"ends":  endsScript,
			"valid": validScript,
			"get":   getScript,
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// endsScript is the scripts' command ends: the rest of its line is a command
// that must end with the status before it.
func endsScript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: ends STATUS COMMAND ARG…")
	}
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		status = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("it ended with %d, want %s", status, args[0])
	}
}

// freeAddress is one that nobody listens on, for a script's own server.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serveScript starts `pulsectl serve` on a free port, with the script's
// arguments, until the script ends.
func serveScript(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command("pulsectl", append([]string{"serve", "--listen", "127.0.0.1:0", "--otlp-http", "off", "--otlp-grpc", "off"}, args...)...)
	log, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = cmd.Wait()
	})
	for in := bufio.NewScanner(log); in.Scan(); {
		var line struct{ Message, Address string }
		if json.Unmarshal(in.Bytes(), &line) == nil && line.Message == "serving" {
			ts.Setenv("REAL", line.Address)
			go io.Copy(io.Discard, log) // ends with the process
			return
		}
	}
	ts.Fatalf("the server did not start")
}

func startPythons(env *testscript.Env, t *testing.T) {
	python, unreadable := testkit.NewPython(t), testkit.NewPython(t)
	unreadable.ReplayCase(t, "c09_profiling_stats_500")
	unreadable.ReplayCase(t, "c10_profiles_500")
	env.Setenv("PYTHON", python.URL)
	env.Setenv("UNREADABLE", unreadable.URL)
	env.Values["python"] = python
	env.Defer(func() { python.Close(); unreadable.Close() })
}

func startServer(ctx context.Context, t *testing.T, failing bool) *httptest.Server {
	t.Helper()
	var set breaker.Set
	for _, name := range []string{"github_api", "openai_api"} {
		b, err := set.Add(name, breaker.Options{FailureThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		if failing && name == "openai_api" {
			breaker.Do(context.Background(), b, func(context.Context) (int, error) { return 0, errors.New("502 Bad Gateway") })
		}
	}
	profiler, err := profiling.New(profiling.Options{Service: "script"})
	if err != nil {
		t.Fatal(err)
	}
	go profiler.Run(ctx)
	checks, memory := scriptStores(t)
	traces, err := tracing.New(tracing.Options{Service: "script"})
	if err != nil {
		t.Fatal(err)
	}
	if failing {
		recordTraces(traces)
	}
	o := server.Options{Service: "script", Traces: traces, Breakers: &set, Profiler: profiler, Checks: checks, Memory: memory}
	if failing {
		o.Query = scriptEngine(t)
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return httptest.NewServer(s)
}

// scriptEngine has samples of twelve minutes, in which a call to github failed
// each fifteen seconds, and a rule.
func scriptEngine(t *testing.T) *rules.Engine {
	t.Helper()
	groups, problems := rules.Parse("script.yaml", []byte("groups: [{name: calls, rules: [{alert: GithubFails, expr: pulse_api_external_errors_total > 10, for: 5m}]}]"))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	e, err := rules.New(rules.Options{Groups: groups, Labels: map[string]string{"job": "script"}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := metric.New(metric.Options{Service: "script"})
	if err != nil {
		t.Fatal(err)
	}
	m.External("github", "/repos", "502", metric.Observation{Duration: 3 * time.Second, Trace: [16]byte{7}})
	now := time.Now()
	for back := 12 * time.Minute; back >= 0; back -= 15 * time.Second {
		m.ExternalError("github", "timeout")
		e.Scrape(m, now.Add(-back))
		e.Evaluate(context.Background(), now.Add(-back))
	}
	return e
}

// scriptStores are a health check that passes and a cache of three keys.
func scriptStores(t *testing.T) (*health.Checks, *cache.Memory) {
	t.Helper()
	checks := health.New(health.Options{})
	err := checks.Register(health.Check{Name: "database", Critical: true, Run: func(context.Context) (map[string]any, error) {
		return map[string]any{"version": "15.20"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	memory, err := cache.NewMemory(cache.MemoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = memory.Close() }) // never an error
	for _, key := range []string{"user:1", "user:2", "session:1"} {
		if err := memory.Set(t.Context(), key, []byte("v"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return checks, memory
}

// recordTraces records a running trace, a fast one, and a slow one ten minutes
// ago in which a call failed.
func recordTraces(s *tracing.Store) {
	begun := time.Now().Add(-10 * time.Minute)
	ctx, root := s.Start(context.Background(), "POST /priority/generate", tracing.StartOptions{Time: begun, RequestID: "req-script"})
	_, call := s.Start(ctx, "POST /v1/chat", tracing.StartOptions{Time: begun.Add(100 * time.Millisecond)})
	call.SetInt("http.response.status_code", 502)
	call.Fail(errors.New("502 Bad Gateway"))
	call.EndAt(begun.Add(900 * time.Millisecond))
	root.EndAt(begun.Add(time.Second))
	_, fast := s.Start(context.Background(), "GET /priority/{id}", tracing.StartOptions{})
	fast.End()
	s.Start(context.Background(), "GET /report/weekly", tracing.StartOptions{})
}

// scriptedRedis is the Redis that a script has started.
type scriptedRedis struct{ server *testkit.RedisServer }

// scriptRedis is the scripts' command redis.
func scriptRedis(t *testing.T, ts *testscript.TestScript, args []string) {
	if len(args) == 1 && args[0] == "kill" {
		ts.Value("redis").(*scriptedRedis).server.Kill()
		return
	}
	r := testkit.Redis(t)
	tier, err := cache.NewRedis(cache.RedisOptions{URL: r.URL(), Timeout: time.Second})
	ts.Check(err)
	for i := range 2000 {
		ts.Check(tier.Set(context.Background(), fmt.Sprintf("user:%d", i), []byte("v"), time.Hour))
	}
	s, err := server.New(server.Options{Service: "script", Redis: tier})
	ts.Check(err)
	web := httptest.NewServer(s)
	ts.Defer(func() {
		web.Close()
		ts.Check(tier.Close())
	})
	ts.Setenv("WITH_REDIS", web.URL)
	ts.Value("redis").(*scriptedRedis).server = r
}
