package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring/health"
)

// addChecks registers the health of what the API cannot work without, and of
// what it can.
func (d *Demo) addChecks() error {
	err := d.m.AddCheck(health.Check{Name: "database", Critical: true, Timeout: 2 * time.Second, Run: d.checkDatabase})
	if err != nil {
		return err
	}
	return d.m.AddCheck(health.Check{Name: "search", Timeout: 2 * time.Second, Run: d.checkSearch})
}

func (d *Demo) checkDatabase(ctx context.Context) (map[string]any, error) {
	if err := d.db.hold(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	d.db.mu.Lock()
	defer d.db.mu.Unlock()
	return map[string]any{"recommendations": len(d.db.recommendations), "events": len(d.db.events)}, nil
}

// checkSearch says that the search index lags behind, at times.
func (d *Demo) checkSearch(context.Context) (map[string]any, error) {
	lag := 2 * time.Second
	if searchLag.at(d.clock.elapsed()) != works {
		lag = 90 * time.Second
	}
	fields := map[string]any{"lag_seconds": lag.Seconds()}
	if lag > time.Minute {
		return fields, fmt.Errorf("search %w: the index is %v behind", health.ErrDegraded, lag)
	}
	return fields, nil
}
