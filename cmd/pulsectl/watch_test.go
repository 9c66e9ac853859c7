package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

func TestOverwrite(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		rows       int
		want       string
	}{
		{"fits", "a\nb\n", 10, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J"},
		{"too long", "a\nb\nc\nd\n", 4, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n… 2 more lines\x1b[K\r\n\x1b[J"},
		{"just fits", "a\nb\nc\n", 4, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\nc\x1b[K\r\n\x1b[J"},
		{"rows unknown", strings.Repeat("x\n", 99), 0, "\x1b[H" + strings.Repeat("x\x1b[K\r\n", 99) + "\x1b[J"},
		{"no rows to speak of", "a\nb\n", 1, "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J"},
		{"two rows", "a\nb\nc\n", 2, "\x1b[H… 3 more lines\x1b[K\r\n\x1b[J"},
	} {
		if got := overwrite(tt.text, tt.rows); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Watching goes on while servers fail, and ends with what is not theirs.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := newApp(streams{strings.NewReader(""), &out, &out}, func(string) string { return "" })
		a.flags.output, a.flags.servers = "table", []string{"http://127.0.0.1:1"}
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		n := 0
		err := a.watch(ctx, time.Second, func(_ context.Context, a *app) error {
			n++
			a.streams.out.Write([]byte("frame\n"))
			if n == 2 {
				return &fleetError{failed: []*api.Error{{Detail: "no"}}}
			}
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || n != 6 || out.String() != strings.TrimPrefix(strings.Repeat("\nframe\n", 6), "\n") {
			t.Errorf("%d frames, %v: %q", n, err, out.String())
		}
		broken := errors.New("broken")
		if err := a.watch(t.Context(), time.Second, func(context.Context, *app) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("an error that is no server's: %v", err)
		}
		if err := a.watch(t.Context(), 0, func(_ context.Context, once *app) error {
			if once != a || once.watching {
				t.Error("once is not the app itself")
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
