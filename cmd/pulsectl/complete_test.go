package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// completed returns what a shell is offered, with descriptions.
func completed(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	out, _, status := asked(t, env, append([]string{cobra.ShellCompRequestCmd}, args...)...)
	if status != 0 {
		t.Errorf("%q: status %d", args, status)
	}
	return out
}

func TestCompletion(t *testing.T) {
	ts := startServer(t.Context(), t, true)
	t.Cleanup(ts.Close)
	env := configured(t, "contexts:\n  prod:\n    servers: [%s]\n  staging:\n    servers: [http://127.0.0.1:1]\n", ts.URL)
	env["XDG_CACHE_HOME"] = t.TempDir()
	for _, tt := range []struct {
		args string
		want []string
		not  string
	}{
		{"-c prod breakers show ", []string{"github_api\tclosed\n", "openai_api\topen\n"}, ""},
		{"-c prod breaker reset openai_api ", []string{"github_api\tclosed\n"}, "openai_api"},
		{"-c prod breakers show gi", []string{"github_api\tclosed\n"}, "openai_api"},
		{"-c prod traces show ", []string{"\tPOST /priority/generate 1s error\n", "@slowest\t"}, ""},
		{"-c prod traces show @", []string{"@slowest\ttook longest\n", "@p99\t"}, "POST"},
		{"-c prod metrics get pulse_api_i", []string{"pulse_api_info\t"}, "go_"},
		{"-c prod health ", []string{"database\thealthy\n"}, ""},
		{"context use ", []string{"prod\n", "staging\n"}, ""},
		{"-c ", []string{"prod\n", "staging\n"}, ""},
		{"-c prod breakers -i ", []string{strings.TrimPrefix(ts.URL, "http://") + "\n"}, ""},
		{"breakers -o ", []string{"ndjson\n", "jq=\n"}, ""},
		{"config set ", []string{"token-command\n"}, ""},
		{"-c staging breakers show ", []string{":"}, "github_api"}, // there is no one, and nothing is said
		{"-c nope breakers show ", []string{":"}, "github_api"},
	} {
		out := completed(t, env, strings.Split(tt.args, " ")...)
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%q: no %q in\n%s", tt.args, want, out)
			}
		}
		if tt.not != "" && strings.Contains(out, tt.not) {
			t.Errorf("%q: %q in\n%s", tt.args, tt.not, out)
		}
	}
}

// What was asked is offered again for a while, and nobody waits for a server
// that hangs.
func TestCompletionIsQuick(t *testing.T) {
	requests, hang := 0, false
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if hang {
			<-r.Context().Done()
		}
		fmt.Fprint(w, `{"a_\u001b[2J":{"state":"open"},"one":{"state":"open\u001b[2J"}}`)
	}))
	t.Cleanup(ts.Close)
	env := map[string]string{"PULSECTL_SERVER": ts.URL, "XDG_CACHE_HOME": t.TempDir()}
	for range 3 {
		if out := completed(t, env, "breakers", "show", ""); !strings.HasPrefix(out, "one\topen·\n:") {
			t.Errorf("offered %q", out)
		}
	}
	if requests != 1 {
		t.Errorf("%d requests, want 1", requests)
	}
	kept, err := filepath.Glob(filepath.Join(env["XDG_CACHE_HOME"], "pulsectl", "words", "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %q, %v", kept, err)
	}
	if info, err := os.Stat(kept[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	past := time.Now().Add(-time.Minute)
	if err := os.Chtimes(kept[0], past, past); err != nil {
		t.Fatal(err)
	}
	hang = true
	begun := time.Now()
	if out := completed(t, env, "breakers", "show", ""); strings.Contains(out, "one") {
		t.Errorf("offered %q", out)
	}
	if took := time.Since(begun); took > 2*time.Second { // 0.3s, on a machine that has time
		t.Errorf("it took %v", took)
	}
}

// The scripts of the shells that are here are taken by them.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script, _, status := asked(t, nil, "completion", shell)
		if status != 0 || !strings.Contains(script, cobra.ShellCompRequestCmd) {
			t.Errorf("%s: status %d, %d bytes", shell, status, len(script))
		}
		if _, err := exec.LookPath(shell); err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, shell, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
}
