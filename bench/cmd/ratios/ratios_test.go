package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// One goal is reached, one is missed in each way, one row has no peer, one is
// over the bare handler.
func TestTable(t *testing.T) {
	m, err := readFiles([]string{filepath.Join("testdata", "results.txt")})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	writeTable(&out, m)
	golden := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("table:\n%s\nwant:\n%s", out.Bytes(), want)
	}
}

func TestNoBenchmarks(t *testing.T) {
	if _, err := readFiles([]string{filepath.Join("testdata", "table.golden")}); err == nil {
		t.Error("a file without benchmarks was taken")
	}
}
