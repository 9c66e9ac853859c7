// Ingest starts pulsectl once for each way that spans can come, loads it with
// otlpload, and prints what that cost beside the goals and what other servers
// were seen to take.
//
//	make bench-ingest
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

type options struct {
	Pulsectl string
	Otlpload string
	Spans    int
	Only     string
	Commit   string
}

func main() {
	var o options
	flag.StringVar(&o.Pulsectl, "pulsectl", "../../bin/pulsectl", "the server's `program`")
	flag.StringVar(&o.Otlpload, "otlpload", "../../bin/otlpload", "the load's `program`")
	flag.IntVar(&o.Spans, "spans", 1_000_000, "spans to send each way")
	flag.StringVar(&o.Only, "only", "", "the one `way` to measure")
	flag.StringVar(&o.Commit, "commit", "", "what is measured, for the heading")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

// way is one way for spans to come, with the goal in spans per second of the
// server's processor time, and what was seen of others.
type way struct {
	name  string
	goal  int
	peers string
	flags func(s *server) []string
}

var ways = []way{
	{"http", 1_000_000, "Jaeger memory 115 k, VictoriaTraces 65 k", func(s *server) []string { return []string{"-http", s.http()} }},
	{"grpc", 800_000, "otel-tui 232 k, Jaeger memory 134 k, VictoriaTraces 54 k, Tempo 24 k", func(s *server) []string { return []string{"-grpc", s.grpcAddr} }},
	{"http gzip", 400_000, "Jaeger memory 117 k", func(s *server) []string { return []string{"-http", s.http(), "-gzip"} }},
	{"grpc gzip", 400_000, "–", func(s *server) []string { return []string{"-grpc", s.grpcAddr, "-gzip"} }},
}

// queries are what is asked after the load, with the goal in milliseconds of
// processor time.
var queries = []struct {
	name, query string
	goal        float64
	peers       string
}{
	{"newest of a service", "service=payments&view=summary&limit=20", 0.3, "Jaeger 5–23 ms, VictoriaTraces 19–1,004 ms, Tempo 21–99 ms"},
	{"service and min duration", "service=payments&min_duration=200ms&view=summary&limit=20", 0.3, "the same"},
	{"errors", "status=error&view=summary&limit=20", 0.3, "the same"},
	{"nothing matches", "service=payments&min_duration=1h&view=summary&limit=20", 1, "VictoriaTraces 1.3 ms, Tempo 9 ms, Jaeger 97 ms"},
}

// report is what is read of otlpload's.
type report struct {
	Accepted int64   `json:"spans_accepted"`
	Rejected int64   `json:"spans_rejected"`
	Failed   int64   `json:"spans_failed"`
	Error    string  `json:"first_error"`
	Rate     float64 `json:"spans_per_second"`
	PerCPU   float64 `json:"spans_per_server_cpu_second"`
	RSS      float64 `json:"server_rss_bytes_per_span"`
	Before   int64   `json:"server_rss_before"`
	Verify   struct {
		Checked  int     `json:"checked"`
		Complete int     `json:"complete"`
		Error    string  `json:"first_error"`
		P50      float64 `json:"p50_ms"`
		CPU      float64 `json:"server_cpu_ms_each"`
	} `json:"verify"`
	Fresh struct {
		P50   float64 `json:"p50_ms"`
		Max   float64 `json:"max_ms"`
		Never int     `json:"not_within_the_limit"`
	} `json:"freshness"`
	Queries []struct {
		Name   string  `json:"name"`
		P50    float64 `json:"p50_ms"`
		CPU    float64 `json:"server_cpu_ms_each"`
		Failed int     `json:"failed"`
		Error  string  `json:"first_error"`
	} `json:"queries"`
}

func run(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintf(out, "commit %s; %d spans a way, in batches of 500, 390 B a span on the wire; per second of the server's processor time\n", o.Commit, o.Spans)
	fmt.Fprintln(out, "Other servers cannot be run here: their figures are quoted from earlier runs of the same load on a machine of the same kind.")
	fmt.Fprintf(out, "\n%-11s %11s %9s %9s  %8s %8s  %-9s %-17s %s\n", "way", "spans/CPU-s", "goal", "spans/s", "RSS B", "kept B", "verified", "fresh p50, max ms", "others, spans/CPU-s")
	var last report
	for _, w := range ways {
		if o.Only != "" && o.Only != w.name {
			continue
		}
		r, kept, err := measure(ctx, o, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		fmt.Fprintf(out, "%-11s %11.0f %9d %9.0f  %8.0f %8.0f  %4d/%-4d %8.2f, %-7.2f %s\n", w.name, r.PerCPU, w.goal, r.Rate, r.RSS, kept,
			r.Verify.Complete, r.Verify.Checked, r.Fresh.P50, r.Fresh.Max, w.peers)
		last = r
	}
	fmt.Fprintf(out, "\nRSS B: growth of resident memory a span, garbage included; kept B: what the store counts a span. Idle and empty: %.0f MB resident (goal 25).\n", float64(last.Before)/1e6)
	fmt.Fprintln(out, "verified: traces drawn at random that read back with every span, attribute and event. fresh: from the answer until one reads back.")
	fmt.Fprintf(out, "\n%-26s %11s %9s %7s  %s\n", "query, after the last way", "CPU ms each", "p50 ms", "goal", "others")
	fmt.Fprintf(out, "%-26s %11.2f %9.2f %7.1f  %s\n", "trace by id, all spans", last.Verify.CPU, last.Verify.P50, 0.2, "Jaeger 0.8 ms, VictoriaTraces 5.5 ms, Tempo 76 ms")
	for i, q := range last.Queries {
		fmt.Fprintf(out, "%-26s %11.2f %9.2f %7.1f  %s\n", q.Name, q.CPU, q.P50, queries[i].goal, queries[i].peers)
	}
	return nil
}

// measure loads a new server in one way.
func measure(ctx context.Context, o options, w way) (r report, kept float64, err error) {
	s, err := start(ctx, o.Pulsectl)
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	args := append(w.flags(s), "-spans", strconv.Itoa(o.Spans), "-pid", strconv.Itoa(s.cmd.Process.Pid), "-settle", "1s",
		"-verify", "200", "-verify-url", s.base+"/monitoring/traces?trace_id={id}", "-fresh", "20", "-query-count", "200")
	for _, q := range queries {
		args = append(args, "-query", q.name+"="+s.base+"/monitoring/traces?state=all&"+q.query)
	}
	load := exec.CommandContext(ctx, o.Otlpload, args...)
	load.Stderr = os.Stderr
	b, err := load.Output()
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	switch {
	case err != nil:
		return r, 0, err
	case r.Failed > 0 || r.Rejected > 0:
		return r, 0, fmt.Errorf("%d spans failed, %d were rejected: %s", r.Failed, r.Rejected, r.Error)
	case r.Verify.Complete != r.Verify.Checked:
		return r, 0, fmt.Errorf("%d of %d traces read back complete: %s", r.Verify.Complete, r.Verify.Checked, r.Verify.Error)
	case r.Fresh.Never > 0:
		return r, 0, fmt.Errorf("%d traces could not be read in time", r.Fresh.Never)
	}
	for _, q := range r.Queries {
		if q.Failed > 0 {
			return r, 0, fmt.Errorf("query %s: %s", q.Name, q.Error)
		}
	}
	kept, err = s.kept()
	return r, kept, err
}

// server is a pulsectl of ours.
type server struct {
	cmd      *exec.Cmd
	base     string
	httpAddr string
	grpcAddr string
	drained  chan struct{} // its log is read to the end
}

func (s *server) http() string { return "http://" + s.httpAddr + "/v1/traces" }

// start starts a server with room for all spans, and waits until it serves.
func start(ctx context.Context, program string) (*server, error) {
	s := &server{cmd: exec.CommandContext(ctx, program, "serve", "--listen", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0",
		"--trace-max-bytes", "4GiB"), drained: make(chan struct{})}
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(os.Interrupt) }
	said, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		var line struct {
			Message, Address string
			HTTP             string `json:"otlp_http"`
			GRPC             string `json:"otlp_grpc"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			s.base, s.httpAddr, s.grpcAddr = line.Address, line.HTTP, line.GRPC
			go func() {
				defer close(s.drained)
				_, _ = io.Copy(io.Discard, said)
			}()
			return s, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s did not start", program), s.cmd.Wait())
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	<-s.drained
	return s.cmd.Wait()
}

// kept returns the bytes that the store counts for each span it keeps.
func (s *server) kept() (float64, error) {
	c := http.Client{Timeout: 10 * time.Second}
	resp, err := c.Get(s.base + "/monitoring/traces?state=all&view=summary&limit=1")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var list struct {
		Retention struct{ Spans, Bytes float64 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || list.Retention.Spans == 0 {
		return 0, fmt.Errorf("%s: what the store keeps is not told: %w", strings.TrimPrefix(s.base, "http://"), err)
	}
	return list.Retention.Bytes / list.Retention.Spans, nil
}
