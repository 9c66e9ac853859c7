package server_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// A permit that is renewed at the very instant at which its time is over is
// either gone or renewed, never both.
func TestRenewedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := permitServer(t)
		renewed := 0
		for range 500 {
			p := l.acquire("job/acquire?create=true&failure_threshold=1000000&lease=1s")
			time.Sleep(time.Second)
			var again api.BreakerPermit
			if e := l.post("job/acquire?permit="+p.Permit, nil, &again); e != nil {
				continue
			}
			renewed++
			time.Sleep(time.Second / 2)
			var told api.BreakerReported
			if e := l.post("job/report", api.BreakerReport{Permit: p.Permit, Outcome: "success"}, &told); e != nil {
				t.Fatalf("renewed, and half its time later: %v", e)
			}
		}
		t.Logf("%d of 500 were renewed in time", renewed)
	})
}
