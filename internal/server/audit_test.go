package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// shelf is a keeper in memory.
type shelf struct {
	kept []api.AuditEntry
	err  error
}

func (s *shelf) Keep(e api.AuditEntry) error {
	s.kept = append(s.kept, e)
	return s.err
}

func (s *shelf) Last() []api.AuditEntry { return s.kept }

func TestAuditIsReadAndKept(t *testing.T) {
	f := bare(t)
	keeper := &shelf{kept: []api.AuditEntry{{Time: api.Time{Time: time.Now().Add(-time.Hour)}, Action: "cache.clear", Actor: "before the restart"}}}
	f.Audit = keeper
	c := contract(t, newServer(t, f))
	c.do("POST /monitoring/circuit-breakers/openai_api/reset", nil, "X-Pulsectl-Reason", "INC-42")
	c.do("POST /monitoring/circuit-breakers/nobody/reset", nil)
	c.do("POST /monitoring/circuit-breakers/reset-all?dry_run=true", nil)
	audit := func(query string) (got api.Audit) {
		must(t, json.Unmarshal(c.do("GET /monitoring/audit"+query, nil).body, &got))
		return got
	}
	got := audit("")
	if len(got.Entries) != 3 || got.Total != 3 {
		t.Fatalf("audit = %+v, want the two changes and the one of before", got)
	}
	failed, done, old := got.Entries[0], got.Entries[1], got.Entries[2]
	if failed.Status != 404 || failed.Target != "nobody" || old.Actor != "before the restart" {
		t.Errorf("audit = %+v", got.Entries)
	}
	if done.Action != "breakers.reset" || done.Reason != "INC-42" || done.Status != 200 || done.Before != "open" || done.After != "closed" ||
		!strings.HasPrefix(done.Actor, "127.0.0.1:") || done.RequestID == "" {
		t.Errorf("record = %+v", done)
	}
	if old.Hash != "" || done.Seq != 1 || failed.Seq != 2 || done.Previous != "" || failed.Previous != done.Hash || len(failed.Hash) != 64 {
		t.Errorf("%d %q, %d %q after %q, want a chain", done.Seq, done.Hash, failed.Seq, failed.Hash, failed.Previous)
	}
	if got := audit("?before=2"); len(got.Entries) != 2 || got.Entries[0].Seq != 1 || got.Total != 2 {
		t.Errorf("before=2: %+v", got)
	}
	if len(keeper.kept) != 3 {
		t.Errorf("%d records kept, want 3", len(keeper.kept))
	}
	if got := audit("?since=1m&limit=1"); len(got.Entries) != 1 || got.Total != 2 {
		t.Errorf("since=1m&limit=1: %+v", got)
	}
	keeper.err = errors.New("the disk is full")
	c.do("POST /monitoring/circuit-breakers/reset-all", nil)
	if !strings.Contains(f.log.take(), "audit record is not on disk") {
		t.Error("a record that was not kept is not told of")
	}
}

// What is kept is bounded: the oldest go and are counted, and a large state is
// told by its size.
func TestAuditIsBounded(t *testing.T) {
	f := bare(t)
	for i := range 300 {
		value(f.Breakers.Add(fmt.Sprintf("a_rather_long_name_of_a_breaker_%03d", i), breaker.Options{}))(t)
	}
	s := newServer(t, f)
	c := contract(t, s)
	c.do("POST /monitoring/circuit-breakers/reset-all", nil)
	local := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	for range 10_000 {
		r := httptest.NewRequestWithContext(local, http.MethodPost, "http://127.0.0.1/monitoring/traces/cleanup?max_age_seconds=60", nil)
		r.RemoteAddr = "127.0.0.1:1"
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
	c.do("POST /monitoring/circuit-breakers/reset-all", nil)
	var got api.Audit
	must(t, json.Unmarshal(c.do("GET /monitoring/audit?limit=1000", nil).body, &got))
	if got.Total != 10_000 || got.Dropped != 2 || len(got.Entries) != 1000 || got.Entries[0].Action != "breakers.reset_all" {
		t.Errorf("total %d, dropped %d, %d entries, the newest %+v", got.Total, got.Dropped, len(got.Entries), got.Entries[0])
	}
	m, _ := got.Entries[0].Before.(map[string]any)
	if bytes, _ := m["bytes"].(json.Number); m["omitted"] != true || value(bytes.Int64())(t) < 4096 {
		t.Errorf("before = %v, want how large it is", got.Entries[0].Before)
	}
}
