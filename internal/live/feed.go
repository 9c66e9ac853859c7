package live

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/scrape"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
)

const (
	frameEvery = 250 * time.Millisecond // between two batches at least
	clockEvery = time.Second            // between two batches at most: ages count on
	eventsHeld = 500                    // of one batch; older ones are left out and counted

	streamAgain     = time.Second // from a stream that broke to the next attempt
	streamAgainMost = 15 * time.Second
)

// polls says how often each part is asked for, while it is wanted. One that
// takes long is asked for less often: see feeder.poll.
var polls = []struct {
	part  Part
	every time.Duration
}{
	{PartIndex, 30 * time.Second}, {PartRates, 2 * time.Second}, {PartBreakers, 5 * time.Second}, {PartRunning, 2 * time.Second},
	{PartFinished, 365 * 24 * time.Hour}, {PartCache, 5 * time.Second}, {PartTop, 10 * time.Second}, {PartHealth, 5 * time.Second},
	{PartAlerts, 5 * time.Second},
}

// feeder learns what a [Top] shows.
type feeder struct {
	top  *Top
	news chan News
}

// run asks all servers until ctx is done, and sends what comes.
func (f *feeder) run(ctx context.Context, send func(Batch)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range f.top.members {
		source := &source{feeder: f, at: i, client: f.top.members[i].Client}
		wg.Go(func() { source.follow(ctx) })
		wg.Go(func() { source.poll(ctx) })
	}
	wg.Go(func() { f.answer(ctx) })
	f.collect(ctx, send)
}

// tell hands news over, unless ctx is done.
func (f *feeder) tell(ctx context.Context, n News) {
	select {
	case f.news <- n:
	case <-ctx.Done():
	}
}

// collect makes batches of what comes.
func (f *feeder) collect(ctx context.Context, send func(Batch)) {
	b := Batch{}
	due := time.NewTimer(0)
	defer due.Stop()
	last, armed := time.Time{}, true // the timer is for the clock, or sooner for what has come
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-f.news:
			b.add(n)
			if armed {
				due.Reset(max(frameEvery-time.Since(last), 0))
				armed = false
			}
		case last = <-due.C:
			b.Now = last
			send(b)
			b, armed = Batch{}, true
			due.Reset(clockEvery)
		}
	}
}

// add adds news. Events of one server are one piece of news, of which the oldest
// go where there are too many.
func (b *Batch) add(n News) {
	more, isEvents := n.Value.([]api.Event)
	if !isEvents {
		b.News = append(b.News, n)
		return
	}
	for i := range b.News {
		have, ok := b.News[i].Value.([]api.Event)
		if !ok || b.News[i].Member != n.Member {
			continue
		}
		have = append(have, more...)
		if over := len(have) - eventsHeld; over > 0 {
			have = have[over:]
			have[0].Lost += api.Count(over)
		}
		b.News[i].Value = have
		return
	}
	b.News = append(b.News, n)
}

// answer answers questions, the last one first.
func (f *feeder) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-f.top.asks:
			d, err := q.ask(ctx, f.top.members[q.member].Client)
			d.Key = q.key
			f.tell(ctx, News{Member: q.member, Part: PartDetail, Value: d, Error: problem(err)})
		}
	}
}

// source is one server that is asked.
type source struct {
	*feeder
	at     int
	client *client.Client

	mu   sync.Mutex
	soon map[Part]bool // to be asked for at once
	deaf bool          // it has no stream: what would come by it is polled

	before []api.MetricFamily // the last look at the routes
	looked time.Time
}

// follow follows what happens, and takes the stream up again where it breaks.
func (s *source) follow(ctx context.Context) {
	for wait := streamAgain; ctx.Err() == nil; wait = min(2*wait, streamAgainMost) {
		err := s.client.Events(ctx, nil, func() {
			wait = streamAgain
			s.mu.Lock()
			s.deaf = false
			s.mu.Unlock()
			s.hurry(PartBreakers, PartFinished, PartRunning) // what was missed
			s.tell(ctx, News{Member: s.at, Part: PartStream})
		}, func(e api.Event) error {
			if e.Breaker != nil {
				s.hurry(PartBreakers)
			}
			trim(&e)
			s.tell(ctx, News{Member: s.at, Part: PartEvents, Value: []api.Event{e}})
			return ctx.Err()
		})
		if ctx.Err() != nil {
			return
		}
		e := problem(err)
		s.mu.Lock()
		s.deaf = true
		s.mu.Unlock()
		s.tell(ctx, News{Member: s.at, Part: PartStream, Error: e})
		if e != nil && e.Status >= http.StatusBadRequest && e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests {
			wait = 4 * streamAgainMost // it has none, or not for us; a later version may
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// hurry has parts asked for at once.
func (s *source) hurry(parts ...Part) {
	s.mu.Lock()
	if s.soon == nil {
		s.soon = map[Part]bool{}
	}
	for _, p := range parts {
		s.soon[p] = true
	}
	s.mu.Unlock()
	select {
	case s.top.wake[s.at] <- struct{}{}:
	default:
	}
}

// leastApart is between two looks at the same, however much there is to see.
const leastApart = time.Second

// poll asks for what is wanted, one part after the other.
func (s *source) poll(ctx context.Context) {
	due := map[Part]time.Time{}
	asked := map[Part]time.Time{}
	for {
		next := time.Now().Add(time.Minute)
		for _, p := range polls {
			if !s.wanted(p.part) {
				continue
			}
			at := due[p.part]
			if s.isSoon(p.part) {
				at = minTime(at, asked[p.part].Add(leastApart))
			}
			if now := time.Now(); !at.After(now) {
				s.clearSoon(p.part)
				err := s.look(ctx, p.part)
				if ctx.Err() != nil {
					return
				}
				asked[p.part] = now
				at = now.Add(max(p.every, 30*time.Since(now)/2)) // a large answer costs both sides more
				if err != nil {
					at = now.Add(min(max(p.every, 2*time.Second), 10*time.Second))
				}
				due[p.part] = at
			}
			next = minTime(next, at)
		}
		timer := time.NewTimer(max(time.Until(next), 10*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.top.wake[s.at]:
			timer.Stop()
		}
	}
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (s *source) wanted(p Part) bool {
	if p == PartHealth { // the stream tells it
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.deaf && s.top.wants.Load()&(1<<p) != 0
	}
	return s.top.wants.Load()&(1<<p) != 0
}

func (s *source) isSoon(p Part) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.soon[p]
}

func (s *source) clearSoon(p Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.soon, p)
}

// look asks for a part and tells what comes.
func (s *source) look(ctx context.Context, p Part) error {
	v, err := s.get(ctx, p)
	if ctx.Err() == nil {
		s.tell(ctx, News{Member: s.at, Part: p, Value: v, Error: problem(err)})
	}
	return err
}

func (s *source) get(ctx context.Context, p Part) (any, error) {
	c := s.client
	switch p {
	case PartIndex:
		return c.Index(ctx)
	case PartHealth:
		return c.Health(ctx)
	case PartRates:
		return s.rates(ctx)
	case PartBreakers:
		return c.Breakers(ctx)
	case PartRunning:
		return c.Traces(ctx, client.TraceQuery{State: "active", Limit: 100})
	case PartFinished:
		return c.Traces(ctx, client.TraceQuery{State: "finished", Limit: 100})
	case PartCache:
		return c.CacheStatus(ctx)
	case PartAlerts:
		return c.Alerts(ctx)
	}
	return s.functions(ctx)
}

// rates are what the routes served since the look before.
func (s *source) rates(ctx context.Context) (api.RouteRates, error) {
	now, err := s.client.Metrics(ctx, client.MetricQuery{Names: []string{scrape.Requests, scrape.Durations, scrape.InFlight}, Native: true})
	if err != nil {
		s.before = nil
		return api.RouteRates{}, err
	}
	at, before := time.Now(), s.before
	apart := at.Sub(s.looked)
	s.before, s.looked = now, at
	if before == nil {
		return api.RouteRates{}, nil
	}
	return scrape.Routes(before, now, apart), nil
}

// functionsShown is how many functions of a profile are asked for.
const functionsShown = 100

// functions are the hottest of the newest profile of processor time, else of
// the newest of any.
func (s *source) functions(ctx context.Context) (api.ProfileTop, error) {
	list, err := s.client.Profiles(ctx, client.ProfileQuery{Limit: 50})
	if err != nil {
		return api.ProfileTop{}, err
	}
	done := slices.DeleteFunc(list.Profiles, func(p api.Profile) bool { return p.State == "active" })
	if len(done) == 0 {
		return api.ProfileTop{}, errors.New("no profile is kept: pulsectl profiles capture takes one")
	}
	newest := done[0]
	if i := slices.IndexFunc(done, func(p api.Profile) bool { return p.Type == "cpu" }); i >= 0 {
		newest = done[i]
	}
	top, err := s.client.ProfileTop(ctx, newest.ProfileID, client.ProfileTopQuery{Limit: functionsShown})
	top.ProfileID = newest.ProfileID
	return top, err
}

// problem is an error of a server in the words of all commands.
func problem(err error) *api.Error {
	var e *api.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	}
	return &api.Error{Detail: err.Error(), Cause: err}
}
