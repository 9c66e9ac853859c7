package testkit_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/testkit"
)

func TestPython(t *testing.T) {
	p := testkit.Python(t)
	for _, tt := range []struct{ ask, want string }{
		{"GET /monitoring/", `404 {"detail":"Not Found"}`},
		{"GET /monitoring/traces?limit=0", `422 {"detail":[{"loc":["query","limit"],"msg":"ensure this value is greater than or equal to 1"`},
		{"GET /monitoring/traces?trace_id=nope", `404 {"detail":"Trace not found"}`},
		{"GET /monitoring/traces/cleanup", `405 {"detail":"Method Not Allowed"}`},
		{"POST /monitoring/circuit-breakers/nope/reset", `404 {"detail":"Circuit breaker not found"}`},
		{"POST /monitoring/circuit-breakers/openai%2Fv1/reset", `404 {"detail":"Not Found"}`},
		{"POST /monitoring/circuit-breakers/github_api/reset?dry_run=true", `200 {"message":"Circuit breaker 'github_api' reset"}`},
		{"GET /monitoring/circuit-breakers", `200 {"github_api":{"name":"github_api","state":"closed"`},
	} {
		if got := ask(t, p.URL, tt.ask); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s = %.200s, want %s", tt.ask, got, tt.want)
		}
	}
	p.ReplayCase(t, "c09_profiling_stats_500")
	if got := ask(t, p.URL, "GET /monitoring/profiling/stats"); got != "500 Internal Server Error" {
		t.Errorf("replayed stats = %s", got)
	}
	want := []string{
		"POST /monitoring/circuit-breakers/nope/reset",
		"POST /monitoring/circuit-breakers/openai%2Fv1/reset",
		"POST /monitoring/circuit-breakers/github_api/reset?dry_run=true",
	}
	if got := p.Actions(); !slices.Equal(got, want) {
		t.Errorf("Actions() = %q, want %q", got, want)
	}
}

func ask(t *testing.T, server, what string) string {
	t.Helper()
	method, path, _ := strings.Cut(what, " ")
	req, err := http.NewRequest(method, server+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, b)
}
