package breaker_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// A probe that its holder keeps is not given up, however long it takes; one
// beside it that nobody keeps is.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := breaker.New("a", breaker.Options{FailureThreshold: 1, SuccessThreshold: 1, Probes: 2, Timeout: time.Second, RecoveryTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		probe := func() breaker.Permit {
			p, err := b.Allow()
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		probe().Done(breaker.Failure, "down")
		time.Sleep(time.Minute)
		synctest.Wait() // for the breaker's own timer of this instant
		kept := probe()
		kept.Keep()
		time.Sleep(time.Hour)
		if b.State() != api.StateHalfOpen {
			t.Fatalf("after an hour: %s", b.State())
		}
		probe() // is never ended
		time.Sleep(2 * time.Second)
		if got := b.State(); got != api.StateOpen {
			t.Fatalf("after a probe that was lost: %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait() // for the breaker's own timer of this instant
		last := probe()
		last.Keep()
		time.Sleep(time.Hour)
		if !last.Done(breaker.Success, "") || b.State() != api.StateClosed {
			t.Errorf("after the kept one's success: %s", b.State())
		}
		if !kept.Done(breaker.Success, "") || kept.Done(breaker.Success, "") {
			t.Error("the one of the episode before is ended once")
		}
	})
}
