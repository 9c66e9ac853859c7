package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/term"

	"github.com/pulsectl/pulsectl/internal/child"
)

// page writes what draw draws: on a terminal that is too small for it through
// the pager of PULSECTL_PAGER, PAGER, or less.
func (a *app) page(draw func(io.Writer) error) error {
	file, isFile := a.streams.out.(*os.File)
	_, tty := terminal(a.streams.out)
	words := a.pager()
	if !isFile || !tty || a.watching || a.flags.noPager || len(words) == 0 {
		return draw(a.streams.out)
	}
	var text bytes.Buffer
	if err := draw(&text); err != nil {
		return err
	}
	_, rows, err := term.GetSize(int(file.Fd()))
	if err != nil || bytes.Count(text.Bytes(), []byte("\n")) < rows {
		_, err = file.Write(text.Bytes())
		return err
	}
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &text, file, a.streams.err
	cmd.Env = os.Environ()
	if a.getenv("LESS") == "" {
		cmd.Env = append(cmd.Env, "LESS=FRX") // colours as they are, and no other screen
	}
	if err := cmd.Start(); err != nil {
		_, err = file.Write(text.Bytes())
		return err
	}
	signal.Ignore(os.Interrupt) // it is the pager's now; nothing comes after it
	_ = cmd.Wait()              // one that is quit early has shown enough
	return nil
}

// pager is the command that pages, nothing where there is none.
func (a *app) pager() []string {
	for _, name := range []string{"PULSECTL_PAGER", "PAGER"} {
		if line := a.getenv(name); line != "" {
			words, err := child.Split(line)
			if err != nil || strings.TrimSpace(line) == "cat" {
				return nil
			}
			return words
		}
	}
	if path, err := exec.LookPath("less"); err == nil {
		return []string{path}
	}
	return nil
}
