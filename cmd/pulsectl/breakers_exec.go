package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/child"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// The exit statuses of exec beside those of its command.
const (
	exitOpen    = 75  // EX_TEMPFAIL of sysexits.h: the breaker is open, try later
	exitCannot  = 125 // pulsectl itself failed; the command was not run
	execCommand = "pulsectl breakers exec"
)

// statusError ends pulsectl with a status when all has been said.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

type execOptions struct {
	FailureThreshold int
	SuccessThreshold int
	RecoveryTimeout  time.Duration
	Timeout          time.Duration
	KillAfter        time.Duration
	Lease            time.Duration
	FailureCodes     string
	Fallback         string
	OnUnreachable    string
	TraceArgs        bool
	Verbose          bool

	codes    child.Codes
	fallback []string
	explicit func(flag string) bool // it stood on the command line
}

func newBreakersExecCmd(a *app) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:   "exec NAME -- CMD ARG…",
		Short: "Run a command under a circuit breaker of the service",
		Long: `Run a command if the circuit breaker NAME of the server lets it, and tell the
breaker how it ended. A breaker that is not there is made. The command runs
without a shell, with our streams, terminal and signals, and TRACEPARENT set;
the run is a trace on the server.

It ends with the command's own status, 128+N after signal N, or with
  75   the breaker is open and there is no --fallback
  124  the command ran longer than --timeout
  125  pulsectl failed before it ran the command: usage, token, server
  126  the command cannot be run
  127  there is no such command
A command that somebody interrupts says nothing about the service: it is not
counted. The permit is a lease, renewed while the command runs, however long that is.`,
		Example: `  pulsectl breakers exec github_api -- curl -fsS https://api.github.com/zen
  pulsectl breakers exec backup --failure-threshold 2 --timeout 1h -- restic backup /srv
  pulsectl breakers exec reports --fallback 'cp last.csv now.csv' -- ./make-report now.csv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
				return errors.New("want NAME -- CMD ARG…")
			}
			return nil
		},
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			o.explicit = cmd.Flags().Changed
			return asUsage(cmd, o.check())
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.execute(cmd.Context(), args[0], args[1:], o)
		},
	}
	fs := cmd.Flags()
	fs.IntVar(&o.FailureThreshold, "failure-threshold", 5, "failures in a row that open a breaker which exec makes")
	fs.IntVar(&o.SuccessThreshold, "success-threshold", 3, "successes in a row that close it again")
	fs.Var(durationValue{&o.RecoveryTimeout}, "recovery-timeout", "time that it is open before it lets a run through on trial; 0 means 1m")
	fs.Var(durationValue{&o.Timeout}, "timeout", "for the command, then TERM to all of it; 0 means none")
	o.KillAfter = 10 * time.Second
	fs.Var(durationValue{&o.KillAfter}, "kill-after", "from that TERM to KILL")
	o.Lease = 30 * time.Second
	fs.Var(durationValue{&o.Lease}, "lease", "of the permit, 1s or more: a run that is killed with exec itself counts as timed out after it")
	fs.StringVar(&o.FailureCodes, "failure-codes", "1-255", "`STATUSES` of the command that count as failures")
	fs.StringVar(&o.Fallback, "fallback", "", "`CMD` with its arguments to run instead while the breaker is open")
	fs.StringVar(&o.OnUnreachable, "on-unreachable", "run", "`WHAT` to do without an answer of the server: run the command all the same, or refuse")
	fs.BoolVar(&o.TraceArgs, "trace-args", false, "keep the command's arguments in the trace: not where they hold secrets")
	fs.BoolVarP(&o.Verbose, "verbose", "v", false, "tell the outcome, and what became of the trace")
	return cmd
}

func (o *execOptions) check() (err error) {
	if o.codes, err = child.ParseCodes(o.FailureCodes); err != nil {
		return fmt.Errorf("failure codes: %w", err)
	}
	if o.fallback, err = child.Split(o.Fallback); err != nil {
		return fmt.Errorf("fallback %.100q: %w", o.Fallback, err)
	}
	switch {
	case o.FailureThreshold < 1 || o.SuccessThreshold < 1:
		return errors.New("failure and success threshold: want 1 or more")
	case o.Lease < time.Second:
		return fmt.Errorf("lease %s: want 1s or more", o.Lease)
	case o.Fallback != "" && len(o.fallback) == 0:
		return errors.New("fallback: there is no command in it")
	case !slices.Contains([]string{"run", "refuse"}, o.OnUnreachable):
		return fmt.Errorf("on-unreachable %q: want run or refuse", o.OnUnreachable)
	}
	return nil
}

// guarded is one run of a command under a breaker.
type guarded struct {
	*app
	execOptions
	server  *client.Client
	breaker string
	signals *child.Signals
}

// execute runs argv under a breaker. What it returns decides the exit status; all
// that is to be said of it has been said then.
func (a *app) execute(ctx context.Context, name string, argv []string, o execOptions) error {
	cs, err := a.clients(ctx)
	if err == nil && len(cs) > 1 {
		err = fmt.Errorf("exec asks one server for a permit, not %d: want --server URL", len(cs))
	}
	if err != nil {
		return &usageError{err, execCommand}
	}
	g := &guarded{a, o, cs[0], name, child.Catch(a.inherited)}
	defer g.signals.Stop()
	path, err := child.Find(argv[0])
	if err != nil {
		return g.cannotStart(argv[0], err)
	}
	asking, stop := g.signals.Context(ctx)
	permit, err := g.acquire(asking)
	stop()
	if sig := g.signals.Ending(); sig != 0 {
		g.report(permit, api.BreakerReport{Outcome: api.OutcomeIgnored}, "")
		return statusError(128 + int(sig))
	}
	var no *api.Error
	errors.As(err, &no)
	switch {
	case a.flags.dryRun:
		return g.dry(no)
	case no == nil:
		return g.run(path, argv, permit)
	case rejected(no):
		return g.rejected(no)
	case unreachable(no) && o.OnUnreachable == "run":
		g.say("warning: %s: %s: the command runs without its circuit breaker", g.server.Instance(), no.Error())
		return g.run(path, argv, permit)
	}
	a.report([]api.Result[struct{}]{{Instance: g.server.Instance(), Error: no}})
	return statusError(exitCannot)
}

// say writes a line to standard error.
func (g *guarded) say(format string, args ...any) {
	fmt.Fprintf(g.streams.err, "pulsectl: %s\n", render.Clean(fmt.Sprintf(format, args...)))
}

// cannotStart tells why a command cannot be run.
func (g *guarded) cannotStart(command string, err error) error {
	why := err.Error()
	var sys syscall.Errno
	switch {
	case errors.Is(err, exec.ErrNotFound):
		why = "there is no such command in PATH"
	case errors.As(err, &sys):
		why = sys.Error()
	}
	g.say("%s: %s", command, why)
	return statusError(child.StartStatus(err))
}

// dry tells what would be done, and does nothing.
func (g *guarded) dry(no *api.Error) error {
	switch {
	case no == nil:
		g.say("%s would let the command run", g.breaker)
		return nil
	case rejected(no) && len(g.fallback) > 0:
		g.say("%s; the fallback would run", no.Error())
		return nil
	case rejected(no):
		g.say("%s", no.Error())
		return statusError(exitOpen)
	}
	g.app.report([]api.Result[struct{}]{{Instance: g.server.Instance(), Error: no}})
	return statusError(exitCannot)
}

// rejected tells whether an error is the breaker's no.
func rejected(e *api.Error) bool { return e.Status == http.StatusServiceUnavailable && e.State != "" }

// unreachable tells whether an error says nothing about the request: the server
// is down, in trouble, or has no room.
func unreachable(e *api.Error) bool {
	switch e.Code {
	case client.CodeUnreachable, client.CodeTimeout, client.CodeUnreadable:
		return true
	}
	return e.Status >= http.StatusInternalServerError || e.Status == http.StatusTooManyRequests
}

// rejected runs the fallback, or says when to try again.
func (g *guarded) rejected(no *api.Error) error {
	if len(g.fallback) == 0 {
		g.say("%s", no.Error())
		fmt.Fprintf(g.streams.err, "  pulsectl breakers show %s\n", render.Clean(g.breaker))
		return statusError(exitOpen)
	}
	g.say("%s: running the fallback", no.Error())
	path, err := child.Find(g.fallback[0])
	if err != nil {
		return g.cannotStart(g.fallback[0], err)
	}
	span := newRunSpan(g, g.fallback)
	span.rejected = no.State
	r, err := child.Run(g.childOptions(path, g.fallback, span), g.signals)
	if err != nil {
		return g.cannotStart(g.fallback[0], err)
	}
	g.sendTrace(span.encode(r, ""))
	return statusError(r.Code)
}

func (g *guarded) childOptions(path string, argv []string, s *runSpan) child.Options {
	o := child.Options{Path: path, Args: argv, Env: s.environ(os.Environ()), Timeout: g.Timeout, Grace: g.KillAfter}
	o.Files[0], _ = g.streams.in.(*os.File) // nil stays closed to the command
	o.Files[1], _ = g.streams.out.(*os.File)
	o.Files[2], _ = g.streams.err.(*os.File)
	return o
}

// run runs the command and tells the breaker of it, if there is a permit.
func (g *guarded) run(path string, argv []string, permit api.BreakerPermit) error {
	span := newRunSpan(g, argv)
	stop := g.keep(permit)
	r, err := child.Run(g.childOptions(path, argv, span), g.signals)
	stop()
	if err != nil {
		g.report(permit, api.BreakerReport{Outcome: api.OutcomeIgnored}, "")
		return g.cannotStart(argv[0], err)
	}
	outcome, why := outcomeOf(r, &g.codes, g.Timeout)
	if g.Verbose {
		g.say("%s: %s after %s", g.breaker, cmp.Or(why, outcome), r.Ended.Sub(r.Began).Round(time.Millisecond))
	}
	if permit.Permit != "" { // without an answer before there is nobody to tell
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			g.sendTrace(span.encode(r, why))
		}()
		g.report(permit, api.BreakerReport{Outcome: outcome, Error: why}, span.traceparent())
		<-sent
	}
	if r.TimedOut {
		g.say("%s: %s", argv[0], why)
		return statusError(exitTimeout)
	}
	return statusError(r.Code)
}

// outcomeOf says what the end of a command means to its breaker, and why it is
// a failure if it is one.
func outcomeOf(r child.Result, failures *child.Codes, timeout time.Duration) (outcome, why string) {
	switch {
	case r.TimedOut:
		return api.OutcomeTimeout, "timed out after " + timeout.String()
	case r.Interrupted:
		return api.OutcomeIgnored, ""
	case !failures.Has(r.Code):
		return api.OutcomeSuccess, ""
	}
	return api.OutcomeFailure, endWords(r)
}

// endWords says how a command ended.
func endWords(r child.Result) string {
	if r.Signal != 0 {
		return fmt.Sprintf("signal %d: %s", int(r.Signal), r.Signal)
	}
	return fmt.Sprintf("exit status %d", r.Code)
}
