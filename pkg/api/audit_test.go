package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// chained returns n entries, as a reader of JSON gets them.
func chained(t *testing.T, n int) []api.AuditEntry {
	t.Helper()
	var all []api.AuditEntry
	var last api.AuditEntry
	for i := range n {
		e, err := api.AuditEntry{
			Time: api.Time{Time: time.Unix(1_700_000_000+int64(i), 123456789)}, Actor: "ops\xff <b>&", Action: "breakers.reset", Target: fmt.Sprint("b", i),
			Before: json.RawMessage(`{"z":1e400,"a":12345678901234567890,"s":"\u2028é"}`), After: map[string]any{"n": 0.1, "m": []int{1}}, Status: 200,
		}.Chain(last)
		if err != nil {
			t.Fatal(err)
		}
		last = e
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var read api.AuditEntry
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		all = append(all, read)
	}
	return all
}

// A chain is whole as it was written, and each way to change it shows.
func TestAuditChain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func([]api.AuditEntry) []api.AuditEntry
		want   string // of a break's detail; "" for none
		at     api.Count
	}{
		{"as it was written", func(all []api.AuditEntry) []api.AuditEntry { return all }, "", 0},
		{"without its beginning", func(all []api.AuditEntry) []api.AuditEntry { return all[3:] }, "", 0},
		{"behind entries of before", func(all []api.AuditEntry) []api.AuditEntry { return append([]api.AuditEntry{{Actor: "old"}}, all...) }, "", 0},
		{"another actor", func(all []api.AuditEntry) []api.AuditEntry { all[4].Actor = "nobody"; return all }, "was changed", 5},
		{"another state", func(all []api.AuditEntry) []api.AuditEntry { all[4].Before = json.RawMessage(`{"z":2}`); return all }, "was changed", 5},
		{"another state and its hash", func(all []api.AuditEntry) []api.AuditEntry {
			all[4].Reason = "none"
			all[4].Hash, _ = all[4].Sum()
			return all
		}, "is another than", 6},
		{"one taken out", func(all []api.AuditEntry) []api.AuditEntry { return slices.Delete(all, 4, 5) }, "entries 5 to 5 are missing", 6},
		{"one twice", func(all []api.AuditEntry) []api.AuditEntry { return slices.Insert(all, 4, all[3]) }, "out of order", 4},
		{"two swapped", func(all []api.AuditEntry) []api.AuditEntry { all[4], all[5] = all[5], all[4]; return all }, "missing", 6},
		{"one without a hash between", func(all []api.AuditEntry) []api.AuditEntry { return slices.Insert(all, 4, api.AuditEntry{Actor: "x"}) }, "was changed", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c api.AuditChain
			all := tt.change(chained(t, 10))
			for _, e := range all {
				c.Add(e)
			}
			got := c.Check()
			if got.Whole != (tt.want == "") || got.Entries != api.Count(len(all)) {
				t.Fatalf("check = %+v", got)
			}
			if tt.want != "" && (!strings.Contains(got.Breaks[0].Detail, tt.want) || got.Breaks[0].Seq != tt.at) {
				t.Errorf("breaks = %+v, want %q at %d", got.Breaks, tt.want, tt.at)
			}
		})
	}
}
