//go:build unix

package child

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// terminal is the one that controls this process; fd is -1 where there is none.
type terminal struct {
	fd   int
	own  int  // this process's group
	lent bool // the command's group has it
}

// openTerminal finds the terminal by its own name: the streams may all be
// redirected, and the command ask for a password all the same.
func openTerminal() *terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		fd = -1
	}
	return &terminal{fd: fd, own: unix.Getpgrp()}
}

// ours tells whether this process's group is the one in the foreground.
func (t *terminal) ours() bool { return t.fd >= 0 && t.foreground() == t.own }

func (t *terminal) foreground() int {
	pgrp, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	if err != nil {
		return -1
	}
	return pgrp
}

// lend gives the terminal to the command's group if it is ours to give.
func (t *terminal) lend(pgrp int) {
	if t.ours() {
		t.lent = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, pgrp) == nil
	}
}

// takeBack puts this process's group into the foreground again. SIGTTOU must be
// ignored: this process is in the background meanwhile.
func (t *terminal) takeBack() {
	if t.lent {
		_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, t.own) // a terminal that has gone needs nobody in front
		t.lent = false
	}
}

func (t *terminal) close() {
	if t.fd >= 0 {
		_ = syscall.Close(t.fd) // nothing was written
	}
}
