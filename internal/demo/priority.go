package demo

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// recommendationTTL is how long a recommendation stays cached.
const recommendationTTL = 10 * time.Second

var recommendationID = regexp.MustCompile(`^rec_[0-9A-Z]{26}$`)

// priority serves GET /priority/{id}, from the cache if it can.
func (d *Demo) priority(_ http.ResponseWriter, r *http.Request) (any, error) {
	id := r.PathValue("id")
	if !recommendationID.MatchString(id) { // made-up ids never reach the cache
		return nil, fmt.Errorf("recommendation %.40q: %w", id, errNotFound)
	}
	return monitoring.Cached(r.Context(), d.m, "priority:"+id, d.clock.scale(recommendationTTL), func(ctx context.Context) (Recommendation, error) {
		return d.db.recommendation(ctx, id)
	})
}
