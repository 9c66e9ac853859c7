package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sees waits for a text anywhere on the screen.
func (p *pane) sees(text string) {
	p.t.Helper()
	p.awaitScreen(text, func(screen string) bool { return strings.Contains(screen, text) })
}

// The flame graph takes keys and sizes, and when it ends, however that is, the
// terminal is as it was before.
func TestFlameOnTerminal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stacks.txt")
	if err := os.WriteFile(file, []byte("main;serve;json.Unmarshal;json.object 40\nmain;serve;score 30\nmain;gc 30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPane(t, "F="+file, "NO_COLOR=1")
	p.line("echo before; pulsectl profiles flame $F; echo status 1 $?")
	p.sees("╞all 100.0%══")
	p.keys("Down", "Down", "Down")
	p.sees("╞json.Unmarshal 40.0%══")
	p.keys("Enter")
	p.sees("zoomed to json.Unmarshal 40.0%")
	p.keys("Escape")
	p.sees("[gc 30.0%──")
	p.keys("/", "j", "s", "o", "n", "Enter")
	p.sees("/json: 40.0% of the total in 2 frames")
	p.tmux("resize-window", "-x", "70", "-y", "12")
	p.sees("? help  q quit")
	p.keys("s")
	p.sees("Callers and callees of json.Unmarshal")
	p.keys("t")
	p.sees("Top functions by own samples")
	p.keys("?")
	p.sees("any key goes back")
	p.keys("x", "q")
	p.sees("before")
	p.restored("status 1 0")

	p.line("pulsectl profiles flame $F; echo status 2 $?")
	p.sees("╞all 100.0%══")
	p.keys("C-c")
	p.restored("status 2 130")

	p.line("timeout --foreground 1 pulsectl profiles flame $F; echo status 3 $?") // ends it by a signal
	p.sees("╞all 100.0%══")
	p.restored("status 3 124")

	p.line("cat $F | pulsectl profiles flame -; echo status 4 $?") // keys come from the terminal all the same
	p.sees("╞all 100.0%══")
	p.keys("Down")
	p.sees("╞main 100.0%══")
	p.keys("q")
	p.restored("status 4 0")

	p.line("pulsectl profiles flame $F --static; echo status 5 $?")
	p.sees("[gc 30.0%──")
	p.restored("status 5 0")
}

// What takes a while says on a terminal how far it is, and leaves nothing there.
func TestCaptureOnTerminal(t *testing.T) {
	ts := startServer(t.Context(), t, false)
	t.Cleanup(ts.Close)
	p := newPane(t, "PULSECTL_SERVER="+ts.URL)
	p.line("pulsectl profiles capture --for 2s --wait; echo status $?")
	p.sees("capturing cpu  █")
	p.sees("captured p_")
	p.sees("status 0")
	p.showsNot("capturing cpu  █")
}
