// Package shipped writes the files that a monitoring stack needs of us: a scrape
// configuration and alert rules for Prometheus, a dashboard for Grafana.
//
// It is pure: servers and thresholds in, text out. The rules and the dashboard
// name the metrics of docs/api.md; tests hold them against that page and against
// promtool.
package shipped

import (
	_ "embed"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DefaultJob is the name under which Prometheus scrapes the servers.
const DefaultJob = "pulse-api"

var jobName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// CheckJob refuses a name that rules could not select by.
func CheckJob(name string) error {
	if !jobName.MatchString(name) {
		return fmt.Errorf("job %q: want letters, digits, - and _", name)
	}
	return nil
}

// Thresholds are from when on the alerts fire.
type Thresholds struct {
	Job        string        // of [ScrapeConfig]
	ErrorRate  float64       // failed requests a second
	ErrorRatio float64       // of all requests
	Latency    time.Duration // of the p95 of a route
	Memory     int64         // bytes of the resident set
}

//go:embed alerts.yaml
var alerts string

// Alerts are the alert rules.
func Alerts(t Thresholds) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	return strings.NewReplacer(
		"$JOB", t.Job, "$ERROR_RATIO", number(t.ErrorRatio), "$ERROR_RATE", number(t.ErrorRate),
		"$LATENCY", number(t.Latency.Seconds()), "$MEMORY", strconv.FormatInt(t.Memory, 10),
	).Replace(alerts)
}
