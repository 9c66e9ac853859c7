package render_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
)

func ms(n float64) api.Seconds { return api.Seconds(n * 1e6) }

func lastQuarter() api.StatsWindow {
	return api.StatsWindow{From: api.Time{Time: noon.Add(-15 * time.Minute)}, To: api.Time{Time: noon}}
}

func sampleStats() api.TraceStats {
	return api.TraceStats{
		StatsWindow: lastQuarter(),
		Operations: []api.OperationStats{
			{Service: "pulse-api", Operation: "POST /priority/generate", Kinds: []string{"server"}, Count: 12041, Rate: 13.4, Errors: 31, ErrorRate: 31. / 12041,
				P50: ms(214), P90: ms(612), P95: ms(902), P99: ms(2310), Max: ms(30000), LastErrorTraceID: "4bf92f3577b34da6a3ce929d0e0e4736", SlowestTraceID: "4bf92f3577b34da6a3ce929d0e0e4737"},
			{Service: "pulse-api", Operation: "GET /priority/{id}", Count: 402, Rate: 0.45, P50: ms(1.2), P90: ms(2), P95: ms(4), P99: ms(9), Max: ms(11), SlowestTraceID: "00f067aa0ba902b700f067aa0ba902b7"},
			{Service: "context-builder\x1b[2J", Operation: "SELECT events WHERE user_id = $1 AND created_at > $2 ORDER BY created_at", Count: 1, Rate: 0.001,
				Errors: 1, ErrorRate: 1, P50: ms(0.01), P90: ms(0.01), P95: ms(0.01), P99: ms(0.01), Max: ms(0.01), LastErrorTraceID: "ab", SlowestTraceID: "ab"},
		},
		Store: api.Retention{Traces: 1204, Spans: 14022, Bytes: 12 << 20, Oldest: api.Time{Time: noon.Add(-3 * time.Hour)}},
	}
}

func TestTraceStats(t *testing.T) {
	one := []api.Result[api.TraceStats]{{Instance: "http://127.0.0.1:8000", Value: sampleStats()}}
	golden(t, "trace-stats", func(w *bytes.Buffer, o render.Options) error { o.Limit = 2; return render.TraceStats(w, one, o) })
	fleet := append(one, refused[api.TraceStats]("http://10.0.0.2:8000"))
	golden(t, "trace-stats-fleet", func(w *bytes.Buffer, o render.Options) error { return render.TraceStats(w, fleet, o) })
	var w bytes.Buffer
	if err := render.TraceStats(&w, []api.Result[api.TraceStats]{{}}, render.Options{}); err != nil || !strings.Contains(w.String(), "No span has ended.") {
		t.Errorf("nothing: %q, %v", w.String(), err)
	}
}

func sampleGraph() api.ServiceGraph {
	return api.ServiceGraph{
		StatsWindow: lastQuarter(),
		Nodes: []api.ServiceNode{
			{Name: "context-builder", Spans: 40122, Calls: 12041, P95: ms(401)}, {Name: "loop-a", Spans: 2, Calls: 1}, {Name: "loop-b", Spans: 2, Calls: 1},
			{Name: "openai", External: true, Calls: 12041, Errors: 31}, {Name: "postgresql", External: true, Calls: 24000},
			{Name: "pulse-api", Spans: 60122, Calls: 12443, Errors: 31, P95: ms(902)}, {Name: "ranker", Spans: 50000, Calls: 12041, Errors: 31, P95: ms(820)},
		},
		Edges: []api.ServiceEdge{
			{From: "context-builder", To: "postgresql", Calls: 12041, Rate: 13.4, P95: ms(118)}, {From: "loop-a", To: "loop-b", Calls: 1, Rate: 0.001}, {From: "loop-b", To: "loop-a", Calls: 1, Rate: 0.001},
			{From: "pulse-api", To: "context-builder", Calls: 12041, Rate: 13.4, P95: ms(401)}, {From: "pulse-api", To: "postgresql", Calls: 11959, Rate: 13.3, P95: ms(14)},
			{From: "pulse-api", To: "ranker", Calls: 12041, Rate: 13.4, Errors: 31, P95: ms(820)}, {From: "ranker", To: "context-builder", Calls: 3, Rate: 0.003, P95: ms(300)},
			{From: "ranker", To: "openai", Calls: 12041, Rate: 13.4, Errors: 31, P95: ms(640)},
		},
	}
}

func TestServiceGraph(t *testing.T) {
	one := []api.Result[api.ServiceGraph]{{Instance: "http://127.0.0.1:8000", Value: sampleGraph()}}
	golden(t, "services", func(w *bytes.Buffer, o render.Options) error { return render.ServiceGraph(w, one, o) })
	fleet := append(one, refused[api.ServiceGraph]("http://10.0.0.2:8000"))
	golden(t, "services-fleet", func(w *bytes.Buffer, o render.Options) error { return render.ServiceGraph(w, fleet, o) })
}

func TestTraceTail(t *testing.T) {
	whole, broken := sampleTrace(), sampleTrace()
	broken.Complete, broken.Status, broken.Root, broken.Service = ptr(false), api.StatusTimeout, "GET /a/very/long/path/\x1b[2J"+strings.Repeat("x", 90), "a-service-with-a-long-name"
	fine := sampleTrace()
	fine.Status, fine.ErrorCount = api.StatusOK, api.CountOf(0)
	for _, names := range [][]string{nil, {"http://127.0.0.1:8000", "http://10.0.0.2:8000"}} {
		golden(t, fmt.Sprintf("trace-tail-%d", len(names)), func(w *bytes.Buffer, o render.Options) error {
			for i, tr := range []api.Trace{whole, broken, fine} {
				o.NoHeaders = i > 0
				if err := render.TraceTail(w, names, "http://10.0.0.2:8000", &tr, o); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
