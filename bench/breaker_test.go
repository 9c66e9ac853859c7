package bench

import (
	"context"
	"errors"
	"testing"
	"time"

	eapache "github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"

	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

var errBoom = errors.New("boom")

func succeed() error { return nil }
func fail() error    { return errBoom }

// guard builds a breaker that five failures in a row open for an hour, and
// returns how to call something under it.
type guard struct {
	name string
	make func() func(f func() error) error
}

func ours(o breaker.Options) func() func(func() error) error {
	return func() func(func() error) error {
		o.RecoveryTimeout, o.Timeout = time.Hour, -1
		br := must(breaker.New("bench", o))
		ctx := context.Background()
		return func(f func() error) error {
			_, err := breaker.Do(ctx, br, func(context.Context) (struct{}, error) { return struct{}{}, f() })
			return err
		}
	}
}

func sony(s gobreaker.Settings) func() func(func() error) error {
	return func() func(func() error) error {
		s.Timeout = time.Hour
		s.ReadyToTrip = func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 }
		br := gobreaker.NewCircuitBreaker[struct{}](s)
		return func(f func() error) error {
			_, err := br.Execute(func() (struct{}, error) { return struct{}{}, f() })
			return err
		}
	}
}

var counting = []guard{
	{"pulsectl", ours(breaker.Options{})},
	{"gobreaker", sony(gobreaker.Settings{})},
	{"failsafe", func() func(func() error) error {
		return failsafe.With[any](circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).WithDelay(time.Hour).Build()).Run
	}},
	{"failsafe-permit", func() func(func() error) error { // not safe against panics
		br := circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).WithDelay(time.Hour).Build()
		return func(f func() error) error {
			if !br.TryAcquirePermit() {
				return circuitbreaker.ErrOpen
			}
			err := f()
			if err != nil {
				br.RecordError(err)
			} else {
				br.RecordSuccess()
			}
			return err
		}
	}},
	{"eapache", func() func(func() error) error { return eapache.New(5, 1, time.Hour).Run }}, // keeps no statistics
}

// windowed also decide by the share of failures of late; ours by that of slow
// calls as well, those in flight included, which the others do not know.
var windowed = []guard{
	{"pulsectl", ours(breaker.Options{FailureRate: 0.5, SlowRate: 0.5, SlowCall: time.Second})},
	{"gobreaker-rolling", sony(gobreaker.Settings{Interval: 10 * time.Second, BucketPeriod: time.Second})},
	{"failsafe-rate", func() func(func() error) error {
		return failsafe.With[any](circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(0.5, 5, 10*time.Second).WithDelay(time.Hour).Build()).Run
	}},
}

func closed(guards []guard) (out []impl) {
	for _, g := range guards {
		out = append(out, impl{g.name, func(tb testing.TB) func(int) {
			call := g.make()
			return func(int) {
				if err := call(succeed); err != nil {
					tb.Error(err)
				}
			}
		}})
	}
	return out
}

func opened(guards []guard) (out []impl) {
	for _, g := range guards {
		out = append(out, impl{g.name, func(tb testing.TB) func(int) {
			call := g.make()
			for range 5 {
				call(fail)
			}
			for range 1000 { // eapache's opens in a goroutine
				if call(succeed) != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			return func(int) {
				if call(succeed) == nil {
					tb.Error("the breaker let a call through")
				}
			}
		}})
	}
	return out
}

func BenchmarkBreakerClosed(b *testing.B)         { compare(b, closed(counting)) }
func BenchmarkBreakerClosedParallel(b *testing.B) { compareParallel(b, closed(counting)) }
func BenchmarkBreakerWindow(b *testing.B)         { compare(b, closed(windowed)) }
func BenchmarkBreakerWindowParallel(b *testing.B) { compareParallel(b, closed(windowed)) }
func BenchmarkBreakerOpen(b *testing.B)           { compare(b, opened(counting)) }
func BenchmarkBreakerOpenParallel(b *testing.B)   { compareParallel(b, opened(counting)) }
