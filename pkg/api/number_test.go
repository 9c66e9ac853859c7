package api_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

func TestSecondsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		ns   int64
		want string
	}{
		{0, "0.0"}, {1, "0.000000001"}, {-1, "-0.000000001"}, {1_500_000_000, "1.5"}, {-1_500_000_000, "-1.5"},
		{60e9, "60.0"}, {math.MaxInt64, "9223372036.854775807"}, {math.MinInt64, "-9223372036.854775808"},
	} {
		b, err := json.Marshal(api.Seconds(tt.ns))
		if err != nil || string(b) != tt.want {
			t.Errorf("%d ns = %s, %v; want %s", tt.ns, b, err, tt.want)
		}
		var back api.Seconds
		if err := json.Unmarshal(b, &back); err != nil || int64(back) != tt.ns {
			t.Errorf("%s read back = %d ns, %v; want %d", b, back, err, tt.ns)
		}
	}
}

func TestSecondsRead(t *testing.T) {
	for in, want := range map[string]time.Duration{
		`null`: 0, `""`: 0, `"1.5"`: 1500 * time.Millisecond, `1e-3`: time.Millisecond, `1.5E3`: 1500 * time.Second, `-0`: 0, `3`: 3 * time.Second,
		`0.0000000015`: 2, `0.00000000149`: 1, `0.9999999999`: time.Second, `4.2e9`: 4_200_000_000 * time.Second,
	} {
		var s api.Seconds
		if err := json.Unmarshal([]byte(in), &s); err != nil || s.Duration() != want {
			t.Errorf("%s = %s, %v; want %s", in, s.Duration(), err, want)
		}
	}
	for _, in := range []string{`1e300`, `9223372036.854775808`, `99999999999`, `"NaN"`, `"Infinity"`, `"soon"`, `true`, `{}`, `[1]`, `"1.2.3"`, `"-"`} {
		var s api.Seconds
		if err := json.Unmarshal([]byte(in), &s); err == nil {
			t.Errorf("%s = %s, want an error", in, s.Duration())
		}
	}
}

func TestTimesOutOfRangeAreNull(t *testing.T) {
	for _, tm := range []time.Time{{}, time.Unix(0, 0), time.Unix(-1, 0), time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1492, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if b, err := json.Marshal(api.Time{Time: tm}); err != nil || string(b) != "null" {
			t.Errorf("%v = %s, %v; want null", tm, b, err)
		}
	}
	local := time.Date(2026, 11, 23, 12, 0, 0, 5, time.FixedZone("", 3600))
	if b, _ := json.Marshal(api.Time{Time: local}); string(b) != "1795431600.000000005" {
		t.Errorf("a local time = %s, want the same instant", b)
	}
}

func TestCountRead(t *testing.T) {
	for in, want := range map[string]api.Count{
		`3`: 3, `3.0`: 3, `"3"`: 3, `"3/1"`: 3, `null`: 0, `""`: 0, `-4`: -4, `1e3`: 1000, `9223372036854775807`: math.MaxInt64, `-9223372036854775808`: math.MinInt64,
	} {
		var c api.Count
		if err := json.Unmarshal([]byte(in), &c); err != nil || c != want {
			t.Errorf("%s = %d, %v; want %d", in, c, err, want)
		}
	}
	for _, in := range []string{`1e300`, `"NaN"`, `"many"`, `9223372036854775808`, `true`, `{}`} {
		var c api.Count
		if err := json.Unmarshal([]byte(in), &c); err == nil {
			t.Errorf("%s = %d, want an error", in, c)
		}
	}
	if n := (*api.Count)(nil).Value(); n != 0 {
		t.Errorf("no count = %d", n)
	}
}

// An error about a value from the network stays short.
func TestErrorsAreBounded(t *testing.T) {
	long := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	for _, v := range []any{new(api.Time), new(api.Seconds), new(api.Count)} {
		if err := json.Unmarshal(long, v); err == nil || len(err.Error()) > 200 {
			t.Errorf("%T: error of %d bytes", v, len(err.Error()))
		}
	}
}

// Property: every duration and instant reads back as it was, and what any text
// reads as does so too.
func FuzzSeconds(f *testing.F) {
	for _, s := range []string{"0.1", "-1.5", "1e9", "9223372036.854775807", `"NaN"`, "null", "1795431600.000000005", "-9223372036.854775808"} {
		f.Add(int64(len(s)), s)
	}
	f.Add(int64(math.MinInt64), "")
	f.Fuzz(func(t *testing.T, ns int64, text string) {
		sameSeconds(t, api.Seconds(ns))
		sameTime(t, api.Unix(ns))
		var s api.Seconds
		if s.UnmarshalJSON([]byte(text)) == nil {
			sameSeconds(t, s)
		}
		var tm api.Time
		if tm.UnmarshalJSON([]byte(text)) == nil {
			sameTime(t, tm)
		}
	})
}

func sameSeconds(t *testing.T, s api.Seconds) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back api.Seconds
	if err := json.Unmarshal(b, &back); err != nil || back != s {
		t.Errorf("%d ns as %s reads back as %d, %v", s, b, back, err)
	}
}

func sameTime(t *testing.T, tm api.Time) {
	t.Helper()
	b, err := json.Marshal(tm)
	if err != nil {
		t.Fatal(err)
	}
	var back api.Time
	if err := json.Unmarshal(b, &back); err != nil || !back.Equal(tm.Time) {
		t.Errorf("%v as %s reads back as %v, %v", tm, b, back, err)
	}
}

// Property: what reads as a count prints as the number it was read as.
func FuzzCount(f *testing.F) {
	for _, s := range []string{"3", "3.0", `"3/1"`, "-1e18", "null", `"x"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c, back api.Count
		if c.UnmarshalJSON([]byte(text)) != nil {
			return
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &back); err != nil || back != c {
			t.Errorf("%q is %d, and %s reads back as %d, %v", text, c, b, back, err)
		}
	})
}

// Property: a duration that parses is within what durations can be, and never
// of the other sign than its text.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"5", "1.5", "250ms", "10m", "-1s", "NaN", "inf", "1e9", "-0x1p10", "1e-400", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := api.ParseDuration(s)
		if err != nil {
			return
		}
		if strings.HasPrefix(s, "-") && d > 0 || !strings.HasPrefix(s, "-") && d < 0 {
			t.Errorf("ParseDuration(%q) = %s", s, d)
		}
	})
}
