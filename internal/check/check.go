// Package check judges what servers say against thresholds, and writes the
// outcome as monitoring systems read it.
//
// It is pure. A judge, like [Breakers], makes a [Result] of a server's answer;
// [Nagios] writes results as a plugin of the Monitoring Plugins guidelines does,
// [Textfile] as a node exporter's textfile collector reads them.
package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Status is the outcome of a check; its number is the exit status.
type Status int

// The statuses.
const (
	OK Status = iota
	Warning
	Critical
	Unknown
)

func (s Status) String() string {
	if s < OK || s > Unknown {
		return "UNKNOWN"
	}
	return [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}[s]
}

// MarshalText writes the status in lower case.
func (s Status) MarshalText() ([]byte, error) { return []byte(strings.ToLower(s.String())), nil }

// rank orders statuses: what is critical is worse than what is not known.
func (s Status) rank() int { return slices.Index([]Status{OK, Unknown, Warning, Critical}, s) }

// Worst is the worst of several statuses; of none it is Unknown.
func Worst(all ...Status) Status {
	if len(all) == 0 {
		return Unknown
	}
	return slices.MaxFunc(all, func(a, b Status) int { return a.rank() - b.rank() })
}

// Result is the outcome of a check of one server.
type Result struct {
	Check    string    `json:"check"` // health, breakers, latency …
	Status   Status    `json:"status"`
	Code     int       `json:"code"`    // the status as a number
	Summary  string    `json:"summary"` // in one line
	Problems []Problem `json:"problems"`
	Values   []Value   `json:"values"`
}

// Problem is one thing that is not OK.
type Problem struct {
	Status Status `json:"status"`
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// Value is one measured number with its thresholds.
type Value struct {
	Name     string    `json:"name"`
	Value    api.Float `json:"value"`
	Unit     string    `json:"unit,omitempty"` // seconds, ratio, bytes, total (only ever grows), or "" for a number
	Warn     string    `json:"warn,omitempty"`
	Critical string    `json:"crit,omitempty"`

	warn, crit *Range
	min, max   *float64
}

// problem takes in something that is not OK.
func (r *Result) problem(s Status, name, format string, args ...any) {
	r.Problems = append(r.Problems, Problem{s, name, fmt.Sprintf(format, args...)})
}

// value takes in a measured number.
func (r *Result) value(v Value) {
	v.Warn, v.Critical = v.warn.String(), v.crit.String()
	r.Values = append(r.Values, v)
}

// judged takes in a number and tells what its thresholds say.
func (r *Result) judged(v Value) Status {
	r.value(v)
	switch {
	case v.crit.Alerts(float64(v.Value)):
		return Critical
	case v.warn.Alerts(float64(v.Value)):
		return Warning
	}
	return OK
}

// done settles the status: the worst of the problems. They are sorted, the worst
// first.
func (r *Result) done(summary string) Result {
	r.Status = OK
	for _, p := range r.Problems {
		r.Status = Worst(r.Status, p.Status)
	}
	slices.SortStableFunc(r.Problems, func(a, b Problem) int { return b.Status.rank() - a.Status.rank() })
	r.Code, r.Summary = int(r.Status), summary
	if r.Problems == nil {
		r.Problems = []Problem{}
	}
	if r.Values == nil {
		r.Values = []Value{}
	}
	return *r
}

// Failed is the result of a check that could not be made.
func Failed(check string, s Status, why string) Result {
	r := Result{Check: check}
	r.problem(s, check, "%s", why)
	return r.done(why)
}

func bound(v float64) *float64 { return &v }
