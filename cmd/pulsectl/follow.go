package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// followers follow a stream of each server of a fleet and write what comes, one
// thing at a time.
type followers struct {
	*app

	mu sync.Mutex // of standard output and standard error
}

// streamReader reads a server's stream to its end. It is called anew each time that
// the stream is taken up again, and calls opened once it is there.
type streamReader func(opened func()) error

// each follows all servers until all have failed, or ctx is done. of returns
// what reads the stream of one.
func (f *followers) each(ctx context.Context, cs []*client.Client, of func(*client.Client) streamReader) error {
	rs := make([]api.Result[struct{}], len(cs))
	var wg sync.WaitGroup
	for i, c := range cs {
		wg.Go(func() { rs[i] = api.Result[struct{}]{Instance: c.Instance(), Error: f.one(ctx, c, of(c))} })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, r := range rs {
		if r.Error != nil && r.Error.Code == codeOutput {
			return r.Error.Cause
		}
	}
	return &fleetError{failed: f.report(failures(rs))}
}

// codeOutput marks what a write to standard output met: it is no server's.
const codeOutput = "output"

// followAgain is the least and the most time from a stream that broke to the
// next attempt.
const followAgain, followAgainMost = time.Second, 15 * time.Second

// one follows one server. It returns when ctx is done, when the server could not
// be followed in the first place, or when it has become one that refuses.
func (f *followers) one(ctx context.Context, c *client.Client, read streamReader) *api.Error {
	wait, ever := followAgain, false
	for {
		err := read(func() { ever, wait = true, followAgain })
		var e *api.Error
		if !errors.As(err, &e) {
			return &api.Error{Code: codeOutput, Detail: err.Error(), Cause: err}
		}
		refused := e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests
		if ctx.Err() != nil || !ever || refused {
			return e
		}
		f.say(c, fmt.Sprintf("%v; trying again in %s", e, wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return e
		}
		wait = min(2*wait, followAgainMost)
	}
}

// say tells something about a server on standard error.
func (f *followers) say(c *client.Client, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.streams.err, "pulsectl: %s: %s\n", render.Clean(c.Instance()), render.Clean(what))
}
