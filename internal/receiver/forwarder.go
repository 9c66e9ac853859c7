package receiver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// ForwardOptions configures a [Forwarder].
type ForwardOptions struct {
	URL      string        // see [ParseEndpoint]; required
	Headers  http.Header   // of each request: tokens, tenants
	MaxBytes int64         // of batches waiting or under way; 0 means 64 MiB
	Parallel int           // requests at once; 0 means 4
	Timeout  time.Duration // of one attempt; 0 means 10s
	GiveUp   time.Duration // how long a batch is tried; 0 means 5m
	MinWait  time.Duration // after the first attempt that failed; 0 means 500ms
	MaxWait  time.Duration // between later ones, unless the endpoint asks for more; 0 means 10s
	Drain    time.Duration // for what still waits when Run is to end; 0 means 5s
	Log      *slog.Logger  // nil discards
}

// Forwarder sends batches on to another OTLP endpoint, gzipped, in the
// background. Whoever offers it one never waits: what does not fit into its
// queue pushes the oldest out, because what is new is worth more. Attempts that
// fail are made again, later and later, or when the endpoint says; what it
// refuses for good is not. Each span that is lost is counted with its reason.
//
// Its requests carry the header Pulsectl-Via with an id of this process, so
// that a way in a circle is seen when the batch comes back.
type Forwarder struct {
	opts     ForwardOptions
	endpoint endpoint
	id       string
	queue    queue
	failing  atomic.Bool
	sent     atomic.Int64
	failures atomic.Int64
	dropped  [numReasons]atomic.Int64

	mu        sync.Mutex
	lastError string // of the last attempt that failed
}

const (
	viaHeader  = "Pulsectl-Via"  // lists the ids of the servers that forwarded a batch
	maxVia     = 512             // of its bytes, some twenty servers
	loopHeader = "Pulsectl-Loop" // on the refusal of a batch that went in a circle: gRPC has no code for it
)

// reason is why spans were not forwarded.
type reason int

const (
	queueFull    reason = iota // pushed out by newer ones
	refusedBatch               // the endpoint refused the batch for good
	gaveUp                     // tried for GiveUp
	rejected                   // the endpoint kept the batch but for these
	circle                     // the endpoint had seen the batch already
	stopped                    // still waiting when the process ended
	numReasons
)

func (r reason) String() string {
	return [numReasons]string{"queue_full", "refused", "gave_up", "rejected", "loop", "shutdown"}[r]
}

// NewForwarder returns a Forwarder that does nothing before its Run.
func NewForwarder(o ForwardOptions) (*Forwarder, error) {
	if o.MaxBytes < 0 || o.Parallel < 0 || o.Timeout < 0 || o.GiveUp < 0 || o.MinWait < 0 || o.MaxWait < 0 || o.Drain < 0 {
		return nil, errors.New("forward options: want no negative numbers")
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, 64<<20)
	o.Parallel = cmp.Or(o.Parallel, 4)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.GiveUp = cmp.Or(o.GiveUp, 5*time.Minute)
	o.MinWait = cmp.Or(o.MinWait, 500*time.Millisecond)
	o.MaxWait = cmp.Or(o.MaxWait, 10*time.Second)
	o.Drain = cmp.Or(o.Drain, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{opts: o, id: rand.Text()}
	f.queue.init(o.MaxBytes)
	var err error
	f.endpoint, err = newEndpoint(o)
	return f, err
}

// passed tells whether a batch with that header was here before, or at so many
// servers that it must go round in a circle.
func (f *Forwarder) passed(via string) bool {
	return f != nil && (len(via) > maxVia || strings.Contains(via, f.id))
}

// offer puts a batch of that many spans into the queue. The body is copied.
func (f *Forwarder) offer(body []byte, spans int, via string) {
	if f == nil || spans == 0 {
		return
	}
	if via != "" {
		via += ", "
	}
	lost := f.queue.push(parcel{bytes.Clone(body), spans, via + f.id})
	f.drop(queueFull, lost, nil)
}

// Run forwards until ctx is done, then for Options.Drain what still waits.
func (f *Forwarder) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		f.queue.finish()
		time.AfterFunc(f.opts.Drain, cancel)
	})()
	slots := make(chan struct{}, f.opts.Parallel)
	var wg sync.WaitGroup
	for {
		slots <- struct{}{}
		batch, ok := f.queue.take(work)
		if !ok {
			break
		}
		wg.Go(func() {
			f.deliver(work, batch)
			f.queue.done(batch)
			<-slots
		})
	}
	wg.Wait()
	f.drop(stopped, f.queue.clear(), nil)
	f.endpoint.client.CloseIdleConnections()
	return nil
}

// deliver sends a batch until it is through or lost. One that the endpoint
// refuses for good is sent again parcel by parcel: one bad parcel must not lose
// the others.
func (f *Forwarder) deliver(ctx context.Context, batch []parcel) {
	spans := 0
	for _, p := range batch {
		spans += p.spans
	}
	r, err := f.endpoint.prepare(batch)
	if err != nil {
		f.drop(refusedBatch, spans, err)
		return
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = f.opts.MinWait, f.opts.MaxWait
	lost, err := backoff.Retry(ctx, func() (int, error) { return f.attempt(ctx, r) },
		backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(f.opts.GiveUp))
	var final *finalError
	switch {
	case err == nil:
		f.sent.Add(int64(spans - min(lost, spans)))
		f.drop(rejected, min(lost, spans), errors.New("the endpoint did not keep them all"))
	case errors.As(err, &final) && final.reason == refusedBatch && len(batch) > 1:
		for _, one := range batch {
			f.deliver(ctx, []parcel{one})
		}
	case errors.As(err, &final):
		f.drop(final.reason, spans, err)
	case ctx.Err() != nil:
		f.drop(stopped, spans, err)
	default:
		f.drop(gaveUp, spans, err)
	}
}

// attempt sends a batch once, and notes when the endpoint begins or ceases to
// fail.
func (f *Forwarder) attempt(ctx context.Context, r prepared) (lost int, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	lost, err = f.endpoint.send(ctx, r)
	if err == nil {
		if f.failing.Swap(false) {
			f.opts.Log.LogAttrs(ctx, slog.LevelInfo, "spans are forwarded again", slog.String("endpoint", f.endpoint.String()))
		}
		return lost, nil
	}
	f.failures.Add(1)
	f.mu.Lock()
	f.lastError = err.Error()
	f.mu.Unlock()
	var final *finalError
	if errors.As(err, &final) {
		return 0, backoff.Permanent(err)
	}
	if !f.failing.Swap(true) {
		f.opts.Log.LogAttrs(ctx, slog.LevelWarn, "spans cannot be forwarded now; they wait and are tried again",
			slog.String("endpoint", f.endpoint.String()), slog.String("error", err.Error()))
	}
	return 0, err
}

// drop counts spans that are lost, and logs the first of each reason and every
// time their number has doubled.
func (f *Forwarder) drop(why reason, spans int, err error) {
	if spans == 0 {
		return
	}
	total := f.dropped[why].Add(int64(spans))
	if before := total - int64(spans); before > 0 && total/2 < before && why != stopped {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.opts.Log.LogAttrs(context.Background(), slog.LevelWarn, "spans were not forwarded", slog.String("endpoint", f.endpoint.String()),
		slog.String("reason", why.String()), slog.Int64("spans_total", total), slog.String("error", text))
}

// ForwardStats says what a [Forwarder] did since the start.
type ForwardStats struct {
	Endpoint   string
	Sent       int64            // spans
	Dropped    map[string]int64 // spans by reason, each reason always present
	Failures   int64            // attempts that failed
	QueueBytes int64            // waiting or under way
	QueueMax   int64
	Failing    bool   // the last attempt that could be made again has failed
	LastError  string // of the last attempt that failed
}

// Stats returns the figures of now.
func (f *Forwarder) Stats() ForwardStats {
	st := ForwardStats{Endpoint: f.endpoint.String(), Sent: f.sent.Load(), Failures: f.failures.Load(), Dropped: map[string]int64{},
		QueueBytes: f.queue.size(), QueueMax: f.opts.MaxBytes, Failing: f.failing.Load()}
	for r := range numReasons {
		st.Dropped[r.String()] = f.dropped[r].Load()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	st.LastError = f.lastError
	return st
}

// finalError is an answer after which a batch is not sent again.
type finalError struct {
	reason reason
	text   string
}

func (e *finalError) Error() string { return e.text }

func final(why reason, text string) error { return &finalError{why, text} }
