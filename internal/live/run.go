package live

import (
	"context"
	"io"
	"os"
	"sync"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// Run shows a flame graph on the terminal out until it quits. Keys come from in, or
// where that is nil from the process's terminal. However it ends, the terminal
// is as it was before. It returns context.Canceled where ctx is done or the
// person interrupts it.
func Run(ctx context.Context, f *Flame, in *os.File, out io.Writer, colours render.Color) error {
	return lend(ctx, newProgram(f, in, out, colours), &f.interrupted)
}

// RunTop is [Run] of a dashboard. It asks the servers for as long as it lasts.
func RunTop(ctx context.Context, t *Top, in *os.File, out io.Writer, colours render.Color) error {
	p := newProgram(t, in, out, colours, tea.WithFPS(topFPS), tea.WithWindowSize(t.view.Width, t.view.Height))
	feeding, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		f := &feeder{top: t, news: make(chan News, len(t.members))}
		f.run(feeding, func(b Batch) { p.Send(b) })
	})
	err := lend(ctx, p, &t.leaves)
	stop()
	wg.Wait()
	return err
}

// topFPS is how often bubbletea looks whether there is something to paint: each
// look costs, and a key is not to wait.
const topFPS = 30

func newProgram(m tea.Model, in *os.File, out io.Writer, colours render.Color, more ...tea.ProgramOption) *tea.Program {
	profile := [...]colorprofile.Profile{colorprofile.ASCII, colorprofile.ANSI, colorprofile.ANSI256, colorprofile.TrueColor}[colours]
	options := append([]tea.ProgramOption{
		tea.WithOutput(out), tea.WithoutSignalHandler(), // the process has its own
		tea.WithColorProfile(profile), // the drawing has its colours already
	}, more...)
	if in != nil {
		options = append(options, tea.WithInput(in))
	}
	return tea.NewProgram(m, options...)
}

// lend lends the terminal to a program until it ends, and tells how it did.
func lend(ctx context.Context, p *tea.Program, interrupted *bool) error {
	stop := context.AfterFunc(ctx, p.Quit) // its own way to end by a context leaves goroutines
	defer stop()
	_, err := p.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case *interrupted:
		return context.Canceled
	}
	return err
}
