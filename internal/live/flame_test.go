package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/internal/live"
	"github.com/pulsectl/pulsectl/pkg/render"
)

const stacks = `main;serve;handle;json.Unmarshal;json.object 40
main;serve;handle;json.Unmarshal;json.array 14
main;serve;handle;score;cosine 30
main;serve;log;json.Marshal 6
main;gc;scan 10
main;serve;handle;narrow;needle 0
`

// person sits before a flame graph of 80 by 24.
type person struct {
	t     testing.TB
	model tea.Model
}

func sit(t testing.TB, folded string) *person {
	t.Helper()
	p, err := hotspot.Parse([]byte(folded), hotspot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	g, err := hotspot.Flame(p, hotspot.FlameOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := live.NewFlame(p, render.FlameShown{FlameGraph: g}, hotspot.FlameOptions{}, render.Options{})
	m.Init()
	s := &person{t, m}
	s.tell(tea.WindowSizeMsg{Width: 80, Height: 24})
	return s
}

// tell hands the model a message, and then what its command comes to.
func (p *person) tell(msg tea.Msg) (quits bool) {
	var cmd tea.Cmd
	p.model, cmd = p.model.Update(msg)
	p.model.View()
	if cmd == nil {
		return false
	}
	switch m := cmd().(type) {
	case tea.QuitMsg:
		return true
	default:
		return p.tell(m)
	}
}

var special = map[string]rune{
	"up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "enter": tea.KeyEnter, "esc": tea.KeyEscape,
	"backspace": tea.KeyBackspace, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
}

// press presses keys, by their names or as they are typed.
func (p *person) press(keys ...string) (quits bool) {
	for _, k := range keys {
		switch code, known := special[k]; {
		case known:
			quits = p.tell(tea.KeyPressMsg{Code: code})
		case k == "ctrl+c":
			quits = p.tell(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
		default:
			for _, r := range k {
				quits = p.tell(tea.KeyPressMsg{Code: r, Text: string(r)})
			}
		}
	}
	return quits
}

func (p *person) lines() []string { return strings.Split(p.model.View().Content, "\n") }

// sees checks that the screen has these texts.
func (p *person) sees(texts ...string) {
	p.t.Helper()
	screen := p.model.View().Content
	for _, text := range texts {
		if !strings.Contains(screen, text) {
			p.t.Errorf("no %q on the screen:\n%s", text, screen)
		}
	}
}

// on checks which frame is selected, by the line that tells of it.
func (p *person) on(frame string) {
	p.t.Helper()
	lines := p.lines()
	if detail, _, _ := strings.Cut(lines[len(lines)-2], "  "); detail != frame {
		p.t.Errorf("on %q, want %s:\n%s", detail, frame, strings.Join(lines, "\n"))
	}
}

func TestMoving(t *testing.T) {
	p := sit(t, stacks)
	p.on("all")
	p.press("down", "down", "down")
	p.on("handle")
	p.press("down")
	p.on("json.Unmarshal") // the largest
	p.press("right")
	p.on("score")
	p.press("l")
	p.on("json.Marshal") // beside it, though of another caller
	p.press("right", "right")
	p.on("json.Marshal")
	p.press("k")
	p.on("log")
	p.press("left", "up")
	p.on("serve")
	p.press("pgdown")
	p.on("json.object")
	p.press("pgup")
	p.on("all")
	p.press("up", "left", "h", "down", "j")
	p.on("serve")
}

func TestZoom(t *testing.T) {
	p := sit(t, stacks)
	p.press("down", "down", "right", "enter")
	p.sees("zoomed to")
	p.press("esc")
	if strings.Contains(p.model.View().Content, "zoomed") {
		t.Error("esc does not zoom out")
	}
	p.press("home", "down", "down", "down", "down", "enter")
	p.sees("zoomed to json.Unmarshal 54.0%", "[main 100.0%", "[json.object 40.0%")
	p.press("down", "enter")
	p.sees("zoomed to json.object 40.0%")
	p.press("up", "up", "enter") // a caller is a way out
	p.sees("zoomed to handle 84.0%")
	p.press("esc")
	p.sees("zoomed to json.object 40.0%")
	p.press("backspace")
	p.sees("zoomed to json.Unmarshal 54.0%")
	p.press("0")
	p.on("all")
	p.press("esc", "esc", "esc", "esc", "esc")
	p.sees("[json.Unmarshal 54.0%")
}

func TestSearch(t *testing.T) {
	p := sit(t, stacks)
	p.press("/json")
	p.sees("/json█")
	p.press("enter")
	p.sees("/json: 60.0% of the total in 4 frames", "▒json.arr…▒")
	p.on("json.Unmarshal")
	p.press("n")
	p.on("json.Marshal")
	p.press("n", "n", "n")
	p.on("json.Unmarshal")
	p.press("N")
	p.on("json.array")
	p.press("/x", "backspace", "COS", "enter") // case is ignored
	p.sees("/COS: 30.0% of the total in 1 frame")
	p.on("cosine")
	p.press("/(", "enter") // a wrong one leaves the one before
	p.sees("error parsing regexp", "/COS: 30.0%")
	p.press("/zzz", "esc")
	p.sees("/COS: 30.0%")
	p.press("/nothing", "enter")
	p.sees("/nothing: 0.0% of the total in 0 frames")
	p.press("n")
	p.on("cosine")
	p.press("esc")
	if strings.Contains(p.model.View().Content, "/nothing") {
		t.Error("esc does not end a search")
	}
	p.press("/")
	p.tell(tea.PasteMsg{Content: "sc\x1b[2Jan"})
	p.sees("/sc·an█")
	p.press(strings.Repeat("x", 300))
	p.press("enter", "esc")
}

// A frame that is too narrow to be seen is zoomed to.
func TestSearchFindsTheNarrow(t *testing.T) {
	p := sit(t, "a;wide 100000\na;thin;needle 1\n")
	p.press("/needle", "enter")
	p.sees("zoomed to needle 0.0%")
	p.on("needle")
	p.tell(tea.WindowSizeMsg{Width: 40, Height: 10})
	p.on("needle")
	p.press("0")
	p.tell(tea.WindowSizeMsg{Width: 40, Height: 10})
	p.on("all")
}

func TestTop(t *testing.T) {
	p := sit(t, stacks)
	p.press("t")
	p.sees("OWN", "FUNCTION", "▌")
	p.on("json.object")
	p.press("down", "down")
	p.on("json.array")
	p.press("/json", "enter")
	p.sees("/json: 4 functions")
	p.press("end")
	p.on("json.Unmarshal")
	p.press("enter")
	p.sees("Callers and callees of json.Unmarshal")
	p.press("esc")
	p.sees("Top functions")
	p.press("esc", "esc")
	p.sees("Flame graph")
	p.press("t", "pgdown", "pgup", "home")
	p.on("json.object")
	p.press("t")
	p.sees("Flame graph")
}

func TestSandwich(t *testing.T) {
	p := sit(t, "main;a;lock;wait 6\nmain;b;lock;spin 4\nmain;c 10\n")
	p.press("/lock", "enter", "s")
	p.sees("Callers and callees of lock", "[main 30.0%", "[a 30.0%", "[b 20.0%", "╞lock 50.0%", "[wait 30.0%")
	at := map[string]int{}
	for i, line := range p.lines() {
		for _, name := range []string{"[main 30.0%", "[a 30.0%", "╞lock", "[wait"} {
			if strings.Contains(line, name) {
				at[name] = i
			}
		}
	}
	if !(at["[main 30.0%"] < at["[a 30.0%"] && at["[a 30.0%"] < at["╞lock"] && at["╞lock"] < at["[wait"]) {
		t.Errorf("the callers are not above the function and the callees below: %v", at)
	}
	p.press("down", "right")
	p.on("spin")
	p.press("up", "up")
	p.on("a")
	p.press("right")
	p.on("b")
	p.press("up")
	p.on("main")
	p.press("down", "down")
	p.on("lock")
	p.press("up", "enter")
	p.sees("Callers and callees of a")
	p.press("esc")
	p.sees("Callers and callees of lock")
	p.press("esc")
	p.sees("Flame graph")
	p.press("home", "s") // the root is no function
	p.sees("Flame graph")
}

func TestQuitAndHelp(t *testing.T) {
	p := sit(t, stacks)
	p.press("?")
	p.sees("sandwich: all callers", "any key goes back")
	if p.press("x") {
		t.Error("a key in the help quits")
	}
	p.sees("[main 100.0%")
	p.press("/q")
	p.sees("/q█")
	for _, key := range []string{"ctrl+c"} {
		if !p.press(key) {
			t.Errorf("%s does not quit while something is typed", key)
		}
	}
	if p.press("esc"); !p.press("q") {
		t.Error("q does not quit")
	}
}

// Whatever the size and the keys, each line fits and there is no panic.
func TestAnySize(t *testing.T) {
	keys := []string{"down", "enter", "right", "s", "up", "t", "end", "enter", "esc", "/a", "enter", "n", "N", "pgdown", "?", "x", "esc", "home", "pgup", "t", "down", "esc"}
	for width := 1; width < 90; width += 8 {
		for height := 1; height < 30; height += 4 {
			p := sit(t, stacks)
			for i, k := range keys {
				p.press(k)
				p.tell(tea.WindowSizeMsg{Width: width + i, Height: height})
				lines := p.lines()
				if len(lines) > height {
					t.Fatalf("%d×%d after %s: %d lines", width+i, height, k, len(lines))
				}
				for _, l := range lines {
					if n := len([]rune(l)); n > width+i {
						t.Fatalf("%d×%d after %s: a line of %d: %q", width+i, height, k, n, l)
					}
				}
			}
		}
	}
}

// Run ends with what it was told to end by, and leaves no goroutine behind.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name, keys string
		cancelled  bool
		want       error
	}{
		{"quit", "q", false, nil}, {"interrupted", "\x03", false, context.Canceled}, {"cancelled", "", true, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			in, keys, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer keys.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if tt.cancelled {
				time.AfterFunc(50*time.Millisecond, cancel)
			}
			fmt.Fprint(keys, tt.keys)
			var out bytes.Buffer
			if err := live.Run(ctx, sit(t, stacks).model.(*live.Flame), in, &out, render.TrueColor); !errors.Is(err, tt.want) {
				t.Errorf("Run = %v, want %v", err, tt.want)
			}
			if strings.Count(out.String(), "\x1b[?1049l") != strings.Count(out.String(), "\x1b[?1049h") {
				t.Error("the screen before is not brought back")
			}
		})
	}
}

// BenchmarkKey is what a key costs in a profile of 100,000 stacks, on a large
// terminal: the selection, the layout and the drawing.
func BenchmarkKey(b *testing.B) {
	var folded strings.Builder
	seed := uint32(1)
	for range 100_000 {
		for depth := range 30 {
			seed = seed*1664525 + 1013904223
			fmt.Fprintf(&folded, "package%c.Function%d;", 'a'+rune(depth%26), seed>>30)
		}
		folded.WriteString("main.leaf 1\n")
	}
	p := sit(b, folded.String())
	p.tell(tea.WindowSizeMsg{Width: 240, Height: 70})
	b.ReportAllocs()
	for b.Loop() {
		p.press("down", "enter", "0")
	}
}
