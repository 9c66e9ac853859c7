package scrape

import (
	"slices"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Trends are the last rates of everything that moved lately at an instance. The
// zero value is empty.
type Trends struct {
	of   map[string][]api.Float // oldest first
	seen map[string]bool        // since the last End
}

// trendLength is how many rates are kept of a thing.
const trendLength = 30

// Add adds the rate of a thing and returns its last ones.
func (t *Trends) Add(key string, rate api.Float) []api.Float {
	if t.of == nil {
		t.of, t.seen = map[string][]api.Float{}, map[string]bool{}
	}
	t.seen[key] = true
	t.of[key] = append(t.of[key][max(len(t.of[key])-trendLength+1, 0):], rate)
	return slices.Clone(t.of[key])
}

// End ends a look: what was not seen has not moved. What has not for as long as
// is kept is forgotten.
func (t *Trends) End() {
	for key := range t.of {
		if !t.seen[key] && !slices.ContainsFunc(t.Add(key, 0), func(v api.Float) bool { return v != 0 }) {
			delete(t.of, key)
		}
	}
	clear(t.seen)
}
