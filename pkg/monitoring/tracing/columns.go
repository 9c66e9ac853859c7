package tracing

// rows is the index of a chunk: one row a span in columns without pointers, so
// that a filter reads only the columns that it asks for and the collector
// reads none. A row costs rowBytes.
type rows struct {
	trace  []uint32 // place in Store.traces; noTrace once the trace is gone or the span has moved
	id     []SpanID
	parent []SpanID // zero for a root
	start  []int64  // Unix nanoseconds
	took   []int64  // nanoseconds, negative if the clock says so
	at     []uint32 // of the Span message in the chunk's bytes
	length []uint32 // of the same
	back   []uint32 // how many rows before it on its shelf the trace's row before is; 0 if that is gone
	name   []uint16 // in the chunk's texts
	group  []uint16 // in the chunk's groups
	kind   []uint8  // kind, and the outcome in the upper half
}

// row is one row on its way into the columns.
type row struct {
	trace       uint32
	id, parent  SpanID
	start, took int64
	at, size    uint32
	back        uint32
	name, group uint16
	kind        uint8
	outcome     outcome
}

const (
	rowBytes = 3*8 + 8 + 5*4 - 4 + 2*2 + 1
	noTrace  = 1<<32 - 1
)

func (r *rows) n() int { return len(r.trace) }

func (r *rows) add(x *row) {
	r.trace = append(r.trace, x.trace)
	r.id = append(r.id, x.id)
	r.parent = append(r.parent, x.parent)
	r.start = append(r.start, x.start)
	r.took = append(r.took, x.took)
	r.at = append(r.at, x.at)
	r.length = append(r.length, x.size)
	r.back = append(r.back, x.back)
	r.name = append(r.name, x.name)
	r.group = append(r.group, x.group)
	r.kind = append(r.kind, x.kind|uint8(x.outcome)<<4)
}

// span returns row i as it went in, without its place in the chunk's tables.
func (r *rows) span(i int) row {
	return row{
		trace: r.trace[i], id: r.id[i], parent: r.parent[i], start: r.start[i], took: r.took[i],
		at: r.at[i], size: r.length[i], kind: r.kind[i] & 15, outcome: r.outcome(i),
	}
}

func (r *rows) outcome(i int) outcome { return outcome(r.kind[i] >> 4) }

// truncate empties the columns and keeps their memory.
func (r *rows) truncate() {
	r.trace, r.id, r.parent = r.trace[:0], r.id[:0], r.parent[:0]
	r.start, r.took = r.start[:0], r.took[:0]
	r.at, r.length, r.back = r.at[:0], r.length[:0], r.back[:0]
	r.name, r.group, r.kind = r.name[:0], r.group[:0], r.kind[:0]
}

// resize gives each column room for n rows and no more.
func (r *rows) resize(n int) {
	r.trace, r.id, r.parent = resized(r.trace, n), resized(r.id, n), resized(r.parent, n)
	r.start, r.took = resized(r.start, n), resized(r.took, n)
	r.at, r.length, r.back = resized(r.at, n), resized(r.length, n), resized(r.back, n)
	r.name, r.group, r.kind = resized(r.name, n), resized(r.group, n), resized(r.kind, n)
}

func resized[T any](s []T, n int) []T {
	if cap(s) == n {
		return s
	}
	return append(make([]T, 0, n), s...)
}
