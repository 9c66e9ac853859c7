package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pace       = 50 * time.Millisecond // between two requests
	maxAtOnce  = 48                    // requests in flight; when so many hang, users stay away
	maxRecent  = 16                    // new recommendations that users still look at
	maxPopular = 8                     // recommendations that many look at
	userWaits  = 15 * time.Second
	reportLine = 10 * time.Second // between two log lines of what was sent
)

// traffic is the users: they send requests at a steady pace, in an order that
// is the same in each run.
type traffic struct {
	base   string
	clock  *clock
	log    *slog.Logger
	client *http.Client
	plan   []func(i int) call

	sent, skipped, failed atomic.Int64

	mu        sync.Mutex
	recent    []string // ids, newest last
	popular   []string // ids
	seen      int      // recommendations
	lastError error    // of a request without an answer
}

// call is one request.
type call struct {
	method, path, body string
}

func newTraffic(base string, c *clock, log *slog.Logger) (*traffic, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("address %q: want a URL such as http://127.0.0.1:8000", base)
	}
	t := &traffic{
		base: strings.TrimSuffix(base, "/"), clock: c, log: log,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: maxAtOnce}, Timeout: userWaits},
	}
	for _, share := range []struct {
		n    int
		call func(int) call
	}{{18, t.generate}, {25, t.look}, {5, t.feedback}, {8, t.ingest}, {1, t.report}, {3, t.mistake}} {
		t.plan = append(t.plan, slices.Repeat([]func(int) call{share.call}, share.n)...)
	}
	rand.New(rand.NewPCG(1, 7)).Shuffle(len(t.plan), func(i, j int) { t.plan[i], t.plan[j] = t.plan[j], t.plan[i] })
	return t, nil
}

// run sends until ctx is done and returns when all requests have ended.
func (t *traffic) run(ctx context.Context) {
	defer t.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, maxAtOnce)
	tick := time.NewTicker(t.clock.scale(pace))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			t.tell()
			return
		case <-tick.C:
		}
		if i > 0 && i%int(reportLine/pace) == 0 {
			t.tell()
		}
		select {
		case places <- struct{}{}:
			c := t.plan[i%len(t.plan)](i + i/len(t.plan)) // so that each round differs from the one before
			wg.Go(func() {
				defer func() { <-places }()
				t.send(ctx, c)
			})
		default:
			t.skipped.Add(1)
		}
	}
}

func (t *traffic) tell() {
	attrs := []slog.Attr{slog.Int64("sent", t.sent.Load()), slog.Int64("skipped", t.skipped.Load()), slog.Int64("unanswered", t.failed.Load())}
	t.mu.Lock()
	if t.lastError != nil {
		attrs = append(attrs, slog.Any("last_error", t.lastError))
	}
	t.mu.Unlock()
	t.log.LogAttrs(context.Background(), slog.LevelInfo, "demo traffic", attrs...)
}

// send sends one request. Whatever the answer is, users go on.
func (t *traffic) send(ctx context.Context, c call) {
	t.sent.Add(1)
	status, body, err := t.do(ctx, c)
	if err != nil {
		t.failed.Add(1)
		t.mu.Lock()
		t.lastError = err
		t.mu.Unlock()
		return
	}
	var rec Recommendation
	if status == http.StatusCreated && json.Unmarshal(body, &rec) == nil {
		t.remember(rec.ID)
	}
}

func (t *traffic) do(ctx context.Context, c call) (status int, body []byte, err error) {
	var in io.Reader
	if c.body != "" {
		in = strings.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, t.base+c.path, in)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("User-Agent", "pulse-demo-user")
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// remember keeps a new recommendation, and one of ten as popular.
func (t *traffic) remember(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent = keep(t.recent, id, maxRecent)
	if t.seen%10 == 0 {
		t.popular = keep(t.popular, id, maxPopular)
	}
	t.seen++
}

// keep appends id and drops the oldest of more than limit.
func keep(ids []string, id string, limit int) []string {
	if len(ids) >= limit {
		ids = slices.Delete(ids, 0, 1)
	}
	return append(ids, id)
}

// pick returns a popular recommendation two times of three, else a new one. It
// is "" before there is any.
func (t *traffic) pick(i int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := t.popular
	if i%3 == 0 {
		from = t.recent
	}
	if len(from) == 0 {
		return ""
	}
	return from[i/3%len(from)]
}

func user(i int) string { return fmt.Sprintf("u_%d", 8800+i%40) }

func (t *traffic) generate(i int) call {
	kind := contextTypes[i%len(contextTypes)]
	return call{http.MethodPost, "/priority/generate", fmt.Sprintf(`{"user_id":%q,"context_type":%q}`, user(i), kind)}
}

func (t *traffic) look(i int) call {
	id := t.pick(i)
	if id == "" {
		return t.generate(i)
	}
	return call{http.MethodGet, "/priority/" + id, ""}
}

func (t *traffic) feedback(i int) call {
	id := t.pick(i)
	if id == "" {
		return t.generate(i)
	}
	return call{http.MethodPost, "/feedback", fmt.Sprintf(`{"recommendation_id":%q,"type":%q,"score":%d}`, id, feedbackTypes[i%len(feedbackTypes)], 1+i%5)}
}

func (t *traffic) ingest(i int) call {
	names := []string{"github", "slack", "linear", "calendar", "github"}
	source := names[i%len(names)]
	types := sources[source]
	var events []string
	for n := range 1 + i%8 {
		events = append(events, fmt.Sprintf(`{"type":%q,"user_id":%q}`, types[n%len(types)], user(i+n)))
	}
	return call{http.MethodPost, "/ingest/" + source, `{"events":[` + strings.Join(events, ",") + `]}`}
}

// report asks for a short and a long report in turn.
func (t *traffic) report(i int) call {
	round := i / (len(t.plan) + 1)
	weeks := []int{maxWeeks, 3}[round%2]
	return call{http.MethodGet, fmt.Sprintf("/report/weekly?weeks=%d", weeks), ""}
}

// mistake is a request that a client got wrong.
func (t *traffic) mistake(i int) call {
	return []call{
		{http.MethodPost, "/priority/generate", `{"user_id":`},
		{http.MethodPost, "/priority/generate", `{"user_id":"u_1","context_type":"yearly"}`},
		{http.MethodGet, "/priority/rec_00000000000000000000000000", ""},
		{http.MethodPost, "/ingest/fax", `{"events":[]}`},
		{http.MethodGet, "/report/weekly?weeks=600", ""},
	}[i%5]
}
