package tracing_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// notebook is a log in memory, which outlives its store.
type notebook struct {
	mu      sync.Mutex
	chunks  map[uint64]tracing.Chunk
	records [2][]tracing.Record
	full    bool // takes nothing more
	damaged int  // errors of the last replay
}

func newNotebook() *notebook { return &notebook{chunks: map[uint64]tracing.Chunk{}} }

var errFull = errors.New("no space left on device")

func (n *notebook) Record(r tracing.Record) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		return errFull
	}
	r.Data = slices.Clone(r.Data)
	n.records[r.Shelf] = append(n.records[r.Shelf], r)
	return nil
}

func (n *notebook) Chunk(c tracing.Chunk) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full {
		return errFull
	}
	n.chunks[c.Number] = c
	n.records[c.Shelf] = slices.DeleteFunc(n.records[c.Shelf], func(r tracing.Record) bool { return r.Sequence <= c.Through })
	return nil
}

func (n *notebook) Drop(number uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.chunks, number)
	return nil
}

func (n *notebook) Replay(chunk func([]byte) error, record func(tracing.Record) error) error {
	var numbers []uint64
	for number := range n.chunks {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	n.damaged = 0
	for _, number := range numbers {
		if err := chunk(n.chunks[number].Data); err != nil {
			n.damaged++
		}
	}
	for shelf := range n.records {
		records := slices.Clone(n.records[shelf])
		slices.SortFunc(records, func(a, b tracing.Record) int { return int(a.Sequence) - int(b.Sequence) })
		for _, r := range records {
			if err := record(r); err != nil {
				n.damaged++
			}
		}
	}
	return nil
}

// everything returns all that a store has, as JSON by trace id.
func everything(t testing.TB, s *tracing.Store) map[string]string {
	t.Helper()
	page, err := s.Find(tracing.Query{State: tracing.Finished, Spans: true, Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, tr := range page.Traces {
		b, err := json.Marshal(tr)
		if err != nil {
			t.Fatal(err)
		}
		out[tr.TraceID] = string(b)
	}
	return out
}

func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d traces, want %d", len(got), len(want))
	}
	for id, w := range want {
		if got[id] != w {
			t.Errorf("trace %s is\n%s\nand was\n%s", id, got[id], w)
			return
		}
	}
}

// fill gives a store traces of its own and of others, of all outcomes.
func fill(t testing.TB, s *tracing.Store, from, to int) {
	for i := from; i < to; i++ {
		add(t, s, batch(t, 1, 5, func(_ int, sp *otlp.Span) {
			sp.TraceID = traceID(1000 + i)
			sp.Attrs = []otlp.KeyValue{{Key: "padding", Value: otlp.String(strings.Repeat(fmt.Sprint(i), 50))}}
			if i%10 == 0 {
				sp.Status, sp.StatusMessage = 2, "boom"
			}
		}))
		ctx, root := s.Start(context.Background(), "GET /", tracing.StartOptions{RequestID: fmt.Sprint("req-", i), UserID: "u",
			Metadata: []attribute.KeyValue{attribute.Int("n", i)}})
		_, child := s.Start(ctx, "call", tracing.StartOptions{Scope: "http"})
		child.SetStatus([]api.Status{api.StatusOK, api.StatusTimeout, api.StatusAborted}[i%3], "because")
		child.End()
		root.End()
		if i%7 == 0 {
			s.Link(root.SpanContext().TraceID(), fmt.Sprint("p", i))
		}
	}
}

func TestRestart(t *testing.T) {
	log := newNotebook()
	o := tracing.Options{MaxBytes: 4 << 20, Log: log}
	s := newStore(t, o)
	fill(t, s, 0, 400)
	want := everything(t, s)
	if len(log.chunks) == 0 || len(log.records[0]) == 0 || len(log.records[0]) > 700 {
		t.Fatalf("%d chunks, %d records: want some of both, and no records of what is in chunks", len(log.chunks), len(log.records[0]))
	}
	for range 3 { // what was replayed is kept like what came
		s = newStore(t, o)
		got := everything(t, s)
		same(t, profilesAside(got), profilesAside(want))
		if log.damaged > 0 || s.Stats().Dropped["duplicate"] > 700 {
			t.Errorf("%d errors, stats %+v", log.damaged, s.Stats())
		}
	}
	fill(t, s, 400, 500)
	want = everything(t, s)
	same(t, profilesAside(everything(t, newStore(t, o))), profilesAside(want))
}

// profilesAside takes the links to profiles out, which are not logged by themselves.
// What a restart finds in a chunk and again in its record, and what had been
// refused before, is no loss of this run.
func TestRestartLosesNothing(t *testing.T) {
	log := newNotebook()
	s := newStore(t, tracing.Options{Log: log})
	twice := batch(t, 1, 5, func(_ int, sp *otlp.Span) { sp.TraceID = traceID(7) })
	add(t, s, twice)
	add(t, s, twice)
	if n := s.Stats().Dropped["duplicate"]; n != 5 {
		t.Fatalf("%d duplicates, want 5", n)
	}
	st := newStore(t, tracing.Options{Log: log}).Stats()
	if st.Spans != 5 || st.Received != 0 {
		t.Errorf("after the restart %d spans, %d received; want 5 and 0", st.Spans, st.Received)
	}
	for why, n := range st.Dropped {
		if n != 0 {
			t.Errorf("after the restart %d spans count as %s", n, why)
		}
	}
}

func profilesAside(m map[string]string) map[string]string {
	for id, s := range m {
		if at := strings.Index(s, `,"profile_ids"`); at >= 0 {
			m[id] = s[:at] + s[at+strings.Index(s[at:], "]")+1:]
		}
	}
	return m
}

func TestRestartAfterEviction(t *testing.T) {
	log := newNotebook()
	o := tracing.Options{MaxBytes: 1 << 20, Log: log}
	s := newStore(t, o)
	fill(t, s, 0, 3000)
	want := everything(t, s)
	for _, c := range log.chunks {
		info, err := tracing.DescribeChunk(c.Data)
		if err != nil || info.Number != c.Number || info.Shelf != c.Shelf || info.Spans == 0 || info.Start < t0 {
			t.Errorf("chunk %d: %+v, %v", c.Number, info, err)
		}
	}
	if len(log.chunks) > 100 {
		t.Errorf("%d chunks in the log: evicted ones stay", len(log.chunks))
	}
	s = newStore(t, o)
	got := everything(t, s)
	lost := 0
	for id := range want {
		if got[id] == "" {
			lost++
		}
	}
	if lost > len(want)/10 { // a store that is full may evict when it begins
		t.Errorf("%d of %d traces are lost", lost, len(want))
	}
	if page, _ := s.Find(tracing.Query{Status: api.StatusError, State: tracing.Finished}); page.Total < 300 {
		t.Errorf("%d failed traces, want all 300 foreign ones", page.Total)
	}
}

func TestCleanupOutlivesARestart(t *testing.T) {
	log := newNotebook()
	o := tracing.Options{MaxBytes: 4 << 20, Log: log}
	s := newStore(t, o)
	fill(t, s, 0, 400) // the foreign ones are of long ago
	s.Cleanup(time.Hour, false)
	want := everything(t, s)
	if len(want) != 400 {
		t.Fatalf("%d traces, want the 400 of this process", len(want))
	}
	same(t, profilesAside(everything(t, newStore(t, o))), profilesAside(want))
}

func TestLogThatIsFull(t *testing.T) {
	log := newNotebook()
	log.full = true
	s := newStore(t, tracing.Options{MaxBytes: 4 << 20, Log: log})
	fill(t, s, 0, 400)
	if st := s.Stats(); st.Traces != 800 || st.Unlogged < 2800 {
		t.Errorf("stats %+v, want all traces, and what is in memory alone counted", st)
	}
}

func TestDamagedLog(t *testing.T) {
	log := newNotebook()
	o := tracing.Options{MaxBytes: 4 << 20, Log: log}
	s := newStore(t, o)
	fill(t, s, 0, 400)
	for number, c := range log.chunks {
		c.Data[len(c.Data)/2] ^= 1
		if _, err := tracing.DescribeChunk(c.Data); !errors.Is(err, tracing.ErrChunk) {
			t.Errorf("DescribeChunk of a damaged chunk: %v", err)
		}
		log.chunks[number] = c
		break
	}
	log.records[0][0].Data = log.records[0][0].Data[:20]
	s = newStore(t, o)
	if n := s.Stats().Traces; log.damaged != 2 || n < 400 || n >= 800 {
		t.Errorf("%d errors, %d traces; want two errors, and the other traces", log.damaged, n)
	}
}

// one is a log with one chunk or record.
type one struct {
	notebook
	chunk  []byte
	record tracing.Record
	err    error
}

func (o *one) Replay(chunk func([]byte) error, record func(tracing.Record) error) error {
	if o.chunk != nil {
		o.err = chunk(o.chunk)
	} else {
		o.err = record(o.record)
	}
	return nil
}

// FuzzReplay: no chunk and no record makes a store panic, and what one takes can
// be read. Checksums are made right, or nothing would come beyond them.
func FuzzReplay(f *testing.F) {
	log := newNotebook()
	fill(f, newStore(f, tracing.Options{Log: log}), 0, 3) // small seeds, or the fuzzer does nothing but shorten them
	for _, r := range log.records[0] {
		f.Add(r.Data, false)
		if r.Data[0] == 1 { // a form
			if _, err := tracing.DescribeChunk(packed(f, chunkOf(r.Data[1:]))); err != nil {
				f.Fatal(err)
			}
			f.Add(chunkOf(r.Data[1:]), true)
			f.Add(packed(f, chunkOf(r.Data[1:])), true)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, chunk bool) {
		o := &one{notebook: *newNotebook()}
		if chunk {
			o.chunk = resum(data)
		} else {
			o.record = tracing.Record{Sequence: 1, Data: resum(data)}
		}
		s := newStore(t, tracing.Options{Log: o})
		found := everything(t, s)
		if o.err != nil && len(found) > 0 && chunk {
			t.Errorf("%d traces of a chunk with %v", len(found), o.err)
		}
		if n := s.Stats().Traces; n != len(found) {
			t.Errorf("%d traces, %d read", n, len(found))
		}
	})
}

// resum returns data with the checksum of a chunk's form at its end.
func resum(data []byte) []byte {
	out := slices.Clone(data)
	at := 0
	if len(out) > 0 && out[0] == 1 { // a record that is a form
		at = 1
	}
	if len(out) >= at+8 && string(out[at:at+3]) == "PTC" {
		sum := crc32.Checksum(out[at:len(out)-4], crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(out[len(out)-4:], sum)
	}
	return out
}

// A store that can hold less than its log has takes the newest, and drops the rest.
func TestLogWithMoreThanMemory(t *testing.T) {
	log := newNotebook()
	s := newStore(t, tracing.Options{MaxBytes: 4 << 20, Log: log})
	fill(t, s, 0, 3000)
	chunks := len(log.chunks)
	small := newStore(t, tracing.Options{MaxBytes: 512 << 10, Log: log})
	if st := small.Stats(); st.Bytes > 512<<10 || st.Traces == 0 || len(log.chunks) >= chunks || log.damaged > 0 {
		t.Errorf("stats %+v, %d of %d chunks left, %d damaged", st, len(log.chunks), chunks, log.damaged)
	}
	fill(t, small, 3000, 3010)
	if n := small.Stats().Traces; n < 20 {
		t.Errorf("%d traces", n)
	}
}
