package exectrace

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"golang.org/x/exp/trace"
)

// The parts of the trace format that frame it (internal/trace/tracev2). What
// is in the batches is left to golang.org/x/exp/trace.
const (
	headerSize = len("go 1.26 trace\x00\x00\x00")
	oldest     = 25 // the first version with a clock snapshot, and with a flight recorder

	evEventBatch        = 1
	evFrequency         = 8
	evExperimentalBatch = 49
	evSync              = 50
	evClockSnapshot     = 51
	evEndOfGeneration   = 52

	maxGenerations = 4096    // of a snapshot; more than an hour
	maxBatches     = 1 << 16 // of a generation; a thread has one, or more of 64 KiB
)

// generation is about a second of a trace, complete in itself.
type generation struct {
	number  uint64
	header  []byte // of the trace it comes from
	data    []byte // its batches
	batches int    // in it
	follows bool   // on the one whose number is one less, without a gap

	start     uint64  // of its first batch, in clock units
	nsPerUnit float64 // 0 until its sync batch was met
	clock     uint64  // in clock units, when the wall clock was at wall
	wall      time.Time
}

// at converts clock units as golang.org/x/exp/trace does.
func (g *generation) at(units uint64) int64 { return int64(float64(units) * g.nsPerUnit) }

// begin is when the generation began, by the clock of the trace.
func (g *generation) begin() int64 { return g.at(g.start) }

// traceTime converts a wall time of the traced process to the clock of the trace.
func (g *generation) traceTime(t time.Time) int64 { return g.at(g.clock) + int64(t.Sub(g.wall)) }

// merge returns the generations of all snapshots in order, each once, and what
// was wrong with the snapshots. Only if none can be read it is an error.
func merge(snapshots [][]byte) (all []generation, notes []string, err error) {
	for i, s := range snapshots {
		gens, e := split(s)
		if e != nil {
			err = cmp.Or(err, e)
			notes = append(notes, fmt.Sprintf("snapshot %d: %v", i+1, e))
		}
		all = append(all, gens...)
	}
	if len(all) == 0 {
		return nil, nil, cmp.Or(err, fmt.Errorf("%w: it is empty", ErrFormat))
	}
	slices.SortStableFunc(all, func(a, b generation) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(len(b.data), len(a.data)))
	})
	kept := all[:1]
	for _, g := range all[1:] {
		if last := &kept[len(kept)-1]; last.number == g.number {
			last.follows = last.follows || g.follows
			continue
		}
		kept = append(kept, g)
	}
	return kept, notes, nil
}

// split cuts a snapshot into its generations, without looking into their events.
// With an error it returns those before it.
func split(s []byte) ([]generation, error) {
	header, err := headerOf(s)
	if err != nil {
		return nil, err
	}
	var out []generation
	for pos := headerSize; pos < len(s); {
		if s[pos] == evEndOfGeneration {
			if len(out) > 0 {
				g := &out[len(out)-1]
				g.data = g.data[:len(g.data)+1]
			}
			pos++
			continue
		}
		b, err := readBatch(s[pos:])
		if err != nil {
			return complete(out[:max(0, len(out)-1)]), fmt.Errorf("%w at byte %d: %w", ErrBroken, pos, err)
		}
		if n := len(out); n == 0 || out[n-1].number != b.generation {
			if n == maxGenerations {
				return complete(out), fmt.Errorf("%w: more than %d generations", ErrTooLarge, maxGenerations)
			}
			follows := n > 0 && out[n-1].number+1 == b.generation
			out = append(out, generation{number: b.generation, header: header, data: s[pos:pos], follows: follows, start: b.time})
		}
		g := &out[len(out)-1]
		if g.batches++; g.batches > maxBatches {
			return complete(out[:len(out)-1]), fmt.Errorf("%w: more than %d batches in a generation", ErrTooLarge, maxBatches)
		}
		g.data = g.data[:len(g.data)+b.size]
		g.start = min(g.start, b.time)
		if err := g.sync(b); err != nil {
			return complete(out[:len(out)-1]), fmt.Errorf("%w at byte %d: %w", ErrBroken, pos, err)
		}
		pos += b.size
	}
	return complete(out), nil
}

// headerOf returns the header of a trace, if this program can read what follows.
func headerOf(s []byte) ([]byte, error) {
	header := s[:min(len(s), headerSize)]
	var version int
	if _, err := fmt.Sscanf(string(header), "go 1.%d trace\x00\x00\x00", &version); err != nil {
		return nil, fmt.Errorf("%w: no header", ErrFormat)
	}
	if version < oldest {
		return nil, fmt.Errorf("%w: go 1.%d, want 1.%d or newer", ErrVersion, version, oldest)
	}
	if _, err := trace.NewReader(bytes.NewReader(header)); err != nil {
		return nil, fmt.Errorf("%w: go 1.%d", ErrVersion, version)
	}
	return header, nil
}

// complete leaves out the generations that have no clock.
func complete(gs []generation) []generation {
	return slices.DeleteFunc(gs, func(g generation) bool { return g.nsPerUnit == 0 || g.wall.IsZero() })
}

type batch struct {
	generation, time uint64
	data             []byte // its events
	size             int    // with its header
}

func readBatch(s []byte) (b batch, err error) {
	pos := 1
	if s[0] == evExperimentalBatch {
		pos++ // which experiment
	} else if s[0] != evEventBatch {
		return b, fmt.Errorf("a batch that begins with %d", s[0])
	}
	var length uint64
	for _, to := range []*uint64{&b.generation, new(uint64), &b.time, &length} {
		v, n := binary.Uvarint(s[min(pos, len(s)):])
		if n <= 0 {
			return b, fmt.Errorf("a batch with no header")
		}
		*to, pos = v, pos+n
	}
	if length > uint64(len(s)-pos) {
		return b, fmt.Errorf("a batch of %d bytes where %d are left", length, len(s)-pos)
	}
	b.data, b.size = s[pos:pos+int(length)], pos+int(length)
	return b, nil
}

// sync takes the clock from a batch that has it.
func (g *generation) sync(b batch) error {
	if len(b.data) == 0 || b.data[0] != evSync {
		return nil
	}
	for d := b.data[1:]; len(d) > 0; {
		var arg [4]uint64
		n := map[byte]int{evFrequency: 1, evClockSnapshot: 4}[d[0]]
		if n == 0 {
			return fmt.Errorf("event %d in a sync batch", d[0])
		}
		event := d[0]
		d = d[1:]
		for i := range n {
			v, size := binary.Uvarint(d)
			if size <= 0 {
				return fmt.Errorf("a sync batch that is cut off")
			}
			arg[i], d = v, d[size:]
		}
		if event == evFrequency {
			if arg[0] == 0 {
				return fmt.Errorf("a clock that stands still")
			}
			g.nsPerUnit = 1e9 / float64(arg[0])
		} else { // units since the batch's time, monotonic clock, seconds, nanoseconds
			g.clock, g.wall = b.time+arg[0], time.Unix(int64(arg[2]), int64(arg[3]))
		}
	}
	return nil
}
