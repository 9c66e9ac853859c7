//go:build unix

package child

import (
	"errors"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// job is a command that runs.
type job struct {
	pid      int // and its group
	term     *terminal
	signals  *Signals
	events   chan syscall.WaitStatus // how it stopped, and how it ended; closed after the latter
	revive   <-chan time.Time        // when the command goes on where no shell stopped us with it
	asked    bool                    // somebody asked it to end
	timedOut bool
}

// Run runs a command to its end. Its error is that the command could not be
// started, for [StartStatus].
func Run(o Options, s *Signals) (Result, error) {
	j := &job{term: openTerminal(), signals: s, events: make(chan syscall.WaitStatus)}
	defer j.term.close()
	r := Result{Began: time.Now()}
	p, err := os.StartProcess(o.Path, o.Args, &os.ProcAttr{
		Env: o.Env, Files: []*os.File{o.Files[0], o.Files[1], o.Files[2]}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return r, err
	}
	j.pid = p.Pid
	defer p.Release()
	signal.Ignore(syscall.SIGTTOU) // from here on: the command must not inherit it
	defer signal.Reset(syscall.SIGTTOU)
	j.term.lend(j.pid)
	go j.watch()
	st := j.attend(o)
	r.Ended = time.Now()
	lent := j.term.lent
	j.term.takeBack()
	r.TimedOut = j.timedOut
	r.Code = st.ExitStatus()
	if st.Signaled() {
		r.Signal = st.Signal()
		r.Code = 128 + int(r.Signal)
	}
	keys := lent && (r.Code == 128+int(syscall.SIGINT) || r.Code == 128+int(syscall.SIGQUIT) || r.Code == 128+int(syscall.SIGHUP))
	r.Interrupted = !j.timedOut && r.Code != 0 && (j.asked || keys)
	if lent && (r.Signal == syscall.SIGINT || r.Signal == syscall.SIGQUIT) {
		// The key was meant for all that ran in front: a script that called us
		// would go on otherwise. This process has the signal caught.
		_ = syscall.Kill(0, r.Signal)
	}
	return r, nil
}

// watch tells how the command stops and ends; it ends with it.
func (j *job) watch() {
	defer close(j.events)
	for {
		var st syscall.WaitStatus
		_, err := syscall.Wait4(j.pid, &st, syscall.WUNTRACED|syscall.WCONTINUED, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return // it was taken from us
		default:
			j.events <- st
			if st.Exited() || st.Signaled() {
				return
			}
		}
	}
}

// attend passes signals on and keeps the time until the command has ended.
func (j *job) attend(o Options) syscall.WaitStatus {
	for _, sig := range j.signals.early {
		j.pass(sig)
	}
	var timeout, kill <-chan time.Time
	if o.Timeout > 0 {
		t := time.NewTimer(o.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	var last syscall.WaitStatus
	for {
		select {
		case st, more := <-j.events:
			switch {
			case !more:
				if j.timedOut {
					j.endRest(o.Grace)
				}
				return last
			case st.Stopped():
				j.stopped(st.StopSignal())
			case st.Continued():
				j.term.lend(j.pid)
			default:
				last = st
			}
		case sig := <-j.signals.all:
			j.pass(sig)
		case <-j.revive:
			j.resume()
		case <-timeout:
			j.timedOut = true
			j.kill(syscall.SIGTERM)
			j.kill(syscall.SIGCONT) // one that is stopped cannot end
			kill = time.After(o.Grace)
		case <-kill:
			j.kill(syscall.SIGKILL)
		}
	}
}

// endRest kills what is left of the group when its time was up and its first
// process has ended: at once after a KILL, else when the grace is over.
func (j *job) endRest(grace time.Duration) {
	const step = 20 * time.Millisecond
	for waited := time.Duration(0); waited < grace; waited += step {
		if syscall.Kill(-j.pid, 0) != nil {
			return
		}
		time.Sleep(step)
	}
	j.kill(syscall.SIGKILL)
}

// kill signals the group; one that has ended needs no signal.
func (j *job) kill(sig syscall.Signal) { _ = syscall.Kill(-j.pid, sig) }

func (j *job) pass(sig os.Signal) {
	if sig == syscall.SIGCONT { // from the shell's fg or bg
		j.resume()
		return
	}
	j.asked = j.asked || slices.Contains(ending, sig)
	j.kill(sig.(syscall.Signal))
}

// resume lets a stopped command go on, in the foreground if we are there.
func (j *job) resume() {
	j.revive = nil
	j.term.lend(j.pid)
	j.kill(syscall.SIGCONT)
}

// stopped stops this process as its command was, so that the shell above sees
// its job stop; the SIGCONT of fg or bg lets both go on. A command that merely
// wanted the terminal before it had it goes on at once.
func (j *job) stopped(by syscall.Signal) {
	wants := by == syscall.SIGTTIN || by == syscall.SIGTTOU
	if wants && (j.term.lent || j.term.ours()) {
		j.resume()
		return
	}
	j.term.takeBack()
	_ = syscall.Kill(0, syscall.SIGTSTP) // as the key does: all of the job
	if by != syscall.SIGSTOP {
		j.revive = time.After(unstoppable)
	}
}

// unstoppable is how long after a stop this process may still run before it is
// clear that there is no shell: the kernel stops nobody then whom no one could
// let go on, and the command must not stay stopped either.
const unstoppable = 100 * time.Millisecond
