package api

// State is a circuit breaker's state, as it stands on the wire.
type State string

// The states of a breaker.
const (
	StateClosed   State = "closed"    // calls pass
	StateOpen     State = "open"      // calls fail at once
	StateHalfOpen State = "half_open" // probes pass, one at a time
)

// Mode says who decides a breaker's state.
type Mode string

// The modes of a breaker.
const (
	ModeAutomatic  Mode = "automatic"
	ModeForcedOpen Mode = "forced_open"
	ModeDisabled   Mode = "disabled"
)

// Breakers is the answer of GET /monitoring/circuit-breakers: by name.
type Breakers map[string]Breaker

// Breaker is one circuit breaker. Fields below Config come from this project's
// servers only.
type Breaker struct {
	Name   string        `json:"name"`
	State  State         `json:"state"`
	Stats  BreakerStats  `json:"stats"`
	Config BreakerConfig `json:"config"`

	Mode      Mode   `json:"mode,omitempty"`
	Since     *Time  `json:"since,omitempty"`    // when it entered this state
	RetryAt   *Time  `json:"retry_at,omitempty"` // when an open one lets the next probe through
	LastError string `json:"last_error,omitempty"`
	Scope     string `json:"scope,omitempty"` // "local", or "shared" by a fleet
}

// BreakerStats counts the calls of one breaker, rejected ones apart.
type BreakerStats struct {
	TotalRequests        Count   `json:"total_requests"` // calls that were let through and have ended
	SuccessfulRequests   Count   `json:"successful_requests"`
	FailedRequests       Count   `json:"failed_requests"` // timeouts among them
	Timeouts             Count   `json:"timeouts"`
	CircuitOpens         Count   `json:"circuit_opens"`
	CircuitCloses        Count   `json:"circuit_closes"`
	ConsecutiveFailures  Count   `json:"consecutive_failures"`
	ConsecutiveSuccesses Count   `json:"consecutive_successes"`
	FailureRate          float64 `json:"failure_rate"` // 0…1
	SuccessRate          float64 `json:"success_rate"` // 0…1
	LastFailureTime      Time    `json:"last_failure_time"`
	LastSuccessTime      Time    `json:"last_success_time"`

	Rejected  *Count         `json:"rejected,omitempty"`
	SlowCalls *Count         `json:"slow_calls,omitempty"`
	InFlight  *Count         `json:"in_flight,omitempty"`
	Window    *BreakerWindow `json:"window,omitempty"` // the recent past; absent without a time window
}

// BreakerWindow is what a breaker saw in the last Seconds.
type BreakerWindow struct {
	Seconds           Seconds   `json:"seconds"`
	Calls             Count     `json:"calls"`
	Failures          Count     `json:"failures"`
	Slow              Count     `json:"slow"`
	FailureRate       float64   `json:"failure_rate"`
	SlowRate          float64   `json:"slow_rate"`
	P95               Seconds   `json:"p95"`
	FailuresPerSecond []float64 `json:"failures_per_second"` // oldest first
}

// BreakerConfig is how a breaker decides.
type BreakerConfig struct {
	FailureThreshold Count   `json:"failure_threshold"` // failures in a row that open it
	RecoveryTimeout  Seconds `json:"recovery_timeout"`  // time open before the first probe
	SuccessThreshold Count   `json:"success_threshold"` // probes in a row that close it
	Timeout          Seconds `json:"timeout"`           // of one call; 0 means none
}

// BreakerReset is the answer of POST /monitoring/circuit-breakers/{name}/reset.
// A Python server sends the message alone.
type BreakerReset struct {
	Message       string   `json:"message"`
	Breaker       *Breaker `json:"breaker,omitempty"`
	PreviousState State    `json:"previous_state,omitempty"`
	DryRun        bool     `json:"dry_run,omitempty"`
}

// BreakersReset is the answer of POST /monitoring/circuit-breakers/reset-all. A
// Python server sends the message alone.
type BreakersReset struct {
	Message string           `json:"message"`
	Reset   []ResetBreaker   `json:"reset,omitzero"`
	Skipped []SkippedBreaker `json:"skipped,omitzero"`
	Total   *Count           `json:"total,omitempty"` // breakers there are
	DryRun  bool             `json:"dry_run,omitempty"`
}

// ResetBreaker names a breaker that a reset-all reset, and the state it was in.
type ResetBreaker struct {
	Name          string `json:"name"`
	PreviousState State  `json:"previous_state"`
}

// SkippedBreaker names a breaker that a reset-all left alone, and why.
type SkippedBreaker struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}
