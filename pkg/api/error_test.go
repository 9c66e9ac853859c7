package api_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/pkg/api"
)

func TestErrorReads(t *testing.T) {
	for _, tt := range []struct{ name, in, text, parameter string }{
		{"a problem", `{"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"limit: want 1 to 100","errors":[{"parameter":"limit","message":"want 1 to 100"}]}`, "limit: want 1 to 100", "limit"},
		{"of Python", `{"detail":[{"loc":["query","limit"],"msg":"ensure this value is greater than 0","type":"value_error"},{"loc":[],"msg":"x"}]}`, "limit: ensure this value is greater than 0; : x", "limit"},
		{"text of Python", `{"detail":"Not Found"}`, "Not Found", ""},
		{"detail of another kind", `{"detail":{"a":1}}`, `{"a":1}`, ""},
		{"no detail", `{"title":"Gone"}`, "Gone", ""},
		{"nothing", `{"status":500}`, "HTTP status 500", ""},
		{"null", `null`, "HTTP status 0", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var e api.Error
			if err := json.Unmarshal([]byte(tt.in), &e); err != nil {
				t.Fatal(err)
			}
			if e.Error() != tt.text || tt.parameter != "" && (len(e.Errors) == 0 || e.Errors[0].Parameter != tt.parameter) {
				t.Errorf("error = %q %+v, want %q of %q", e.Error(), e.Errors, tt.text, tt.parameter)
			}
		})
	}
	for _, in := range []string{`[]`, `"x"`} {
		if err := json.Unmarshal([]byte(in), new(api.Error)); err == nil {
			t.Errorf("%s was taken", in)
		}
	}
}

func TestErrorMakers(t *testing.T) {
	if e := api.Invalid("limit", "want %d to %d", 1, 9); e.Status != 422 || e.Error() != "limit: want 1 to 9" || e.Errors[0].Parameter != "limit" {
		t.Errorf("Invalid = %+v", e)
	}
	e := api.Errorf(404, "no %s", "trace")
	e.Cause = io.EOF
	if e.Status != 404 || e.Error() != "no trace" || !errors.Is(e, io.EOF) {
		t.Errorf("Errorf = %+v", e)
	}
}

// Property: a problem that reads prints as one that reads the same.
func FuzzError(f *testing.F) {
	f.Add(`{"detail":"x","status":404,"retry_after":1.5,"cleared":3,"candidates":["a"]}`)
	f.Add(`{"detail":[{"loc":["query",1],"msg":"m"}]}`)
	f.Add(`{"detail":null,"DETAIL":"x"}`)
	f.Fuzz(func(t *testing.T, in string) {
		var e, back api.Error
		if json.Unmarshal([]byte(in), &e) != nil {
			return
		}
		b, err := json.Marshal(&e)
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if err := json.Unmarshal(b, &back); err != nil || back.Error() != e.Error() || back.Status != e.Status || len(back.Errors) != len(e.Errors) {
			t.Errorf("%q is %+v, and %s reads back as %+v, %v", in, e, b, back, err)
		}
	})
}

// A request's id is the caller's only where it can stand in a log and a header.
func TestRequestID(t *testing.T) {
	for _, tt := range []struct {
		in   string
		kept bool
	}{{"req-1", true}, {strings.Repeat("x", 128), true}, {strings.Repeat("x", 129), false}, {"", false}, {"a\nb", false}, {"ü", false}, {"a\x7f", false}} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{http.CanonicalHeaderKey(api.RequestIDHeader): {tt.in}}
		got := api.RequestID(r)
		if (got == tt.in) != tt.kept || got == "" || len(got) > 128 {
			t.Errorf("RequestID of %.20q = %q, kept %t", tt.in, got, tt.kept)
		}
	}
}
