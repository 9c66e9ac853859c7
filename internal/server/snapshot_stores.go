package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/pulsectl/pulsectl/internal/snapshot"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const (
	mostKeys      = 10_000          // of a cache's tier
	keysTime      = 5 * time.Second // to list them
	traceBatch    = 1 << 20         // bytes of spans in one part, about
	mostOneTrace  = 8 << 20         // bytes of one trace's spans
	mostActive    = 4 << 20         // bytes of the spans of traces that still run
	activeAtOnce  = 100
	summariesPage = 1000
)

func ignoreFull(err error) error {
	if errors.Is(err, snapshot.ErrFull) {
		return nil
	}
	return err
}

// value keeps a value that no one request answers.
func (c *collector) value(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		c.w.LeaveOut(name, err.Error())
		return nil
	}
	return c.w.Add(snapshot.Part{Name: name, ContentType: "application/json"}, snapshot.Text, data)
}

func (c *collector) audit() error {
	return ignoreFull(c.value("audit.json", c.s.audits.list(time.Time{}, 0, math.MaxInt)))
}

// keys keeps the names of what the caches hold, as far as they can be listed in
// a short time.
func (c *collector) keys() error {
	if c.s.opts.Redis != nil {
		if err := c.tierKeys("redis", c.s.json(c.s.redisKeys)); err != nil {
			return err
		}
	}
	if c.s.opts.Memory != nil {
		return c.tierKeys("memory", c.s.json(c.s.memoryKeys))
	}
	return nil
}

func (c *collector) tierKeys(tier string, h http.Handler) error {
	name, all, begun := "cache/"+tier+"/keys.json", api.CacheKeys{Pattern: "*", Keys: []api.CacheKey{}}, time.Now()
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		a := c.ask(h, cachePath+"/"+tier+"/keys", q.Encode(), "")
		var page api.CacheKeys
		if err := json.Unmarshal(a.body.Bytes(), &page); a.status != http.StatusOK || err != nil {
			if len(all.Keys) == 0 && a.status >= http.StatusBadRequest { // that it fails is what there is to know
				p := snapshot.Part{Name: name, Path: cachePath + "/" + tier + "/keys", Status: a.status, ContentType: api.ProblemType}
				return c.add(p, snapshot.Text, a.body.Bytes())
			}
			c.w.LeaveOut(name, fmt.Sprintf("after %d keys the cache answers %d", len(all.Keys), a.status))
			break
		}
		all.Keys = append(all.Keys, page.Keys...)
		if page.Next == nil || *page.Next == cursor {
			break
		}
		if cursor = *page.Next; len(all.Keys) >= mostKeys || time.Since(begun) > keysTime {
			c.w.LeaveOut(name, fmt.Sprintf("all keys but %d", len(all.Keys)))
			break
		}
	}
	return ignoreFull(c.value(name, all))
}

// profiles keeps the profiles, the newest first, in half of the room that is
// left: the other half is the traces'.
func (c *collector) profiles() error {
	half, used := c.w.Room()/2, int64(0)
	all := c.s.opts.Profiler.List(profiling.Query{Limit: math.MaxInt})
	kept, left := []api.Profile{}, 0
	for _, p := range all {
		if p.State == "active" {
			kept = append(kept, p)
			continue
		}
		data, err := c.s.opts.Profiler.Data(p.ProfileID)
		if err != nil {
			continue // it has gone since
		}
		if used+int64(len(data))+2048 > half {
			left++
			continue
		}
		part := snapshot.Part{Name: "profiling/" + p.ProfileID + ".pb.gz", ContentType: "application/octet-stream"}
		switch err := c.w.Add(part, snapshot.Pprof, data); {
		case errors.Is(err, snapshot.ErrFull):
			left++
			continue
		case err != nil:
			return err
		}
		used += int64(len(data)) + 2048
		kept = append(kept, p)
	}
	if left > 0 {
		c.w.LeaveOut("profiling", fmt.Sprintf("%d of %d profiles find no room", left, len(all)))
	}
	return ignoreFull(c.value("profiling/profiles.json", kept))
}

// traces keeps the traces, the newest first, for as long as there is room: their
// spans as OTLP requests of a megabyte or so, and beside each what the list says
// of its traces. Those that still run are there as the API has them too.
func (c *collector) traces() error {
	store := c.s.opts.Traces
	active, err := store.Find(tracing.Query{State: tracing.Active, Limit: activeAtOnce, Spans: true, MaxJSON: mostActive})
	if err != nil {
		return err
	}
	retention := store.Retention()
	for _, t := range active.Traces {
		if err := c.activeSpans(t.TraceID); err != nil {
			return err
		}
	}
	if err := ignoreFull(c.value("traces/active.json", active.Traces)); err != nil {
		return err
	}
	total := 0
	b := traceBatches{c: c, skip: map[string]bool{}}
	for _, t := range active.Traces {
		b.skip[t.TraceID] = true
	}
	for cursor := ""; ; {
		page, err := store.Find(tracing.Query{Limit: summariesPage, Cursor: cursor})
		if err != nil {
			return err
		}
		if total == 0 {
			total = page.Total - len(active.Traces)
		}
		for _, t := range page.Traces {
			if err := b.take(t); err != nil {
				return err
			}
			if b.full || c.ctx.Err() != nil {
				break
			}
		}
		if cursor = page.Next; cursor == "" || b.full || c.ctx.Err() != nil {
			break
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if b.kept < total {
		c.w.LeaveOut("traces", fmt.Sprintf("%d of %d traces, the oldest, find no room", total-b.kept, total))
	}
	return ignoreFull(c.value("traces/store.json", api.TraceList{
		Traces: []api.Trace{}, TotalActive: api.Count(active.Active), Total: api.CountOf(b.kept), Retention: &retention,
	}))
}

// activeSpans keeps what has been recorded of a trace that still runs.
func (c *collector) activeSpans(id string) error {
	request, _, err := c.s.opts.Traces.Export(id, mostActive)
	if err != nil {
		return nil // it has gone since
	}
	return c.add(snapshot.Part{Name: "traces/active/" + id + ".otlp.pb", ContentType: "application/x-protobuf"}, snapshot.OTLP, request)
}

// traceBatches gathers traces until they are worth a part.
type traceBatches struct {
	c       *collector
	request []byte
	rows    []json.RawMessage
	listed  int             // bytes of the rows
	skip    map[string]bool // by id
	parts   int
	kept    int
	full    bool
}

func (b *traceBatches) take(t api.Trace) error {
	if b.skip[t.TraceID] {
		return nil
	}
	request, truncated, err := b.c.s.opts.Traces.Export(t.TraceID, mostOneTrace)
	if err != nil {
		return nil // it has gone since
	}
	if truncated {
		b.c.w.LeaveOut("trace "+t.TraceID, fmt.Sprintf("its spans beyond %d MiB", mostOneTrace>>20))
	}
	row, err := json.Marshal(t)
	if err != nil {
		return err
	}
	const reserve = 8 << 10 // bytes, for what comes after the traces
	b.listed += len(row) + 1
	if int64(len(b.request)+len(request)+b.listed+reserve) > b.c.w.Room() {
		b.full = true
		return nil
	}
	b.request, b.rows = append(b.request, request...), append(b.rows, row) // requests in a row are one
	if len(b.request) < traceBatch {
		return nil
	}
	return b.flush()
}

func (b *traceBatches) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	b.parts++
	name := fmt.Sprintf("traces/%05d", b.parts)
	err := b.c.w.Add(snapshot.Part{Name: name + ".otlp.pb", ContentType: "application/x-protobuf"}, snapshot.OTLP, b.request)
	if err == nil {
		err = b.c.value(name+".json", b.rows)
	}
	switch {
	case errors.Is(err, snapshot.ErrFull):
		b.full = true
	case err != nil:
		return err
	default:
		b.kept += len(b.rows)
	}
	b.request, b.rows, b.listed = b.request[:0], b.rows[:0], 0
	return nil
}
