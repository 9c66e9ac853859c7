package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// StatsQuery says which spans a statistic is of.
type StatsQuery struct {
	Since     string // RFC 3339, Unix seconds, or a duration back from now; "" means all that is kept
	Service   string
	Operation string
	Interval  time.Duration // of the series of each operation; 0 means none
}

func (q StatsQuery) values() url.Values {
	v := url.Values{}
	for name, text := range map[string]string{"since": q.Since, "service": q.Service, "operation": q.Operation} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if q.Interval > 0 {
		v.Set("interval", q.Interval.String())
	}
	return v
}

// notOnPython is the answer of a server that keeps no finished traces.
func (c *Client) notOnPython(ctx context.Context, what string) error {
	python, err := c.isPython(ctx)
	if err == nil && python {
		err = api.Errorf(http.StatusNotFound, "this server has no %s: a Python server knows traces only while they run", what)
	}
	return err
}

// TraceStats returns rate, errors and durations of each operation. A Python
// server has none.
func (c *Client) TraceStats(ctx context.Context, q StatsQuery) (api.TraceStats, error) {
	var out api.TraceStats
	if err := c.notOnPython(ctx, "trace statistics"); err != nil {
		return out, err
	}
	err := c.get(ctx, tracesPath+"/stats", q.values(), &out)
	return out, err
}

// ServiceGraph returns which services call which. A Python server has none.
func (c *Client) ServiceGraph(ctx context.Context, q StatsQuery) (api.ServiceGraph, error) {
	var out api.ServiceGraph
	if err := c.notOnPython(ctx, "service graph"); err != nil {
		return out, err
	}
	err := c.get(ctx, tracesPath+"/services", q.values(), &out)
	return out, err
}

// FollowTraces calls f with each trace that finishes and fits q, after the one
// of the id last if that is not empty, until ctx is done, f fails or the stream
// breaks, which is an error. lost is told how many were too many to be told. A
// Python server has no stream.
func (c *Client) FollowTraces(ctx context.Context, q TraceQuery, last string, opened func(), lost func(int64), f func(t api.Trace, id string) error) error {
	if err := c.notOnPython(ctx, "stream of traces"); err != nil {
		return err
	}
	v := q.values()
	v.Del("limit")
	v.Del("state")
	v.Del("sort")
	return c.followFrom(ctx, tracesPath+"/stream", v, last, opened, func(e event) error {
		switch e.kind {
		case "trace":
			var t api.Trace
			if err := decode(e.data, &t); err != nil {
				return unreadable(0, "the stream's trace is not the API's: %v", err)
			}
			return f(t, e.id)
		case "lost":
			var l api.TracesLost
			if err := decode(e.data, &l); err != nil {
				return unreadable(0, "the stream's event is not the API's: %v", err)
			}
			lost(int64(l.Count))
		}
		return nil // or of a newer server
	})
}

// ExportTrace returns a trace as an OTLP ExportTraceServiceRequest in protobuf,
// and whether it is not whole. A Python server has no export.
func (c *Client) ExportTrace(ctx context.Context, id string) (request []byte, truncated bool, err error) {
	if id == "" {
		return nil, false, api.Errorf(http.StatusNotFound, "an empty id names no trace")
	}
	if err := c.notOnPython(ctx, "export of traces"); err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	path := tracesPath + "/" + url.PathEscape(id)
	resp, err := c.Send(ctx, http.MethodGet, path, url.Values{"format": {"otlp"}}, http.Header{"Accept": {protobuf}}, nil)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, false, transportError(err)
	case len(b) > maxBody:
		return nil, false, unreadable(resp.StatusCode, "the answer is larger than %d MiB", maxBody>>20)
	case resp.StatusCode >= 300:
		return nil, false, problem(resp, path, b)
	case resp.Header.Get("Content-Type") != protobuf:
		return nil, false, unreadable(0, "GET %s: the answer is %.100q, want %s", path, resp.Header.Get("Content-Type"), protobuf)
	}
	return b, resp.Header.Get(api.TruncatedHeader) == "true", nil
}

const protobuf = "application/x-protobuf"

// ImportSpans brings an OTLP ExportTraceServiceRequest in protobuf, and returns
// how many of its spans were not kept, and why. A Python server takes none.
func (c *Client) ImportSpans(ctx context.Context, request []byte) (rejected int64, why string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	const path = "/v1/traces"
	resp, err := c.Send(ctx, http.MethodPost, path, nil, http.Header{"Content-Type": {protobuf}}, bytes.NewReader(request))
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return 0, "", transportError(err)
	}
	if resp.StatusCode == http.StatusNotFound {
		if err := c.notOnPython(ctx, "door for spans"); err != nil {
			return 0, "", err
		}
	}
	isProtobuf := resp.Header.Get("Content-Type") == protobuf
	if resp.StatusCode >= 300 && !isProtobuf {
		return 0, "", problem(resp, path, b)
	}
	if !isProtobuf {
		return 0, "", unreadable(0, "POST %s: the answer is no OTLP", path)
	}
	if resp.StatusCode >= 300 { // a google.rpc.Status
		_, message := fields(b)
		return 0, "", api.Errorf(resp.StatusCode, "POST %s: %.500s", path, message[2])
	}
	_, partial := fields(b)
	numbers, texts := fields([]byte(partial[1]))
	return int64(numbers[1]), texts[2], nil
}

// fields returns the numbers and the texts of a short protobuf message by their
// field numbers, as far as it can be read.
func fields(b []byte) (numbers map[uint64]uint64, texts map[uint64]string) {
	numbers, texts = map[uint64]uint64{}, map[uint64]string{}
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		v, m := binary.Uvarint(b[n:])
		if m <= 0 {
			break
		}
		b = b[n+m:]
		switch tag & 7 {
		case 0:
			numbers[tag>>3] = v
		case 2:
			if v > uint64(len(b)) {
				return numbers, texts
			}
			texts[tag>>3] = string(b[:v])
			b = b[v:]
		default:
			return numbers, texts
		}
	}
	return numbers, texts
}
