package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// MetricFamily is one family of a scrape.
type MetricFamily struct {
	Name   string         `json:"name"`
	Type   string         `json:"type"` // counter, gauge, histogram, summary, untyped
	Help   string         `json:"help"`
	Unit   string         `json:"unit,omitempty"` // by the name's ending: seconds, bytes, percent, ratio
	Series []MetricSeries `json:"series"`
}

// MetricSeries is one series of a family. Histograms and summaries have Count,
// Sum and what they are made of, all others Value.
type MetricSeries struct {
	Labels    map[string]string `json:"labels"`
	Value     *Float            `json:"value,omitempty"`
	Count     *Float            `json:"count,omitempty"`
	Sum       *Float            `json:"sum,omitempty"`
	Buckets   []MetricBucket    `json:"buckets,omitempty"`   // cumulative, by rising bound
	Quantiles []MetricQuantile  `json:"quantiles,omitempty"` // of a summary
}

// MetricBucket counts the observations up to a bound.
type MetricBucket struct {
	UpperBound Float `json:"le"`
	Count      Float `json:"count"`
}

// MetricQuantile is a summary's value at a quantile.
type MetricQuantile struct {
	Quantile Float `json:"quantile"`
	Value    Float `json:"value"`
}

// Float is a number that may be no number or infinite. In JSON those are the
// texts "NaN", "+Inf" and "-Inf", as Prometheus writes them.
type Float float64

// MarshalJSON writes a number, or one of the three texts.
func (f Float) MarshalJSON() ([]byte, error) {
	v := float64(f)
	switch {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"+Inf"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Inf"`), nil
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Float) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(unquote(b), 64)
	if err != nil {
		return fmt.Errorf("number %.40s: want a number, NaN, +Inf or -Inf", b)
	}
	*f = Float(v)
	return nil
}
