package datadir

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/tracedb"
)

// Kinds of a table's records.
const (
	kindPut    = 1 // length of the key, the key, the mark, the value
	kindRemove = 2 // the same without a value
)

// markBytes is a number that a table carries along in each record, so that its
// newest one has the highest.
const markBytes = 8

// table is a log of values by key, of which the last counts. Files go once
// nothing in them is valid any more.
type table struct {
	log *tracedb.Log

	mu       sync.Mutex
	live     map[string]place
	segments map[uint64]int // valid values by segment
	bytes    int64          // of valid records
	mark     uint64
}

// place is where a valid value is.
type place struct {
	ref  tracedb.Ref
	seq  uint64
	size int64 // of the record
}

var errRecord = errors.New("not a record of this log")

// openTable reads a log. It keeps no value.
func (d *Dir) openTable(name string) (*table, error) {
	t := &table{live: map[string]place{}, segments: map[uint64]int{}}
	log, report, err := d.db.Log(name, tableSegment, func(r tracedb.Record) error {
		key, mark, value, err := splitTable(r)
		if err != nil {
			d.unreadable(name, err)
			return nil
		}
		t.mark = max(t.mark, mark)
		t.forget(key)
		if r.Kind == kindPut {
			t.note(key, place{r.Ref, r.Seq, tableBytes(key, len(value))})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.log = log
	d.found(name, report)
	return t, nil
}

func splitTable(r tracedb.Record) (key string, mark uint64, value []byte, err error) {
	n, size := binary.Uvarint(r.Payload)
	if size <= 0 || n > 1<<10 || uint64(len(r.Payload)-size) < n+markBytes || r.Kind != kindPut && r.Kind != kindRemove {
		return "", 0, nil, fmt.Errorf("record %d: %w", r.Seq, errRecord)
	}
	rest := r.Payload[size:]
	return string(rest[:n]), binary.LittleEndian.Uint64(rest[n:]), rest[n+markBytes:], nil
}

func tableBytes(key string, value int) int64 { return int64(len(key)+value) + markBytes + 40 }

// put writes a value, and what the table carries if that grows.
func (t *table) put(key string, value []byte, mark uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	mark = max(mark, t.mark)
	ref, seq, err := t.append(kindPut, key, value, mark)
	if err != nil {
		return err
	}
	t.mark = mark
	t.forget(key)
	t.note(key, place{ref, seq, tableBytes(key, len(value))})
	return t.tidy()
}

// remove forgets a value, which need not be there.
func (t *table) remove(key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, found := t.live[key]; !found {
		return nil
	}
	if _, _, err := t.append(kindRemove, key, nil, t.mark); err != nil {
		return err
	}
	t.forget(key)
	return t.tidy()
}

func (t *table) append(kind byte, key string, value []byte, mark uint64) (tracedb.Ref, uint64, error) {
	start := append(binary.AppendUvarint(nil, uint64(len(key))), key...)
	return t.log.Append(kind, binary.LittleEndian.AppendUint64(start, mark), value)
}

func (t *table) note(key string, p place) {
	t.live[key] = p
	t.segments[p.ref.Segment]++
	t.bytes += p.size
}

func (t *table) forget(key string) {
	p, found := t.live[key]
	if !found {
		return
	}
	delete(t.live, key)
	t.bytes -= p.size
	if t.segments[p.ref.Segment]--; t.segments[p.ref.Segment] == 0 {
		delete(t.segments, p.ref.Segment)
	}
}

// tidy frees what can be freed: the files before the first valid value, and,
// once invalid ones take more than half of the log, the file in front by moving
// its valid values to the end. The caller holds the lock.
func (t *table) tidy() error {
	if err := t.free(); err != nil {
		return err
	}
	if t.log.Bytes() < 2*t.bytes+slack {
		return nil
	}
	front := t.front()
	for key, p := range t.live {
		if p.ref.Segment != front {
			continue
		}
		if err := t.move(key, p); err != nil {
			return err
		}
	}
	return t.free()
}

const (
	tableSegment = 8 << 20
	slack        = 2 * tableSegment // what a table may waste however little it holds
)

// move writes a valid value again. One that has been damaged since is given up.
func (t *table) move(key string, p place) error {
	rec, err := t.log.Read(p.ref)
	if err != nil {
		t.forget(key)
		return nil
	}
	_, _, value, err := splitTable(rec)
	if err != nil {
		return err
	}
	ref, seq, err := t.append(kindPut, key, value, t.mark)
	if err != nil {
		return err
	}
	t.forget(key)
	t.note(key, place{ref, seq, p.size})
	return nil
}

// free deletes the files before the first valid value. The last record stays:
// it has the mark.
func (t *table) free() error {
	_, err := t.log.DropBefore(min(t.front(), t.log.Next()-1))
	return err
}

// front returns the first segment that holds a valid value.
func (t *table) front() uint64 {
	front := uint64(math.MaxUint64)
	for segment := range t.segments {
		front = min(front, segment)
	}
	return front
}

// keys returns the keys of the valid values, in the order of their writing.
func (t *table) keys() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Keys(t.live), func(a, b string) int { return cmp.Compare(t.live[a].seq, t.live[b].seq) })
}

// get reads a value, which the caller owns, and when it was written.
func (t *table) get(key string) ([]byte, time.Time, error) {
	t.mu.Lock()
	p, found := t.live[key]
	t.mu.Unlock()
	if !found {
		return nil, time.Time{}, fmt.Errorf("%x: %w", key, tracedb.ErrGone)
	}
	rec, err := t.log.Read(p.ref)
	if err != nil {
		return nil, time.Time{}, err
	}
	_, _, value, err := splitTable(rec)
	return value, rec.Time, err
}
