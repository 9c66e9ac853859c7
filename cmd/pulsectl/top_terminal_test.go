package main

import (
	"strings"
	"testing"
)

// The dashboard takes keys and sizes, shows what happens meanwhile, and when it
// ends, however that is, the terminal is as it was before.
func TestTopOnTerminal(t *testing.T) {
	ts := startServer(t.Context(), t, true)
	t.Cleanup(ts.Close)
	p := newPane(t, "PULSECTL_SERVER="+ts.URL+",http://127.0.0.1:1", "NO_COLOR=1")
	p.line("echo before; pulsectl top; echo status 1 $?")
	p.sees("[1 overview]")
	p.sees("✗ no answer") // of the one that is not there
	p.sees("openai_api  ✗ open")
	p.keys("2")
	p.sees("[2 breakers]")
	p.keys("/", "o", "p", "e", "n", "a", "i", "Enter")
	p.sees("filter openai")
	p.keys("Enter")
	p.sees("Circuit breaker openai_api")
	p.sees("Circuit breaker events")
	p.keys("y")
	p.sees("copied: pulsectl --server " + ts.URL + " breakers show openai_api")
	p.keys("3")
	p.sees("[3 traces]")
	p.sees("GET /priority/{id}")
	p.keys("End", "Enter")
	p.sees("critical path")
	p.tmux("resize-window", "-x", "60", "-y", "20")
	p.sees("1  2  [3 traces]  4  5  6  7")
	p.keys("Escape")
	p.sees("Finished")
	p.tmux("resize-window", "-x", "20", "-y", "8")
	p.sees("q quit")
	p.tmux("resize-window", "-x", "140", "-y", "40")
	p.sees("1 overview  2 breakers  [3 traces]")
	p.keys("7", "?")
	p.sees("any key goes back")
	p.keys("x", "p")
	p.sees("paused")
	p.keys("q")
	p.restored("status 1 0")

	p.line("pulsectl top; echo status 2 $?")
	p.sees("[1 overview]")
	p.keys("C-c")
	p.restored("status 2 130")

	p.line("timeout --foreground 2 pulsectl top; echo status 3 $?") // ends it by a signal
	p.restored("status 3 124")

	p.line("pulsectl top | cat; echo status 4 ${PIPESTATUS[0]}")
	p.sees("pulsectl status is for pipes")
	p.restored("status 4 2")
}

// restored checks that a program has left the terminal as it was.
func (p *pane) restored(status string) {
	p.t.Helper()
	p.sees(status)
	p.line("clear; stty -a | grep -o ' echo '; echo typed again")
	p.shows("typed again")
	p.shows(" echo")
	for what, want := range map[string]string{"#{alternate_on}": "0", "#{cursor_flag}": "1", "#{mouse_any_flag}": "0"} {
		if got := strings.TrimSpace(p.tmux("display", "-p", what)); got != want {
			p.t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
}
