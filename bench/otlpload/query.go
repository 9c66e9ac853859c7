package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// queryResult is the outcome of asking one question several times.
type queryResult struct {
	Name   string  `json:"name"`
	URL    string  `json:"url"`
	Bytes  int     `json:"bytes"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	CPU    float64 `json:"server_cpu_ms_each"`
	Failed int     `json:"failed"`
	Error  string  `json:"first_error,omitempty"`
}

// ask sends one query count times. The query is "name=url"; see expandTimes
// for the placeholders of the url.
func ask(ctx context.Context, query string, count, pid int, from, to time.Time) (queryResult, error) {
	name, url, ok := strings.Cut(query, "=")
	if !ok {
		return queryResult{}, fmt.Errorf("-query %q is not of the form name=url", query)
	}
	out := queryResult{Name: name, URL: expandTimes(url, from, to)}
	client := loopbackClient(1)
	defer client.CloseIdleConnections()
	var took latencies
	before, err := takeSample(pid, "")
	if err != nil {
		return out, err
	}
	for range count {
		start := time.Now()
		body, err := get(ctx, client, out.URL)
		took = append(took, time.Since(start))
		if err != nil {
			out.Failed++
			if out.Error == "" {
				out.Error = err.Error()
			}
		}
		out.Bytes = len(body)
	}
	after, err := takeSample(pid, "")
	out.CPU = milliseconds(after.cpu-before.cpu) / float64(max(count, 1))
	out.P50, out.P99 = took.quantile(0.5), took.quantile(0.99)
	return out, err
}

// expandTimes fills in {from_U} and {to_U}: times since 1970 in the unit s, ms,
// us or ns, or in the form of RFC 3339.
func expandTimes(url string, from, to time.Time) string {
	var pairs []string
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		for unit, n := range map[string]int64{"s": at.Unix(), "ms": at.UnixMilli(), "us": at.UnixMicro(), "ns": at.UnixNano()} {
			pairs = append(pairs, "{"+name+"_"+unit+"}", strconv.FormatInt(n, 10))
		}
		pairs = append(pairs, "{"+name+"_rfc3339}", at.UTC().Format(time.RFC3339Nano))
	}
	return strings.NewReplacer(pairs...).Replace(url)
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	return body, err
}
