package tracing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/tracing"
)

// T9: the errors of clients quote the URL they asked, key and password included.
func TestErrorsHoldNoSecret(t *testing.T) {
	s, err := tracing.New(tracing.Options{})
	if err != nil {
		t.Fatal(err)
	}
	asked := &url.Error{Op: "Get", URL: "https://api.example.com/v1?page=2&api_key=s3cret", Err: errors.New("refused")}
	wrapped := fmt.Errorf("dial redis://:s3cret@cache:6379/0, then %w", asked)
	ctx, root := s.Start(context.Background(), "job", tracing.StartOptions{})
	_, failed := s.Start(ctx, "fetch", tracing.StartOptions{})
	failed.Fail(wrapped)
	failed.End()
	_, otel := s.TracerProvider().Tracer("lib").Start(ctx, "otel")
	otel.RecordError(wrapped)
	otel.SetStatus(codes.Error, wrapped.Error())
	otel.SetAttributes(attribute.String("error.message", wrapped.Error()), attribute.String("url.full", asked.URL))
	otel.End()
	root.SetStatus(api.StatusError, "panic: "+wrapped.Error())
	root.End()
	tr, err := s.Get(root.SpanContext().TraceID().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(tr)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Contains(text, "s3cret") {
		t.Errorf("the trace has a secret: %s", text)
	}
	for _, want := range []string{"page=2", "api.example.com/v1", "refused", "@cache:6379/0, then"} {
		if !strings.Contains(text, want) {
			t.Errorf("the trace lacks %q: %s", want, text)
		}
	}
}
