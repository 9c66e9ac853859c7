//go:build !unix

package child

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// Inherited returns nothing here: no signal is inherited as ignored.
func Inherited() []os.Signal { return nil }

// Signals are the interrupts that came for this process.
type Signals struct{ all chan os.Signal }

// Catch keeps the interrupts that come from now on.
func Catch([]os.Signal) *Signals {
	s := &Signals{make(chan os.Signal, 16)}
	signal.Notify(s.all, os.Interrupt)
	return s
}

// Stop ends the keeping.
func (s *Signals) Stop() { signal.Stop(s.all) }

// Context is done when an interrupt comes, for what comes before the command.
func (s *Signals) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt)
}

// Ending returns the interrupt if one came, else 0.
func (s *Signals) Ending() syscall.Signal {
	select {
	case <-s.all:
		return syscall.SIGINT
	default:
		return 0
	}
}

// Run runs a command to its end. Its error is that the command could not be
// started, for [StartStatus]. Interrupts reach the command by the console.
func Run(o Options, s *Signals) (Result, error) {
	cmd := exec.Cmd{Path: o.Path, Args: o.Args, Env: o.Env, Stdin: o.Files[0], Stdout: o.Files[1], Stderr: o.Files[2]}
	r := Result{Began: time.Now()}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var timeout <-chan time.Time
	if o.Timeout > 0 {
		timeout = time.After(o.Timeout)
	}
	for {
		select {
		case err := <-ended:
			r.Ended = time.Now()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return r, err
			}
			r.Code = cmd.ProcessState.ExitCode()
			r.Interrupted = r.Interrupted && !r.TimedOut && r.Code != 0
			return r, nil
		case <-s.all:
			r.Interrupted = true
		case <-timeout:
			r.TimedOut = true
			_ = cmd.Process.Kill() // it may have ended just now
		}
	}
}
