package client_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

// fakeClear answers clearings as a server whose Redis has 2,500 keys, 1,000 of
// which it clears at a time, and fails at a cursor. It notes the queries.
type fakeClear struct {
	failAt  string
	queries []string
}

func (f *fakeClear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		fmt.Fprint(w, `{"service":"x","capabilities":["dry_run","cache_cursor"]}`)
		return
	}
	f.queries = append(f.queries, r.URL.RawQuery)
	cursor := r.URL.Query().Get("cursor")
	if cursor == f.failAt && f.failAt != "" {
		w.Header().Set("Content-Type", api.ProblemType)
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprintf(w, `{"status":502,"detail":"cleared 7 cache entries, then: i/o timeout","cleared":7,"next":"at%s"}`, cursor)
		return
	}
	step := map[string]string{
		"":   `{"message":"Cleared 1000 cache entries","cleared":1000,"progress":0.4,"next":"c1"}`,
		"c1": `{"message":"Cleared 1000 cache entries","cleared":1000,"progress":0.8,"next":"c2"}`,
		"c2": `{"message":"Cleared 500 cache entries","cleared":500}`,
	}[cursor]
	fmt.Fprint(w, step)
}

func clearClient(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	ts := httptest.NewServer(h)
	t.Cleanup(ts.Close)
	c, err := client.New(ts.URL, client.Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClearGoesStepByStep(t *testing.T) {
	var f fakeClear
	c := clearClient(t, &f)
	var told []int64
	got, err := c.Clear(t.Context(), "redis", client.Clearing{Pattern: "user:*", Action: client.Action{DryRun: true}, Tell: func(so api.CacheCleared) { told = append(told, so.Cleared.Value()) }})
	if err != nil || got.Cleared.Value() != 2500 || got.Next != "" {
		t.Errorf("Clear = %+v, %v", got, err)
	}
	if !slices.Equal(told, []int64{1000, 2000, 2500}) {
		t.Errorf("told %v", told)
	}
	want := []string{
		"budget=500ms&dry_run=true&pattern=user%3A%2A", "budget=500ms&cursor=c1&dry_run=true&pattern=user%3A%2A", "budget=500ms&cursor=c2&dry_run=true&pattern=user%3A%2A",
	}
	if !slices.Equal(f.queries, want) {
		t.Errorf("asked %q", f.queries)
	}
}

// A clearing that breaks off says how far it came in all, and goes on from there.
func TestClearThatBreaksOff(t *testing.T) {
	f := fakeClear{failAt: "c2"}
	c := clearClient(t, &f)
	var e *api.Error
	if _, err := c.Clear(t.Context(), "redis", client.Clearing{}); !errors.As(err, &e) || e.Status != 502 || e.Cleared.Value() != 2007 || e.Next != "atc2" {
		t.Errorf("error = %+v", e)
	}
	f.failAt = ""
	if got, err := c.Clear(t.Context(), "redis", client.Clearing{Cursor: "c2"}); err != nil || got.Cleared.Value() != 500 {
		t.Errorf("going on = %+v, %v", got, err)
	}
}

// A server that would not understand a cursor is not sent one.
func TestCursorIsRefusedForPython(t *testing.T) {
	p := testkit.NewPython(t)
	c, err := client.New(p.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var e *api.Error
	if _, err := c.Clear(t.Context(), "redis", client.Clearing{Cursor: "c1"}); !errors.As(err, &e) || e.Code != client.CodeUnsupported {
		t.Errorf("Clear with a cursor: %v", err)
	}
	if n := p.Actions(); len(n) != 0 {
		t.Errorf("it was sent %v", n)
	}
	if _, err := c.CacheKeys(t.Context(), "redis", client.KeyQuery{}); !errors.As(err, &e) || e.Status != 404 {
		t.Errorf("CacheKeys: %v", err)
	}
	info, err := c.RedisInfo(t.Context())
	if err != nil || info.CacheHits != 12 || info.RedisURL != "redis://***@127.0.0.1:16379/0" {
		t.Errorf("RedisInfo = %+v, %v", info, err)
	}
}

// A Python server whose Redis is gone answers as if it were there.
func TestPythonRedisThatIsGone(t *testing.T) {
	c, _ := python(t, map[string]string{"GET /monitoring/cache/redis/info": `{"connected":true,"redis_url":"redis://:s3cret@h/0","cache_hits":1,"cache_misses":0,"cache_errors":9,"hit_rate":1}`})
	var e *api.Error
	if _, err := c.RedisInfo(t.Context()); !errors.As(err, &e) || e.Status != 503 || e.Detail != "redis at redis://***@h/0 does not answer" {
		t.Errorf("RedisInfo: %v", err)
	}
}

// Keys come over as many pages as the limit needs, some of them empty.
func TestKeysOverPages(t *testing.T) {
	pages := map[string]api.CacheKeys{
		"": {Keys: []api.CacheKey{{Key: "a"}, {Key: "b"}}, Next: next("p1")}, "p1": {Keys: []api.CacheKey{}, Next: next("p2")}, "p2": {Keys: []api.CacheKey{{Key: "c"}}},
	}
	var limits []string
	c := clearClient(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limits = append(limits, r.URL.Query().Get("limit"))
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(pages[r.URL.Query().Get("cursor")]); err != nil {
			t.Error(err)
		}
	}))
	all, err := c.CacheKeys(t.Context(), "redis", client.KeyQuery{})
	if err != nil || len(all.Keys) != 3 || all.Next != nil {
		t.Errorf("all = %+v, %v", all, err)
	}
	some, err := c.CacheKeys(t.Context(), "redis", client.KeyQuery{Limit: 2})
	if err != nil || len(some.Keys) != 2 || some.Next == nil || *some.Next != "p1" {
		t.Errorf("two = %+v, %v", some, err)
	}
	if want := []string{"1000", "1000", "1000", "2"}; !slices.Equal(limits, want) {
		t.Errorf("limits %v, want %v", limits, want)
	}
}

func next(s string) *string { return &s }
