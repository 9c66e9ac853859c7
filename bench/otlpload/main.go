// Otlpload sends OTLP traces to a server on this machine, and reports how
// much of them it took and what they cost it. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type options struct {
	grpcAddr, httpURL string
	gzip              bool
	workers           int
	duration          time.Duration
	spans             int64
	rate              float64
	traces, templates int
	seed              uint64
	timeout           time.Duration

	pid    int
	dir    string
	settle time.Duration

	verify     int
	verifyURL  string
	verifyMode string
	fresh      int
	queries    []string
	queryCount int
}

func parseFlags(args []string) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("otlpload", flag.ContinueOnError)
	fs.StringVar(&o.grpcAddr, "grpc", "", "send over OTLP/gRPC to this `address`, as 127.0.0.1:4317")
	fs.StringVar(&o.httpURL, "http", "", "send over OTLP/HTTP (protobuf) to this `URL`, as http://127.0.0.1:4318/v1/traces")
	fs.BoolVar(&o.gzip, "gzip", false, "compress each request")
	fs.IntVar(&o.workers, "workers", 4, "requests under way at once")
	fs.DurationVar(&o.duration, "duration", 0, "stop sending after this `time`")
	fs.Int64Var(&o.spans, "spans", 0, "stop sending after this `number` of spans, rounded up to a batch")
	fs.Float64Var(&o.rate, "rate", 0, "spans a second to send at most (0: as fast as the server takes them)")
	fs.IntVar(&o.traces, "traces", 50, "traces in a batch, of 8 to 12 spans each")
	fs.IntVar(&o.templates, "templates", 64, "batches to encode before the start")
	fs.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "`number` that all ids follow from")
	fs.DurationVar(&o.timeout, "timeout", 30*time.Second, "give up on a request after this `time`")
	fs.IntVar(&o.pid, "pid", 0, "the server's process, to report its processor time and memory")
	fs.StringVar(&o.dir, "dir", "", "the server's data `folder`, to report its size")
	fs.DurationVar(&o.settle, "settle", 3*time.Second, "`time` to let the server finish before its use is read")
	fs.IntVar(&o.verify, "verify", 0, "traces to read back after the load")
	fs.StringVar(&o.verifyURL, "verify-url", "", "where to read a trace back, with {id} for its id")
	fs.StringVar(&o.verifyMode, "verify-mode", "pulsectl", "form of the answer: pulsectl, which is compared whole, jaeger or tempo, of which the span ids are")
	fs.IntVar(&o.fresh, "fresh", 0, "batches to send after the load, each to see how soon it can be read at -verify-url")
	fs.Func("query", "`name=url` to time after the load, may repeat; the url may hold {from_U} and {to_U}, U one of s, ms, us, ns, rfc3339", func(s string) error {
		o.queries = append(o.queries, s)
		return nil
	})
	fs.IntVar(&o.queryCount, "query-count", 50, "times to ask each query")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case (o.grpcAddr == "") == (o.httpURL == ""):
		return nil, errors.New("give one of -grpc and -http")
	case o.duration <= 0 && o.spans <= 0:
		return nil, errors.New("give -duration, -spans or both")
	case o.workers < 1 || o.traces < 1 || o.templates < 1 || o.queryCount < 1:
		return nil, errors.New("-workers, -traces, -templates and -query-count must be at least 1")
	case o.verify+o.fresh > 0 && o.verifyURL == "":
		return nil, errors.New("-verify and -fresh need -verify-url")
	case traceReaders[o.verifyMode] == nil:
		return nil, fmt.Errorf("no such -verify-mode: %q", o.verifyMode)
	}
	return o, nil
}

// report is printed as JSON when the run is over.
type report struct {
	Seed          uint64  `json:"seed"`
	BatchSpans    float64 `json:"batch_spans_mean"`
	BytesPerSpan  float64 `json:"wire_bytes_per_span"`
	Seconds       float64 `json:"seconds"`
	Accepted      int64   `json:"spans_accepted"`
	Rejected      int64   `json:"spans_rejected"`
	Failed        int64   `json:"spans_failed"`
	FirstError    string  `json:"first_error,omitempty"`
	Rate          float64 `json:"spans_per_second"`
	P50           float64 `json:"request_p50_ms"`
	P99           float64 `json:"request_p99_ms"`
	ClientCPU     float64 `json:"client_cpu_seconds"`
	CPU           float64 `json:"server_cpu_seconds,omitempty"`
	PerCPU        float64 `json:"spans_per_server_cpu_second,omitempty"`
	RSSBefore     int64   `json:"server_rss_before,omitempty"`
	RSS           int64   `json:"server_rss_after,omitempty"`
	RSSPeak       int64   `json:"server_rss_peak,omitempty"`
	RSSPerSpan    float64 `json:"server_rss_bytes_per_span,omitempty"`
	Disk          int64   `json:"disk_bytes_after,omitempty"`
	DiskPerSpan   float64 `json:"disk_bytes_per_span,omitempty"`
	SettleSeconds float64 `json:"settle_seconds"`

	Verify  *readback     `json:"verify,omitempty"`
	Fresh   *freshness    `json:"freshness,omitempty"`
	Queries []queryResult `json:"queries,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "otlpload:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	r := report{Seed: o.seed, SettleSeconds: o.settle.Seconds()}
	l := &load{options: o}
	if err := l.prepare(&r); err != nil {
		return err
	}
	defer l.to.close()
	if err := l.measure(ctx, &r); err != nil {
		return err
	}
	if err := l.readBack(ctx, &r); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(r)
}

// prepare encodes the templates and connects.
func (l *load) prepare(r *report) (err error) {
	rng := rand.New(rand.NewPCG(l.seed, 1))
	l.templates = make([]*template, l.options.templates)
	for i := range l.templates {
		if l.templates[i], err = newTemplate(rng, l.traces); err != nil {
			return err
		}
		r.BatchSpans += float64(l.templates[i].spans)
		r.BytesPerSpan += float64(len(l.templates[i].bytes))
	}
	r.BytesPerSpan /= r.BatchSpans
	r.BatchSpans /= float64(len(l.templates))
	runtime.GC()
	if l.grpcAddr != "" {
		l.to, err = newGRPCSender(l.grpcAddr, l.gzip)
		return err
	}
	l.to = newHTTPSender(l.httpURL, l.gzip, l.workers)
	return nil
}

// measure sends the load, and reports what it cost.
func (l *load) measure(ctx context.Context, r *report) error {
	before, err := takeSample(l.pid, l.dir)
	if err != nil {
		return err
	}
	clientBefore, err := cpuTime(os.Getpid())
	if err != nil {
		return err
	}
	l.began = time.Now()
	l.run(ctx)
	r.Seconds = time.Since(l.began).Seconds()
	clientAfter, err := cpuTime(os.Getpid())
	if err != nil {
		return err
	}
	r.ClientCPU = (clientAfter - clientBefore).Seconds()
	r.Accepted, r.Rejected, r.Failed, r.FirstError = l.accepted, l.rejected, l.failed, l.firstError
	r.Rate = float64(r.Accepted) / r.Seconds
	r.P50, r.P99 = l.took.quantile(0.5), l.took.quantile(0.99)

	time.Sleep(l.settle)
	after, err := takeSample(l.pid, l.dir)
	if err != nil {
		return fmt.Errorf("the server is gone after %d spans: %w", r.Accepted, err)
	}
	r.used(before, after)
	return nil
}

// used reports what the server used between two moments.
func (r *report) used(before, after sample) {
	r.CPU = (after.cpu - before.cpu).Seconds()
	if r.CPU > 0 {
		r.PerCPU = float64(r.Accepted) / r.CPU
	}
	r.RSSBefore, r.RSS, r.RSSPeak, r.Disk = before.rss, after.rss, after.peak, after.disk
	if r.Accepted > 0 {
		r.RSSPerSpan = float64(after.rss-before.rss) / float64(r.Accepted)
		r.DiskPerSpan = float64(after.disk-before.disk) / float64(r.Accepted)
	}
}

// readBack reads traces back and asks the queries.
func (l *load) readBack(ctx context.Context, r *report) error {
	c := &traceCheck{client: loopbackClient(1), url: l.verifyURL, read: traceReaders[l.verifyMode]}
	defer c.client.CloseIdleConnections()
	if l.verify > 0 {
		v, err := verify(ctx, c, l.verify, l.pid, l)
		if err != nil {
			return err
		}
		r.Verify = &v
	}
	if l.fresh > 0 {
		f, err := measureFreshness(ctx, c, l, l.fresh)
		if err != nil {
			return err
		}
		r.Fresh = &f
	}
	for _, q := range l.queries {
		res, err := ask(ctx, q, l.queryCount, l.pid, l.began.Add(-time.Minute), time.Now().Add(time.Minute))
		if err != nil {
			return err
		}
		r.Queries = append(r.Queries, res)
	}
	return nil
}

// load is the sending of batches by several workers.
type load struct {
	*options
	to        sender
	templates []*template
	began     time.Time

	next atomic.Uint64 // the number of the next batch
	sent atomic.Int64  // spans, counted before they go

	mu                         sync.Mutex
	accepted, rejected, failed int64
	firstError                 string
	took                       latencies
	batches                    []sentBatch // those accepted whole
}

// sentBatch is what it takes to make the bytes of a batch again.
type sentBatch struct{ seq, base uint64 }

func (l *load) template(b sentBatch) *template { return l.templates[b.seq%uint64(len(l.templates))] }

// run returns when the time or the spans are used up and each request is
// answered.
func (l *load) run(ctx context.Context) {
	var stop atomic.Bool
	if l.duration > 0 {
		defer time.AfterFunc(l.duration, func() { stop.Store(true) }).Stop()
	}
	var wg sync.WaitGroup
	for range l.workers {
		wg.Go(func() {
			var buf []byte
			for !stop.Load() && ctx.Err() == nil {
				seq := l.next.Add(1) - 1
				t := l.templates[seq%uint64(len(l.templates))]
				before := l.sent.Add(int64(t.spans)) - int64(t.spans)
				if l.spans > 0 && before >= l.spans {
					return
				}
				if l.rate > 0 {
					due := l.began.Add(time.Duration(float64(before) / l.rate * 1e9))
					if time.Sleep(time.Until(due)); stop.Load() {
						return
					}
				}
				var sent sentBatch
				buf, sent = l.batch(buf[:0], seq)
				if !l.sendOne(ctx, sent, buf) {
					buf = nil // the connection may hold on to it yet
				}
			}
		})
	}
	wg.Wait()
}

// batch appends batch number seq, to be sent now.
func (l *load) batch(dst []byte, seq uint64) ([]byte, sentBatch) {
	// A trace begins at most a second after the base, and lasts seldom more
	// than another second.
	b := sentBatch{seq, uint64(time.Now().Add(-2 * time.Second).UnixNano())}
	return l.template(b).appendBatch(dst, l.seed, b.seq, b.base), b
}

// sendOne says whether the server answered.
func (l *load) sendOne(ctx context.Context, b sentBatch, batch []byte) bool {
	spans := int64(l.template(b).spans)
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	start := time.Now()
	rejected, err := l.to.send(ctx, batch)
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	if err != nil {
		l.failed += spans
		if l.firstError == "" {
			l.firstError = err.Error()
		}
		return false
	}
	l.accepted += spans - rejected
	l.rejected += rejected
	if rejected == 0 {
		l.batches = append(l.batches, b)
	}
	return true
}

// latencies are the times which requests took.
type latencies []time.Duration

// quantile returns the q-th quantile in milliseconds. It sorts the receiver.
func (l latencies) quantile(q float64) float64 {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return milliseconds(l[min(int(q*float64(len(l))), len(l)-1)])
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
