package receiver

import (
	"context"
	"sync"
)

// parcel is one request's spans on their way to another endpoint.
type parcel struct {
	body  []byte // an ExportTraceServiceRequest
	spans int
	via   string // of its header
}

// mergeBytes is up to where parcels are sent as one request.
const mergeBytes = 1 << 20

// queue holds parcels, bounded in bytes. Many push, one takes.
type queue struct {
	max  int64
	wake chan struct{} // has an entry if something changed for the taker

	mu       sync.Mutex
	waiting  []parcel
	bytes    int64 // of waiting and of what was taken and is not done
	finished bool  // nothing more will come
}

func (q *queue) init(limit int64) { q.max, q.wake = limit, make(chan struct{}, 1) }

// push adds p, and returns how many spans it pushed out: the oldest, or its own
// if it does not fit even so.
func (q *queue) push(p parcel) (lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	need := int64(len(p.body))
	for q.bytes+need > q.max && len(q.waiting) > 0 {
		lost += q.waiting[0].spans
		q.bytes -= int64(len(q.waiting[0].body))
		q.shift(1)
	}
	if q.bytes+need > q.max || q.finished {
		return lost + p.spans
	}
	q.waiting, q.bytes = append(q.waiting, p), q.bytes+need
	q.signal()
	return lost
}

// shift drops the first n parcels. The caller holds mu.
func (q *queue) shift(n int) {
	clear(q.waiting[:n])
	q.waiting = q.waiting[n:]
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for parcels and returns as many as make one request: OTLP requests
// behind one another are a request with the spans of all. It returns false when
// ctx is done, or when the queue is finished and empty.
func (q *queue) take(ctx context.Context) ([]parcel, bool) {
	for ctx.Err() == nil {
		batch, finished := q.next()
		if len(batch) > 0 || finished {
			return batch, len(batch) > 0
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
	return nil, false
}

func (q *queue) next() (batch []parcel, finished bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for _, p := range q.waiting {
		if size += len(p.body); len(batch) > 0 && (size > mergeBytes || p.via != batch[0].via) {
			break
		}
		batch = append(batch, p)
	}
	q.shift(len(batch))
	return batch, q.finished
}

// done gives back the bytes of what take returned.
func (q *queue) done(batch []parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range batch {
		q.bytes -= int64(len(p.body))
	}
}

// finish says that nothing more will come.
func (q *queue) finish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.finished = true
	q.signal()
}

// clear empties the queue and returns how many spans were in it.
func (q *queue) clear() (spans int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.waiting {
		spans += p.spans
		q.bytes -= int64(len(p.body))
	}
	q.waiting = nil
	return spans
}

func (q *queue) size() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
