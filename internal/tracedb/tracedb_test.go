package tracedb_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/tracedb"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("TRACEDB_WRITER"); dir != "" {
		writeForever(dir)
		return
	}
	os.Exit(m.Run())
}

// open opens a directory and its log, and returns the payloads that it held.
func open(t testing.TB, dir string, o tracedb.Options) (*tracedb.DB, *tracedb.Log, tracedb.Report, []string) {
	t.Helper()
	db, err := tracedb.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var got []string
	log, report, err := db.Log("spans", 0, func(r tracedb.Record) error {
		got = append(got, string(r.Payload))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db, log, report, got
}

func payload(i int) string {
	return fmt.Sprintf("record %d %s", i, strings.Repeat(strconv.Itoa(i%10), i*37%900))
}

// fill appends n records and closes.
func fill(t testing.TB, dir string, o tracedb.Options, n int) (refs []tracedb.Ref) {
	t.Helper()
	db, log, _, _ := open(t, dir, o)
	for i := range n {
		p := payload(i)
		ref, _, err := log.Append(1, []byte(p[:3]), []byte(p[3:]))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return refs
}

var small = tracedb.Options{Sync: time.Hour, SegmentBytes: 4 << 10}

func TestRecordsComeBack(t *testing.T) {
	dir := t.TempDir()
	refs := fill(t, dir, small, 100)
	_, log, report, got := open(t, dir, small)
	if report.Records != 100 || report.Damaged != 0 || report.Torn != 0 || len(got) != 100 {
		t.Fatalf("report = %+v, %d records", report, len(got))
	}
	for i, g := range got {
		if g != payload(i) {
			t.Errorf("record %d = %.40q, want %.40q", i, g, payload(i))
		}
		rec, err := log.Read(refs[i])
		if err != nil || string(rec.Payload) != payload(i) || rec.Seq != uint64(i+1) || rec.Kind != 1 {
			t.Errorf("Read %d = %+v, %v", i, rec, err)
		}
	}
	if _, seq, err := log.Append(2, nil); err != nil || seq != 101 {
		t.Errorf("next record is %d, %v, want 101", seq, err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "spans", "*.seg")); len(files) < 5 {
		t.Errorf("%d segments of 4 KiB for 100 records", len(files))
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	db, _, _, _ := open(t, dir, small)
	if _, err := tracedb.Open(dir, small); !errors.Is(err, tracedb.ErrLocked) {
		t.Errorf("second Open = %v, want ErrLocked", err)
	}
	db.Close()
	again, err := tracedb.Open(dir, small)
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	again.Close()
}

// What was being written when the machine died is torn, not damage: nothing
// before it is lost, wherever the cut is.
func TestTornTail(t *testing.T) {
	whole := t.TempDir()
	fill(t, whole, tracedb.Options{Sync: time.Hour}, 3)
	path := filepath.Join("spans", "0000000000000001.seg")
	data, err := os.ReadFile(filepath.Join(whole, path))
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(data) {
		dir := t.TempDir()
		os.Mkdir(filepath.Join(dir, "spans"), 0o700)
		if err := os.WriteFile(filepath.Join(dir, path), data[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		db, log, report, got := open(t, dir, small)
		want, end := 0, 0
		for i := 0; i < 3 && end+36+len(payload(i)) <= cut; i++ {
			end += 36 + len(payload(i))
			want++
		}
		if len(got) != want || report.Damaged != 0 || report.Torn != int64(cut-end) {
			t.Errorf("cut at %d: %d records, %+v; want %d records and %d bytes torn", cut, len(got), report, want, cut-end)
		}
		if _, seq, err := log.Append(1, []byte("next")); err != nil || seq <= uint64(want) {
			t.Errorf("cut at %d: append: record %d, %v", cut, seq, err)
		}
		db.Close()
		if _, _, _, got := open(t, dir, small); len(got) != want+1 || got[want] != "next" {
			t.Errorf("cut at %d: after an append and a restart: %d records", cut, len(got))
		}
	}
}

// A damaged byte costs the record it is in and no other, and is told.
func TestDamageIsSteppedOver(t *testing.T) {
	whole := t.TempDir()
	fill(t, whole, small, 40)
	files, _ := filepath.Glob(filepath.Join(whole, "spans", "*.seg"))
	for range 60 {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "spans", filepath.Base(files[rand.IntN(len(files))]))
		data, _ := os.ReadFile(path)
		data[rand.IntN(len(data))] ^= byte(1 + rand.IntN(255))
		os.WriteFile(path, data, 0o600)
		db, _, report, got := open(t, dir, small)
		if len(got) < 39 || report.Damaged+report.Torn == 0 {
			t.Errorf("one byte changed: %d of 40 records, %+v", len(got), report)
		}
		if report.Damaged > 0 && (len(report.Where) == 0 || !strings.Contains(report.Where[0], ".seg")) {
			t.Errorf("where is %q", report.Where)
		}
		for _, g := range got {
			var i int
			fmt.Sscanf(g, "record %d", &i)
			if g != payload(i) {
				t.Errorf("a changed record was returned: %.40q", g)
			}
		}
		db.Close()
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, small, 5)
	spans := filepath.Join(dir, "spans")
	os.WriteFile(filepath.Join(spans, "notes.seg"), []byte("mine"), 0o600)
	os.WriteFile(filepath.Join(spans, "00000000000000ff.seg"), nil, 0o600)
	os.Mkdir(filepath.Join(spans, "0000000000000fff.seg"), 0o700)
	_, log, report, got := open(t, dir, small)
	if len(got) != 5 || len(report.Where) != 1 {
		t.Errorf("%d records, %+v", len(got), report)
	}
	if _, seq, err := log.Append(1, []byte("x")); err != nil || seq <= 0xfff {
		t.Errorf("append: record %d, %v: a name may be taken twice", seq, err)
	}
}

func TestDropping(t *testing.T) {
	dir := t.TempDir()
	refs := fill(t, dir, small, 100)
	_, log, _, _ := open(t, dir, small)
	before := log.Bytes()
	first, err := log.DropBefore(50)
	if err != nil || first > 50 || first < 30 {
		t.Errorf("DropBefore(50) leaves %d…, %v", first, err)
	}
	if _, err := log.Read(refs[0]); !errors.Is(err, tracedb.ErrGone) {
		t.Errorf("Read of a dropped record = %v, want ErrGone", err)
	}
	if rec, err := log.Read(refs[60]); err != nil || string(rec.Payload) != payload(60) {
		t.Errorf("Read of a kept record = %v", err)
	}
	if _, err := log.Shrink(before / 4); err != nil || log.Bytes() > before/4 {
		t.Errorf("Shrink leaves %d bytes of %d, %v", log.Bytes(), before, err)
	}
	log.Append(1, []byte("new"))
	if first, err := log.Shrink(0); err != nil || first != 101 {
		t.Errorf("Shrink(0) leaves %d…, %v; want the file that takes records", first, err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "spans", "*.seg"))
	var size int64
	for _, f := range files {
		st, _ := os.Stat(f)
		size += st.Size()
	}
	if size != log.Bytes() {
		t.Errorf("Bytes = %d, the files have %d", log.Bytes(), size)
	}
}

func TestTooLarge(t *testing.T) {
	_, log, _, _ := open(t, t.TempDir(), small)
	if _, _, err := log.Append(1, make([]byte, tracedb.MaxPayload), []byte{1}); err == nil {
		t.Error("a record beyond MaxPayload was taken")
	}
	if _, seq, err := log.Append(1, nil); err != nil || seq != 1 {
		t.Errorf("afterwards: record %d, %v", seq, err)
	}
}

// Many writers share the waits for the disk, and all read back what they wrote.
func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	db, log, _, _ := open(t, dir, tracedb.Options{SegmentBytes: 8 << 10})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				p := payload(w*20 + i)
				ref, _, err := log.Append(byte(w), []byte(p))
				if err != nil {
					t.Error(err)
					return
				}
				if rec, err := log.Read(ref); err != nil || string(rec.Payload) != p || rec.Kind != byte(w) {
					t.Errorf("read back: %.40q, %v", rec.Payload, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			log.Sync()
			log.Bytes()
		}
	})
	wg.Wait()
	db.Close()
	if _, _, report, got := open(t, dir, small); len(got) != 320 || report.Damaged != 0 {
		t.Errorf("%d records, %+v", len(got), report)
	}
}

// writeForever appends numbers and prints each once it is acknowledged.
func writeForever(dir string) {
	db, err := tracedb.Open(dir, tracedb.Options{SegmentBytes: 64 << 10})
	if err != nil {
		panic(err)
	}
	log, _, err := db.Log("spans", 0, func(tracedb.Record) error { return nil })
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		if _, _, err := log.Append(1, []byte(payload(i))); err != nil {
			panic(err)
		}
		fmt.Println(i)
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TRACEDB_WRITER="+dir)
	var out bytes.Buffer
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	io.CopyN(&out, pipe, 500)
	cmd.Process.Kill()
	io.Copy(&out, pipe)
	cmd.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	_, _, report, got := open(t, dir, small)
	if len(got) < len(lines) || report.Damaged != 0 {
		t.Fatalf("%d records acknowledged, %d found, %+v", len(lines), len(got), report)
	}
	for i, g := range got {
		if g != payload(i) {
			t.Fatalf("record %d = %.40q", i, g)
		}
	}
}
