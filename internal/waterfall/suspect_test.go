package waterfall_test

import (
	"math"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/waterfall"
	"github.com/pulsectl/pulsectl/pkg/api"
)

func TestSuspiciousTimesStay(t *testing.T) {
	l := layout(
		sp("r", "", 100, 200), sp("early", "r", 50, 80), sp("back", "r", 150, 140), sp("late", "r", 190, 230), sp("after", "r", 210, 220),
		with(sp("consumer", "r", 210, 220), kind("consumer")), sp("rounded", "r", 110, 200.001))
	check(t, l, `
r 10ms last
 early 30ms starts_early:50ms
 rounded 90.001ms
 back 0s backwards:10ms
 late 40ms ends_late:30ms
 after 10ms starts_late:10ms
 consumer 10ms last
`)
	if l.Rows[1].Start != 0 || l.Rows[0].Start != 50*time.Millisecond || l.Suspects != 4 {
		t.Errorf("times were moved: %+v", l.Rows)
	}
}

func TestDoubtsOfOneSpan(t *testing.T) {
	now := time.Unix(0, t0)
	later := with(sp("f", "", 0, 5000), func(*api.Span) {})
	unknown := with(sp("u", "r", 0, 5), func(s *api.Span) { s.StartUnixNano = 0 })
	other := with(sp("d", "r", 0, 5), func(s *api.Span) { s.EndTime = api.Unix(t0 + 25e6) })
	for _, tt := range []struct {
		name string
		span api.Span
		want waterfall.Suspicion
	}{
		{"in the future", later, waterfall.Suspicion{What: waterfall.Future, By: 5 * time.Second}},
		{"no start", unknown, waterfall.Suspicion{What: waterfall.NoStart}},
		{"end and duration", other, waterfall.Suspicion{What: waterfall.Disagree, By: 20 * time.Millisecond}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := waterfall.New(&api.Trace{Spans: []api.Span{sp("r", "", 0, 50), tt.span}}, now)
			row, err := l.Find(tt.span.SpanID)
			if err != nil || len(l.Rows[row].Suspect) != 1 || l.Rows[row].Suspect[0] != tt.want {
				t.Errorf("suspicions %+v, %v; want %+v", l.Rows[row].Suspect, err, tt.want)
			}
			if l.Duration > time.Minute {
				t.Errorf("the trace takes %v", l.Duration)
			}
		})
	}
}

func TestExtremeTimes(t *testing.T) {
	far := with(sp("far", "", 0, 0), func(s *api.Span) { s.StartUnixNano = math.MaxInt64 - 5 })
	past := with(sp("past", "far", 0, 10), func(s *api.Span) { s.StartUnixNano = math.MinInt64 + 5 })
	long := with(sp("long", "far", 0, 0), func(s *api.Span) { d := api.Seconds(math.MaxInt64); s.Duration = &d })
	l := waterfall.New(&api.Trace{Spans: []api.Span{far, past, long}}, time.Unix(0, t0))
	if l.Duration != 1<<62 {
		t.Errorf("the trace takes %v", l.Duration)
	}
	for _, r := range l.Rows {
		if r.Start < 0 || r.End < r.Start {
			t.Errorf("%s: %v to %v, suspicions %v", r.Span.SpanID, r.Start, r.End, r.Suspect)
		}
	}
}

func TestClockSkew(t *testing.T) {
	spans := []api.Span{
		sp("r", "", 100, 200),
		with(sp("a", "r", 60, 80), of("db")), with(sp("b", "r", 90, 110), of("db")), // 40 to 90 behind
		with(sp("c", "r", 170, 190), of("cache")), with(sp("d", "r", 195, 205), of("cache")), // 5 to 70 ahead
		with(sp("e", "r", 90, 300), of("slow")), // longer than the parent: no clock explains that
		with(sp("f", "r", 90, 100), of("both")), with(sp("g", "r", 195, 205), of("both")),
	}
	l := layout(spans...)
	want := []waterfall.Skew{
		{Service: "db", Parent: "svc", Least: 40 * time.Millisecond, Most: 90 * time.Millisecond, Spans: 2},
		{Service: "cache", Parent: "svc", Least: -70 * time.Millisecond, Most: -5 * time.Millisecond, Spans: 1},
	}
	if len(l.Skews) != 2 || l.Skews[0] != want[0] || l.Skews[1] != want[1] {
		t.Errorf("skews %+v, want %+v", l.Skews, want)
	}
}
