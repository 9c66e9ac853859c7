package client_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

func TestPythonBreakers(t *testing.T) {
	p := testkit.Python(t)
	c := newClient(t, p.URL, client.Options{})
	all, err := c.Breakers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := all["github_api"]
	if b.Name != "github_api" || b.State != api.StateOpen || b.Stats.FailedRequests != 3 || b.Stats.FailureRate != 0.75 || b.Config.Timeout.Duration().String() != "500ms" {
		t.Errorf("github_api = %+v", b)
	}
	if got := b.Stats.LastFailureTime.UnixNano(); got != 1795415778760965800 {
		t.Errorf("last failure at %d", got)
	}
	if b.Mode != "" || b.Stats.Rejected != nil || b.RetryAt != nil {
		t.Errorf("what a Python server does not tell: mode %q, rejected %v, retry at %v", b.Mode, b.Stats.Rejected, b.RetryAt)
	}
	if one, err := c.Breaker(t.Context(), "openai/v1"); err != nil || one.Name != "openai/v1" {
		t.Errorf("Breaker(openai/v1) = %+v, %v", one, err)
	}
	if _, err := c.Breaker(t.Context(), "nope"); apiError(t, err).Status != 404 {
		t.Errorf("Breaker(nope): %v", err)
	}
	if ix, err := c.Index(t.Context()); err != nil || ix.Service != "python" || len(ix.Capabilities) > 0 {
		t.Errorf("Index = %+v, %v", ix, err)
	}
}

func TestPythonReset(t *testing.T) {
	p := testkit.Python(t)
	c := newClient(t, p.URL, client.Options{})
	got, err := c.ResetBreaker(t.Context(), "github_api", client.Reset{})
	if err != nil || got.Message != "Circuit breaker 'github_api' reset" {
		t.Errorf("ResetBreaker = %+v, %v", got, err)
	}
	if b, err := c.Breaker(t.Context(), "github_api"); err != nil || b.State != api.StateClosed {
		t.Errorf("afterwards: %+v, %v", b, err)
	}
	if _, err := c.ResetBreaker(t.Context(), "nope", client.Reset{}); apiError(t, err).Status != 404 {
		t.Errorf("ResetBreaker(nope): %v", err)
	}
}

// Its answer names no breakers: the list of before does.
func TestPythonResetAll(t *testing.T) {
	p := testkit.Python(t)
	c := newClient(t, p.URL, client.Options{})
	before, err := c.Breakers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ResetAllBreakers(t.Context(), client.Reset{})
	if err != nil || got.Total.Value() != int64(len(before)) || len(got.Reset) != len(before) {
		t.Fatalf("ResetAllBreakers = %+v, %v", got, err)
	}
	for _, r := range got.Reset {
		if r.PreviousState != before[r.Name].State {
			t.Errorf("%s was %s, and is told as %s", r.Name, before[r.Name].State, r.PreviousState)
		}
	}
}

// What a Python server would misunderstand is refused, and nothing is sent.
func TestPythonBreakerRefusals(t *testing.T) {
	dry := client.Action{DryRun: true}
	for _, tt := range []struct {
		name string
		do   func(*client.Client) error
		says string
	}{
		{"dry reset", func(c *client.Client) error {
			_, err := c.ResetBreaker(t.Context(), "github_api", client.Reset{Action: dry})
			return err
		}, "dry runs"},
		{"dry reset-all", func(c *client.Client) error {
			_, err := c.ResetAllBreakers(t.Context(), client.Reset{Action: dry})
			return err
		}, "dry runs"},
		{"half-open reset", func(c *client.Client) error {
			_, err := c.ResetBreaker(t.Context(), "github_api", client.Reset{HalfOpen: true})
			return err
		}, "half-open"},
		{"half-open reset-all", func(c *client.Client) error {
			_, err := c.ResetAllBreakers(t.Context(), client.Reset{HalfOpen: true})
			return err
		}, "half-open"},
		{"a name with a slash", func(c *client.Client) error {
			_, err := c.ResetBreaker(t.Context(), "openai/v1", client.Reset{})
			return err
		}, "slash"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testkit.Python(t)
			err := tt.do(newClient(t, p.URL, client.Options{}))
			if e := apiError(t, err); e.Code != client.CodeUnsupported || e.Status != 0 || !strings.Contains(e.Detail, tt.says) {
				t.Errorf("error = %d %q %q, want unsupported about %s", e.Status, e.Code, e.Detail, tt.says)
			}
			if got := p.Actions(); len(got) > 0 {
				t.Errorf("sent %q", got)
			}
		})
	}
}

func decode(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
