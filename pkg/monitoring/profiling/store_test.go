package profiling_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/profiling"
)

func entry(id, op string, d time.Duration) api.Profile {
	return api.Profile{ProfileID: id, OperationName: op, Duration: api.Seconds(d), StartTime: &api.Time{Time: time.Now()}, Type: "wall"}
}

// TestIDs: equal names at the same moment do not meet, and ids need no escaping (D4).
func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 10000 {
		id := profiling.NewID()
		if seen[id] || len(id) != 28 || strings.Trim(id, "p_ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

// TestStoreOrder: the newest first, as many as asked for (D5).
func TestStoreOrder(t *testing.T) {
	s := profiling.NewStore(profiling.StoreOptions{})
	for _, id := range []string{"p_aaaa1", "p_aaaa2", "p_bbbb3"} {
		s.Add(entry(id, "op "+id, time.Second), nil)
	}
	if l := s.List(profiling.Query{Limit: 2}); len(l) != 2 || l[0].ProfileID != "p_bbbb3" || l[1].ProfileID != "p_aaaa2" {
		t.Errorf("list = %+v", l)
	}
	if l := s.List(profiling.Query{Operation: "op p_aaaa1"}); len(l) != 1 {
		t.Errorf("by operation: %+v", l)
	}
	if l := s.List(profiling.Query{Since: time.Now().Add(time.Hour)}); len(l) != 0 {
		t.Errorf("since tomorrow: %+v", l)
	}
	if p, _, err := s.Get("p_bb"); err != nil || p.ProfileID != "p_bbbb3" {
		t.Errorf("prefix: %v, %v", p.ProfileID, err)
	}
	for id, candidates := range map[string]int{"p_aaaa": 2, "p_b": 0, "nothing": 0} {
		_, _, err := s.Get(id)
		var e *api.Error
		if !errors.As(err, &e) || e.Status != 404 || len(e.Candidates) != candidates {
			t.Errorf("Get(%q) = %v, want 404 with %d candidates", id, err, candidates)
		}
	}
}

// TestStoreBound: bytes are bounded and drops counted (D6); the slowest of an
// operation outlives the others.
func TestStoreBound(t *testing.T) {
	s := profiling.NewStore(profiling.StoreOptions{MaxBytes: 100 << 10})
	s.Add(entry("slowest", "op", time.Minute), make([]byte, 10<<10))
	for range 100 {
		s.Add(entry(profiling.NewID(), "op", time.Second), make([]byte, 10<<10))
	}
	if n := len(s.List(profiling.Query{Limit: 1000})); n != 8 {
		t.Errorf("%d of 12 KiB kept in 100 KiB, want 8", n)
	}
	if _, _, err := s.Get("slowest"); err != nil {
		t.Error(err)
	}
	if s.Add(entry("huge", "op", 0), make([]byte, 200<<10)) {
		t.Error("kept more than fits")
	}
	one := profiling.NewStore(profiling.StoreOptions{MaxCount: 1})
	one.Add(entry("p_1", "a", 0), nil)
	one.Add(entry("p_2", "b", 0), nil)
	if l := one.List(profiling.Query{}); len(l) != 1 || l[0].ProfileID != "p_2" {
		t.Errorf("list = %+v", l)
	}
}

func TestCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := profiling.NewStore(profiling.StoreOptions{})
		s.Add(entry("p_old", "op", 0), make([]byte, 10))
		time.Sleep(time.Hour)
		s.Add(entry("p_new", "op", 0), nil)
		for _, dry := range []bool{true, false} {
			if n, freed := s.Cleanup(time.Minute, dry); n != 1 || freed < 10 {
				t.Errorf("cleanup (dry run %v) removed %d, %d bytes", dry, n, freed)
			}
		}
		if l := s.List(profiling.Query{}); len(l) != 1 || l[0].ProfileID != "p_new" {
			t.Errorf("left: %+v", l)
		}
	})
}
