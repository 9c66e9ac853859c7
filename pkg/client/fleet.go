package client

import (
	"context"
	"errors"
	"sync"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// parallel bounds how many servers of a fleet are asked at once.
const parallel = 16

// Each asks every server of a fleet the same and returns their answers in the
// order of the servers. Each request has its client's own deadline: a server
// that hangs never holds up the others' answers beyond it.
func Each[T any](ctx context.Context, cs []*Client, f func(*Client, context.Context) (T, error)) []api.Result[T] {
	out := make([]api.Result[T], len(cs))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, c := range cs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			v, err := f(c, ctx)
			out[i] = api.Result[T]{Instance: c.Instance(), Value: v, Error: asError(err)}
		})
	}
	wg.Wait()
	return out
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
