package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

// pane is a shell in a terminal, as a person has one.
type pane struct {
	t      *testing.T
	socket string
}

func newPane(t *testing.T, env ...string) *pane {
	t.Helper()
	for _, tool := range []string{"tmux", "bash"} {
		testkit.Need(t, tool, tool)
	}
	p := &pane{t, filepath.Join(t.TempDir(), "tmux")}
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "60"}
	for _, v := range append(env, "PS1=$ ", "PATH="+os.Getenv("PATH")) {
		args = append(args, "-e", v)
	}
	p.tmux(append(args, "bash --norc --noprofile -i")...)
	t.Cleanup(func() { p.tmux("kill-server") })
	return p
}

func (p *pane) tmux(args ...string) string {
	p.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", p.socket}, args...)...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// keys types what tmux calls by these names.
func (p *pane) keys(keys ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, keys...)...)
}

// line types a line.
func (p *pane) line(text string) {
	p.t.Helper()
	p.tmux("send-keys", "-l", text)
	p.keys("Enter")
}

// shows waits for a line of the screen that begins so.
func (p *pane) shows(start string) {
	p.t.Helper()
	p.await(start, func() {})
}

// await waits for such a line, and does something before each look.
func (p *pane) await(start string, before func()) {
	p.t.Helper()
	p.awaitScreen("a line that begins with "+start, func(screen string) bool {
		for line := range strings.Lines(screen) {
			if strings.HasPrefix(strings.TrimPrefix(line, "^C"), start) { // the terminal echoes the key
				return true
			}
		}
		before()
		return false
	})
}

// awaitScreen waits until a screen is as it should be.
func (p *pane) awaitScreen(what string, is func(screen string) bool) {
	p.t.Helper()
	screen := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if screen = p.tmux("capture-pane", "-p", "-J", "-S", "-200"); is(screen) {
			return
		}
	}
	p.t.Fatalf("there is not %s:\n%s", what, screen)
}

func (p *pane) showsNot(start string) {
	p.t.Helper()
	if screen := p.tmux("capture-pane", "-p", "-J", "-S", "-200"); strings.Contains("\n"+screen, "\n"+start) {
		p.t.Errorf("a line begins with %q:\n%s", start, screen)
	}
}

// On a terminal the command is in front: it reads what is typed, the keys that
// interrupt and stop are its own, and the shell's fg and bg work as ever.
func TestExecOnTerminal(t *testing.T) {
	ts := startServer(t.Context(), t, false)
	t.Cleanup(ts.Close)
	p := newPane(t, "PULSECTL_SERVER="+ts.URL, "E=pulsectl breakers exec tty --failure-threshold 1 --")

	p.line(`$E sh -c 'echo ready 1; read x; echo got $x'`)
	p.shows("ready 1")
	p.line("hello")
	p.shows("got hello")

	p.line(`$E sh -c 'echo ready 2; exec sleep 60'; echo status 2 $?`)
	p.shows("ready 2")
	p.keys("C-c")
	p.shows("status 2 130")

	p.line(`$E sh -c 'trap "echo caught; exit 7" INT; echo ready 3; while :; do sleep 0.1; done'; echo status 3 $?`)
	p.shows("ready 3")
	p.keys("C-c")
	p.shows("caught")
	p.shows("status 3 7")
	p.line("pulsectl breakers reset tty -y") // 7 was the command's own answer, a failure
	p.shows("tty  ✗ open → ● closed")

	p.line(`sh -c "$E"' sh -c "echo ready 4; exec sleep 60"; echo "went on"'`)
	p.shows("ready 4")
	p.keys("C-c") // for the whole script, as without exec
	p.line("echo status 4 $?")
	p.shows("status 4 130")
	p.showsNot("went on")

	// What is typed before the shell has handed the terminal over would be lost
	// without exec too: the command says when it goes on.
	p.line(`$E sh -c 'trap "echo resumed 5" CONT; echo ready 5; until read x; do :; done; echo five $x'`)
	p.shows("ready 5")
	p.keys("C-z")
	p.shows("[1]+  Stopped")
	p.line("echo meanwhile")
	p.shows("meanwhile")
	p.line("fg")
	p.shows("resumed 5")
	p.line("again")
	p.shows("five again")

	p.line(`$E sh -c 'trap "echo resumed 6" CONT; until read x; do :; done; echo six $x' &`)             // wants the terminal in the background
	p.await("[1]+  Stopped                 $E sh -c 'trap \"echo resumed 6", func() { p.keys("Enter") }) // told with a prompt
	p.line("fg")
	p.shows("resumed 6")
	p.line("at last")
	p.shows("six at last")

	p.line(`$E sh -c 'sleep 0.5; echo seven' & wait; echo status 7 $?`) // in the background all along
	p.shows("seven")
	p.shows("status 7 0")

	p.line("clear; pulsectl breakers show tty")
	p.shows("Circuit breaker tty")
	p.shows("opened      1 time, closed 1 time") // interruptions are not failures
}

// Before a change the exact list is shown, and a no is a no.
func TestConfirmOnTerminal(t *testing.T) {
	ts := startServer(t.Context(), t, true)
	t.Cleanup(ts.Close)
	p := newPane(t, "PULSECTL_SERVER="+ts.URL)
	p.line("pulsectl breakers open github_api; echo status $?")
	p.shows("github_api  ● closed")
	p.shows("force open github_api for 15m0s? [y/N]")
	p.line("n")
	p.shows("status 7")
	p.line("clear; pulsectl breakers reset-all --half-open; echo status $?")
	p.shows("openai_api  ✗ open → ◐ half-open")
	p.shows("would reset 2 of 2 circuit breakers, 1 not closed before")
	p.line("y")
	p.shows("reset 2 of 2 circuit breakers, 1 not closed before")
	p.shows("status 0")
}

// What is longer than the terminal goes through the pager, what is not does not,
// and -w, --no-pager and machines have none.
func TestPagerOnTerminal(t *testing.T) {
	ts := startServer(t.Context(), t, true)
	t.Cleanup(ts.Close)
	for _, tt := range []struct {
		name, command string
		paged         bool
	}{
		{"short", "pulsectl breakers", false},
		{"long", "pulsectl metrics -n 0", true},
		{"switched off", "pulsectl metrics -n 0 --no-pager", false},
		{"in a pipe", "pulsectl metrics -n 0 | tail -1", false},
		{"for machines", "pulsectl metrics -n 0 -o name", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPane(t, "PULSECTL_SERVER="+ts.URL, "PULSECTL_PAGER=sed s/^/paged:/", "COLUMNS=")
			p.line("stty rows 20; clear; " + tt.command + "; echo status $?")
			p.shows("status 0")
			if got := strings.Contains(p.tmux("capture-pane", "-p", "-S", "-200"), "paged:p"); got != tt.paged && !tt.paged {
				t.Error("it is paged")
			} else if got != tt.paged {
				t.Error("it is not paged")
			}
		})
	}
}
