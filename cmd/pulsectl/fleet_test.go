package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// replicas are 50 servers, of which five do not listen and five are dead in
// another way.
func replicas(t *testing.T, dead http.HandlerFunc) (servers string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	real := startServer(ctx, t, true)
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.URL.Path, "/r/")
		number, path, _ := strings.Cut(rest, "/")
		if n, err := strconv.Atoi(number); err != nil || n < 5 {
			dead(w, r)
			return
		}
		r.URL.Path = "/" + path
		real.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { ts.Close(); real.Close(); stop() })
	var all []string
	for i := range 45 {
		all = append(all, fmt.Sprintf("%s/r/%d", ts.URL, i))
	}
	for i := range 5 {
		all = append(all, fmt.Sprintf("http://127.0.0.1:1/r/%d", i))
	}
	return strings.Join(all, ",")
}

// Five that hang cost one deadline in all.
func TestFleetWithHangingMembers(t *testing.T) {
	servers := replicas(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	begun := time.Now()
	out, said, status := asked(t, map[string]string{"PULSECTL_SERVER": servers}, "breakers", "-o", "json", "--request-timeout", "3s")
	if took := time.Since(begun); status != exitPartial || took > 8*time.Second || strings.Count(said, "no answer in time") != 5 || strings.Count(out, "no answer in time") != 5 {
		t.Errorf("status %d in %v: %.600s", status, took, said)
	}
}

// Ten of fifty that are gone are rows and errors, and make the status 4, whatever
// is asked.
func TestFleetWithDeadMembers(t *testing.T) {
	servers := replicas(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	for _, command := range []string{
		"status", "health", "health database", "system", "audit list", "breakers list", "breakers show github_api", "breakers events", "breakers reset github_api", "breakers reset-all",
		"traces list", "traces stats", "traces show @slowest", "traces cleanup --dry-run", "profiles list", "cache status", "cache keys memory", "metrics get pulse_api_info",
	} {
		t.Run(command, func(t *testing.T) {
			env := map[string]string{"PULSECTL_SERVER": servers}
			out, said, status := asked(t, env, append(strings.Fields(command), "-o", "json")...)
			var e struct {
				Items  []struct{ Instance string }
				Errors []struct{ Instance, Detail string }
			}
			if err := json.Unmarshal([]byte(out), &e); err != nil {
				t.Fatalf("%v: %.300s%.300s", err, out, said)
			}
			answered := map[string]bool{}
			for _, it := range e.Items {
				answered[it.Instance] = true
			}
			empty := slices.Contains([]string{"audit list", "breakers events", "profiles list"}, command)
			if status != exitPartial || len(e.Errors) != 10 || len(answered) != 40 && !empty || strings.Count(said, "pulsectl: ") != 10 {
				t.Errorf("status %d, %d errors, %d answered, said\n%.600s", status, len(e.Errors), len(answered), said)
			}
			if table, _, _ := asked(t, env, append(strings.Fields(command), "--width", "120")...); strings.Count(table, "✗ EOF") != 5 || strings.Count(table, "✗ connection refused") != 5 {
				t.Errorf("the dead are no rows of\n%.1500s", table)
			}
		})
	}
}
