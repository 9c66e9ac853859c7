package api

// The states of a request's goroutine, in which its wall time is told apart.
const (
	StateRunning  = "running"  // on a processor
	StateRunnable = "runnable" // ready, waiting for a processor
	StateChannel  = "channel"  // blocked on a channel or in a select
	StateMutex    = "mutex"    // blocked on a lock, a condition or a wait group
	StateNetwork  = "network"  // waiting for the network or another pollable file
	StateSleep    = "sleep"
	StateSyscall  = "syscall" // in a system call
	StateGC       = "gc"      // held up by the garbage collector, or helping it
	StateOther    = "other"   // anything else, and what nobody saw
)

// Explanation says where the wall time of one slow request went. The states
// follow its own goroutine, so that they sum to Wall. Each figure names its
// source: "exact (trace)", "31 samples ±18 %", "process-wide".
type Explanation struct {
	Wall      Seconds            `json:"wall"`
	Source    string             `json:"source"`              // of the states
	States    []ExplainedState   `json:"states"`              // those that took any time, the longest first
	Timeline  []ExplainedStretch `json:"timeline,omitempty"`  // in order, neighbours of one state merged; at most 512
	Allocated *ExplainedFigure   `json:"allocated,omitempty"` // bytes
	CPU       *ExplainedFigure   `json:"cpu,omitempty"`       // seconds on a processor, of all its goroutines
	Withheld  *ExplainedFigure   `json:"withheld,omitempty"`  // seconds running in which the host gave it no processor
	Notes     []string           `json:"notes,omitempty"`     // what limits this explanation, a sentence each
}

// ExplainedState is the time in one state, and where it went.
type ExplainedState struct {
	State    string           `json:"state"`
	Duration Seconds          `json:"duration"`
	Ratio    float64          `json:"ratio"`            // of Wall, 0…1
	Count    Count            `json:"count"`            // times it was entered, or samples
	Stacks   []ExplainedStack `json:"stacks,omitempty"` // the longest first, at most 8

	ErrorRatio float64 `json:"error_ratio,omitempty"` // of Duration, as of a figure
}

// ExplainedStack is a place in which a state was spent.
type ExplainedStack struct {
	Duration Seconds  `json:"duration"`
	Count    Count    `json:"count"`
	Function string   `json:"function"` // the innermost one that is not the runtime's or the standard library's plumbing
	Frames   []string `json:"frames"`   // innermost first, "function file:line", at most 64
}

// ExplainedStretch is one stay in a state. Start counts from the request's.
type ExplainedStretch struct {
	State    string  `json:"state"`
	Start    Seconds `json:"start"`
	Duration Seconds `json:"duration"`
}

// ExplainedFigure is a number that tells where it comes from. ErrorRatio is the
// ± of its source: one standard error, as a share of Value, which for n samples
// is 1/√n. About two of them hold in 95 of 100 cases. It is 0 where the figure
// is exact.
type ExplainedFigure struct {
	Value      float64 `json:"value"`
	Source     string  `json:"source"`
	ErrorRatio float64 `json:"error_ratio,omitempty"`
}
