// Command pulsectl runs the monitoring server and asks it.
//
// main builds an [app] from the process's streams and environment and ends with
// the status that [exitStatus] gives an error. Each noun has a file; a command
// asks through pkg/client, and show draws the answer in the form -o names.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pulsectl/pulsectl/internal/child"
)

func main() { os.Exit(pulsectl()) }

// pulsectl is main for a process that is not this one's alone: it returns the
// exit status.
func pulsectl() int {
	inherited := child.Inherited() // before signals are taken otherwise
	signal.Ignore(syscall.SIGPIPE) // a reader that has seen enough is no error
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process, whatever it waits for
	a := newApp(streams{os.Stdin, os.Stdout, os.Stderr}, os.Getenv)
	a.inherited = inherited
	err := a.run(ctx, os.Args[1:])
	if line := failure(err); line != "" {
		fmt.Fprintln(os.Stderr, "pulsectl: "+line)
	}
	return exitStatus(err)
}
