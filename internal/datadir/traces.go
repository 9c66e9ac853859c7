package datadir

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pulsectl/pulsectl/internal/tracedb"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const shelves = 2 // of a trace store

// Traces is the log of a trace store: a table of chunks by number, and a log of
// records for each shelf. It implements [tracing.Log].
type Traces struct {
	dir    *Dir
	chunks [shelves]*table // by shelf, so that the oldest of each goes first; the mark is its through
	shelf  [shelves]*records
}

var _ tracing.Log = (*Traces)(nil)

// records are what no chunk has yet. Their sequences on disk go on where the
// last run of the store ended; the store counts from 1.
type records struct {
	log  *tracedb.Log
	base uint64 // what the disk adds to the store's sequence

	mu      sync.Mutex
	through uint64 // the sequence up to which chunks stand for the records
	kept    []kept // in the order of writing
}

// kept is a record on disk.
type kept struct {
	sequence uint64 // on disk
	seq      uint64 // of the log
	ref      tracedb.Ref
}

const (
	kindRecord = 1 // sequence, 8 bytes; data

	// Records live shortly, so their files are small.
	recordSegment = 4 << 20
)

func (d *Dir) openTraces() (err error) {
	t := &Traces{dir: d}
	for i := range t.shelf {
		if t.chunks[i], err = d.openTable(fmt.Sprintf("chunks%d", i)); err != nil {
			return err
		}
		if t.shelf[i], err = d.openRecords(fmt.Sprintf("spans%d", i), t.chunks[i].mark); err != nil {
			return err
		}
	}
	d.traces = t
	return nil
}

func (d *Dir) openRecords(name string, through uint64) (*records, error) {
	s := &records{base: through, through: through}
	log, report, err := d.db.Log(name, recordSegment, func(r tracedb.Record) error {
		if r.Kind != kindRecord || len(r.Payload) < 8 {
			d.unreadable(name, fmt.Errorf("record %d: %w", r.Seq, errRecord))
			return nil
		}
		if sequence := binary.LittleEndian.Uint64(r.Payload); sequence > through {
			s.kept = append(s.kept, kept{sequence, r.Seq, r.Ref})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.log = log
	d.found(name, report)
	return s, nil
}

// Record keeps r.
func (t *Traces) Record(r tracing.Record) error {
	s := t.shelf[r.Shelf]
	sequence := s.base + r.Sequence
	ref, seq, err := s.log.Append(kindRecord, binary.LittleEndian.AppendUint64(nil, sequence), r.Data)
	if t.dir.wrote(err) != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sequence > s.through { // else its chunk came first
		s.kept = append(s.kept, kept{sequence, seq, ref})
	}
	return nil
}

// Chunk keeps c, and lets go of the records that it stands for.
func (t *Traces) Chunk(c tracing.Chunk) error {
	s := t.shelf[c.Shelf]
	through := s.base + c.Through
	err := t.chunks[c.Shelf].put(chunkKey(c.Number), c.Data, through)
	if err == nil {
		err = s.release(through)
	}
	return t.dir.wrote(err)
}

// release deletes the files whose records are all in chunks.
func (s *records) release(through uint64) error {
	s.mu.Lock()
	s.through = max(s.through, through)
	s.kept = slices.DeleteFunc(s.kept, func(k kept) bool { return k.sequence <= through })
	first := s.log.Next()
	for _, k := range s.kept {
		first = min(first, k.seq)
	}
	s.mu.Unlock()
	_, err := s.log.DropBefore(first)
	return err
}

// Drop lets go of a chunk.
func (t *Traces) Drop(number uint64) error {
	var err error
	for _, chunks := range t.chunks {
		err = errors.Join(err, chunks.remove(chunkKey(number)))
	}
	return t.dir.wrote(err)
}

func chunkKey(number uint64) string { return string(binary.BigEndian.AppendUint64(nil, number)) }

// Replay reads the chunks by number, then the records that are in none, by
// sequence. What is damaged is logged and stepped over.
func (t *Traces) Replay(chunk func([]byte) error, record func(tracing.Record) error) error {
	of := map[string]*table{} // by number
	for _, chunks := range t.chunks {
		for _, key := range chunks.keys() {
			of[key] = chunks
		}
	}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		data, _, err := of[key].get(key)
		if err == nil {
			err = chunk(data)
		}
		if err != nil {
			t.dir.unreadable("chunks", err)
		}
	}
	for shelf, s := range t.shelf {
		s.mu.Lock()
		all := slices.Clone(s.kept)
		s.mu.Unlock()
		slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.sequence, b.sequence) })
		for _, k := range all {
			rec, err := s.log.Read(k.ref)
			if err == nil {
				err = record(tracing.Record{Shelf: shelf, Sequence: k.sequence - s.base, Data: rec.Payload[8:]})
			}
			if err != nil {
				t.dir.unreadable("spans", err)
			}
		}
	}
	return nil
}
