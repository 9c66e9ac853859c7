package server_test

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// docs/api.md tells of each route there is, and below /monitoring of no other.
func TestRoutesAreDescribed(t *testing.T) {
	b, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	s, err := server.New(server.Options{Access: server.Access{AllowAnonymous: true}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/monitoring/", nil))
	var index api.Index
	if err := json.Unmarshal(w.Body.Bytes(), &index); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	served := map[string]bool{}
	for _, e := range index.Endpoints {
		name := e.Method + " " + e.Path
		served[name] = true
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/api.md does not tell of %q (%s)", name, e.Summary)
		}
	}
	for _, m := range regexp.MustCompile("`((GET|POST|PUT|DELETE) (/monitoring|/health)[^` ?]*)").FindAllStringSubmatch(page, -1) {
		if !served[m[1]] {
			t.Errorf("docs/api.md tells of %q, which the server has not", m[1])
		}
	}
}
