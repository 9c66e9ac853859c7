package live

import (
	"context"
	"io"
	"os"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// Run shows a flame graph on the terminal out until it quits. Keys come from in, or
// where that is nil from the process's terminal. However it ends, the terminal
// is as it was before. It returns context.Canceled where ctx is done or the
// person interrupts it.
func Run(ctx context.Context, f *Flame, in *os.File, out io.Writer, colours render.Color) error {
	profile := [...]colorprofile.Profile{colorprofile.ASCII, colorprofile.ANSI, colorprofile.ANSI256, colorprofile.TrueColor}[colours]
	options := []tea.ProgramOption{
		tea.WithOutput(out), tea.WithoutSignalHandler(), // the process has its own
		tea.WithColorProfile(profile), // the drawing has its colours already
	}
	if in != nil {
		options = append(options, tea.WithInput(in))
	}
	p := tea.NewProgram(f, options...)
	stop := context.AfterFunc(ctx, p.Quit) // its own way to end by a context leaves goroutines
	defer stop()
	_, err := p.Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case f.interrupted:
		return context.Canceled
	}
	return err
}
