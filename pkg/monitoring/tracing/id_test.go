package tracing_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTraceID(t *testing.T) {
	for _, tt := range []struct{ name, in string }{
		{"short", "4bf92f35"},
		{"all zeros", strings.Repeat("0", 32)},
		{"upper case", "4BF92F3577B34DA6A3CE929D0E0E4736"},
		{"not hex", strings.Repeat("g", 32)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tracing.ParseTraceID(tt.in); !errors.Is(err, tracing.ErrTraceID) {
				t.Errorf("ParseTraceID(%q) error = %v, want ErrTraceID", tt.in, err)
			}
		})
	}
}

func TestParseTraceparent(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"good", traceparent, true},
		{"not sampled", traceparent[:54] + "0", true},
		{"newer version with more fields", "cc" + traceparent[2:] + "-what", true},
		{"newer version without separator", "cc" + traceparent[2:] + "what", false},
		{"version 00 with more fields", traceparent + "-what", false},
		{"version ff", "ff" + traceparent[2:], false},
		{"zero trace id", "00-" + strings.Repeat("0", 32) + traceparent[35:], false},
		{"zero span id", traceparent[:36] + strings.Repeat("0", 16) + "-01", false},
		{"upper case", strings.ToUpper(traceparent), false},
		{"empty", "", false},
		{"cut", traceparent[:54], false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc, err := tracing.ParseTraceparent(tt.in)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, tracing.ErrTraceparent) {
				t.Errorf("ParseTraceparent(%q) = %v, %v", tt.in, sc, err)
			}
			if tt.ok && (!sc.IsValid() || !sc.IsRemote()) {
				t.Errorf("ParseTraceparent(%q) = %+v", tt.in, sc)
			}
		})
	}
}

// FuzzParseTraceparent: what parses as version 00 prints as it was, but for
// flags that nobody knows.
func FuzzParseTraceparent(f *testing.F) {
	f.Add(traceparent)
	f.Add("cc" + traceparent[2:])
	f.Fuzz(func(t *testing.T, s string) {
		sc, err := tracing.ParseTraceparent(s)
		if err != nil {
			return
		}
		if got := tracing.Traceparent(sc); got[3:52] != s[3:52] || len(got) != 55 {
			t.Errorf("%q parses and prints as %q", s, got)
		}
	})
}

func TestHotPathAllocations(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := tracing.ParseTraceparent(traceparent); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("ParseTraceparent: %v allocations, want 0", n)
	}
	s := newStore(t, tracing.Options{MaxBytes: 1 << 30})
	ctx, root := s.Start(t.Context(), "root", tracing.StartOptions{})
	defer root.End()
	if n := testing.AllocsPerRun(2000, func() { // the blocks and the index grow now and then
		_, sp := s.Start(ctx, "child", tracing.StartOptions{})
		sp.SetString("http.request.method", "GET")
		sp.SetInt("http.response.status_code", 200)
		sp.SetBool("cache.hit", true)
		sp.End()
	}); n > 1 && !raceEnabled {
		t.Errorf("child span: %v allocations, want 1", n)
	}
}
