package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

const (
	stateBar    = 20 // cells of the bars of states
	stackFrames = 6  // of a stack, unless all are asked for
)

// stateLook is how a state is told: by a letter where there is no colour, and
// in the words of a sentence.
type stateLook struct {
	letter string
	words  string
	colour lipgloss.TerminalColor
}

var stateLooks = map[string]stateLook{
	api.StateRunning:  {"r", "running", ok},
	api.StateRunnable: {"q", "waiting for a processor", warn},
	api.StateChannel:  {"c", "blocked on a channel", services[0]},
	api.StateMutex:    {"m", "blocked on a lock", bad},
	api.StateNetwork:  {"n", "waiting for the network", services[1]},
	api.StateSleep:    {"s", "sleeping", services[2]},
	api.StateSyscall:  {"y", "in a system call", services[3]},
	api.StateGC:       {"g", "held up by the garbage collector", services[5]},
	api.StateOther:    {"o", "elsewhere, or unseen", muted},
}

func lookOf(state string) stateLook {
	if l, known := stateLooks[state]; known {
		return l
	}
	return stateLook{"o", clean(state), muted}
}

// stateMark is the sign that a state has in the strip, with its name.
func (s *screen) stateMark(state string) string {
	l := lookOf(state)
	sign := l.letter
	if s.Color != NoColor {
		sign = "●"
	}
	return s.r.NewStyle().Foreground(l.colour).Render(sign) + " " + clean(state)
}

// explained is the screen of a slow request: where its wall time went.
func (s *screen) explained(p api.Profile, all bool) error {
	e := p.Explanation
	s.heading(operation(p.OperationName)+" took "+duration(e.Wall.Duration()), s.mostly(e))
	s.quiet(wrap(s.Width, s.explainedScope(p)...))
	s.line()
	if len(e.States) == 0 {
		s.line(s.muted.Render("Where its time went is not known."))
	} else if err := s.states(e); err != nil {
		return err
	}
	s.strip(e)
	s.stacks(e, all)
	s.line()
	s.facts(slices.Concat(s.figures(e), s.ownFacts(p), noteFacts(p)))
	s.line()
	s.next(nextOf(p)...)
	return nil
}

// mostly names the state that took most of the time.
func (s *screen) mostly(e *api.Explanation) string {
	if len(e.States) == 0 {
		return ""
	}
	l := lookOf(e.States[0].State)
	return s.r.NewStyle().Foreground(l.colour).Render(share(e.States[0].Ratio) + " " + l.words)
}

func (s *screen) explainedScope(p api.Profile) []string {
	parts := []string{"profile " + shortID(p.ProfileID, 8), clean(p.Service)}
	switch p.Trigger {
	case api.TriggerSlow:
		parts = append(parts, "caught as it was slow")
	case api.TriggerRequest:
		parts = append(parts, "profiled on request")
	case api.TriggerManual:
		parts = append(parts, "profiled by hand")
	default:
		parts = append(parts, clean(p.Trigger))
	}
	if p.StartTime != nil {
		parts = append(parts, s.time(p.StartTime.Time))
	}
	return slices.DeleteFunc(parts, func(t string) bool { return t == "" })
}

// states writes a row a state, and where all of them come from.
func (s *screen) states(e *api.Explanation) error {
	counted := "TIMES"
	if strings.Contains(e.Source, "sample") {
		counted = "SAMPLES"
	}
	cols := []column{
		{name: "STATE"}, {name: "TIME", right: true}, {name: "SHARE", right: true}, {drop: 3},
		{name: counted, right: true, drop: 2}, {name: "MOSTLY IN", flex: true},
	}
	sampled := slices.ContainsFunc(e.States, func(st api.ExplainedState) bool { return st.ErrorRatio > 0 })
	if sampled {
		cols = slices.Insert(cols, 2, column{name: "±", right: true, drop: 1})
	}
	var rows [][]string
	for _, st := range e.States {
		where := "–"
		if len(st.Stacks) > 0 {
			where = shortFunction(st.Stacks[0].Function)
		}
		l := s.r.NewStyle().Foreground(lookOf(st.State).colour)
		times := "–"
		if st.Count > 0 {
			times = count(int64(st.Count))
		}
		row := []string{
			s.stateMark(st.State), duration(st.Duration.Duration()), share(st.Ratio),
			l.Render(bar(float64(st.Duration), float64(e.Wall), stateBar)), times, where,
		}
		if sampled {
			row = slices.Insert(row, 2, plusMinus(st.ErrorRatio))
		}
		rows = append(rows, row)
	}
	if err := s.table(cols, rows); err != nil {
		return err
	}
	s.quiet("source: " + clean(e.Source))
	return nil
}

// plusMinus is one standard error as a share, "–" where a figure is exact.
func plusMinus(ratio float64) string {
	if ratio <= 0 {
		return "–"
	}
	return fmt.Sprintf("±%.0f%%", 100*ratio)
}

// strip writes what the request did when: a cell has the state that took most
// of its time.
func (s *screen) strip(e *api.Explanation) {
	if len(e.Timeline) == 0 || e.Wall <= 0 {
		return
	}
	w := min(s.Width, 160)
	cellState := stripCells(e, w)
	s.line()
	s.line(s.muted.Render(axis(0, e.Wall.Duration(), w)))
	var out strings.Builder
	for i := 0; i < w; {
		j := i
		for j < w && cellState[j] == cellState[i] {
			j++
		}
		switch l := lookOf(cellState[i]); {
		case cellState[i] == "":
			out.WriteString(blanks(j - i))
		case s.Color == NoColor:
			out.WriteString(strings.Repeat(l.letter, j-i))
		default:
			out.WriteString(s.r.NewStyle().Foreground(l.colour).Render(strings.Repeat("█", j-i)))
		}
		i = j
	}
	s.line(out.String())
}

// stripCells gives each of w cells of the wall time its longest state, "" where
// none is told.
func stripCells(e *api.Explanation, w int) []string {
	took := make([]map[string]float64, w)
	scale := float64(w) / float64(e.Wall)
	for _, t := range e.Timeline {
		from, to := float64(t.Start)*scale, float64(t.Start+t.Duration)*scale
		for c := max(int(from), 0); c < w && float64(c) < to; c++ {
			if took[c] == nil {
				took[c] = map[string]float64{}
			}
			took[c][t.State] += min(to, float64(c+1)) - max(from, float64(c))
		}
	}
	out := make([]string, w)
	for c, by := range took {
		most := 0.0
		for _, state := range slices.Sorted(maps.Keys(by)) {
			if by[state] > most {
				most, out[c] = by[state], state
			}
		}
	}
	return out
}

// stacks writes where the longest state was spent, or with all every stack of
// every state.
func (s *screen) stacks(e *api.Explanation, all bool) {
	shown, hidden := 0, 0
	for _, st := range e.States {
		for _, stack := range st.Stacks {
			if !all && shown > 0 {
				hidden++
				continue
			}
			s.stack(st, stack, all)
			shown++
		}
	}
	if hidden > 0 {
		s.quiet(Plural(hidden, "other stack") + "  --all shows them")
	}
}

func (s *screen) stack(st api.ExplainedState, stack api.ExplainedStack, all bool) {
	s.line()
	how := lookOf(st.State).words
	if stack.Duration > 0 {
		how = duration(stack.Duration.Duration()) + " " + how
	}
	if stack.Count > 1 {
		how += fmt.Sprintf(", %s times", count(int64(stack.Count)))
	}
	name := shortFunction(stack.Function)
	if room := s.Width - cells(how) - gutter; !s.Wide {
		name = strings.TrimRight(fitMiddle(name, min(max(room, flexLeast/2), cells(name))), " ")
	}
	s.line(s.title.Render(name), blanks(gutter), s.muted.Render(how))
	for i, f := range stack.Frames {
		if i == stackFrames && !all {
			s.quiet(fmt.Sprintf("  … %s above  --all shows them", Plural(len(stack.Frames)-i, "frame")))
			break
		}
		name, place := splitFrame(f)
		line := "  " + shortFunction(name)
		if room := s.Width - cells(place) - gutter; !s.Wide {
			line = strings.TrimRight(fitMiddle(line, min(max(room, flexLeast), cells(line))), " ")
		}
		s.line(line, blanks(gutter), s.muted.Render(place))
	}
}

// shortFunction is a function's name without its path and what its types are.
func shortFunction(name string) string {
	name = hotspot.ShortName(name)
	open, shut := strings.IndexByte(name, '['), strings.LastIndexByte(name, ']')
	if open >= 0 && shut > open {
		name = name[:open] + "[…]" + name[shut+1:]
	}
	return clean(name)
}

// splitFrame takes "function file:line" apart; of the path the file stays.
func splitFrame(f string) (name, place string) {
	at := strings.LastIndexByte(f, ' ')
	if at < 0 {
		return f, ""
	}
	place = f[at+1:]
	return f[:at], clean(place[strings.LastIndexByte(place, '/')+1:])
}

// figures are the numbers beside the states, each with its source.
func (s *screen) figures(e *api.Explanation) (facts []fact) {
	seconds := func(v float64) string { return duration(time.Duration(v * float64(time.Second))) }
	add := func(label string, f *api.ExplainedFigure, text func(float64) string, of string) {
		if f == nil {
			return
		}
		line := text(f.Value)
		if f.ErrorRatio > 0 && !strings.Contains(f.Source, "±") {
			line += " " + plusMinus(f.ErrorRatio)
		}
		facts = append(facts, fact{label, line + of + "  " + s.muted.Render(clean(f.Source))})
	}
	add("cpu", e.CPU, seconds, ", of all its goroutines")
	add("withheld", e.Withheld, seconds, " in which the host gave it no processor")
	add("allocated", e.Allocated, func(v float64) string { return size(int64(v)) }, "")
	return facts
}

// ownFacts are the request's own checkpoints, timings, labels and trace.
func (s *screen) ownFacts(p api.Profile) (facts []fact) {
	add := func(label string, parts []string) {
		if len(parts) > 0 {
			facts = append(facts, fact{label, strings.Join(parts, "  ")})
		}
	}
	var memory, took, labels []string
	previous := int64(0)
	for i, k := range checkpoints(p) {
		now := int64(p.MemoryUsage[k])
		text := size(now) + " at " + clean(k)
		if i > 0 {
			text += " (" + signedSize(now-previous) + ")"
		}
		memory, previous = append(memory, text), now
	}
	for _, k := range timings(p) {
		took = append(took, duration(p.CustomTimings[k].Duration())+" "+clean(k))
	}
	for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
		labels = append(labels, clean(k)+"="+clean(p.Labels[k]))
	}
	add("memory", memory)
	add("timings", took)
	add("labels", labels)
	if p.TraceID != "" {
		facts = append(facts, fact{"trace", clean(p.TraceID)})
	}
	return facts
}

func signedSize(n int64) string {
	if n < 0 {
		return "-" + size(-n)
	}
	return "+" + size(n)
}

// checkpoints are the names of the memory checkpoints, the least first: the
// wire does not tell their order.
func checkpoints(p api.Profile) []string {
	return slices.SortedFunc(maps.Keys(p.MemoryUsage), func(a, b string) int {
		return cmp.Or(cmp.Compare(p.MemoryUsage[a], p.MemoryUsage[b]), strings.Compare(a, b))
	})
}

// timings are the names of the custom timings. A Python server has instants
// among them, which are none.
func timings(p api.Profile) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.CustomTimings)), func(k string) bool {
		return p.CustomTimings[k].Duration() >= 1e9*time.Second
	})
}

// noteFacts are the sentences on what limits the explanation, and what limits
// the profile beside it, whose samples need not be what the explanation is from.
func noteFacts(p api.Profile) (facts []fact) {
	for _, n := range p.Explanation.Notes {
		facts = append(facts, fact{"note", clean(n)})
	}
	if p.Note != "" && !slices.Contains(p.Explanation.Notes, p.Note) {
		facts = append(facts, fact{"profile", clean(p.Note)})
	}
	return facts
}

// nextOf are the commands that tell more about a profile.
func nextOf(p api.Profile) (commands []string) {
	if p.State == "active" {
		return nil
	}
	if p.TraceID != "" {
		commands = append(commands, "pulsectl traces show "+shortTraceID(p.TraceID, 8))
	}
	switch {
	case p.Type == "trace":
		return append(commands, "pulsectl profiles export "+shortID(p.ProfileID, 8)+" -O trace.out", "go tool trace trace.out")
	case p.Size == nil:
		return commands // a Python server keeps no samples
	}
	return append(commands, "pulsectl profiles flame "+shortID(p.ProfileID, 8))
}

// next writes commands to type now.
func (s *screen) next(commands ...string) {
	for i, c := range commands {
		s.line(s.muted.Render(map[bool]string{true: "next", false: "    "}[i == 0]), blanks(gutter), c)
	}
}
