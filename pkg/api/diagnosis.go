package api

// The severities of a [Finding].
const (
	SeverityCritical = "critical" // requests fail, or will within minutes
	SeverityWarning  = "warning"  // something works worse than it should
	SeverityNotice   = "notice"   // worth knowing; nobody suffers yet
)

// Diagnosis is what is wrong with one server or a fleet, and what could not be
// judged. It is what `pulsectl doctor` shows; no route answers it.
type Diagnosis struct {
	Instances []string   `json:"instances"`  // that were judged
	Interval  Seconds    `json:"interval"`   // between the two looks; 0 for one look
	Rules     int        `json:"rules"`      // that judged
	Findings  []Finding  `json:"findings"`   // the worst first
	NotJudged []Unjudged `json:"not_judged"` // by rule
}

// Finding is one cause of trouble.
type Finding struct {
	Rule       string     `json:"rule"`
	Subject    string     `json:"subject"` // what it is about: a breaker, a route, …; "" for the process
	Severity   string     `json:"severity"`
	Confidence float64    `json:"confidence"` // 0…1
	Cause      string     `json:"cause"`      // a sentence
	Evidence   []Evidence `json:"evidence"`
	Next       string     `json:"next"` // command to type
	Instances  []string   `json:"instances"`
	Effects    []Effect   `json:"effects,omitempty"` // what else was found, and this explains
}

// Evidence is an observation behind a finding.
type Evidence struct {
	Text     string `json:"text"`
	Source   string `json:"source"`             // the answer that it is from: circuit-breakers, traces/stats, …
	Instance string `json:"instance,omitempty"` // of a finding of several
}

// Effect is a finding that another one explains.
type Effect struct {
	Rule      string     `json:"rule"`
	Subject   string     `json:"subject"`
	Severity  string     `json:"severity"`
	Cause     string     `json:"cause"`
	Evidence  []Evidence `json:"evidence"`
	Instances []string   `json:"instances"`
}

// Unjudged is what a rule could not judge, and why.
type Unjudged struct {
	Rule      string   `json:"rule"`
	Why       string   `json:"why"`
	Instances []string `json:"instances"`
}

// DoctorRule is a rule that `pulsectl doctor` judges by.
type DoctorRule struct {
	Rule  string `json:"rule"`
	About string `json:"about"` // what it looks for
	Looks int    `json:"looks"` // that it needs: 1 or 2
}
