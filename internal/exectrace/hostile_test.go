package exectrace_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
)

// forged writes traces that no runtime would.
type forged struct{ bytes.Buffer }

func (f *forged) uvarints(vs ...uint64) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

// batch writes a batch of events of generation 1.
func (f *forged) batch(thread, at uint64, events ...[]byte) {
	data := bytes.Join(events, nil)
	f.WriteByte(1)
	f.Write(f.uvarints(1, thread, at, uint64(len(data))))
	f.Write(data)
}

// begin writes the header and the clock: a unit is a nanosecond, and it is now.
func (f *forged) begin(now time.Time) {
	f.WriteString("go 1.26 trace\x00\x00\x00")
	clock := append([]byte{50, 8}, f.uvarints(1e9)...)
	clock = append(append(clock, 51), f.uvarints(0, 1, uint64(now.Unix()), uint64(now.Nanosecond()))...)
	f.batch(1, 1000, clock)
}

func forge(now time.Time, batches func(f *forged)) []byte {
	var f forged
	f.begin(now)
	batches(&f)
	f.WriteByte(52)
	return f.Bytes()
}

// A trace that is made to take long is given up in time, one that is made to
// take much memory is not read.
func TestHostile(t *testing.T) {
	now := time.Now()
	r := exectrace.Request{Goroutines: []int64{7}, From: now, To: now.Add(time.Second)}
	status := func(goroutine uint64) []byte { return append([]byte{25}, (&forged{}).uvarints(1, goroutine, 0, 1)...) }
	for _, tt := range []struct {
		name    string
		want    error
		batches func(f *forged)
	}{
		{"threads that wait for one another", context.DeadlineExceeded, func(f *forged) {
			for m := range uint64(30_000) {
				f.batch(m+2, 1000, append([]byte{16}, f.uvarints(1, 1<<30, 5)...)) // starts a goroutine that there is not
			}
			for n := range uint64(100) {
				var many [][]byte
				for g := range uint64(5000) {
					many = append(many, status(100+n*5000+g))
				}
				f.batch(1, 2000, many...)
			}
		}},
		{"batches", exectrace.ErrTooLarge, func(f *forged) {
			for range 1 << 17 {
				f.batch(3, 1000)
			}
		}},
		{"generations", exectrace.ErrUnseen, func(f *forged) {
			for g := range uint64(10_000) {
				f.Write([]byte{1})
				f.Write(f.uvarints(g+2, 1, 1000, 0))
			}
		}},
		{"a batch that says it is large", exectrace.ErrBroken, func(f *forged) {
			f.Write([]byte{1})
			f.Write(f.uvarints(1, 1, 1000, 1<<63))
		}},
		{"a clock that stands still", exectrace.ErrBroken, func(f *forged) { f.batch(1, 1, []byte{50, 8, 0}) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := forge(now, tt.batches)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			begin := time.Now()
			e, err := exectrace.Explain(ctx, [][]byte{data}, r, exectrace.Options{})
			if !errors.Is(err, tt.want) {
				t.Errorf("%d bytes: explanation %s, error %v, want %v", len(data), dump(e), err, tt.want)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("%d bytes took %v", len(data), d)
			}
		})
	}
}
