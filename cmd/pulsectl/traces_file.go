package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// maxTraceFile bounds a file with a trace: 100,000 spans with attributes.
const maxTraceFile = 512 << 20

// openTrace opens a trace that is not a server's: a file, or - for standard
// input. It returns nil for an id.
func (a *app) openTrace(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.streams.in), nil
	}
	if !strings.ContainsAny(name, "/.") || strings.HasPrefix(name, "@") {
		return nil, nil
	}
	return os.Open(name)
}

// readTrace reads the one trace of a file: as -o json of traces show writes it,
// as the API answers, or bare.
func readTrace(r io.Reader) (api.Trace, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxTraceFile+1))
	switch {
	case err != nil:
		return api.Trace{}, err
	case len(b) > maxTraceFile:
		return api.Trace{}, fmt.Errorf("it is larger than %d MiB", maxTraceFile>>20)
	}
	var file struct {
		Items   []json.RawMessage `json:"items"`
		Traces  []json.RawMessage `json:"traces"`
		Trace   json.RawMessage   `json:"trace"`
		TraceID string            `json:"trace_id"`
	}
	b = bytes.TrimPrefix(b, []byte("\uFEFF"))
	if err := json.Unmarshal(b, &file); err != nil {
		return api.Trace{}, fmt.Errorf("it is no JSON of a trace: %w", err)
	}
	found := append(file.Items, file.Traces...)
	switch {
	case file.Trace != nil:
		found = append(found, file.Trace)
	case file.TraceID != "":
		found = append(found, b)
	}
	if len(found) != 1 {
		return api.Trace{}, fmt.Errorf("it holds %d traces: want one", len(found))
	}
	var t api.Trace
	if err := json.Unmarshal(found[0], &t); err != nil {
		return api.Trace{}, fmt.Errorf("it is no JSON of a trace: %w", err)
	}
	if t.TraceID == "" {
		return api.Trace{}, fmt.Errorf("it holds no trace: trace_id is missing")
	}
	return t, nil
}
