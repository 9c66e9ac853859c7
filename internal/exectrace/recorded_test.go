package exectrace_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/exectrace"
	"github.com/pulsectl/pulsectl/internal/testkit"
)

var recordFlag = flag.Bool("record", false, "record the traces in testdata anew (with -trimpath, and -update for what is said of them)")

// recorded is the program's run as the flight recorder saw it: when it became
// slow, and at its end.
type recorded struct {
	Request       exectrace.Request
	First, Second []byte
}

func readRecorded(t testing.TB) (r recorded) {
	t.Helper()
	b, err := os.ReadFile("testdata/waits.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecord(t *testing.T) {
	if !*recordFlag {
		t.Skip("-record is not given")
	}
	fr := recorder(t, window10s)
	p := newProgram(t)
	requests := make(chan exectrace.Request)
	go func() { requests <- serve(p.run) }()
	time.Sleep(5 * wait / 2)
	r := recorded{First: snapshot(t, fr), Request: <-requests}
	r.Second = snapshot(t, fr)
	for _, b := range [][]byte{r.First, r.Second} {
		if bytes.Contains(b, []byte("/internal/exectrace/")) && !bytes.Contains(b, []byte("github.com/pulsectl/pulsectl/internal/exectrace/")) {
			t.Fatal("the traces name this machine's paths: record with -trimpath")
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/waits.json", b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What is said of a trace that does not change does not change.
func TestRecorded(t *testing.T) {
	r := readRecorded(t)
	e := explain(t, [][]byte{r.First, r.Second}, r.Request, exectrace.Options{})
	b, err := json.MarshalIndent(e, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "waits.golden.json", append(b, '\n'))
}

// A request may begin and end anywhere: its states sum to its wall time, and
// those of its parts to its own.
func TestParts(t *testing.T) {
	r := readRecorded(t)
	wall := r.Request.To.Sub(r.Request.From)
	const parts = 2000
	rs := make([]exectrace.Request, parts)
	for i := range rs {
		rs[i] = r.Request
		rs[i].From = r.Request.From.Add(wall * time.Duration(i) / parts)
		rs[i].To = r.Request.From.Add(wall * time.Duration(i+1) / parts)
	}
	out, err := exectrace.ExplainAll(context.Background(), [][]byte{r.First, r.Second}, append(rs, r.Request), exectrace.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]time.Duration{}
	for i, part := range out[:parts] {
		checkSums(t, part.Explanation, rs[i].To.Sub(rs[i].From))
		for _, s := range part.Explanation.States {
			sum[s.State] += s.Duration.Duration()
		}
	}
	for _, s := range out[parts].Explanation.States {
		// Each part has its clock from the generation that is nearest.
		if d := sum[s.State] - s.Duration.Duration(); d.Abs() > time.Microsecond {
			t.Errorf("%v %s, its parts sum to %v", s.Duration.Duration(), s.State, sum[s.State])
		}
	}
}

// Whatever comes in, what comes out sums to the wall time, or is an error in a
// line.
func FuzzExplain(f *testing.F) {
	r := readRecorded(f)
	f.Add(r.First, r.Second)
	f.Add(r.Second, []byte{})
	f.Add(r.First[:len(r.First)/2], r.Second)
	f.Add([]byte("go 1.26 trace\x00\x00\x00"), []byte("go 1.22 trace\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		e, err := exectrace.Explain(ctx, [][]byte{first, second}, r.Request, exectrace.Options{MaxBytes: 1 << 20,
			Sampled: []exectrace.Window{{From: r.Request.From, To: r.Request.To}}})
		if err == nil {
			checkSums(t, e, r.Request.To.Sub(r.Request.From))
		} else if e != nil || strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
			t.Errorf("explanation %s, error %q", dump(e), err)
		}
	})
}
