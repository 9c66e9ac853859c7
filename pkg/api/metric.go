package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MetricFamily is one family of a scrape.
type MetricFamily struct {
	Name         string         `json:"name"`
	Type         string         `json:"type"` // counter, gauge, histogram, gauge_histogram, summary, untyped
	Help         string         `json:"help"`
	Unit         string         `json:"unit,omitempty"`          // by the name's ending: seconds, bytes, percent, ratio
	SeriesCount  int            `json:"series_count"`            // of Series, or of those that were counted only
	SeriesChange *int           `json:"series_change,omitempty"` // since the look before
	Interval     *Seconds       `json:"interval,omitempty"`      // between the two reads that changes are of
	Series       []MetricSeries `json:"series"`
}

// MetricSeries is one series of a family. Histograms and summaries have Count,
// Sum and what they are made of, all others Value.
type MetricSeries struct {
	Labels map[string]string `json:"labels"`
	Value  *Float            `json:"value,omitempty"`
	MetricHistogram
	Quantiles []MetricQuantile `json:"quantiles,omitempty"` // of a summary, as it tells them
	Change    *MetricChange    `json:"change,omitempty"`
}

// SeriesKey tells the series of a family apart, and puts them into the order of
// their labels.
func SeriesKey(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(name)
		b.WriteByte(0)
		b.WriteString(labels[name])
		b.WriteByte(1)
	}
	return b.String()
}

// MetricChange is what became of a series between two reads.
type MetricChange struct {
	Value *Float `json:"value,omitempty"` // what a counter gained, or by how much a gauge moved
	MetricHistogram
	Rate  Float `json:"rate"`            // a second: of a counter's value or a gauge's, of a histogram's and a summary's observations
	Reset bool  `json:"reset,omitempty"` // it began anew in between: what it holds now is all that is known
}

// MetricHistogram is a distribution of observations. Avg and the percentiles
// are estimates that the client makes from the rest.
type MetricHistogram struct {
	Count   *Float         `json:"count,omitempty"`
	Sum     *Float         `json:"sum,omitempty"`
	Buckets []MetricBucket `json:"buckets,omitempty"` // cumulative, by rising bound
	Native  *MetricNative  `json:"native,omitempty"`
	Avg     *Float         `json:"avg,omitempty"`
	P50     *Float         `json:"p50,omitempty"`
	P90     *Float         `json:"p90,omitempty"`
	P95     *Float         `json:"p95,omitempty"`
	P99     *Float         `json:"p99,omitempty"`
}

// MetricBucket counts the observations up to a bound.
type MetricBucket struct {
	UpperBound Float           `json:"le"`
	Count      Float           `json:"count"`
	Exemplar   *MetricExemplar `json:"exemplar,omitempty"`
}

// MetricExemplar is one of the observations that a bucket counted.
type MetricExemplar struct {
	Labels map[string]string `json:"labels"` // trace_id
	Value  Float             `json:"value"`
	Time   *Time             `json:"time,omitempty"`
}

// MetricNative is the finer form of a histogram, whose bounds grow by a factor
// of 2^(2^-schema).
type MetricNative struct {
	Schema        int                  `json:"schema"`
	ZeroThreshold Float                `json:"zero_threshold"`
	ZeroCount     Float                `json:"zero_count"`
	Buckets       []MetricNativeBucket `json:"buckets"` // those that hold anything, by rising bounds
}

// MetricNativeBucket counts the observations between two bounds.
type MetricNativeBucket struct {
	Lower Float `json:"lower"`
	Upper Float `json:"upper"`
	Count Float `json:"count"`
}

// MetricQuantile is a summary's value at a quantile.
type MetricQuantile struct {
	Quantile Float `json:"quantile"`
	Value    Float `json:"value"`
}

// RouteRate is what a route served between two reads.
type RouteRate struct {
	Method      string  `json:"method"` // "" in a sum over routes
	Endpoint    string  `json:"endpoint"`
	Interval    Seconds `json:"interval"` // between the two reads
	Requests    Float   `json:"requests"`
	Rate        Float   `json:"rate"`   // requests a second
	Errors      Float   `json:"errors"` // answers with a status of 500 and above
	ErrorRate   Float   `json:"error_rate"`
	ClientRate  Float   `json:"client_error_rate"` // share of 400 to 499
	Avg         *Float  `json:"avg,omitempty"`     // seconds, as the percentiles; absent where none was timed
	P50         *Float  `json:"p50,omitempty"`
	P95         *Float  `json:"p95,omitempty"`
	P99         *Float  `json:"p99,omitempty"`
	Reset       bool    `json:"reset,omitempty"`        // its counters began anew in between
	RecentRates []Float `json:"recent_rates,omitempty"` // of this interval and those before, oldest first
}

// RouteRates are the routes of a server that served anything between two reads.
type RouteRates struct {
	Routes   []RouteRate
	Total    RouteRate // of all of them
	Idle     int       // routes that served nothing
	InFlight *Float    // requests, at the second read
}

// MetricRate is how fast one counter grew, or one histogram's number of
// observations, between two reads.
type MetricRate struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Unit        string            `json:"unit,omitempty"`
	Labels      map[string]string `json:"labels"`
	Interval    Seconds           `json:"interval"`
	Value       Float             `json:"value"` // at the second read
	Increase    Float             `json:"increase"`
	Rate        Float             `json:"rate"`
	Reset       bool              `json:"reset,omitempty"`
	RecentRates []Float           `json:"recent_rates,omitempty"` // of this interval and those before, oldest first
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
