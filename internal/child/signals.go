//go:build unix

package child

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// relayed are the signals that are passed on to the command.
var relayed = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH,
}

// ending are those of them that ask a command to end.
var ending = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// Inherited returns the signals that this process was started to ignore, as by
// nohup or with & in a script, and that a command which it starts must ignore
// too. It is to be asked before anything changes how signals are taken. Of
// signals other than these two Go forgets it at its start.
func Inherited() []os.Signal {
	var out []os.Signal
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			out = append(out, s)
		}
	}
	return out
}

// Signals are those that came for this process and are the command's.
type Signals struct {
	all     chan os.Signal
	early   []os.Signal // taken from all before there was a command
	dropped chan os.Signal
	ending  []os.Signal // of ending those that are caught
}

// Catch keeps the signals that come from now on for [Run], the inherited ones
// apart, which stay ignored. What was installed for those is undone.
func Catch(inherited []os.Signal) *Signals {
	s := &Signals{all: make(chan os.Signal, 64), dropped: make(chan os.Signal, 1)}
	for _, sig := range append(slices.Clone(relayed), syscall.SIGCONT) {
		if slices.Contains(inherited, sig) {
			signal.Ignore(sig)
			continue
		}
		signal.Notify(s.all, sig)
		if slices.Contains(ending, sig) {
			s.ending = append(s.ending, sig)
		}
	}
	// One that is ignored would be ignored by the command too; a write of our
	// own to a pipe without a reader must not end us all the same.
	signal.Notify(s.dropped, syscall.SIGPIPE)
	return s
}

// Stop ends the keeping.
func (s *Signals) Stop() {
	signal.Stop(s.all)
	signal.Stop(s.dropped)
}

// Context is done when a signal asks to end, for what comes before the command.
func (s *Signals) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	if len(s.ending) == 0 {
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, s.ending...)
}

// Ending returns the first signal so far that asks to end, 0 if there is none.
func (s *Signals) Ending() syscall.Signal {
	for {
		select {
		case sig := <-s.all:
			s.early = append(s.early, sig)
			continue
		default:
		}
		break
	}
	for _, sig := range s.early {
		if slices.Contains(ending, sig) {
			return sig.(syscall.Signal)
		}
	}
	return 0
}
