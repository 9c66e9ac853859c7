package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// startFaulty starts $FAULTY: below /N everything is answered with the HTTP status
// N, below /hang nothing is.
func startFaulty(env *testscript.Env) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		status, err := strconv.Atoi(first)
		if err != nil {
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"detail":"it is %d here"}`, status)
	}))
	env.Setenv("FAULTY", ts.URL)
	env.Defer(ts.Close)
}

// questions are the commands that only ask.
var questions = []string{
	"status", "health", "health database", "system", "audit list", "breakers list", "breakers show openai_api", "breakers events", "traces list", "traces list --spans", "traces show @slowest",
	"traces diff @slowest @p50", "traces stats", "traces services", "profiles list", "profiles stats", "cache status", "cache keys memory", "metrics list", "metrics get pulse_api_info",
}

// A server that breaks its word in whatever way is a failure with a line and a
// status, in the time that it is given.
func TestFaultyServers(t *testing.T) {
	half := `{"github_api":{"state":"open","stats":{"total_requ`
	hang := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   int
	}{
		{"slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, exitTimeout},
		{"hangs midway", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, half); hang(w, r) }, exitTimeout},
		{"hangs behind its headers", hang, exitTimeout},
		{"half a JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, half) }, exitUnreachable},
		{"breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			io.WriteString(w, half)
		}, exitUnreachable},
		{"closes at once", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, exitUnreachable},
		{"a page as JSON", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, "<html>\x1b[2J</html>")
		}, exitUnreachable},
		{"another JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[[1,"\u001b[2J"]]`) }, exitUnreachable},
		{"a number", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `42`) }, exitUnreachable},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, exitUnreachable},
		{"gzip that is none", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, half)
		}, exitUnreachable},
		{"an error that is a page", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			io.WriteString(w, "<html>\x1b[2J</html>")
		}, exitUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ts := httptest.NewServer(tt.answer)
			t.Cleanup(ts.Close)
			for _, command := range []string{"breakers", "status", "traces list", "health -o json"} {
				begun := time.Now()
				out, said, status := asked(t, map[string]string{"PULSECTL_SERVER": ts.URL}, append(strings.Fields(command), "--request-timeout", "300ms")...)
				if took := time.Since(begun); status != tt.want || !strings.HasPrefix(said, "pulsectl: "+ts.URL+": ") || took > 8*time.Second {
					t.Errorf("%s: status %d, want %d, in %v: %s%s", command, status, tt.want, took, out, said)
				}
				isInert(t, command, out+said)
			}
		})
	}
}

func isInert(t *testing.T, command, text string) {
	t.Helper()
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			t.Errorf("%s writes %q in\n%.900q", command, r, text)
			return
		}
	}
}

// A server that tells JSON whatever it calls it is understood.
func TestWrongContentType(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		io.WriteString(w, `{"github_api":{"state":"open"}}`)
	}))
	t.Cleanup(ts.Close)
	if out, said, status := asked(t, map[string]string{"PULSECTL_SERVER": ts.URL}, "breakers", "-o", "name"); status != 0 || out != "github_api\n" {
		t.Errorf("status %d: %s%s", status, out, said)
	}
}

// escaping answers as a real server does, with escape sequences in every string
// that is no word of the API's own.
func escaping(t *testing.T) *httptest.Server {
	t.Helper()
	real := startServer(t.Context(), t, true)
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		real.Config.Handler.ServeHTTP(answer, r)
		var v any
		dec := json.NewDecoder(bytes.NewReader(answer.Body.Bytes()))
		dec.UseNumber()
		if dec.Decode(&v) != nil {
			w.WriteHeader(answer.Code)
			w.Write(answer.Body.Bytes())
			return
		}
		w.WriteHeader(answer.Code)
		json.NewEncoder(w).Encode(escaped(v))
	}))
	t.Cleanup(func() { ts.Close(); real.Close() })
	return ts
}

func escaped(v any) any {
	switch v := v.(type) {
	case string:
		if strings.Contains(" ok error closed open half_open healthy degraded unhealthy failed automatic recent all finished dry_run ", " "+v+" ") || strings.Trim(v, "0123456789abcdef") == "" {
			return v
		}
		return v + "\x1b[2J\x1b]0;owned\a\u009b31m\r\x7f"
	case []any:
		for i := range v {
			v[i] = escaped(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = escaped(v[k])
		}
		v["\x1b[2Jmember\u009b"] = "\x1b[2J"
	}
	return v
}

// Whatever strings a server sends, no terminal acts on them: in no form, on
// neither stream.
func TestEscapesInEveryString(t *testing.T) {
	env := map[string]string{"PULSECTL_SERVER": escaping(t).URL, "XDG_CACHE_HOME": t.TempDir()}
	for _, command := range append(questions, "breakers reset-all", "breakers open github_api -y", "cache clear memory u* --dry-run", "profiles enable --dry-run", "traces cleanup --dry-run") {
		for _, form := range []string{"table", "wide", "json", "yaml", "ndjson", "csv", "env", "name", "jq=.items[]|tostring,.", "go-template={{.}}"} {
			out, said, _ := asked(t, env, append(strings.Fields(command), "-o", form, "-v")...)
			isInert(t, command+" -o "+form, out)
			isInert(t, command+" -o "+form+", of standard error", said)
		}
		out, _, _ := asked(t, env, append(strings.Fields(command), "--print-curl")...)
		isInert(t, command+" --print-curl", out)
	}
	isInert(t, "completion", completed(t, env, "breakers", "show", ""))
}

// Ten thousand breakers are shown, cut and sorted in no time to speak of.
func TestManyBreakers(t *testing.T) {
	var all strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&all, `%s"breaker_%04d":{"name":"breaker_%04d","state":"closed","stats":{"total_requests":%d,"failure_rate":0.25},"config":{"failure_threshold":5}}`, map[bool]string{true: ","}[i > 0], i, i, i)
	}
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{"+all.String()+"}") }))
	t.Cleanup(ts.Close)
	for _, tt := range []struct {
		args  string
		lines int
	}{
		{"breakers", 10_003}, {"breakers -n 20", 25}, {"breakers -o csv --columns name,stats.total_requests --sort-by stats.total_requests", 10_001},
		{"breakers -o ndjson", 10_000}, {"breakers -o jq=.items|length", 1}, {"breakers -o name -n 5", 5},
	} {
		begun := time.Now()
		out, said, status := asked(t, map[string]string{"PULSECTL_SERVER": ts.URL}, strings.Fields(tt.args)...)
		if took := time.Since(begun); status != 0 || strings.Count(out, "\n") != tt.lines || took > 15*time.Second {
			t.Errorf("%s: status %d, %d lines, want %d, in %v: %.200s", tt.args, status, strings.Count(out, "\n"), tt.lines, took, said)
		} else {
			t.Logf("%s: %v", tt.args, took)
		}
	}
}

// An interrupt ends what is asked, at once and with 130; nothing else is said.
func TestInterrupt(t *testing.T) {
	begun := make(chan bool, 10)
	ts := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
	}))
	t.Cleanup(ts.Close)
	for _, args := range [][]string{{"breakers"}, {"breakers", "-s", ts.URL, "-s", "http://127.0.0.1:1"}, {"breakers", "reset-all", "-o", "json"}} {
		var said bytes.Buffer
		cmd := exec.Command("pulsectl", args...)
		cmd.Env, cmd.Stderr = append(cmd.Environ(), "PULSECTL_SERVER="+ts.URL), &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-begun
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if cmd.ProcessState.ExitCode() != exitInterrupted {
			t.Errorf("%q: %v, want 130: %s", args, err, &said)
		}
		isInert(t, strings.Join(args, " "), said.String())
	}
}

// A terminal of twenty columns, or of one, is drawn for like any other.
func TestNarrowTerminals(t *testing.T) {
	ts := startServer(t.Context(), t, true)
	t.Cleanup(ts.Close)
	env := map[string]string{"PULSECTL_SERVER": ts.URL}
	for _, command := range append(questions, "context list", "config view", "breakers --columns name,state", "breakers --sort-by name -s "+ts.URL+",http://127.0.0.1:1") {
		wide, _, want := asked(t, env, strings.Fields(command)...)
		for _, width := range []string{"1", "20", "60", "250"} {
			out, said, status := asked(t, env, append(strings.Fields(command), "--width", width, "--color", "always")...)
			if status != want || (out == "") != (wide == "") {
				t.Errorf("%s in %s columns: status %d, want %d: %s%s", command, width, status, want, out, said)
			}
		}
	}
}
