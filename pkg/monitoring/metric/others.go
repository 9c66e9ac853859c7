package metric

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// defaultGatherTime is what a scrape waits for the service's collectors unless
// it says how long it will itself be waited for: Prometheus does for ten seconds
// by default.
const defaultGatherTime = 9 * time.Second

// gatherTime leaves a tenth of the time that Prometheus says it will wait.
func gatherTime(h http.Header) time.Duration {
	s, err := strconv.ParseFloat(h.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(s > 0) {
		return defaultGatherTime
	}
	return time.Duration(min(s, maxWriting.Seconds()) * 0.9 * float64(time.Second))
}

// others collects the families of other collectors, the service's if they come
// within wait. The error tells of those that could not be, or that have a name
// of ours.
func (m *Metrics) others(wait time.Duration) ([]*dto.MetricFamily, error) {
	user := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return m.gatherUser(wait) })
	all, err := prometheus.Gatherers{m.own, user}.Gather()
	kept := all[:0]
	for _, f := range all {
		if m.taken[f.GetName()] {
			err = errors.Join(err, fmt.Errorf("family %s is one of the monitoring's own", f.GetName()))
			continue
		}
		kept = append(kept, f)
	}
	return kept, err
}

type gathered struct {
	families []*dto.MetricFamily
	err      error
}

// gatherUser collects what the service registered. It gives up after wait: a
// collector that hangs keeps a goroutine, of which there are so many as scrapes
// may be at most, and the other families are scraped as ever.
func (m *Metrics) gatherUser(wait time.Duration) ([]*dto.MetricFamily, error) {
	select {
	case m.gathers <- struct{}{}:
	default:
		return nil, fmt.Errorf("%d scrapes wait for the service's collectors", maxScrapes)
	}
	done := make(chan gathered, 1)
	go func() {
		defer func() { <-m.gathers }()
		families, err := m.user.Gather()
		done <- gathered{families, err}
	}()
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case g := <-done:
		return g.families, g.err
	case <-late.C:
		return nil, fmt.Errorf("the service's collectors take longer than %v", wait)
	}
}
