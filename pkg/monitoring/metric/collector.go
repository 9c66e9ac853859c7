package metric

import "github.com/prometheus/client_golang/prometheus"

// collector is how the registry sees the families.
type collector struct{ m *Metrics }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range allDescs() {
		ch <- d.desc
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	m := c.m
	ch <- m.info
	m.routes.collect(ch)
	for _, f := range []*family[counter]{m.errors, m.exceptions, m.externalErrors, m.priority, m.feedback, m.ingested} {
		collectCounters(ch, f)
	}
	collectHistograms(ch, m.dbDuration, dbBounds)
	collectHistograms(ch, m.externalDuration, externalBounds)
	sender(ch).gauge(descActive, float64(m.active.Load()))
	for _, f := range m.families {
		sender(ch).counter(descRefused, f.refused.Load(), f.name)
	}
	m.collectPools(ch)
	m.sources.collect(ch)
}
