package api

// The kinds of an [Event].
const (
	EventBreaker = "breaker" // a breaker changed its state, mode or settings
	EventSlow    = "slow"    // a request turned out slow, or its profile is done
	EventTrace   = "trace"   // a trace finished
	EventAlert   = "alert"   // an alert is pending, fires or is over
	EventHealth  = "health"  // the verdict, or that of a check, is another
	EventAudit   = "audit"   // something was changed by a request
)

// Event is one message of GET /monitoring/events. The member named like its
// kind holds what happened.
type Event struct {
	Kind    string        `json:"kind"`
	Time    Time          `json:"time"` // when it happened
	Breaker *BreakerEvent `json:"breaker,omitempty"`
	Slow    *Profile      `json:"slow,omitempty"`  // its state is "active" while the request runs
	Trace   *Trace        `json:"trace,omitempty"` // without its spans
	Alert   *AlertChange  `json:"alert,omitempty"`
	Health  *HealthChange `json:"health,omitempty"`
	Audit   *AuditEntry   `json:"audit,omitempty"`
	Lost    Count         `json:"lost,omitempty"` // of this kind before this one: they came too fast
}

// HealthChange says what the verdict was and is, and which parts are not well.
// The first one of a stream tells how things stand: From is "" there.
type HealthChange struct {
	From string            `json:"from"`
	To   string            `json:"to"`
	Ill  map[string]string `json:"ill"` // what is not healthy: its status by name, "breaker/github_api", "check/redis", "cache/redis"
}
