package bench

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pulsectl/pulsectl/internal/tracedb"
)

// BenchmarkDisk keeps what the trace store gives its disk for five batches of
// 500 spans, in a store of at most 256 MB: each batch, 37 kB, then one chunk of
// all five, 128 kB, both compressed before, and the batches are forgotten. Neither
// waits for the disk; disk-MB is what is there in the end.
func BenchmarkDisk(b *testing.B) {
	batch, chunk := noise(37_000), noise(128_000)
	const keep = 256_000_000 / 128_000 // chunks
	b.Run("impl=pulsectl", func(b *testing.B) {
		dir := b.TempDir()
		db := must(tracedb.Open(dir, tracedb.Options{Sync: 1 << 40}))
		defer db.Close()
		none := func(tracedb.Record) error { return nil }
		batches, _, err := db.Log("batches", 0, none)
		if err != nil {
			b.Fatal(err)
		}
		chunks, _, err := db.Log("chunks", 0, none)
		if err != nil {
			b.Fatal(err)
		}
		measureDisk(b, dir, func(int) {
			for range 5 {
				_, _, err := batches.Append(1, batch)
				ok(b, err)
			}
			_, _, err := chunks.Append(2, chunk)
			ok(b, err)
			_, err = batches.DropBefore(batches.Next())
			ok(b, err)
			_, err = chunks.Shrink(keep * 128_000)
			ok(b, err)
		})
	})
	b.Run("impl=pebble", func(b *testing.B) {
		dir := b.TempDir()
		db := must(pebble.Open(dir, &pebble.Options{
			FormatMajorVersion: pebble.FormatNewest, MemTableSize: 64 << 20, Logger: quiet{},
		}))
		defer db.Close()
		key := func(kind byte, n int) []byte { return binary.BigEndian.AppendUint64([]byte{kind}, uint64(n)) }
		measureDisk(b, dir, func(i int) {
			for j := range 5 {
				ok(b, db.Set(key('b', i*5+j), batch, pebble.NoSync))
			}
			ok(b, db.Set(key('c', i), chunk, pebble.NoSync))
			ok(b, db.DeleteRange(key('b', i*5), key('b', i*5+5), pebble.NoSync))
			if i >= keep {
				ok(b, db.Delete(key('c', i-keep), pebble.NoSync))
			}
		})
	})
}

func measureDisk(b *testing.B, dir string, op func(int)) {
	before := written()
	report := track(b)
	for i := 0; b.Loop(); i++ {
		op(i)
	}
	report()
	var size int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // gone meanwhile
		}
		if st, err := d.Info(); err == nil {
			size += st.Size()
		}
		return nil
	})
	b.ReportMetric(float64(size)/1e6, "disk-MB")
	b.ReportMetric((written()-before)/float64(b.N), "written-B/op")
}

// written returns the bytes that this process wrote so far.
func written() (n float64) {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if c, _ := fmt.Sscanf(line, "wchar: %f", &n); c == 1 {
			return n
		}
	}
	return 0
}

func ok(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// noise is what compressed spans look like to a store: nothing to gain.
func noise(n int) []byte {
	r, out := rand.NewChaCha8([32]byte{1}), make([]byte, n)
	r.Read(out)
	return out
}

// quiet is a pebble logger that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
