package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// watchFlag is -w/--watch[=2s] of a command that can show its answer again and
// again.
type watchFlag struct{ every time.Duration } // 0: once

const (
	defaultWatch = "2s"
	leastWatch   = 100 * time.Millisecond
)

func (f *watchFlag) register(cmd *cobra.Command) {
	cmd.Flags().VarP(watchValue{durationValue{&f.every}}, "watch", "w", "show it again every so often, until interrupted; alone every "+defaultWatch)
	cmd.Flags().Lookup("watch").NoOptDefVal = defaultWatch
}

// watchValue is a duration that no server minds.
type watchValue struct{ durationValue }

func (v watchValue) Set(s string) error {
	if err := v.durationValue.Set(s); err != nil {
		return err
	}
	if *v.d < leastWatch {
		return fmt.Errorf("duration %q: want %v or more", s, leastWatch)
	}
	return nil
}

// watch calls once, or with a watchFlag again and again until ctx is done. On a
// terminal each drawing takes the place of the one before; elsewhere they
// follow one another, as JSON one object a line. Servers that fail are told of
// and asked again; any other error ends it. The interrupt that ends it is no
// failure of it, but its status says so.
func (a *app) watch(ctx context.Context, every time.Duration, once func(context.Context, *app) error) error {
	if every == 0 || a.curl != nil {
		return once(ctx, a)
	}
	if a.flags.from != "" {
		return &usageError{errors.New("nothing happens in a snapshot any more: there is nothing to watch"), "pulsectl"}
	}
	if _, err := a.clients(ctx); err != nil { // here, so that each frame finds them
		return err
	}
	file, _ := a.streams.out.(*os.File)
	_, tty := terminal(a.streams.out)
	repaint := tty && a.form.drawn()
	if repaint {
		io.WriteString(file, "\x1b[?25l\x1b[2J") // no cursor, an empty screen
		defer io.WriteString(file, "\x1b[?25h")
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		if err := a.frame(ctx, file, repaint, first, once); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// frame shows one answer.
func (a *app) frame(ctx context.Context, file *os.File, repaint, first bool, once func(context.Context, *app) error) error {
	now := *a
	now.watching = true
	frame := &frameBuffer{file: file}
	if repaint {
		now.streams.out, now.streams.err = frame, frame
	} else if !first {
		switch {
		case a.form.name == "yaml":
			fmt.Fprintln(a.streams.out, "---")
		case a.form.drawn():
			fmt.Fprintln(a.streams.out)
		}
	}
	err := once(ctx, &now)
	var fleet *fleetError
	if err != nil && (ctx.Err() != nil || !errors.As(err, &fleet)) {
		return err
	}
	if !repaint {
		return nil
	}
	_, rows, serr := term.GetSize(int(file.Fd()))
	if serr != nil {
		rows = 0
	}
	_, err = io.WriteString(file, overwrite(frame.String(), rows))
	return err
}

// frameBuffer is an answer that is not yet on the terminal it is drawn for.
type frameBuffer struct {
	bytes.Buffer
	file *os.File
}

// Fd is for [terminal].
func (f *frameBuffer) Fd() uintptr { return f.file.Fd() }

// overwrite is text drawn over what stands on a screen of so many rows: what
// does not fit is counted on the last one, for a screen that scrolls has no
// beginning to go back to. 0 rows means that their number is not known.
func overwrite(text string, rows int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if rows > 1 && len(lines) > rows-1 {
		left := len(lines) - (rows - 2)
		lines = append(lines[:rows-2:rows-2], fmt.Sprintf("… %d more lines", left))
	}
	var out strings.Builder
	out.WriteString("\x1b[H")
	for _, line := range lines {
		out.WriteString(line)
		out.WriteString("\x1b[K\r\n") // and nothing of the line before behind it
	}
	out.WriteString("\x1b[J")
	return out.String()
}
