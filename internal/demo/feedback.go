package demo

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

type feedbackRequest struct {
	RecommendationID string `json:"recommendation_id"`
	Type             string `json:"type"`
	Score            int    `json:"score"`
	Comment          string `json:"comment"`
}

// feedbackTypes are what feedback can be about.
var feedbackTypes = []string{"priority", "order", "summary"}

const maxComment = 2000 // bytes

func (f *feedbackRequest) check() error {
	switch {
	case !recommendationID.MatchString(f.RecommendationID):
		return api.Invalid("recommendation_id", "want the id of a recommendation, got %.40q", f.RecommendationID)
	case !slices.Contains(feedbackTypes, f.Type):
		return api.Invalid("type", "want one of %s, got %.40q", strings.Join(feedbackTypes, ", "), f.Type)
	case f.Score < 1 || f.Score > 5:
		return api.Invalid("score", "want 1 to 5, got %d", f.Score)
	case len(f.Comment) > maxComment:
		return api.Invalid("comment", "want at most %d bytes, got %d", maxComment, len(f.Comment))
	}
	return nil
}

// feedback serves POST /feedback.
func (d *Demo) feedback(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := readJSON[feedbackRequest](w, r)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := d.db.insertFeedback(r.Context()); err != nil {
		return nil, err
	}
	d.m.Feedback(in.Type, strconv.Itoa(in.Score))
	return map[string]string{"status": "accepted"}, nil
}
