package metric_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/pulsectl/pulsectl/pkg/monitoring/metric"
)

func empty(t testing.TB, o metric.Options) *metric.Metrics {
	t.Helper()
	m, err := metric.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// events returns the series of the ingested events by source.
func events(t testing.TB, m *metric.Metrics) map[string]*dto.Counter {
	t.Helper()
	out := map[string]*dto.Counter{}
	for _, f := range gather(t, m) {
		if f.GetName() == "pulse_api_events_ingested_total" {
			for _, s := range f.Metric {
				out[s.Label[1].GetValue()] = s.Counter
			}
		}
	}
	return out
}

// A series that has not changed for an hour goes; with its labels a new one
// begins at zero, with a creation time of its own. Handles find it.
func TestIdleSeriesLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := empty(t, metric.Options{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		kept, dropped := m.EventIngestedCounter("kept", "x"), m.EventIngestedCounter("dropped", "x")
		timer := m.DBQueryTimer("select", "t")
		route := m.Route("GET /rare")
		began := time.Now()
		dropped.Add(500)
		timer.Observe(metric.Observation{Duration: time.Second})
		route.Observe(metric.Request{Method: "GET"})
		for range 70 {
			kept.Add(1)
			time.Sleep(time.Minute)
		}
		got := events(t, m)
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"kept"}) || got["kept"].GetValue() != 70 {
			t.Errorf("series = %v, want kept at 70", got)
		}
		dropped.Add(2)
		m.EventIngested("dropped", "x")
		timer.Observe(metric.Observation{Duration: time.Second})
		back := events(t, m)["dropped"]
		if back.GetValue() != 3 || back.GetCreatedTimestamp().AsTime().Sub(began) < time.Hour {
			t.Errorf("the series that came back = %v, want 3 since the return", back)
		}
		for _, f := range gather(t, m) {
			switch f.GetName() {
			case "pulse_api_db_query_duration_seconds":
				if n := f.Metric[0].Histogram.GetSampleCount(); n != 1 || len(f.Metric) != 1 {
					t.Errorf("queries = %d, want 1 in a series of its own", n)
				}
			case "pulse_api_requests_total":
				if n := f.Metric[0].Counter.GetValue(); n != 1 {
					t.Errorf("requests of a rare route = %v, want 1 for ever", n)
				}
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A full family takes new series when idle ones have left.
func TestIdleSeriesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := empty(t, metric.Options{SeriesLimit: 3, SeriesIdle: time.Minute})
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go m.Run(ctx)
		for i := range 4 {
			m.EventIngested(fmt.Sprint(i), "x")
		}
		if n := len(events(t, m)); n != 3 {
			t.Fatalf("series = %d, want 3", n)
		}
		time.Sleep(2 * time.Minute)
		m.EventIngested("new", "x")
		if got := events(t, m); len(got) != 1 || got["new"].GetValue() != 1 {
			t.Errorf("series = %v, want the new one", got)
		}
	})
}

// Whoever counts while series leave and come back loses no count: what is
// counted is in the series that stands, or was in one that has left.
func TestNothingIsLostWhileSeriesLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := empty(t, metric.Options{SeriesIdle: time.Second})
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go m.Run(ctx)
		c := m.EventIngestedCounter("a", "x")
		for i := range 200 { // pauses around the time that it takes to leave
			c.Add(1)
			n := events(t, m)["a"].GetValue()
			if n < 1 {
				t.Fatalf("after count %d the series is at %v", i, n)
			}
			before := n
			time.Sleep(time.Duration(i%40) * 100 * time.Millisecond)
			m.EventIngested("a", "x")
			if n = events(t, m)["a"].GetValue(); n != before+1 && n != 1 {
				t.Fatalf("count went from %v to %v", before, n)
			}
		}
	})
}

// Counts that come in the very instant of a sweep, which marks their series for
// leaving before or after, all stand in it.
func TestSweepsAmidCountsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, rounds = 8, 100
		m := empty(t, metric.Options{SeriesIdle: 2 * time.Second})
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		go m.Run(ctx)
		c := m.EventIngestedCounter("a", "x")
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range rounds {
					if w%2 == 0 {
						c.Add(1)
					} else {
						m.EventIngested("a", "x")
					}
					time.Sleep(2 * time.Second)
				}
			})
		}
		wg.Wait()
		if n := events(t, m)["a"].GetValue(); n != writers*rounds {
			t.Errorf("count = %v, want %d", n, writers*rounds)
		}
	})
}

// A scrape amid requests is a whole: buckets ascend to the count, native ones
// add up to it, no count is below an earlier one, and an exemplar is of one
// observation.
func TestScrapesAmidRequestsAddUp(t *testing.T) {
	m := full(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 3 {
		timer := m.DBQueryTimer("select", "busy")
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					o := metric.Observation{Duration: time.Duration(i*i) * time.Microsecond, End: time.Unix(int64(i), 0), Trace: [16]byte{1}}
					binary.BigEndian.PutUint64(o.Trace[8:], uint64(o.Duration))
					m.Route(fmt.Sprintf("GET /%d", i%50)).Observe(metric.Request{Method: "GET", Status: 200 + w, Observation: o})
					timer.Observe(o)
					m.EventIngested("source", fmt.Sprint(i%300))
				}
			}
		})
	}
	seen := map[string]float64{}
	for i := range 12 {
		accept := []string{"text/plain", openMetrics, protobuf}[i%3]
		if accept == openMetrics {
			sameCount(t, m)
			continue
		}
		for name, f := range byName(t, m, accept) {
			for _, s := range f.Metric {
				if !strings.HasPrefix(name, "pulse_api_") || s.Gauge != nil {
					continue
				}
				key, count := name+fmt.Sprint(s.Label), s.GetCounter().GetValue()
				if h := s.Histogram; h != nil {
					count = float64(h.GetSampleCount())
					ascends(t, name, h)
					if accept == protobuf {
						addsUp(t, name, h)
					}
				}
				if count < seen[key] {
					t.Errorf("%s went from %v to %v", key, seen[key], count)
				}
				seen[key] = count
			}
		}
	}
	close(stop)
	wg.Wait()
}

func ascends(t *testing.T, name string, h *dto.Histogram) {
	t.Helper()
	last := uint64(0)
	for _, b := range h.Bucket {
		if b.GetCumulativeCount() < last {
			t.Errorf("%s: bucket %v holds %d after %d", name, b.GetUpperBound(), b.GetCumulativeCount(), last)
		}
		last = b.GetCumulativeCount()
		if e := b.Exemplar; e != nil {
			trace, err := hex.DecodeString(e.Label[0].GetValue())
			if took := time.Duration(binary.BigEndian.Uint64(trace[8:])); err != nil || trace[0] == 1 && took.Seconds() != e.GetValue() {
				t.Errorf("%s: exemplar of %v s is of a trace that took %v", name, e.GetValue(), took)
			}
		}
	}
	if last != h.GetSampleCount() {
		t.Errorf("%s: the last bucket holds %d of %d", name, last, h.GetSampleCount())
	}
}

// sameCount checks that the bucket +Inf of OpenMetrics is the count.
func sameCount(t *testing.T, m *metric.Metrics) {
	t.Helper()
	page, _ := scrape(t, m, openMetrics)
	inf := ""
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "pulse_api_") {
			continue
		}
		line, _, _ = strings.Cut(strings.TrimSpace(line), " # ")
		value := line[strings.LastIndexByte(line, ' ')+1:]
		if strings.Contains(line, `le="+Inf"`) {
			inf = value
		} else if strings.Contains(line, "_seconds_count{") && value != inf {
			t.Errorf("%s after a last bucket of %s", line, inf)
		}
	}
}

// One more series costs the same, however many there are.
func TestSeriesAreAddedInConstantTime(t *testing.T) {
	const n = 30_000
	m := empty(t, metric.Options{SeriesLimit: n})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range n {
		m.EventIngested(fmt.Sprint(i), "x")
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 1000 {
		t.Errorf("a series takes %d B to add, want less than 1000", each)
	}
	if got := len(events(t, m)); got != n {
		t.Errorf("series = %d, want %d", got, n)
	}
}

// A histogram takes as much memory as its durations spread.
func TestHistogramsAreSmall(t *testing.T) {
	const n = 3_000
	m := empty(t, metric.Options{SeriesLimit: 3 * n})
	tables := make([]string, n)
	for i := range tables {
		tables[i] = fmt.Sprint(i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, table := range tables {
		for d := time.Millisecond; d < 100*time.Millisecond; d += d / 4 {
			m.DBQuery("select", table, metric.Observation{Duration: d})
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapAlloc - before.HeapAlloc) / n
	t.Logf("%d B a histogram", each)
	if each > 1400 {
		t.Errorf("a histogram of two decades takes %d B, want at most 1400", each)
	}
	runtime.KeepAlive(m)
}

func TestObserveAllocatesNothing(t *testing.T) {
	m := full(t)
	q := metric.Request{Method: "POST", Status: 500, Observation: metric.Observation{Duration: time.Millisecond, End: time.Now(), Trace: [16]byte{1}}}
	counter, timer, route := m.FeedbackCounter("a", "b"), m.DBQueryTimer("select", "events"), m.Route("GET /{id}")
	n := testing.AllocsPerRun(1000, func() {
		m.Begin()
		q.End = q.End.Add(time.Second) // each is an exemplar
		m.Route("POST /priority/generate").Observe(q)
		route.Observe(q)
		m.DBQuery("select", "events", q.Observation)
		m.External("github", "/repos", "200", q.Observation)
		timer.Observe(q.Observation)
		counter.Add(1)
		m.EventIngested("github", "push")
		m.End()
	})
	if n != 0 {
		t.Errorf("allocations = %v, want 0", n)
	}
}

// A series allocates nothing when it is scraped.
func TestScrapeAllocatesNothingASeries(t *testing.T) {
	allocs := func(series int, accept string) float64 {
		m := empty(t, metric.Options{SeriesLimit: 3 * series})
		for i := range series {
			m.EventIngested("source", fmt.Sprint(i))
			m.DBQuery("select", fmt.Sprint(i), metric.Observation{Duration: time.Duration(i) * time.Millisecond, Trace: [16]byte{1}})
		}
		h := m.Handler()
		r := request(accept, "pulse_api_events_ingested_total", "pulse_api_db_query_duration_seconds")
		w := &counted{}
		h.ServeHTTP(w, r)
		return testing.AllocsPerRun(20, func() { h.ServeHTTP(w, r) })
	}
	for _, accept := range []string{"text/plain", openMetrics, protobuf} {
		few, many := allocs(10, accept), allocs(1000, accept)
		if more := many - few; more > 16 { // a large family in protobuf grows a buffer that is not kept
			t.Errorf("%s: 1000 series take %v allocations more than 10", accept, more)
		}
	}
}
