package api

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// The types of a query's result, as the Prometheus HTTP API names them.
const (
	ResultVector = "vector" // a value of each series, at one time
	ResultMatrix = "matrix" // values of each series, over time
	ResultScalar = "scalar" // one number
	ResultString = "string" // one text
)

// QueryResult answers GET /monitoring/metrics/query and query_range in the form
// of the Prometheus HTTP API, with what a client of ours must know besides:
// since when there are samples.
type QueryResult struct {
	Status         string    `json:"status"` // "success"
	Data           QueryData `json:"data"`
	Warnings       []string  `json:"warnings,omitempty"` // what may make the answer wrong
	Infos          []string  `json:"infos,omitempty"`    // what may be a mistake in the expression
	HistoryStart   Time      `json:"history_start"`      // time of the oldest sample; null while there is none
	MissingHistory Seconds   `json:"missing_history"`    // how much further back than that the expression looks; 0 means not at all
}

// QueryData is a result and its type.
type QueryData struct {
	ResultType string        `json:"resultType"`
	Series     []QuerySeries // of a vector or a matrix; of a scalar one without labels
	Text       *QueryText    // of a string
}

// QuerySeries is one series of a result: Value in a vector or a scalar, Values
// in a matrix.
type QuerySeries struct {
	Metric map[string]string `json:"metric"`
	Value  *QueryPoint       `json:"value,omitempty"`
	Values []QueryPoint      `json:"values,omitempty"`
}

// QueryPoint is a value at a time, in JSON the pair [1769860800.5, "0.25"].
type QueryPoint struct {
	Time  Time
	Value Float
}

// QueryText is a text at a time, in JSON the pair [1769860800.5, "text"].
type QueryText struct {
	Time Time
	Text string
}

// MarshalJSON writes the result as its type has it.
func (d QueryData) MarshalJSON() ([]byte, error) {
	out := struct {
		ResultType string `json:"resultType"`
		Result     any    `json:"result"`
	}{d.ResultType, d.Series}
	switch {
	case d.ResultType == ResultString && d.Text != nil:
		out.Result = d.Text
	case d.ResultType == ResultScalar && len(d.Series) == 1:
		out.Result = d.Series[0].Value
	case d.Series == nil:
		out.Result = []QuerySeries{}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *QueryData) UnmarshalJSON(b []byte) error {
	var in struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*d = QueryData{ResultType: in.ResultType}
	switch in.ResultType {
	case ResultVector, ResultMatrix:
		return json.Unmarshal(in.Result, &d.Series)
	case ResultScalar:
		var p QueryPoint
		d.Series = []QuerySeries{{Metric: map[string]string{}, Value: &p}}
		return json.Unmarshal(in.Result, &p)
	case ResultString:
		d.Text = new(QueryText)
		return json.Unmarshal(in.Result, d.Text)
	}
	return fmt.Errorf("result type %.40q: want vector, matrix, scalar or string", in.ResultType)
}

// MarshalJSON writes the pair of a time and a number as text.
func (p QueryPoint) MarshalJSON() ([]byte, error) {
	return QueryText{p.Time, strconv.FormatFloat(float64(p.Value), 'f', -1, 64)}.MarshalJSON()
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *QueryPoint) UnmarshalJSON(b []byte) error {
	var t QueryText
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(t.Text, 64)
	if err != nil {
		return fmt.Errorf("value %.40q: want a number", t.Text)
	}
	p.Time, p.Value = t.Time, Float(v)
	return nil
}

// MarshalJSON writes the pair of a time and a text.
func (t QueryText) MarshalJSON() ([]byte, error) { return json.Marshal([2]any{t.Time, t.Text}) }

// UnmarshalJSON reads what MarshalJSON writes.
func (t *QueryText) UnmarshalJSON(b []byte) error {
	pair := [2]any{&t.Time, &t.Text}
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil || len(raw) != len(pair) {
		return fmt.Errorf("value %.40s: want a pair of a time and a text", b)
	}
	for i, r := range raw {
		if err := json.Unmarshal(r, pair[i]); err != nil {
			return err
		}
	}
	return nil
}

// Exemplars are the requests that a metric's series point to, newest first.
type Exemplars struct {
	Name         string     `json:"name"` // that was asked for
	Exemplars    []Exemplar `json:"exemplars"`
	HistoryStart Time       `json:"history_start"` // since when they are collected; null while there are no samples
}

// Exemplar is one observation with the trace of its request.
type Exemplar struct {
	Series     map[string]string `json:"series"` // the labels of the series it belongs to, its name as __name__
	Labels     map[string]string `json:"labels"` // of the exemplar, beside trace_id
	Value      Float             `json:"value"`
	Time       Time              `json:"time"`
	TraceID    string            `json:"trace_id,omitempty"`
	TraceKept  bool              `json:"trace_kept"`            // the trace can still be shown
	ProfileIDs []string          `json:"profile_ids,omitempty"` // the profiles of that request that can still be shown
}
