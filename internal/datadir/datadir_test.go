package datadir_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/datadir"
	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("DATADIR_WRITER"); dir != "" {
		writeForever(dir)
		return
	}
	os.Exit(m.Run())
}

const t0 = 1_773_489_600_000_000_000 // Unix nanoseconds

// request is an OTLP request with one trace of three spans, the n-th.
func request(n int) []byte {
	var spans [][]byte
	for i := range 3 {
		s := otlp.Span{TraceID: [16]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}, SpanID: [8]byte{1, byte(i)}, Name: fmt.Sprint("op ", i),
			Start: uint64(t0 + n*1e6), End: uint64(t0 + n*1e6 + 1e5),
			Attrs: []otlp.KeyValue{{Key: "n", Value: otlp.Int(int64(n))}, {Key: "text", Value: otlp.String(strings.Repeat(fmt.Sprintf("%x ", rand.Uint64()), 30))}}}
		if i > 0 {
			s.ParentID = [8]byte{1, 0}
		}
		if n%50 == 0 {
			s.Status = 2
		}
		spans = append(spans, otlp.AppendSpan(nil, &s))
	}
	res := otlp.AppendResource(nil, &otlp.Resource{Attrs: []otlp.KeyValue{{Key: "service.name", Value: otlp.String("shop")}}})
	return otlp.AppendResourceSpans(nil, res, &otlp.Scope{Name: "lib"}, spans...)
}

// server is what lives between two restarts.
type server struct {
	dir      *datadir.Dir
	traces   *tracing.Store
	profiles *profiling.Store
	log      *bytes.Buffer
}

func start(t testing.TB, path string, maxBytes int64) *server {
	t.Helper()
	s := &server{log: new(bytes.Buffer)}
	var err error
	s.dir, err = datadir.Open(path, datadir.Options{Sync: time.Hour, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	if s.traces, err = tracing.New(tracing.Options{MaxBytes: maxBytes, MaxAge: 100 * 365 * 24 * time.Hour, Log: s.dir.Traces()}); err != nil {
		t.Fatal(err)
	}
	s.profiles = profiling.NewStore(profiling.StoreOptions{MaxBytes: 1 << 20, Log: s.dir.Profiles()})
	return s
}

func (s *server) stop() { s.dir.Close() }

func (s *server) fill(t testing.TB, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if _, rejected, err := s.traces.AddOTLP(request(n)); rejected > 0 || err != nil {
			t.Fatal(rejected, err)
		}
		if n%5 == 0 {
			ctx, root := s.traces.Start(context.Background(), "job", tracing.StartOptions{RequestID: fmt.Sprint("req-", n)})
			_, child := s.traces.Start(ctx, "step", tracing.StartOptions{})
			child.SetInt("n", int64(n))
			child.End()
			root.End()
		}
	}
}

// content is every trace as JSON by id.
func (s *server) content(t testing.TB) map[string]string {
	t.Helper()
	page, err := s.traces.Find(tracing.Query{State: tracing.Finished, Spans: true, Limit: 1 << 20})
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

func compare(t testing.TB, when string, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d traces, want %d", when, len(got), len(want))
	}
	for id, w := range want {
		if got[id] != w {
			t.Fatalf("%s: trace %s is\n%.600s\nand was\n%.600s", when, id, got[id], w)
		}
	}
}

func size(t testing.TB, path string) (n int64) {
	filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if st, serr := d.Info(); err == nil && serr == nil && !d.IsDir() {
			n += st.Size()
		}
		return nil
	})
	return n
}

func TestTracesComeBack(t *testing.T) {
	path := t.TempDir()
	n := 0
	want := map[string]string{}
	for restart := range 6 { // with much, little and nothing in between
		s := start(t, path, 64<<20)
		compare(t, fmt.Sprint("restart ", restart), s.content(t), want)
		more := []int{1500, 7, 0, 1500, 1, 0}[restart]
		s.fill(t, n, n+more)
		n += more
		want = s.content(t)
		s.stop()
		if strings.Contains(s.log.String(), "ERROR") {
			t.Errorf("restart %d logged %s", restart, s.log)
		}
	}
	if len(want) < 3000 {
		t.Errorf("%d traces in the end", len(want))
	}
}

// What the store lets go leaves the disk, and stays away.
func TestDiskIsBounded(t *testing.T) {
	path := t.TempDir()
	s := start(t, path, 2<<20)
	var most int64
	for n := 0; n < 8_000; n += 1000 {
		s.fill(t, n, n+1000)
		most = max(most, size(t, path))
	}
	want := s.content(t)
	dropped := s.traces.Stats().Dropped["evicted"]
	s.stop()
	if dropped == 0 || most > 80<<20 {
		t.Errorf("%d spans evicted, %d bytes on disk for a store of 2 MiB", dropped, most)
	}
	s = start(t, path, 2<<20)
	got := s.content(t)
	for id := range got {
		if want[id] == "" {
			t.Errorf("trace %s was evicted and is back", id)
			break
		}
	}
	if len(got) < len(want)*9/10 {
		t.Errorf("%d traces after the restart, %d before", len(got), len(want))
	}
}

func TestCleanedUpStaysAway(t *testing.T) {
	path := t.TempDir()
	s := start(t, path, 64<<20)
	s.fill(t, 0, 1200)
	if removed, _ := s.traces.Cleanup(0, false); removed == 0 {
		t.Fatal("nothing removed")
	}
	if left := s.content(t); len(left) > 0 {
		t.Fatalf("%d traces left", len(left))
	}
	s.stop()
	s = start(t, path, 64<<20)
	if back := s.content(t); len(back) > 0 {
		t.Errorf("%d traces are back", len(back))
	}
	s.fill(t, 5000, 5010)
	want := s.content(t)
	s.stop()
	s = start(t, path, 64<<20)
	compare(t, "after the clean-up", s.content(t), want)
}

func TestProfilesAndAuditComeBack(t *testing.T) {
	path := t.TempDir()
	s := start(t, path, 0)
	for i := range 30 {
		s.profiles.Add(api.Profile{ProfileID: fmt.Sprint("p_", i), OperationName: "op", Trigger: api.TriggerSlow, Labels: map[string]string{"a": "b"}}, bytes.Repeat([]byte{byte(i)}, 100<<10))
		if err := s.dir.Audit().Keep(api.AuditEntry{Action: "breakers.reset", Target: fmt.Sprint(i), Actor: "ops"}); err != nil {
			t.Fatal(err)
		}
	}
	want := s.profiles.List(profiling.Query{Limit: 100})
	s.stop()
	s = start(t, path, 0)
	got := s.profiles.List(profiling.Query{Limit: 100})
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) == 0 || len(got) > 10 {
		t.Errorf("profiles are %v, were %v", got, want)
	}
	for _, p := range got {
		var i byte
		fmt.Sscanf(p.ProfileID, "p_%d", &i)
		if _, data, err := s.profiles.Get(p.ProfileID); err != nil || !bytes.Equal(data, bytes.Repeat([]byte{i}, 100<<10)) {
			t.Errorf("profile %s: %d bytes, %v", p.ProfileID, len(data), err)
		}
	}
	last := s.dir.Audit().Last()
	if len(last) != 30 || last[29].Target != "29" || last[0].Actor != "ops" {
		t.Errorf("audit has %d records: %+v", len(last), last)
	}
	if removed, _ := s.profiles.Cleanup(-time.Hour, false); removed != len(got) {
		t.Errorf("cleaned up %d profiles", removed)
	}
	s.stop()
	s = start(t, path, 0)
	if back := s.profiles.List(profiling.Query{}); len(back) > 0 {
		t.Errorf("%d profiles are back", len(back))
	}
}

// A damaged file is reported and stepped over: the start succeeds, and what is
// not damaged is there as it was.
func TestDamage(t *testing.T) {
	whole := t.TempDir()
	s := start(t, whole, 64<<20)
	s.fill(t, 0, 1300)
	want := s.content(t)
	s.stop()
	files, _ := filepath.Glob(filepath.Join(whole, "*", "*.seg"))
	for _, f := range files {
		for range 2 {
			path := t.TempDir()
			if err := os.CopyFS(path, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(whole, f)
			data, _ := os.ReadFile(f)
			if len(data) == 0 {
				continue
			}
			data[rand.IntN(len(data))] ^= 0xff
			os.WriteFile(filepath.Join(path, rel), data, 0o600)
			s := start(t, path, 64<<20)
			got := s.content(t)
			s.stop()
			if !strings.Contains(s.log.String(), "stepped over") {
				t.Errorf("%s damaged: nothing is said of it", rel)
			}
			if len(got) < len(want)/4 {
				t.Errorf("%s damaged: %d of %d traces", rel, len(got), len(want))
			}
		}
	}
}

// A chunk that could not be written stands for nothing: the records that it was
// to stand for come back.
func TestChunkThatWasNotWritten(t *testing.T) {
	path := t.TempDir()
	open := func() *datadir.Dir {
		d, err := datadir.Open(path, datadir.Options{Sync: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	d := open()
	for n := range uint64(3) {
		if err := d.Traces().Record(tracing.Record{Sequence: n + 1, Data: []byte{byte(n + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Traces().Chunk(tracing.Chunk{Number: 1, Through: 3, Data: make([]byte, 65<<20)}); err == nil {
		t.Fatal("a chunk of 65 MiB was taken")
	}
	if err := d.Traces().Chunk(tracing.Chunk{Number: 2, Through: 1, Data: []byte("chunk")}); err != nil {
		t.Fatal(err)
	}
	d.Close()
	var chunks, records []string
	open().Traces().Replay(func(b []byte) error { chunks = append(chunks, string(b)); return nil },
		func(r tracing.Record) error { records = append(records, fmt.Sprint(r.Data)); return nil })
	if fmt.Sprint(chunks) != "[chunk]" || fmt.Sprint(records) != "[[2] [3]]" {
		t.Errorf("chunks %q, records %v", chunks, records)
	}
}

// A chunk of the one shelf that stays for long keeps no files of the other.
func TestShelvesFreeTheirOwnFiles(t *testing.T) {
	path := t.TempDir()
	d, err := datadir.Open(path, datadir.Options{Sync: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data := make([]byte, 1<<20)
	put := func(shelf int, number uint64) {
		if err := d.Traces().Chunk(tracing.Chunk{Shelf: shelf, Number: number, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 1)
	for number := uint64(2); number < 100; number++ {
		put(0, number)
		if number > 4 {
			if err := d.Traces().Drop(number - 3); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := size(t, path); n > 25<<20 {
		t.Errorf("%d MiB on disk for 4 MiB of chunks", n>>20)
	}
}

func TestInUse(t *testing.T) {
	path := t.TempDir()
	start(t, path, 0)
	if _, err := datadir.Open(path, datadir.Options{}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second Open = %v", err)
	}
	file := filepath.Join(path, "file")
	os.WriteFile(file, nil, 0o600)
	if _, err := datadir.Open(file, datadir.Options{}); err == nil {
		t.Error("a file was opened as a directory")
	}
}

// writeForever takes in traces and prints the number of each that it has
// acknowledged.
func writeForever(path string) {
	dir, err := datadir.Open(path, datadir.Options{})
	if err != nil {
		panic(err)
	}
	store, err := tracing.New(tracing.Options{MaxAge: 100 * 365 * 24 * time.Hour, Log: dir.Traces()})
	if err != nil {
		panic(err)
	}
	for n := 0; ; n++ {
		if _, _, err := store.AddOTLP(request(n)); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	path := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "DATADIR_WRITER="+path)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	io.CopyN(&out, pipe, 3000)
	cmd.Process.Kill()
	io.Copy(&out, pipe)
	cmd.Wait()
	acknowledged := strings.Count(out.String(), "\n")
	s := start(t, path, 64<<20)
	got := s.content(t)
	for n := range acknowledged {
		id := fmt.Sprintf("01%06x%024x", n, 0)
		if !strings.Contains(got[id], `"op 2"`) {
			t.Fatalf("trace %d of %d acknowledged is not there whole: %.200s", n, acknowledged, got[id])
		}
	}
	if acknowledged < 500 {
		t.Errorf("only %d traces were acknowledged", acknowledged)
	}
}
