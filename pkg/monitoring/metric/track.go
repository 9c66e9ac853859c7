package metric

// DBQuery observes one database query. table is the table's name, or a word of
// a closed set: never the query's text.
func (m *Metrics) DBQuery(queryType, table string, o Observation) {
	observe(m.dbDuration, labels{queryType, table}, o)
}

// External observes one call to an external service. statusCode is the HTTP
// status, or a word such as "error" where none came.
func (m *Metrics) External(service, endpoint, statusCode string, o Observation) {
	observe(m.externalDuration, labels{service, endpoint, statusCode}, o)
}

// ExternalError counts a failed call to an external service.
func (m *Metrics) ExternalError(service, errorType string) {
	count(m.externalErrors, labels{service, errorType})
}

// PriorityRecommendation counts one recommendation made.
func (m *Metrics) PriorityRecommendation(contextType, modelUsed string) {
	count(m.priority, labels{contextType, modelUsed})
}

// Feedback counts one piece of feedback received.
func (m *Metrics) Feedback(recommendationType, score string) {
	count(m.feedback, labels{recommendationType, score})
}

// EventIngested counts one event taken in.
func (m *Metrics) EventIngested(source, eventType string) {
	count(m.ingested, labels{source, eventType})
}

func count(f *counters, l labels) {
	if s := f.get(l); s != nil {
		s.data.n.Add(1)
	}
}

func observe(f *histograms, l labels, o Observation) {
	if s := f.get(l); s != nil {
		s.data.observe(&o)
	}
}
