package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// The exit statuses.
const (
	exitDone        = 0
	exitNo          = 1 // asked, and the answer is no
	exitUsage       = 2
	exitNotFound    = 3
	exitPartial     = 4 // part of a fleet failed
	exitUnreachable = 5 // or the server failed
	exitDenied      = 6
	exitRefused     = 7
	exitTimeout     = 124
	exitInterrupted = 130
)

// usageError is a command line that makes no sense.
type usageError struct {
	err     error
	command string
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%v\nTry '%s --help'.", e.err, e.command)
}
func (e *usageError) Unwrap() error { return e.err }

// asUsage says of an error about a command's flags that it is one; nil stays nil.
func asUsage(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err, cmd.CommandPath()}
}

// fleetError says that servers failed; each has had its line already.
type fleetError struct {
	failed    []*api.Error
	succeeded int
}

func (e *fleetError) Error() string {
	return fmt.Sprintf("%d of %d servers failed", len(e.failed), len(e.failed)+e.succeeded)
}

// errNo is the answer no; the command has shown why.
var errNo = errors.New("the answer is no")

// errDeclined is the operator's no, or the missing yes.
var errDeclined = errors.New("declined")

// errRefused is what the context does not allow.
var errRefused = errors.New("refused")

// serverError is why `pulsectl serve` could not start, or had to end.
type serverError struct{ err error }

func (e *serverError) Error() string { return e.err.Error() }
func (e *serverError) Unwrap() error { return e.err }

// exitStatus gives every error its status. What servers answered comes first: a
// broken pipe to one of them is their failure, to a reader of ours it is none.
func exitStatus(err error) int {
	var usage *usageError
	var fleet *fleetError
	var problem *api.Error
	var serving *serverError
	var ended statusError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &ended):
		return int(ended)
	case errors.Is(err, errNo):
		return exitNo
	case errors.As(err, &usage) && usage.command == execCommand:
		return exitCannot
	case errors.Is(err, errDeclined), errors.Is(err, errRefused):
		return exitRefused
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &fleet):
		return fleetStatus(fleet)
	case errors.As(err, &problem):
		return problemStatus(problem)
	case errors.As(err, &serving):
		return exitUnreachable
	case errors.Is(err, syscall.EPIPE):
		return exitDone
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	return exitUsage
}

// fleetStatus is 4 if any server answered, else the highest of the failures;
// what all of them agree on is that.
func fleetStatus(e *fleetError) int {
	highest := 0
	for _, p := range e.failed {
		st := problemStatus(p)
		if st == exitInterrupted {
			return st
		}
		highest = max(highest, st)
	}
	if e.succeeded > 0 {
		return exitPartial
	}
	return highest
}

// problemStatus gives an error of one server its status.
func problemStatus(e *api.Error) int {
	switch e.Code {
	case client.CodeTimeout:
		return exitTimeout
	case client.CodeCanceled:
		return exitInterrupted
	case client.CodeUnsupported:
		return exitRefused
	}
	switch e.Status {
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	case http.StatusConflict, http.StatusMisdirectedRequest:
		return exitRefused
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return exitUsage
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return exitTimeout
	}
	return exitUnreachable
}

// failure is what main says of an error, "" if all has been said.
func failure(err error) string {
	var fleet *fleetError
	var ended statusError
	if err == nil || errors.Is(err, errNo) || errors.As(err, &fleet) || errors.As(err, &ended) || exitStatus(err) == exitDone {
		return ""
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return usage.Error()
	}
	if exitStatus(err) == exitInterrupted {
		return "interrupted"
	}
	return render.Clean(err.Error())
}
