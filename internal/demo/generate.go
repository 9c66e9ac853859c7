package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// Recommendation says what to work on next.
type Recommendation struct {
	ID          string    `json:"id"`
	UserID      string    `json:"user_id"`
	ContextType string    `json:"context_type"`
	Model       string    `json:"model"`             // what ranked it; "rules" where no model could be asked
	Missing     []string  `json:"missing,omitempty"` // sources that did not answer
	Items       []Item    `json:"items"`             // the most important first
	CreatedAt   time.Time `json:"created_at"`
}

// Item is one thing to work on.
type Item struct {
	Ref   string  `json:"ref"`
	Title string  `json:"title"`
	Score float64 `json:"score"`
}

const (
	model      = "gpt-4.1-mini"
	rulesModel = "rules"
	maxItems   = 5
)

var (
	contextTypes = []string{"daily", "weekly", "incident"}
	userID       = regexp.MustCompile(`^u_[0-9a-z]{1,32}$`)
)

type generateRequest struct {
	UserID      string `json:"user_id"`
	ContextType string `json:"context_type"` // "" means daily
}

func (g *generateRequest) check() error {
	g.ContextType = cmp.Or(g.ContextType, contextTypes[0])
	if !userID.MatchString(g.UserID) {
		return api.Invalid("user_id", "want u_ and 1 to 32 of a-z and 0-9, got %.40q", g.UserID)
	}
	if !slices.Contains(contextTypes, g.ContextType) {
		return api.Invalid("context_type", "want one of %s, got %.40q", strings.Join(contextTypes, ", "), g.ContextType)
	}
	return nil
}

// generate serves POST /priority/generate.
func (d *Demo) generate(w http.ResponseWriter, r *http.Request) (any, error) {
	in, err := readJSON[generateRequest](w, r)
	if err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	ctx := r.Context()
	d.m.Traces.Describe(ctx, "", in.UserID)
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("context_type", in.ContextType))
	found, err := monitoring.Trace(ctx, d.m, "context.build", func(ctx context.Context) (found, error) {
		return d.gather(ctx, in.UserID)
	})
	if err != nil {
		return nil, err
	}
	rec := Recommendation{
		ID: "rec_" + rand.Text(), UserID: in.UserID, ContextType: in.ContextType, Missing: found.missing, CreatedAt: time.Now().UTC(),
	}
	if rec.Model, err = d.rank(ctx, found.items); err != nil {
		return nil, err
	}
	rec.Items = found.items[:min(len(found.items), maxItems)]
	if err := d.db.insertRecommendation(ctx, rec); err != nil {
		return nil, err
	}
	d.m.PriorityRecommendation(rec.ContextType, rec.Model)
	return rec, nil
}

// found is what a recommendation is made of.
type found struct {
	items   []Item
	missing []string
}

// gather asks all sources at once. One that does not answer is missing; if
// neither GitHub nor Linear does, there is nothing to recommend.
func (d *Demo) gather(ctx context.Context, user string) (found, error) {
	var (
		wg                             sync.WaitGroup
		events                         map[string]int
		pulls                          []pull
		issues                         []issue
		eventsErr, pullsErr, issuesErr error
	)
	wg.Go(func() { events, eventsErr = d.db.eventsOf(ctx, user) })
	wg.Go(func() {
		pulls, pullsErr = ask[[]pull](ctx, d.github, http.MethodGet, "/repos/pulse/api/pulls?author="+url.QueryEscape(user), nil)
	})
	wg.Go(func() {
		issues, issuesErr = ask[[]issue](ctx, d.linear, http.MethodGet, "/issues?assignee="+url.QueryEscape(user), nil)
	})
	wg.Wait()
	if eventsErr != nil {
		return found{}, eventsErr
	}
	if pullsErr != nil && issuesErr != nil {
		return found{}, fmt.Errorf("no source answers: %w", errors.Join(pullsErr, issuesErr))
	}
	var f found
	if pullsErr != nil {
		f.missing = append(f.missing, "github")
	}
	if issuesErr != nil {
		f.missing = append(f.missing, "linear")
	}
	for _, p := range pulls {
		f.items = append(f.items, Item{fmt.Sprintf("pull/%d", p.Number), p.Title, float64(p.AgeDays) + float64(events["github"])/10})
	}
	for _, i := range issues {
		f.items = append(f.items, Item{i.ID, i.Title, 10/float64(i.Priority) + 5/float64(1+i.DueDays) + float64(events["linear"])/10})
	}
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int("context.items", len(f.items)), attribute.StringSlice("context.missing", f.missing))
	return f, nil
}

// rank sorts items by importance and says what did it: the model, or the rules
// where its breaker is open. It shows a span by hand.
func (d *Demo) rank(ctx context.Context, items []Item) (ranker string, err error) {
	ctx, span := d.m.StartSpan(ctx, "rank.priorities", attribute.Int("candidates", len(items)))
	defer span.End()
	scores, err := d.score(ctx, items)
	ranker = model
	switch {
	case errors.Is(err, breaker.ErrOpen):
		ranker = rulesModel
		span.AddLog("warning", "ranked by rules, the model does not answer", attribute.String("reason", err.Error()))
	case err != nil:
		span.Fail(err)
		return "", err
	case len(scores) != len(items):
		err = fmt.Errorf("model gave %d scores for %d candidates", len(scores), len(items))
		span.Fail(err)
		return "", err
	}
	span.SetString("model", ranker)
	_, mergeSpan := d.m.StartSpan(ctx, "score.merge")
	defer mergeSpan.End()
	for i := range items {
		rules := 1 - math.Exp(-items[i].Score/5)
		if ranker == model {
			rules = 0.4*rules + 0.6*scores[i]
		}
		items[i].Score = math.Round(rules*1000) / 1000
	}
	slices.SortStableFunc(items, func(a, b Item) int { return cmp.Compare(b.Score, a.Score) })
	return ranker, nil
}

// score asks the model, and once more if it fails in a way that may pass.
func (d *Demo) score(ctx context.Context, items []Item) ([]float64, error) {
	in := completionRequest{Model: model}
	for _, i := range items {
		in.Candidates = append(in.Candidates, i.Title)
	}
	var failed *statusError
	out, err := ask[completion](ctx, d.openai, http.MethodPost, "/v1/chat/completions", in)
	if !errors.As(err, &failed) || failed.code < 500 {
		return out.Scores, err
	}
	_, err = monitoring.Trace(ctx, d.m, "backoff", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.clock.sleep(ctx, 50*time.Millisecond)
	})
	if err != nil {
		return nil, err
	}
	out, err = ask[completion](ctx, d.openai, http.MethodPost, "/v1/chat/completions", in)
	return out.Scores, err
}
