package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// standIn is an HTTP server in the place of an external API. It keeps to its
// schedule.
type standIn struct {
	behaviour
	host   string
	answer http.HandlerFunc
	clock  *clock
	log    *slog.Logger
	addr   atomic.Pointer[string] // nil while it is not up
}

var errNotUp = errors.New("not up")

// dial leads its clients to the port it has, whatever they resolve its name to.
func (s *standIn) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	addr := s.addr.Load()
	if addr == nil {
		return nil, fmt.Errorf("dial %s: %w", s.host, errNotUp)
	}
	return new(net.Dialer).DialContext(ctx, network, *addr)
}

// ServeHTTP answers as the schedule has it.
func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := s.schedule.at(s.clock.elapsed())
	takes := s.fast + rand.N(s.fast)
	switch now {
	case hanging:
		<-r.Context().Done()
		return
	case slow:
		takes = s.slow + rand.N(s.slow/4)
	case failing:
		takes = s.fast / 4
	}
	if s.clock.sleep(r.Context(), takes) != nil {
		return // nobody waits for the answer
	}
	if now == failing {
		http.Error(w, "upstream connect error", http.StatusBadGateway)
		return
	}
	s.answer(w, r)
}

// pull is an open pull request.
type pull struct {
	Number  int    `json:"number"`
	Title   string `json:"title"`
	AgeDays int    `json:"age_days"`
}

// issue is an open issue.
type issue struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Priority int    `json:"priority"` // 1 is urgent
	DueDays  int    `json:"due_days"`
}

// completion is the model's answer: a score for each candidate.
type completion struct {
	Model  string    `json:"model"`
	Scores []float64 `json:"scores"`
}

// completionRequest asks the model for it.
type completionRequest struct {
	Model      string   `json:"model"`
	Candidates []string `json:"candidates"`
}

var subjects = []string{
	"retry the export when the token expires", "cut the start-up time of the worker", "rotate the signing keys",
	"paginate the event list", "drop the old webhook", "explain a stuck migration", "bound the upload size", "speed up the search index",
}

func answerGitHub(w http.ResponseWriter, r *http.Request) {
	n := number(r.FormValue("author"))
	pulls := make([]pull, 4+n%5)
	for i := range pulls {
		pulls[i] = pull{Number: 400 + n%90 + i, Title: subjects[(n+i)%len(subjects)], AgeDays: (n + 3*i) % 14}
	}
	writeJSON(w, http.StatusOK, pulls)
}

func answerLinear(w http.ResponseWriter, r *http.Request) {
	n := number(r.FormValue("assignee"))
	issues := make([]issue, 3+n%6)
	for i := range issues {
		issues[i] = issue{ID: fmt.Sprintf("PUL-%d", 100+n%800+i), Title: subjects[(n+2*i)%len(subjects)], Priority: 1 + (n+i)%4, DueDays: (n + 5*i) % 21}
	}
	writeJSON(w, http.StatusOK, issues)
}

func answerOpenAI(w http.ResponseWriter, r *http.Request) {
	var in completionRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAnswer)).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := completion{Model: in.Model, Scores: make([]float64, len(in.Candidates))}
	for i, c := range in.Candidates {
		out.Scores[i] = float64(number(c)%1000) / 1000
	}
	writeJSON(w, http.StatusOK, out)
}

// number makes a small number of a text, always the same.
func number(s string) int {
	h := fnv.New32a()
	h.Write([]byte(s))
	return int(h.Sum32() >> 8)
}

// jitter returns d, give or take a quarter.
func jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }
