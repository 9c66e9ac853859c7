package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// asks tells whether an action waits for a person's yes: on a terminal, without
// --yes and --dry-run.
func (a *app) asks() bool {
	_, tty := terminal(a.streams.in)
	return tty && !a.flags.yes && !a.flags.dryRun
}

// confirm asks before an action where a person can answer. what is the exact
// list of what would change. Off a terminal it is content if the action is one
// of recovery, which a runbook may take unasked; else it wants --yes.
func (a *app) confirm(ctx context.Context, what string, recovery bool) error {
	switch {
	case a.asks():
		return a.prompt(ctx, what)
	case a.flags.yes, a.flags.dryRun, recovery:
		return nil
	}
	return fmt.Errorf("%w: %s: off a terminal this needs --yes", errDeclined, strings.TrimSuffix(what, "?"))
}

func (a *app) prompt(ctx context.Context, what string) error {
	fmt.Fprintf(a.streams.err, "%s [y/N] ", render.Clean(what))
	answered := make(chan error, 1)
	go func() { // a read of a terminal cannot be ended: it goes with the process
		line, err := bufio.NewReader(a.streams.in).ReadString('\n')
		answer := strings.ToLower(strings.TrimSpace(line))
		if err == nil && (answer == "y" || answer == "yes") {
			answered <- nil
			return
		}
		answered <- errDeclined
	}()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		fmt.Fprintln(a.streams.err)
		return ctx.Err()
	}
}

// preview shows a person what an action is about: as a table on standard error,
// for the output is the action's own. That some servers failed is theirs to
// judge; if all did there is nothing to ask about.
func (a *app) preview(show func(*app) error) error {
	if !a.asks() {
		return nil
	}
	seen := *a
	seen.streams.out, seen.flags.output = a.streams.err, "table"
	err := show(&seen)
	var fleet *fleetError
	if errors.As(err, &fleet) && fleet.succeeded > 0 {
		return nil
	}
	return err
}
