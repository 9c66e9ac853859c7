package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// changes are the commands that change something on a server. The value tells
// whether they ask for a yes on a terminal by themselves.
var changes = map[string]bool{
	"pulsectl breakers reset": true, "pulsectl breakers reset-all": true,
	"pulsectl breakers open": true, "pulsectl breakers disable": true, "pulsectl breakers enable": true, execCommand: false,
	"pulsectl traces cleanup": true, "pulsectl traces import": false,
	"pulsectl profiles upload":  false,
	"pulsectl profiles capture": false, "pulsectl profiles enable": false, "pulsectl profiles disable": false, "pulsectl profiles cleanup": true,
	"pulsectl cache clear": true,
}

// permitted refuses a command that the context does not allow, before anything
// is sent.
func (a *app) permitted(command string) error {
	asks, change := changes[command]
	if !change {
		return nil
	}
	err := a.mayChange(asks)
	if err == nil || command != execCommand {
		return err
	}
	if !a.target.context.Readonly && a.flags.from == "" {
		return nil // to run under a breaker is to use it
	}
	return &usageError{err, execCommand}
}

// mayChange tells whether the context lets something be changed: not a
// read-only one; a protected one for a reason and by a yes, given on the command
// line unless the command asks for it.
func (a *app) mayChange(asks bool) error {
	name := a.target.name
	switch {
	case a.flags.from != "":
		return fmt.Errorf("%w: a snapshot cannot be changed", errRefused)
	case a.flags.dryRun || a.curl != nil:
		return nil
	case a.target.context.Readonly:
		return fmt.Errorf("%w: context %s is read-only; nothing was sent", errRefused, name)
	case !a.target.context.Protected:
		return nil
	case a.flags.reason == "":
		return fmt.Errorf("%w: context %s is protected: this needs --reason; nothing was sent", errRefused, name)
	case !a.flags.yes && !(asks && a.asks()):
		return fmt.Errorf("%w: context %s is protected: this needs --yes; nothing was sent", errRefused, name)
	}
	return nil
}

// asks tells whether an action waits for a person's yes: on a terminal, without
// --yes and --dry-run.
func (a *app) asks() bool {
	_, tty := terminal(a.streams.in)
	return tty && !a.flags.yes && !a.flags.dryRun && a.curl == nil
}

// confirm asks before an action where a person can answer. what is the exact
// list of what would change. Off a terminal it is content if the action is one
// of recovery, which a runbook may take unasked; else it wants --yes.
func (a *app) confirm(ctx context.Context, what string, recovery bool) error {
	switch {
	case a.curl != nil:
		return nil
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
	seen.streams.out, seen.flags.output, seen.form = a.streams.err, "table", form{name: "table"}
	seen.flags.fields, seen.flags.sortBy, seen.flags.limit = nil, "", 0
	err := show(&seen)
	var fleet *fleetError
	if errors.As(err, &fleet) && fleet.succeeded > 0 {
		return nil
	}
	return err
}
