// Package child runs one command for a program that wants not to be noticed:
// as a shell runs a job, with nothing between the command and its streams.
//
// The command has a process group of its own, so that a signal reaches all that
// it started. [Catch] keeps the signals that come for this process, [Run]
// passes them on to the group. Where this process has the terminal, the group
// gets it, and gives it back when the command stops or ends: Ctrl-C and Ctrl-Z
// are the command's own, and fg and bg of the shell above work. On systems
// without process groups the command merely runs.
package child

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Options says what to run.
type Options struct {
	Path    string   // of the executable, as [Find] returns it
	Args    []string // what the command sees as its arguments, its own name first
	Env     []string
	Files   [3]*os.File   // standard input, output and error, handed on as they are
	Timeout time.Duration // from when on the group is ended, by TERM first; 0 means never
	Grace   time.Duration // from TERM to KILL
}

// Result says how a command ended.
type Result struct {
	Code         int            // its exit status; 128+N after signal N
	Signal       syscall.Signal // that ended it; 0 if it exited
	TimedOut     bool           // Timeout was over
	Interrupted  bool           // it ended after somebody asked it to, by a signal to this process or a key of the terminal
	Began, Ended time.Time
}

// Find returns the executable of a command as the shell would: by PATH, unless
// the name has a slash. Its error is one that [StartStatus] knows.
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) { // "." is in PATH: whoever put it there wants it searched
		err = nil
	}
	return path, err
}

// StartStatus is the exit status that env and timeout give a command that could
// not be started: 127 if it is not there, 126 if it is and cannot be run, 125
// if the system had no room for it.
func StartStatus(err error) int {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return 127
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM):
		return 125
	}
	return 126
}
