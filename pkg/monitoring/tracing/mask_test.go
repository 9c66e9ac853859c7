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

// Secrets are masked wherever a URL may have them, and nothing else is.
func TestMaskText(t *testing.T) {
	s := newStore(t, tracing.Options{})
	for in, want := range map[string]string{
		"https://u:s3cret@h/a?b=1":                            "https://u:***@h/a?b=1",
		"https://s3cret@github.com/o/r.git":                   "https://***@github.com/o/r.git",
		"https://h/login?next=/reset?token=s3cret&x=1":        "https://h/login?next=/reset?token=***&x=1",
		"https://h/?to=https://i/?a=1&api_key=s3cret#top":     "https://h/?to=https://i/?a=1&api_key=***#top",
		"https://h/callback#state=7&access_token=s3cret":      "https://h/callback#state=7&access_token=***",
		"https://h/a;session_id=s3cret;v=2?b=1":               "https://h/a;session_id=***;v=2?b=1",
		"https://h/?a;token=s3cret":                           "https://h/?a;token=***",
		"https://h?mail=ada@example.com":                      "https://h?mail=ada@example.com",
		"https://h/?token=&b==&=c&&":                          "https://h/?token=***&b==&=c&&",
		"get \"https://h/?token=s3cret\": no; é://?token=s&é": "get \"https://h/?token=***\": no; é://?token=***&é",
		"no URL, token=kept":                                  "no URL, token=kept",
	} {
		if got := s.MaskText(in); got != want {
			t.Errorf("MaskText(%q)\n= %q\nwant %q", in, got, want)
		}
	}
}
