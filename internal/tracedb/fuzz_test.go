package tracedb_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pulsectl/pulsectl/internal/tracedb"
)

// Whatever is in a file, opening neither fails nor invents: each record that
// it finds reads back the same, and every byte is a record's, torn or damaged.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	fill(f, dir, small, 4)
	data, err := os.ReadFile(filepath.Join(dir, "spans", "0000000000000001.seg"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add(append(data[5:], data...))
	f.Add([]byte("PLR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		os.Mkdir(filepath.Join(dir, "spans"), 0o700)
		if err := os.WriteFile(filepath.Join(dir, "spans", "0000000000000001.seg"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := tracedb.Open(dir, small)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var recs []tracedb.Record
		kept := int64(0)
		log, report, err := db.Log("spans", 0, func(r tracedb.Record) error {
			kept += 36 + int64(len(r.Payload))
			r.Payload = append([]byte(nil), r.Payload...)
			recs = append(recs, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if kept+report.Torn+report.Damaged != int64(len(data)) {
			t.Errorf("%d bytes of records, %d torn, %d damaged: not %d in all", kept, report.Torn, report.Damaged, len(data))
		}
		for _, want := range recs {
			if got, err := log.Read(want.Ref); err != nil || string(got.Payload) != string(want.Payload) || got.Seq != want.Seq {
				t.Errorf("record %d: %v", want.Seq, err)
			}
		}
	})
}
