package tracing

import (
	"sync"
	"unique"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// record is a trace as it is kept.
type record struct {
	id TraceID

	// Guarded by the store's mu.
	queue      *queue
	prev, next *record
	charged    int64 // what queue.bytes has of it
	slot       int   // of its brief, from 1; 0 while it has none
	touched    bool  // by the request that is being taken in
	expected   int   // bytes of spans that the request still has for it

	mu        sync.Mutex    // below the store's
	open      int           // spans in running
	running   []runningSpan // of a record that was made for a reader
	blocks    [][]byte      // encoded spans
	spans     entries
	seen      map[entryKey]struct{} // once there are many
	resources []resource
	scopes    []string
	requestID string
	userID    string
	metadata  []otlp.KeyValue
	profiles  []string
	size      int64
	start     int64 // of the earliest span
	end       int64 // of the latest ended span
	arrived   int64 // when something was last added
	failed    bool
	errors    int      // failed spans
	worst     outcome  // of the ended spans
	root      *entry   // the first span without a parent, if one has ended
	sum       *summary // nil after a change

	// Where the slices above begin: nearly every trace stays within them.
	blocks0    [1][]byte
	resources0 [1]resource
	scopes0    [1]string
}

func newRecord(id TraceID) *record {
	r := &record{id: id, size: recordBytes}
	r.blocks, r.resources, r.scopes = r.blocks0[:0], r.resources0[:0], r.scopes0[:0]
	return r
}

const (
	entryBytes  = 80   // an entry and what its chunk has to spare
	recordBytes = 1024 // a record, its place in the map and its first slices
	firstBlock  = 1536 // bytes: a request of five spans
	manySpans   = 32   // from here on the span ids are in a map, 64 bytes each
)

// resource is what spans came from. Equal ones are kept once in the process.
type resource struct {
	service string
	raw     unique.Handle[string] // an encoded Resource message
}

func localResource(service string) resource {
	raw := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String(service)}}})
	return resource{service: service, raw: unique.Make(string(raw))}
}

// outcome is how a span ended, finer than OTLP's status.
type outcome uint8

const (
	unset outcome = iota
	ok
	failed
	timedOut
	aborted
)

var outcomes = [...]api.Status{api.StatusOK, api.StatusOK, api.StatusError, api.StatusTimeout, api.StatusAborted}

func (o outcome) status() api.Status { return outcomes[o] }

// room returns a block with n free bytes and its number. Blocks grow with the
// trace, from 1.5 to 64 KiB, so that small traces waste little; of a request they have just the size.
func (r *record) room(n, expected int) uint32 {
	if last := len(r.blocks) - 1; last >= 0 && cap(r.blocks[last])-len(r.blocks[last]) >= n {
		return uint32(last)
	}
	if expected <= 0 {
		expected = max(int(r.size-recordBytes), firstBlock)
	}
	r.blocks = append(r.blocks, make([]byte, 0, max(n, min(expected, 64<<10))))
	r.size += int64(cap(r.blocks[len(r.blocks)-1])) + 32
	return uint32(len(r.blocks) - 1)
}

// add appends an encoded span and its index entry, in which only the place of
// the message is missing. The caller holds the store's mu too.
func (r *record) add(e entry, raw []byte) {
	e.block = r.room(len(raw), r.expected)
	e.off, e.size = uint32(len(r.blocks[e.block])), uint32(len(raw))
	r.blocks[e.block] = append(r.blocks[e.block], raw...)
	r.expected -= len(raw)
	r.index(e)
}

func (r *record) index(e entry) {
	kept := r.spans.add(e)
	if !e.parent.IsValid() && (r.root == nil || e.start < r.root.start) {
		r.root = kept
	}
	r.size += entryBytes
	if r.seen != nil {
		r.seen[e.key()] = struct{}{}
		r.size += 64
	}
	r.touch(e.start, e.end, e.outcome)
}

func (r *record) touch(start, end int64, o outcome) {
	if r.start == 0 || start < r.start {
		r.start = start
	}
	r.end = max(r.end, end)
	if o == failed || o == timedOut {
		r.failed = true
		r.errors++
		r.worst = worse(r.worst, o)
	}
	r.sum = nil
}

// worse returns the worse of two outcomes, as far as they are failures.
func worse(a, b outcome) outcome {
	if b == failed || b == timedOut && a != failed {
		return b
	}
	return a
}

// has tells whether this very span is there already.
func (r *record) has(k entryKey) bool {
	if r.seen == nil && r.spans.n >= manySpans {
		r.seen = make(map[entryKey]struct{}, 2*r.spans.n)
		for e := range r.spans.all {
			r.seen[e.key()] = struct{}{}
		}
		r.size += 64 * int64(r.spans.n)
	}
	if r.seen != nil {
		_, found := r.seen[k]
		return found
	}
	for e := range r.spans.all {
		if e.key() == k {
			return true
		}
	}
	return false
}

// resourceIndex returns the place of res among the trace's resources. A trace
// has at most 65,535; those beyond count as the last.
func (r *record) resourceIndex(res resource) uint16 {
	for i := range r.resources {
		if r.resources[i] == res {
			return uint16(i)
		}
	}
	if len(r.resources) < 1<<16-1 {
		r.resources = append(r.resources, res)
		r.size += 64 + int64(len(res.raw.Value()))
	}
	return uint16(len(r.resources) - 1)
}

func (r *record) scopeIndex(name string) uint16 {
	for i := range r.scopes {
		if r.scopes[i] == name {
			return uint16(i)
		}
	}
	if len(r.scopes) < 1<<16-1 {
		r.scopes = append(r.scopes, otlp.Text(name))
		r.size += 32 + int64(len(name))
	}
	return uint16(len(r.scopes) - 1)
}

func (r *record) message(e *entry) []byte { return r.blocks[e.block][e.off : e.off+e.size] }

func (r *record) name(e *entry) []byte {
	return r.message(e)[e.nameOff : e.nameOff+e.nameN]
}
