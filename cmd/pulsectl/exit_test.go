package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// Every row of the table in docs/cli.md.
func TestExitStatus(t *testing.T) {
	status := func(n int) *api.Error { return &api.Error{Status: n} }
	code := func(c string) *api.Error { return &api.Error{Code: c} }
	fleet := func(succeeded int, failed ...*api.Error) error { return &fleetError{failed, succeeded} }
	pipe := &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"a reader that has seen enough", pipe, 0},
		{"the answer no", errNo, 1},
		{"usage", &usageError{errors.New("x"), "pulsectl"}, 2},
		{"a file that is not there", os.ErrNotExist, 2},
		{"400", status(400), 2}, {"413", status(413), 2}, {"422", status(422), 2},
		{"404", status(404), 3},
		{"401", status(401), 6}, {"403", status(403), 6},
		{"409", status(409), 7}, {"421", status(421), 7},
		{"declined", fmt.Errorf("x: %w", errDeclined), 7},
		{"a server that cannot", code(client.CodeUnsupported), 7},
		{"408", status(408), 124}, {"504", status(504), 124},
		{"no answer in time", code(client.CodeTimeout), 124}, {"a deadline of ours", context.DeadlineExceeded, 124},
		{"interrupted while asking", code(client.CodeCanceled), 130}, {"interrupted", context.Canceled, 130},
		{"429", status(429), 5}, {"500", status(500), 5}, {"502", status(502), 5}, {"503", status(503), 5},
		{"418", status(418), 5}, {"302", status(302), 5},
		{"unreachable", code(client.CodeUnreachable), 5}, {"unreadable", code(client.CodeUnreadable), 5},
		{"a pipe to a server that broke", &api.Error{Code: client.CodeUnreachable, Cause: &net.OpError{Op: "write", Err: syscall.EPIPE}}, 5},
		{"a port that is taken", &serverError{syscall.EADDRINUSE}, 5},
		{"a fleet: one of two", fleet(1, status(404)), 4},
		{"a fleet: all alike", fleet(0, status(404), status(404)), 3},
		{"a fleet: all failed, the highest", fleet(0, status(404), status(500), status(401)), 6},
		{"a fleet: one in no time", fleet(0, status(401), code(client.CodeTimeout)), 124},
		{"a fleet: interrupted", fleet(1, code(client.CodeCanceled), status(500)), 130},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitStatus(tt.err); got != tt.want {
				t.Errorf("exit status = %d, want %d", got, tt.want)
			}
			if said := failure(tt.err) != ""; tt.want == 0 && said {
				t.Errorf("said %q", failure(tt.err))
			}
		})
	}
}

// A failure is one line without control characters, whoever wrote its text.
func TestFailureIsOneCleanLine(t *testing.T) {
	if got := failure(&api.Error{Status: http.StatusConflict, Detail: "a\nb\x1b[2J"}); strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("failure = %q", got)
	}
}
