package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// A reader of trace documents returns the spans found in one.
type traceReader func(body []byte) ([]gotSpan, error)

var traceReaders = map[string]traceReader{
	"jaeger":   readJaeger,
	"pulsectl": readPulsectl,
	"tempo":    readTempo,
}

// readJaeger reads the answer of Jaeger's /api/traces/{id}.
func readJaeger(body []byte) ([]gotSpan, error) {
	var doc struct {
		Data []struct {
			Spans []struct {
				SpanID string `json:"spanID"`
			} `json:"spans"`
		} `json:"data"`
	}
	err := json.Unmarshal(body, &doc)
	var all []gotSpan
	for _, t := range doc.Data {
		for _, s := range t.Spans {
			all = append(all, gotSpan{SpanID: s.SpanID})
		}
	}
	return all, err
}

// readTempo reads the answer of Tempo's /api/traces/{id}, which is OTLP's
// JSON but for ids in base64.
func readTempo(body []byte) ([]gotSpan, error) {
	type resourceSpans struct {
		ScopeSpans []struct {
			Spans []struct {
				SpanID []byte `json:"spanId"`
			} `json:"spans"`
		} `json:"scopeSpans"`
	}
	var doc struct {
		Batches []resourceSpans `json:"batches"`
	}
	err := json.Unmarshal(body, &doc)
	var bad base64.CorruptInputError
	if errors.As(err, &bad) {
		err = fmt.Errorf("span ids are not base64: %w", err)
	}
	var all []gotSpan
	for _, r := range doc.Batches {
		for _, sc := range r.ScopeSpans {
			for _, s := range sc.Spans {
				all = append(all, gotSpan{SpanID: hex.EncodeToString(s.SpanID)})
			}
		}
	}
	return all, err
}

// A traceCheck reads one trace back and compares it with what was sent.
type traceCheck struct {
	client *http.Client
	url    string // with {id}
	read   traceReader
}

// Outcomes of a check.
var (
	errMissing    = errors.New("not found")
	errIncomplete = errors.New("incomplete")
)

// check returns nil if the server has exactly what was sent of a trace.
func (c *traceCheck) check(ctx context.Context, l *load, b sentBatch, trace int) error {
	id := traceID(l.seed, b.seq, uint64(trace))
	body, err := get(ctx, c.client, strings.ReplaceAll(c.url, "{id}", hex.EncodeToString(id[:])))
	if err != nil {
		return fmt.Errorf("trace %x: %w: %w", id, errMissing, err)
	}
	found, err := c.read(body)
	if err != nil {
		return fmt.Errorf("trace %x: %w: %w", id, errMissing, err)
	}
	if len(found) == 0 {
		return fmt.Errorf("trace %x: %w: no spans", id, errMissing)
	}
	sent, err := l.sentTrace(b, id)
	if err != nil {
		return err
	}
	if err := sent.compare(found); err != nil {
		return fmt.Errorf("trace %x: %w: %w", id, errIncomplete, err)
	}
	return nil
}

// readback is the outcome of a verification.
type readback struct {
	Checked    int     `json:"checked"`
	Complete   int     `json:"complete"`
	Incomplete int     `json:"incomplete"`
	Missing    int     `json:"missing"`
	FirstError string  `json:"first_error,omitempty"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	CPU        float64 `json:"server_cpu_ms_each,omitempty"`
}

// verify reads back count traces drawn from the accepted batches, and checks
// that each is exactly what was sent.
func verify(ctx context.Context, c *traceCheck, count, pid int, l *load) (readback, error) {
	if len(l.batches) == 0 {
		return readback{}, errors.New("nothing to read back: no batch was accepted")
	}
	var out readback
	var took latencies
	before, err := takeSample(pid, "")
	if err != nil {
		return out, err
	}
	rng := rand.New(rand.NewPCG(l.seed, 2))
	for range count {
		b := l.batches[rng.IntN(len(l.batches))]
		start := time.Now()
		err := c.check(ctx, l, b, rng.IntN(len(l.template(b).sizes)))
		took = append(took, time.Since(start))
		out.Checked++
		switch {
		case err == nil:
			out.Complete++
		case errors.Is(err, errIncomplete):
			out.Incomplete++
		default:
			out.Missing++
		}
		if err != nil && out.FirstError == "" {
			out.FirstError = err.Error()
		}
	}
	after, err := takeSample(pid, "")
	out.CPU = milliseconds(after.cpu-before.cpu) / float64(max(count, 1))
	out.P50, out.P99 = took.quantile(0.5), took.quantile(0.99)
	return out, err
}

// freshness is how long after the answer to a request its traces can be read.
type freshness struct {
	Samples int     `json:"samples"`
	Never   int     `json:"not_within_the_limit"`
	P50     float64 `json:"p50_ms"`
	Max     float64 `json:"max_ms"`
}

const (
	freshLimit = 90 * time.Second
	freshPoll  = 2 * time.Millisecond
)

// measureFreshness sends count batches, and after each reads one of its
// traces again and again until it is complete.
func measureFreshness(ctx context.Context, c *traceCheck, l *load, count int) (freshness, error) {
	var out freshness
	var took latencies
	for range count {
		batch, b := l.batch(nil, l.next.Add(1)-1)
		if !l.sendOne(ctx, b, batch) {
			return out, fmt.Errorf("sending a batch: %s", l.firstError)
		}
		out.Samples++
		answered := time.Now()
		for {
			if c.check(ctx, l, b, 0) == nil {
				took = append(took, time.Since(answered))
				break
			}
			if time.Since(answered) > freshLimit || ctx.Err() != nil {
				out.Never++
				break
			}
			time.Sleep(freshPoll)
		}
	}
	out.P50, out.Max = took.quantile(0.5), took.quantile(1)
	return out, nil
}
