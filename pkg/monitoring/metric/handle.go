package metric

import "sync/atomic"

// handle finds a series once, and again when that has left its family.
type handle[S any, P data[S]] struct {
	family *family[S, P]
	labels labels
	known  atomic.Pointer[series[S]]
}

// get returns the series' data, or nil where the family is full.
func (h *handle[S, P]) get() *S {
	s := h.known.Load()
	if s == nil || s.leaving.Load() {
		if s = h.family.get(h.labels); s == nil {
			return nil
		}
		h.known.Store(s)
	}
	return s.data
}

// Counter counts in one series. Keep it to save the lookup.
type Counter struct {
	handle[counter, *counter]
}

// Add counts n more.
func (c *Counter) Add(n uint64) {
	if s := c.get(); s != nil {
		s.n.Add(n)
	}
}

// Timer observes durations in one series. Keep it to save the lookup.
type Timer struct {
	handle[histogram, *histogram]
}

// Observe counts one duration.
func (t *Timer) Observe(o Observation) {
	if s := t.get(); s != nil {
		s.observe(&o)
	}
}

func newCounter(f *counters, l labels) *Counter {
	return &Counter{handle[counter, *counter]{family: f, labels: l}}
}

func newTimer(f *histograms, l labels) *Timer {
	return &Timer{handle[histogram, *histogram]{family: f, labels: l}}
}

// DBQueryTimer returns the series that [Metrics.DBQuery] observes in.
func (m *Metrics) DBQueryTimer(queryType, table string) *Timer {
	return newTimer(m.dbDuration, labels{queryType, table})
}

// ExternalTimer returns the series that [Metrics.External] observes in.
func (m *Metrics) ExternalTimer(service, endpoint, statusCode string) *Timer {
	return newTimer(m.externalDuration, labels{service, endpoint, statusCode})
}

// ExternalErrorCounter returns the series that [Metrics.ExternalError] counts in.
func (m *Metrics) ExternalErrorCounter(service, errorType string) *Counter {
	return newCounter(m.externalErrors, labels{service, errorType})
}

// PriorityRecommendationCounter returns the series that
// [Metrics.PriorityRecommendation] counts in.
func (m *Metrics) PriorityRecommendationCounter(contextType, modelUsed string) *Counter {
	return newCounter(m.priority, labels{contextType, modelUsed})
}

// FeedbackCounter returns the series that [Metrics.Feedback] counts in.
func (m *Metrics) FeedbackCounter(recommendationType, score string) *Counter {
	return newCounter(m.feedback, labels{recommendationType, score})
}

// EventIngestedCounter returns the series that [Metrics.EventIngested] counts in.
func (m *Metrics) EventIngestedCounter(source, eventType string) *Counter {
	return newCounter(m.ingested, labels{source, eventType})
}
