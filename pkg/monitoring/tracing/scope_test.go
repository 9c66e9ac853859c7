package tracing_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/internal/otlp"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// A tracer's version and attributes are its scope's, of a span that runs and of
// one that has ended; readers see the name.
func TestScopeOfATracer(t *testing.T) {
	s := newStore(t, tracing.Options{})
	tr := s.TracerProvider().Tracer("sql\x00", trace.WithInstrumentationVersion("1.2.3"), trace.WithInstrumentationAttributes(attribute.Bool("wraps", true)))
	plain := s.TracerProvider().Tracer("sql")
	ctx, root := tr.Start(context.Background(), "running")
	_, child := plain.Start(ctx, "ended")
	child.End()
	_, other := tr.Start(ctx, "ended too")
	other.End()
	check := func(when string) {
		t.Helper()
		id := root.SpanContext().TraceID().String()
		got, err := s.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, sp := range got.Spans {
			if sp.Scope != "sql" {
				t.Errorf("%s: scope of %q is %q", when, sp.OperationName, sp.Scope)
			}
		}
		body, _, err := s.Export(id, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		versions := map[string]string{}
		var d otlp.Decoder
		err = d.Decode(body, func(_ *otlp.Resource, sc *otlp.Scope, sp *otlp.Span) {
			versions[strings.Clone(sp.Name)] = strings.Clone(sc.Version)
		})
		if err != nil {
			t.Fatal(err)
		}
		if versions["running"] != "1.2.3" || versions["ended too"] != "1.2.3" || versions["ended"] != "" {
			t.Errorf("%s: versions are %v", when, versions)
		}
	}
	check("running")
	root.End()
	check("ended")
}
