package api

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// The states of an alert and of its rule.
const (
	AlertInactive = "inactive" // the condition does not hold
	AlertPending  = "pending"  // it holds, for less than the rule's `for` yet
	AlertFiring   = "firing"
	AlertUnknown  = "unknown" // of a rule that has not been evaluated yet
)

// The health of a rule.
const (
	RuleOK      = "ok"
	RuleErr     = "err"     // its last evaluation failed
	RuleUnknown = "unknown" // it has had none
)

// The types of a rule.
const (
	RuleAlerting  = "alerting"
	RuleRecording = "recording"
)

// AlertRules answers GET /monitoring/alerts in the form of the Prometheus HTTP
// API's rules.
type AlertRules struct {
	Status       string     `json:"status"` // "success"
	Data         RuleGroups `json:"data"`
	HistoryStart Time       `json:"history_start"` // time of the oldest sample; null while there is none
}

// RuleGroups are the groups of all rule files.
type RuleGroups struct {
	Groups []RuleGroup `json:"groups"`
}

// RuleGroup is a group of rules that are evaluated together, in their order.
type RuleGroup struct {
	Name           string    `json:"name"`
	File           string    `json:"file"`
	Interval       Seconds   `json:"interval"`
	Limit          int       `json:"limit"` // alerts a rule may have; 0 means any number
	Rules          []Rule    `json:"rules"`
	EvaluationTime Seconds   `json:"evaluationTime"` // how long the last evaluation took
	LastEvaluation time.Time `json:"lastEvaluation"` // zero means none yet
}

// Rule is an alerting or a recording rule with what its last evaluation gave.
type Rule struct {
	Type           string            `json:"type"`
	Name           string            `json:"name"`
	Query          string            `json:"query"`
	Labels         map[string]string `json:"labels"`
	Health         string            `json:"health"`
	LastError      string            `json:"lastError,omitempty"`
	EvaluationTime Seconds           `json:"evaluationTime"`
	LastEvaluation time.Time         `json:"lastEvaluation"`
	MissingHistory Seconds           `json:"missing_history"`  // how much further back than there are samples the rule looks, its `for` included; 0 means not at all
	Absent         []string          `json:"absent,omitempty"` // metrics that it asks for and of which there are no samples

	// Of alerting rules alone.
	State         string            `json:"state,omitempty"`
	Duration      Seconds           `json:"duration"`      // `for`
	KeepFiringFor Seconds           `json:"keepFiringFor"` // `keep_firing_for`
	Annotations   map[string]string `json:"annotations,omitempty"`
	Alerts        []Alert           `json:"alerts,omitempty"`
}

// Alert is one element of an alerting rule's result.
type Alert struct {
	Labels          map[string]string `json:"labels"`
	Annotations     map[string]string `json:"annotations"`
	State           string            `json:"state"` // pending or firing
	ActiveAt        time.Time         `json:"activeAt"`
	KeepFiringSince *time.Time        `json:"keepFiringSince,omitempty"` // when the condition ended; nil while it holds
	Value           AlertValue        `json:"value"`
}

// AlertValue is the value of an alert's expression, in JSON a text like "1e+00".
type AlertValue float64

// MarshalJSON writes the number as Prometheus does.
func (v AlertValue) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(float64(v), 'e', -1, 64))
}

// UnmarshalJSON reads a number, or one as text.
func (v *AlertValue) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(unquote(b), 64)
	if err != nil {
		return fmt.Errorf("value %.40s: want a number", b)
	}
	*v = AlertValue(f)
	return nil
}

// AlertChange says that an alert came into another state.
type AlertChange struct {
	Group       string            `json:"group"`
	Rule        string            `json:"rule"`
	State       string            `json:"state"` // inactive means resolved
	From        string            `json:"from"`  // "" of the first events of a stream, which tell how things stand
	Value       AlertValue        `json:"value"`
	ActiveAt    Time              `json:"active_at"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// RuleFile is what was read of a rule file.
type RuleFile struct {
	File     string        `json:"file"`
	Groups   int           `json:"groups"`
	Rules    int           `json:"rules"`
	Problems []RuleProblem `json:"problems"`
}

// RuleProblem is what is wrong in a rule file, and where.
type RuleProblem struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Warning bool   `json:"warning"` // the file can be used, but may not do what is meant
}
