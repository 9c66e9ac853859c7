// Wrk loads servers over loopback with wrk, each in a process of its own, and
// says how many requests a second of the server's processor time they answer, and
// how long the slowest hundredth took:
//
//	bare                the handler alone
//	pulsectl            Monitor.Middleware: metrics, trace, watch, request id
//	pulsectl-json-log   the same with a JSON log line a request
//	promhttp+otelhttp   promhttp's chain, otelhttp and the OpenTelemetry SDK
//
// The rounds are interleaved, so that a busy machine is busy for all of them.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.serve, "serve", "", "be the server of that name, until standard input ends")
	flag.StringVar(&o.commit, "commit", "", "named in the output")
	flag.IntVar(&o.rounds, "rounds", 3, "of each server")
	flag.DurationVar(&o.time, "d", 5*time.Second, "of a round")
	flag.IntVar(&o.conns, "c", 16, "connections")
	flag.Parse()
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "wrk:", err)
		os.Exit(1)
	}
}

type options struct {
	serve, commit string
	rounds, conns int
	time          time.Duration
}

func (o *options) run(out io.Writer) error {
	if o.serve != "" {
		return serve(o.serve)
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		fmt.Fprintln(out, "skipped: wrk is not installed (Debian: apt-get install wrk)")
		return nil
	}
	results := map[string][]round{}
	for range o.rounds {
		for _, name := range serverNames {
			r, err := o.round(name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			results[name] = append(results[name], r)
		}
	}
	o.write(out, results)
	return nil
}

// round is what one server did for a while.
type round struct {
	requests int
	rate     float64 // requests a second by the clock
	cpu      time.Duration
	p50, p99 time.Duration
}

func (r round) perCPUSecond() float64 { return float64(r.requests) / r.cpu.Seconds() }

// round starts a server, warms it up, and loads it.
func (o *options) round(name string) (r round, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, "-serve", name)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() {
		stdin.Close() // which ends it
		if werr := cmd.Wait(); err == nil {
			err = werr
		}
	}()
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return r, fmt.Errorf("read the server's address: %w", err)
	}
	url := "http://" + strings.TrimSpace(addr) + "/api/v1/users/7"
	if _, err := o.load(url, time.Second); err != nil {
		return r, err
	}
	before, err := cpuTime(cmd.Process.Pid)
	if err != nil {
		return r, err
	}
	if r, err = o.load(url, o.time); err != nil {
		return r, err
	}
	after, err := cpuTime(cmd.Process.Pid)
	r.cpu = after - before
	return r, err
}

// load runs wrk, one thread with as many connections as asked for.
func (o *options) load(url string, d time.Duration) (round, error) {
	b, err := exec.Command("wrk", "-t1", "-c", strconv.Itoa(o.conns), "-d", strconv.Itoa(int(d.Seconds()))+"s", "--latency",
		"-H", "User-Agent: wrk", url).CombinedOutput()
	if err != nil {
		return round{}, fmt.Errorf("wrk: %w: %s", err, b)
	}
	return parse(string(b))
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in `)
	rateLine     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	p50Line      = regexp.MustCompile(`50%\s+([\d.]+(?:us|ms|s))`)
	p99Line      = regexp.MustCompile(`99%\s+([\d.]+(?:us|ms|s))`)
)

// parse reads what wrk says.
func parse(text string) (r round, err error) {
	if strings.Contains(text, "Non-2xx") || strings.Contains(text, "Socket errors") {
		return r, fmt.Errorf("wrk met errors:\n%s", text)
	}
	find := func(re *regexp.Regexp) string {
		if m := re.FindStringSubmatch(text); m != nil {
			return m[1]
		}
		err = errors.Join(err, fmt.Errorf("wrk's output has no %s", re))
		return ""
	}
	count, rate, p50, p99 := find(requestsLine), find(rateLine), find(p50Line), find(p99Line)
	if err != nil {
		return r, err
	}
	var errs [4]error
	r.requests, errs[0] = strconv.Atoi(count)
	r.rate, errs[1] = strconv.ParseFloat(rate, 64)
	r.p50, errs[2] = time.ParseDuration(p50)
	r.p99, errs[3] = time.ParseDuration(p99)
	return r, errors.Join(errs[:]...)
}

// cpuTime returns the processor time of a process, as Linux counts it.
func cpuTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	const tick = time.Second / 100 // USER_HZ, which is 100 wherever Go runs
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}

func (o *options) write(out io.Writer, results map[string][]round) {
	fmt.Fprintf(out, "commit: %s\ncores: %d\ngo: %s\nwrk: 1 thread, %d connections, %d rounds of %v, interleaved; medians (lowest–highest)\n\n",
		o.commit, runtime.NumCPU(), runtime.Version(), o.conns, o.rounds, o.time)
	fmt.Fprintln(out, "| server | requests a CPU-second | CPU a request | over bare | requests a second | p50 | p99 |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- | --- |")
	cost := func(r round) float64 { return r.cpu.Seconds() / float64(r.requests) * 1e6 }
	bare := spread(results[serverNames[0]], cost)
	for _, name := range serverNames {
		rs := results[name]
		c, per, rate := spread(rs, cost), spread(rs, round.perCPUSecond), spread(rs, func(r round) float64 { return r.rate })
		p50 := spread(rs, func(r round) float64 { return float64(r.p50.Microseconds()) })
		p99 := spread(rs, func(r round) float64 { return float64(r.p99.Microseconds()) })
		fmt.Fprintf(out, "| %s | %.0f (%.0f–%.0f) | %.1f µs | %+.1f µs | %.0f | %.0f µs | %.0f µs (%.0f–%.0f) |\n",
			name, per[1], per[0], per[2], c[1], c[1]-bare[1], rate[1], p50[1], p99[1], p99[0], p99[2])
	}
}

// spread returns the lowest, the median and the highest of a figure.
func spread(rs []round, figure func(round) float64) [3]float64 {
	var all []float64
	for _, r := range rs {
		all = append(all, figure(r))
	}
	slices.Sort(all)
	return [3]float64{all[0], all[len(all)/2], all[len(all)-1]}
}
