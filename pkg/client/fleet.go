package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// parallel bounds how many servers of a fleet are asked at once: enough that
// those that are gone do not make the others wait.
const parallel = 64

// Each asks every server of a fleet the same and returns their answers in the
// order of the servers. Each request has its client's own deadline: a server
// that hangs never holds up the others' answers beyond it.
func Each[T any](ctx context.Context, cs []*Client, f func(*Client, context.Context) (T, error)) []api.Result[T] {
	out := make([]api.Result[T], len(cs))
	bounded(len(cs), func(i int) { out[i] = result(ctx, cs[i], f) })
	return out
}

// InTurn is Each, one server after the other with a pause between two. told is
// called with each answer as it comes. When ctx is done the servers left are
// not asked any more.
func InTurn[T any](ctx context.Context, cs []*Client, pause time.Duration, told func(api.Result[T]), f func(*Client, context.Context) (T, error)) []api.Result[T] {
	out := make([]api.Result[T], len(cs))
	for i, c := range cs {
		if i > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
		if err := ctx.Err(); err != nil {
			out[i] = api.Result[T]{Instance: c.Instance(), Error: transportError(err)}
			continue
		}
		out[i] = result(ctx, c, f)
		told(out[i])
	}
	return out
}

func result[T any](ctx context.Context, c *Client, f func(*Client, context.Context) (T, error)) api.Result[T] {
	v, err := f(c, ctx)
	return api.Result[T]{Instance: c.Instance(), Value: v, Error: asError(err)}
}

// bounded calls f for 0 to n-1, some at once, and returns when all are done.
func bounded(n int, f func(i int)) {
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

func asError(err error) *api.Error {
	if err == nil {
		return nil
	}
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return transportError(err)
}
