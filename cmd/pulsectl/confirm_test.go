package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
)

// changing are command lines of what changes something; api is not in the table,
// for it goes by its method.
var changing = []string{
	"breakers reset x", "breakers reset-all", "breakers open x -y", "breakers disable x -y", "breakers enable x", "breakers exec x -- true", "traces cleanup", "traces import x",
	"profiles upload x", "profiles capture", "profiles enable", "profiles disable", "profiles cleanup", "cache clear memory -y", "cache clear redis x*", "api POST /x", "api DELETE /x",
}

// The table of what changes something has each command that has a row here, and
// no command but those.
func TestChanges(t *testing.T) {
	root := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(string) string { return "" }).rootCmd()
	for command := range changes {
		words := strings.Fields(command)[1:]
		if cmd, _, err := root.Find(words); err != nil || cmd.CommandPath() != command {
			t.Errorf("%s is no command", command)
		}
		if !slices.ContainsFunc(changing, func(c string) bool {
			return strings.HasPrefix(c, strings.Join(words, " ")+" ") || c == strings.Join(words, " ")
		}) {
			t.Errorf("%s is not tried", command)
		}
	}
	walk(root, func(cmd *cobra.Command) {
		if slices.Contains([]string{"reset", "reset-all", "open", "disable", "enable", "cleanup", "clear", "import", "upload", "capture"}, cmd.Name()) {
			if _, known := changes[cmd.CommandPath()]; !known {
				t.Errorf("%s sounds like a change and is not in the table", cmd.CommandPath())
			}
		}
	})
}

// Off a terminal nothing is sent to a read-only context, and nothing to a
// protected one without a reason and a yes.
func TestGuards(t *testing.T) {
	var sent atomic.Int64
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			sent.Add(1)
		}
		if r.URL.Path == "/monitoring/" {
			fmt.Fprint(w, `{"service":"x","capabilities":["dry_run"]}`)
			return
		}
		fmt.Fprint(w, `{}`)
	}))
	t.Cleanup(ts.Close)
	const file = "current: prod\ncontexts:\n  prod:\n    servers: [%s]\n    %s: true\n"
	for _, command := range changing {
		exec := strings.HasPrefix(command, "breakers exec")
		want := exitRefused
		if exec {
			want = exitCannot
		}
		env := configured(t, file, ts.URL, "readonly")
		args := strings.Fields(command)
		if _, said, status := asked(t, env, args...); status != want || !strings.Contains(said, "read-only; nothing was sent") {
			t.Errorf("%s on a read-only context: status %d: %s", command, status, said)
		}
		if exec {
			continue
		}
		env = configured(t, file, ts.URL, "protected")
		yes := slices.Contains(args, "-y")
		if _, said, status := asked(t, env, args...); status != exitRefused || !strings.Contains(said, "needs --reason") {
			t.Errorf("%s on a protected context: status %d: %s", command, status, said)
		}
		if _, said, status := asked(t, env, append(args, "--reason", "x")...); !yes && (status != exitRefused || !strings.Contains(said, "needs --yes")) {
			t.Errorf("%s on a protected context: status %d: %s", command, status, said)
		} else if yes {
			sent.Store(0)
		}
		if n := sent.Load(); n > 0 {
			t.Errorf("%s: %d requests were sent", command, n)
		}
		sent.Store(0)
	}
	env := configured(t, file, ts.URL, "protected")
	if _, said, _ := asked(t, env, "breakers", "reset-all", "-y", "--reason", "x"); sent.Load() != 1 {
		t.Errorf("%d requests were sent: %s", sent.Load(), said)
	}
}
