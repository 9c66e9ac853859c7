package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/pulsectl/pulsectl/internal/traceformat"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// maxTraceFile bounds a file with a trace: 100,000 spans with attributes.
const maxTraceFile = 512 << 20

// isFile tells whether the name of a trace is a file's: ids have no such
// characters.
func isFile(name string) bool {
	return strings.ContainsAny(name, "/.") && !strings.HasPrefix(name, "@")
}

// openTrace opens a trace that is not a server's: a file, or - for standard
// input. It returns nil for an id.
func (a *app) openTrace(name string) (io.ReadCloser, error) {
	switch {
	case name == "-":
		return io.NopCloser(a.streams.in), nil
	case !isFile(name):
		return nil, nil
	}
	return os.Open(name)
}

// readTrace reads the one trace of a file: as -o json of traces show writes it,
// as the API answers, or bare; or in the form of another tool.
func readTrace(r io.Reader) (api.Trace, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxTraceFile+1))
	switch {
	case err != nil:
		return api.Trace{}, err
	case len(b) > maxTraceFile:
		return api.Trace{}, fmt.Errorf("it is larger than %d MiB", maxTraceFile>>20)
	}
	found, own := ownTraces(b)
	if !own {
		return foreignTrace(b)
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

// ownTraces returns the traces of a file in one of this project's own forms, and
// whether it is in such a form.
func ownTraces(b []byte) (found []json.RawMessage, own bool) {
	var file struct {
		Items   []json.RawMessage `json:"items"`
		Traces  []json.RawMessage `json:"traces"`
		Trace   json.RawMessage   `json:"trace"`
		TraceID string            `json:"trace_id"`
	}
	b = bytes.TrimPrefix(b, []byte("\uFEFF"))
	if json.Unmarshal(b, &file) != nil {
		return nil, false
	}
	found = append(file.Items, file.Traces...)
	switch {
	case file.Trace != nil:
		found = append(found, file.Trace)
	case file.TraceID != "":
		found = append(found, b)
	}
	return found, file.Items != nil || file.Traces != nil || found != nil
}

// foreignTrace reads the one trace of a file in another tool's form, as a server
// would that it was sent to.
func foreignTrace(b []byte) (api.Trace, error) {
	data, _, err := traceformat.Read(b)
	if err != nil {
		return api.Trace{}, err
	}
	ids := data.TraceIDs()
	if len(ids) != 1 {
		return api.Trace{}, fmt.Errorf("it holds %d traces: want one", len(ids))
	}
	request, err := traceformat.Write("otlp-protobuf", data)
	if err != nil {
		return api.Trace{}, err
	}
	store, err := tracing.New(tracing.Options{MaxBytes: math.MaxInt64, MaxAge: math.MaxInt64, MaxSpans: math.MaxInt32})
	if err != nil {
		return api.Trace{}, err
	}
	if _, _, err := store.AddOTLP(request); err != nil {
		return api.Trace{}, err
	}
	return store.Get(fmt.Sprintf("%x", ids[0]))
}
