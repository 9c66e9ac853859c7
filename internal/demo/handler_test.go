package demo_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/demo"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

func TestRequests(t *testing.T) {
	m, server := start(t, 1, monitoring.Options{})
	var rec demo.Recommendation
	for begin := time.Now(); rec.ID == "" && time.Since(begin) < 10*time.Second; time.Sleep(10 * time.Millisecond) { // until the dependencies are up
		status, body := send(t, server, "POST", "/priority/generate", `{"user_id":"u_8812"}`)
		if status != http.StatusCreated {
			continue
		}
		if err := json.Unmarshal([]byte(body), &rec); err != nil {
			t.Fatal(err)
		}
	}
	if rec.ID == "" || len(rec.Items) == 0 || rec.ContextType != "daily" || rec.Model == "" {
		t.Fatalf("recommendation = %+v", rec)
	}
	event := `{"type":"push","user_id":"u_1"}`
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"recommendation", "GET", "/priority/" + rec.ID, "", 200},
		{"again", "GET", "/priority/" + rec.ID, "", 200},
		{"recommendation that is not there", "GET", "/priority/rec_00000000000000000000000000", "", 404},
		{"no id of ours", "GET", "/priority/..%2f..%2fetc", "", 404},
		{"body cut off", "POST", "/priority/generate", `{"user_id":`, 400},
		{"no body", "POST", "/priority/generate", "", 400},
		{"two values", "POST", "/priority/generate", `{"user_id":"u_1"}{}`, 400},
		{"unknown field", "POST", "/priority/generate", `{"user":"u_1"}`, 400},
		{"wrong type", "POST", "/priority/generate", `{"user_id":7}`, 400},
		{"bad user", "POST", "/priority/generate", `{"user_id":"../../x"}`, 422},
		{"bad context type", "POST", "/priority/generate", `{"user_id":"u_1","context_type":"yearly"}`, 422},
		{"body too large", "POST", "/priority/generate", `{"user_id":"` + strings.Repeat("u", 70<<10) + `"}`, 413},
		{"wrong method", "PUT", "/priority/generate", "{}", 405},
		{"feedback", "POST", "/feedback", `{"recommendation_id":"` + rec.ID + `","type":"priority","score":5}`, 202},
		{"feedback on nothing", "POST", "/feedback", `{"type":"priority","score":5}`, 422},
		{"feedback of a new type", "POST", "/feedback", `{"recommendation_id":"` + rec.ID + `","type":"mood","score":5}`, 422},
		{"score out of bounds", "POST", "/feedback", `{"recommendation_id":"` + rec.ID + `","type":"priority","score":6}`, 422},
		{"comment too long", "POST", "/feedback", `{"recommendation_id":"` + rec.ID + `","type":"priority","score":5,"comment":"` + strings.Repeat("x", 3000) + `"}`, 422},
		{"events", "POST", "/ingest/github", `{"events":[` + event + `]}`, 202},
		{"no events", "POST", "/ingest/github", `{"events":[]}`, 422},
		{"too many events", "POST", "/ingest/github", `{"events":[` + strings.Repeat(event+",", 100) + event + `]}`, 422},
		{"event type of another source", "POST", "/ingest/slack", `{"events":[` + event + `]}`, 422},
		{"unknown source", "POST", "/ingest/fax", `{"events":[` + event + `]}`, 404},
		{"report", "GET", "/report/weekly?weeks=1", "", 200},
		{"report without weeks", "GET", "/report/weekly?weeks=0", "", 422},
		{"report of too many weeks", "GET", "/report/weekly?weeks=13", "", 422},
		{"report of no number", "GET", "/report/weekly?weeks=all", "", 422},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := send(t, server, tt.method, tt.path, tt.body)
			if status != tt.want {
				t.Fatalf("status %d, want %d: %s", status, tt.want, body)
			}
			var p api.Error
			if status >= 400 && status != 405 && (json.Unmarshal([]byte(body), &p) != nil || p.Detail == "" || p.Status != status) {
				t.Errorf("want a problem of status %d, got %s", status, body)
			}
		})
	}
	if st := m.Memory.Stats(); st.Hits == 0 {
		t.Errorf("memory cache: no hits")
	}
}

func TestWithoutRun(t *testing.T) {
	m, err := monitoring.New(monitoring.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Memory.Close()
	d, err := demo.New(m, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	d.Mount(mux)
	server := httptest.NewServer(m.Middleware(mux))
	defer server.Close()
	if status, body := send(t, server, "POST", "/priority/generate", `{"user_id":"u_1"}`); status != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503: %s", status, body)
	}
	if err := d.Run(t.Context(), "127.0.0.1:8000"); err == nil {
		t.Error("Run with an address that is no URL: want an error")
	}
	if _, err := demo.NewAtSpeed(m, nil, 0); err == nil {
		t.Error("NewAtSpeed at 0: want an error")
	}
	if _, err := demo.New(m, nil); err == nil {
		t.Error("a second demo on one monitor: want an error, its checks are there")
	}
}

func send(t *testing.T, server *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
