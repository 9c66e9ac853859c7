package api

// BreakerChange is the answer of POST force-open, disable and automatic below
// /monitoring/circuit-breakers/{name}.
type BreakerChange struct {
	Message       string   `json:"message"`
	Breaker       *Breaker `json:"breaker,omitempty"` // as it is now
	PreviousState State    `json:"previous_state"`
	PreviousMode  Mode     `json:"previous_mode"`
	State         State    `json:"state"` // after the change; of a dry run, as it would be
	Mode          Mode     `json:"mode"`
	Until         *Time    `json:"until,omitempty"` // when it goes back to automatic by itself; absent: never
	DryRun        bool     `json:"dry_run,omitempty"`
}

// BreakerPermit is the answer of POST acquire: the right to make one call, and
// the duty to report how it ended. It is a lease: one that is neither reported
// nor renewed within Timeout counts as a call that timed out.
type BreakerPermit struct {
	Permit  string         `json:"permit"` // "" in a dry run
	State   State          `json:"state"`
	Timeout Seconds        `json:"timeout"`
	Created bool           `json:"created,omitempty"` // the breaker was made by this request
	Config  *BreakerConfig `json:"config,omitempty"`  // that the breaker goes by
	DryRun  bool           `json:"dry_run,omitempty"`
}

// The outcomes of a call, as reported and as counted.
const (
	OutcomeSuccess = "success"
	OutcomeFailure = "failure"
	OutcomeTimeout = "timeout"
	OutcomeIgnored = "ignored" // says nothing about the dependency: the caller gave up
)

// BreakerReport is the body of POST report. The trace of the call comes as the
// request's traceparent.
type BreakerReport struct {
	Permit  string `json:"permit"`
	Outcome string `json:"outcome"`         // one of the Outcome constants
	Error   string `json:"error,omitempty"` // why it failed; kept among the breaker's last errors
}

// BreakerReported is the answer of POST report.
type BreakerReported struct {
	Message string `json:"message"`
	State   State  `json:"state"` // of the breaker now
	DryRun  bool   `json:"dry_run,omitempty"`
}
