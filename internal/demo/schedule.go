package demo

import "time"

// mode is how a dependency behaves.
type mode int

const (
	works mode = iota
	slow
	failing // answers 502
	hanging // takes the request and never answers
)

// phase is a mode from a time of the schedule on.
type phase struct {
	from time.Duration
	mode mode
}

// period is how long a schedule lasts before it starts anew.
const period = 40 * time.Second

// schedule is what a dependency goes through, in order of time; before its
// first phase it works.
type schedule []phase

func (s schedule) at(elapsed time.Duration) mode {
	elapsed %= period
	now := works
	for _, p := range s {
		if elapsed < p.from {
			break
		}
		now = p.mode
	}
	return now
}

// behaviour is a dependency's schedule, and how long its answers take.
type behaviour struct {
	schedule schedule
	fast     time.Duration // while it works; up to twice that
	slow     time.Duration // while it is slow; up to a quarter more
}

// Each breaker opens and recovers within 30 seconds. The model is slow while
// Linear hangs, which makes for the longest traces; its second outage is there
// so that who looks after half a minute finds an open breaker.
var (
	githubBehaviour = behaviour{
		schedule{{3 * time.Second, failing}, {6 * time.Second, works}, {30 * time.Second, slow}, {34 * time.Second, works}},
		25 * time.Millisecond, 600 * time.Millisecond,
	}
	linearBehaviour = behaviour{
		schedule{{9 * time.Second, hanging}, {12 * time.Second, works}},
		20 * time.Millisecond, 500 * time.Millisecond,
	}
	openaiBehaviour = behaviour{
		schedule{{8 * time.Second, slow}, {12 * time.Second, works}, {14 * time.Second, failing}, {17 * time.Second, works}, {25 * time.Second, failing}, {35 * time.Second, works}},
		120 * time.Millisecond, 1200 * time.Millisecond,
	}
	// searchLag is of the search index, whose health check is not critical.
	searchLag = schedule{{10 * time.Second, slow}, {15 * time.Second, works}, {24 * time.Second, slow}, {34 * time.Second, works}}
)
