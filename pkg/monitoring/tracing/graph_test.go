package tracing_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

func TestGraph(t *testing.T) {
	s := newStore(t, tracing.Options{})
	base := uint64(time.Now().Add(-time.Minute).UnixNano())
	str := func(k, v string) []otlp.KeyValue { return []otlp.KeyValue{{Key: k, Value: otlp.String(v)}} }
	for i := range byte(10) {
		id := trace16(i + 1)
		status := int32(0)
		if i == 3 {
			status = 2
		}
		bring(t, s, foreign("web",
			otlp.Span{TraceID: id, SpanID: span8(1), Name: "GET /", Kind: 2, Start: base, End: base + 9e6},
			otlp.Span{TraceID: id, SpanID: span8(2), ParentID: span8(1), Name: "call shop", Kind: 3, Start: base + 1, End: base + 8e6, Attrs: str("peer.service", "shop")},
			otlp.Span{TraceID: id, SpanID: span8(3), ParentID: span8(1), Name: "GET k", Kind: 3, Start: base + 1, End: base + 2e6, Attrs: append(str("server.address", "cache.internal"), str("db.system.name", "redis")...)}))
		bring(t, s, foreign("shop", otlp.Span{TraceID: id, SpanID: span8(4), ParentID: span8(2), Name: "buy", Kind: 2, Start: base + 2, End: base + 7e6, Status: status}))
	}
	g := s.Graph(tracing.StatsQuery{})
	var edges, nodes []string
	for _, e := range g.Edges {
		edges = append(edges, fmt.Sprintf("%s>%s %d/%d %s", e.From, e.To, e.Calls, e.Errors, e.P95.Duration().Round(time.Millisecond)))
	}
	for _, n := range g.Nodes {
		nodes = append(nodes, fmt.Sprintf("%s %d %d/%d %v", n.Name, n.Spans, n.Calls, n.Errors, n.External))
	}
	if want := []string{"web>redis 10/0 2ms", "web>shop 10/1 7ms"}; !slices.Equal(edges, want) {
		t.Errorf("edges %q, want %q", edges, want)
	}
	if want := []string{"redis 0 10/0 true", "shop 10 10/1 false", "web 30 10/0 false"}; !slices.Equal(nodes, want) {
		t.Errorf("nodes %q, want %q", nodes, want)
	}
	if g := s.Graph(tracing.StatsQuery{Service: "redis"}); len(g.Edges) != 1 || g.Edges[0].To != "redis" {
		t.Errorf("edges of redis: %+v", g.Edges)
	}
	if g := s.Graph(tracing.StatsQuery{Since: time.Now()}); len(g.Edges) != 0 || len(g.Nodes) != 0 {
		t.Errorf("a graph of nothing: %+v", g)
	}
}
