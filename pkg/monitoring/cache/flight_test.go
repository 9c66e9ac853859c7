package cache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring/cache"
)

// A computation that runs out of time by itself has failed for all who wait: it
// is not tried by one after the other.
func TestOneFailsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := cache.NewMemory(cache.MemoryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		var loads atomic.Int64
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				_, err := cache.Load(t.Context(), m, "k", 0, func(ctx context.Context) (int, error) {
					loads.Add(1)
					time.Sleep(time.Second)
					return 0, context.DeadlineExceeded
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Load = %v", err)
				}
			})
		}
		wg.Wait()
		if loads.Load() != 1 {
			t.Errorf("%d loads, want one for all", loads.Load())
		}
	})
}
