package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/child"
)

func TestOutcomeOf(t *testing.T) {
	failures, err := child.ParseCodes("1-9,137")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		r            child.Result
		outcome, why string
	}{
		{"fine", child.Result{}, "success", ""},
		{"failed", child.Result{Code: 3}, "failure", "exit status 3"},
		{"another status", child.Result{Code: 10}, "success", ""},
		{"killed by somebody", child.Result{Code: 137, Signal: syscall.SIGKILL}, "failure", "signal 9: killed"},
		{"interrupted", child.Result{Code: 130, Signal: syscall.SIGINT, Interrupted: true}, "ignored", ""},
		{"timed out", child.Result{Code: 143, Signal: syscall.SIGTERM, TimedOut: true}, "timeout", "timed out after 2s"},
		{"fine after its time", child.Result{TimedOut: true}, "timeout", "timed out after 2s"},
	} {
		if outcome, why := outcomeOf(tt.r, &failures, 2*time.Second); outcome != tt.outcome || why != tt.why {
			t.Errorf("%s: %s %q, want %s %q", tt.name, outcome, why, tt.outcome, tt.why)
		}
	}
}

// What the server says before the command runs: trouble of its own is like no
// answer, a no about the request itself is an error.
func TestExecRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer int
		body   string
		status int
		runs   bool
	}{
		{"no token", 401, `{"status":401,"detail":"this needs a token"}`, 125, false},
		{"a token that may not", 403, `{"status":403,"detail":"no"}`, 125, false},
		{"settings out of bounds", 422, `{"status":422,"detail":"no"}`, 125, false},
		{"in trouble", 500, `{"status":500,"detail":"oops"}`, 7, true},
		{"a proxy without its server", 502, `Bad Gateway`, 7, true},
		{"no room", 429, `{"status":429,"detail":"10000 permits"}`, 7, true},
		{"busy, not open", 503, `{"status":503,"detail":"starting"}`, 7, true},
		{"open", 503, `{"status":503,"detail":"open","state":"open","retry_after":9}`, 75, false},
		{"not the API", 200, `<html>`, 7, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(tt.answer)
				w.Write([]byte(tt.body))
			}))
			defer ts.Close()
			ran := filepath.Join(t.TempDir(), "ran")
			cmd := exec.Command("pulsectl", "breakers", "exec", "job", "-s", ts.URL, "--", "sh", "-c", "touch "+ran+"; exit 7")
			out, _ := cmd.CombinedOutput() // the status is what is asked for
			_, err := os.Stat(ran)
			if cmd.ProcessState.ExitCode() != tt.status || (err == nil) != tt.runs {
				t.Errorf("status %d, want %d; it ran: %v\n%s", cmd.ProcessState.ExitCode(), tt.status, err == nil, out)
			}
			if tt.runs && !strings.Contains(string(out), "warning: "+ts.URL) {
				t.Errorf("no warning: %s", out)
			}
		})
	}
}

// A server that hangs after the permit delays the command's end by a bound.
func TestExecHangingServer(t *testing.T) {
	hang := make(chan struct{})
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/acquire") {
			w.Write([]byte(`{"permit":"p","state":"closed","timeout":30}`))
			return
		}
		<-hang
	}))
	defer ts.Close()
	defer close(hang)
	begun := time.Now()
	cmd := exec.Command("pulsectl", "breakers", "exec", "job", "-s", ts.URL, "--request-timeout", "1s", "--", "sh", "-c", "exit 7")
	out, _ := cmd.CombinedOutput()
	if took := time.Since(begun); cmd.ProcessState.ExitCode() != 7 || took > 10*time.Second {
		t.Errorf("status %d after %s\n%s", cmd.ProcessState.ExitCode(), took, out)
	}
	if !strings.Contains(string(out), "the outcome failure was not counted: no answer in time") {
		t.Errorf("said: %s", out)
	}
}
