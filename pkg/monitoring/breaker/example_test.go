package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// A call that fails three times is not made a fourth time.
func ExampleDo() {
	github, err := breaker.New("github_api", breaker.Options{FailureThreshold: 3, Timeout: 10 * time.Second})
	if err != nil {
		panic(err)
	}
	for range 4 {
		_, err = breaker.Do(context.Background(), github, func(ctx context.Context) (string, error) {
			return "", errors.New("502 Bad Gateway") // with ctx, in earnest
		})
	}
	fmt.Println(errors.Is(err, breaker.ErrOpen))
	fmt.Println(github.Snapshot().Why.Reason)
	// Output:
	// true
	// 3 failures in a row: 502 Bad Gateway
}

// By rates: half of the last minute's calls failed, or took two seconds.
func ExampleOptions() {
	_, err := breaker.New("search", breaker.Options{
		FailureRate: 0.5, SlowRate: 0.5, SlowCall: 2 * time.Second, MinCalls: 50, // the rates
		RecoveryTimeout: 5 * time.Second, Backoff: 2, Jitter: 0.2, // 5s, 10s, 20s … 50s until it is well again
		Classify: func(err error) breaker.Outcome {
			if errors.Is(err, errNoSuchUser) {
				return breaker.Success // an answer like any other
			}
			return breaker.Classify(err)
		},
	})
	fmt.Println(err)
	// Output: <nil>
}

var errNoSuchUser = errors.New("no such user")

// A stale answer is better than none.
func ExampleDoOr() {
	b, err := breaker.New("rates", breaker.Options{})
	if err != nil {
		panic(err)
	}
	rate, err := breaker.DoOr(context.Background(), b,
		func(context.Context) (float64, error) { return 0, errors.New("connection refused") },
		func(context.Context, error) (float64, error) { return 1.08, nil })
	fmt.Println(rate, err)
	// Output: 1.08 <nil>
}

// A whole client, and a handler that sheds load when it cannot keep up.
func ExampleTransport() {
	var set breaker.Set
	github, err := set.Add("github_api", breaker.Options{})
	if err != nil {
		panic(err)
	}
	self, err := set.Add("self", breaker.Options{SlowRate: 0.5, Timeout: 2 * time.Second})
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: breaker.Transport(github, nil)}
	handler := breaker.Middleware(self, http.NotFoundHandler())
	_, _ = client, handler
}
