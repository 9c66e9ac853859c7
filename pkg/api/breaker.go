package api

// State is a circuit breaker's state, as it stands on the wire.
type State string

// The states of a breaker.
const (
	StateClosed   State = "closed"    // calls pass
	StateOpen     State = "open"      // calls fail at once
	StateHalfOpen State = "half_open" // probes pass, a few at a time
)

// Mode says who decides a breaker's state.
type Mode string

// The modes of a breaker.
const (
	ModeAutomatic  Mode = "automatic"
	ModeForcedOpen Mode = "forced_open"
	ModeDisabled   Mode = "disabled"
)

// The scopes of a breaker.
const (
	ScopeLocal  = "local"  // of one process
	ScopeShared = "shared" // its moves are those of every replica
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
	Scope     string `json:"scope,omitempty"`      // ScopeLocal or ScopeShared
	ScopeNote string `json:"scope_note,omitempty"` // why it is local though it should be shared

	Why    *BreakerWhy    `json:"why,omitempty"`    // absent while it is closed
	Forced *BreakerForced `json:"forced,omitempty"` // absent in mode automatic
	Errors []BreakerError `json:"errors,omitempty"` // the last failure of each kind, the newest first, at most 8
}

// BreakerWhy says why a breaker opened, while it is open or half-open.
type BreakerWhy struct {
	Reason    string            `json:"reason"` // in words: "5 failures in a row: 502 Bad Gateway"
	Threshold *BreakerThreshold `json:"threshold,omitempty"`
	OpenedAt  Time              `json:"opened_at"`
	TraceID   string            `json:"trace_id,omitempty"` // of the call that opened it
	Actor     string            `json:"actor,omitempty"`    // who opened it, if it was not the breaker itself
	Rejected  Count             `json:"rejected_since"`     // calls since it opened
	Failed    Count             `json:"failed_recoveries"`  // half-open and back since it was last closed
}

// BreakerThreshold is what was crossed when a breaker opened, in numbers.
type BreakerThreshold struct {
	Kind     string  `json:"kind"`           // failures_in_row, failure_rate, slow_rate, probe, retry_after, forced, remote
	Limit    float64 `json:"limit"`          // as configured: a number of failures, a share, seconds
	Value    float64 `json:"value"`          // as it was
	Calls    Count   `json:"calls,omitzero"` // of a rate: in the window
	Failures Count   `json:"failures,omitzero"`
	Slow     Count   `json:"slow,omitzero"`      // those in flight among them
	InFlight Count   `json:"in_flight,omitzero"` // slow calls that had not ended yet
	Over     string  `json:"over,omitempty"`     // the window: "1m0s", "the last 100 calls"
}

// BreakerForced says who put a breaker into a forced state.
type BreakerForced struct {
	Since  Time   `json:"since"`
	Until  *Time  `json:"until"` // null: until told otherwise
	Actor  string `json:"actor,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// BreakerError is the last failure of one kind.
type BreakerError struct {
	Kind    string `json:"kind"` // timeout, panic, lost, dns, connection_refused, connection_reset, eof, http_503, error
	Message string `json:"message"`
	Count   Count  `json:"count"` // of this kind so far
	Last    Time   `json:"last"`
}

// BreakerEvent is a change of a breaker's state, mode or settings.
type BreakerEvent struct {
	Seq     Count  `json:"seq"` // of this breaker's events
	Time    Time   `json:"time"`
	Name    string `json:"name"`
	From    State  `json:"from"`
	To      State  `json:"to"` // equal to From if the mode or the settings alone changed
	Mode    Mode   `json:"mode"`
	Until   *Time  `json:"until,omitempty"` // of the next probe, or of the forced state
	Reason  string `json:"reason"`
	Actor   string `json:"actor,omitempty"`    // who did it, if it was not the breaker itself
	TraceID string `json:"trace_id,omitempty"` // of the call that opened it
	Remote  bool   `json:"remote,omitzero"`    // another replica's
	Lost    Count  `json:"lost,omitzero"`      // events before this one that the reader of a stream was too slow for
}

// BreakerEvents is the answer of GET /monitoring/circuit-breakers/events.
type BreakerEvents struct {
	Events []BreakerEvent `json:"events"` // newest first
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
	P95               Seconds   `json:"p95"`                 // 0 without calls, or if calls are not timed
	FailuresPerSecond []float64 `json:"failures_per_second"` // oldest first
}

// BreakerConfig is how a breaker decides.
type BreakerConfig struct {
	FailureThreshold Count   `json:"failure_threshold"` // failures in a row that open it
	RecoveryTimeout  Seconds `json:"recovery_timeout"`  // time open before the first probe
	SuccessThreshold Count   `json:"success_threshold"` // probes in a row that close it
	Timeout          Seconds `json:"timeout"`           // of one call; 0 means none

	Probes        Count   `json:"probes,omitzero"`          // at once while half-open
	FailureRate   float64 `json:"failure_rate,omitzero"`    // that opens it; absent if none does
	SlowRate      float64 `json:"slow_rate,omitzero"`       // that opens it; absent if none does
	SlowCall      Seconds `json:"slow_call,omitzero"`       // from when on a call is slow; absent if calls are not timed
	MinCalls      Count   `json:"min_calls,omitzero"`       // in the window before a rate counts
	WindowCalls   Count   `json:"window_calls,omitzero"`    // the rates are of so many calls; absent if of a time
	Backoff       float64 `json:"backoff,omitzero"`         // factor of recovery_timeout for each failed recovery
	MaxRecovery   Seconds `json:"max_recovery,omitzero"`    // to which it grows
	Jitter        float64 `json:"jitter,omitzero"`          // share of itself by which a recovery is longer at random
	MaxRetryAfter Seconds `json:"max_retry_after,omitzero"` // up to which a Retry-After is obeyed
}

// BreakerReset is the answer of POST /monitoring/circuit-breakers/{name}/reset.
// A Python server sends the message alone.
type BreakerReset struct {
	Message       string   `json:"message"`
	Breaker       *Breaker `json:"breaker,omitempty"`
	PreviousState State    `json:"previous_state,omitempty"`
	State         State    `json:"state,omitempty"` // after the reset; of a dry run, as it would be
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

// ResetBreaker names a breaker that a reset-all reset, the state it was in and
// the one that it is in now.
type ResetBreaker struct {
	Name          string `json:"name"`
	PreviousState State  `json:"previous_state"`
	State         State  `json:"state,omitempty"`
}

// SkippedBreaker names a breaker that a reset-all left alone, and why.
type SkippedBreaker struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}
