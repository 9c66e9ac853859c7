package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pulsectl/pulsectl/internal/server"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// serveOptions are the settings of the server; see [settings] for where they
// come from.
type serveOptions struct {
	Listen        string
	OTLPHTTP      string
	OTLPGRPC      string
	Demo          bool
	Config        string
	Environment   string
	LogLevel      string
	Debug         bool
	TraceMaxBytes int64
	TraceMaxAge   time.Duration
	CacheMaxBytes int64
	SlowThreshold time.Duration
	SlowRoutes    string
	Targets       string
	TargetHeaders string
	TargetsEvery  time.Duration
	RedisURL      string
	RedisTimeout  time.Duration
	ShareBreakers bool
	GithubTimeout time.Duration
	LinearTimeout time.Duration
	OpenaiTimeout time.Duration
	Anonymous     string
	AuthTokenFile string
	NewToken      string
	TLSCert       string
	TLSKey        string
	TLSClientCA   string
	JaegerAPI     bool
	DataDir       string
	Sync          time.Duration
	SnapshotOn    []string
	SnapshotEvery time.Duration
	Rules         []string

	OTLPForward         string
	OTLPForwardHeaders  string
	OTLPForwardMaxBytes int64

	sources map[string]string // by flag
	level   slog.Level
}

func newServeCmd(a *app) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Annotations: map[string]string{asksNobody: "yes"},
		Use:         "serve",
		Short:       "Run the monitoring server",
		Long: `Run the monitoring server: the /monitoring API, health probes, and a receiver of
OpenTelemetry traces. OTLP over HTTP and over gRPC is taken on the ports that
SDKs send to by themselves, 4318 and 4317, and on the API's own. Where one of
those two is taken by another program, the server says so and goes on without
it; where a setting names the port, the start fails.

--otlp-forward sends what comes in on to another OTLP endpoint, as it came:
http(s)://HOST:PORT[/v1/traces] or grpc(s)://HOST:PORT. Headers for it, such as
Authorization, are in a file (--otlp-forward-headers-file) or in the variable
PULSECTL_OTLP_FORWARD_HEADERS (NAME=VALUE,NAME=VALUE).

Each flag is also a variable (--trace-max-age: PULSECTL_TRACE_MAX_AGE) and a key
of the configuration file (trace-max-age: 12h). The flag wins over the variable,
the variable over the file. DEBUG, REDIS_URL, REDIS_TIMEOUT, GITHUB_TIMEOUT,
LINEAR_TIMEOUT and OPENAI_TIMEOUT are read where the PULSECTL_ name is not set.

Without tokens the server answers on loopback only.`,
		Example: `  pulsectl serve --demo
  pulsectl serve --new-token ops:operator >> tokens
  pulsectl serve --listen :8000 --auth-token-file tokens --tls-cert cert.pem --tls-key key.pem`,
		Args: cobra.NoArgs,
	}
	o.register(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.serve(cmd.Context(), cmd.LocalNonPersistentFlags(), &o)
	}
	return cmd
}

func (o *serveOptions) register(fs *pflag.FlagSet) {
	o.OTLPForwardMaxBytes = 64 << 20
	o.TraceMaxBytes, o.TraceMaxAge, o.CacheMaxBytes = 256<<20, 24*time.Hour, 64<<20
	o.SlowThreshold, o.RedisTimeout = time.Second, 5*time.Second
	o.GithubTimeout, o.LinearTimeout, o.OpenaiTimeout = 30*time.Second, 30*time.Second, 60*time.Second
	fs.StringVar(&o.Listen, "listen", "127.0.0.1:8000", "`ADDRESS` to serve on")
	fs.StringVar(&o.OTLPHTTP, "otlp-http", "127.0.0.1:4318", "`ADDRESS` for OTLP over HTTP, or off")
	fs.StringVar(&o.OTLPGRPC, "otlp-grpc", "127.0.0.1:4317", "`ADDRESS` for OTLP over gRPC, or off")
	fs.StringVar(&o.OTLPForward, "otlp-forward", "", "`URL` of an OTLP endpoint that gets all spans too")
	fs.StringVar(&o.OTLPForwardHeaders, "otlp-forward-headers-file", "", "`FILE` with a line NAME: VALUE for each header to send there")
	fs.Var(sizeValue{&o.OTLPForwardMaxBytes}, "otlp-forward-max-bytes", "memory for spans that wait for it")
	fs.BoolVar(&o.Demo, "demo", false, "serve a small Pulse API with traffic and failing dependencies of its own")
	fs.StringVar(&o.Config, "config", "", "YAML `FILE` of settings")
	fs.BoolVar(&o.JaegerAPI, "jaeger-api", false, "answer below /api as Jaeger's query service does, for Grafana and the Jaeger UI")
	fs.StringVar(&o.Environment, "environment", "development", "`NAME` of the environment, shown in health and metrics")
	fs.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.BoolVar(&o.Debug, "debug", false, "start with profiling enabled")
	fs.Var(sizeValue{&o.TraceMaxBytes}, "trace-max-bytes", "memory for traces")
	fs.Var(durationValue{&o.TraceMaxAge}, "trace-max-age", "how long traces are kept")
	o.Sync = time.Second
	fs.StringVar(&o.DataDir, "data-dir", "", "`DIR` that keeps traces, profiles and the audit log across restarts; none without")
	fs.Var(syncValue{&o.Sync}, "sync", "how much the death of the machine may cost: always nothing, or what came in that time")
	o.SnapshotEvery = 5 * time.Minute
	fs.StringSliceVar(&o.SnapshotOn, "snapshot-on", nil, "`WHEN` to write a snapshot into the data directory: crash, sigterm")
	fs.Var(durationValue{&o.SnapshotEvery}, "snapshot-every", "for the one that a death leaves behind")
	fs.StringSliceVar(&o.Rules, "rules", nil, "Prometheus rule `FILE` to evaluate on the server's own samples; a pattern, repeatable")
	fs.Var(sizeValue{&o.CacheMaxBytes}, "cache-max-bytes", "memory for the memory cache")
	fs.Var(durationValue{&o.SlowThreshold}, "slow-threshold", "from when on a request is slow")
	fs.StringVar(&o.SlowRoutes, "slow-threshold-routes", "", "`ROUTE=TIME,…` for routes that may take longer or less, like \"GET /export=30s\"")
	fs.StringVar(&o.Targets, "profile-targets", "", "`NAME=URL,…` of processes whose /debug/pprof profiles can be pulled from")
	fs.StringVar(&o.TargetHeaders, "profile-targets-headers-file", "", "`FILE` with a line NAME: VALUE for each header to send there")
	fs.Var(durationValue{&o.TargetsEvery}, "profile-targets-every", "pull 10s of CPU and the heap from each so often; 0s only when asked")
	fs.StringVar(&o.RedisURL, "redis-url", "", "`URL` of the Redis cache: redis://, redis+sentinel:// or redis+cluster://; none without")
	fs.Var(durationValue{&o.RedisTimeout}, "redis-timeout", "for one call to Redis")
	fs.BoolVar(&o.ShareBreakers, "breakers-shared", false, "share the breakers' states with the service's other replicas, through the Redis")
	fs.Var(durationValue{&o.GithubTimeout}, "github-timeout", "call timeout of the breaker github_api")
	fs.Var(durationValue{&o.LinearTimeout}, "linear-timeout", "call timeout of the breaker linear_api")
	fs.Var(durationValue{&o.OpenaiTimeout}, "openai-timeout", "call timeout of the breaker openai_api")
	fs.StringVar(&o.Anonymous, "anonymous", "none", "what needs no token once there are tokens: none, metrics or viewer")
	fs.StringVar(&o.AuthTokenFile, "auth-token-file", "", "`FILE` with a line NAME ROLE sha256:HEX for each token")
	fs.StringVar(&o.NewToken, "new-token", "", "print a new token `NAME:ROLE` and its line for the token file, then end")
	fs.StringVar(&o.TLSCert, "tls-cert", "", "PEM `FILE` of the server's certificate")
	fs.StringVar(&o.TLSKey, "tls-key", "", "PEM `FILE` of its key")
	fs.StringVar(&o.TLSClientCA, "tls-client-ca", "", "PEM `FILE` of the authorities whose client certificates are required")
}

// gcPercent is how much garbage there may be beside what is kept, in percent of
// it. Most of that is spans, in which the collector has no pointer to follow, so
// it may come often: 1,000,000 spans took 275 bytes each of resident memory and
// 0.9 s of processor time at the usual 100, take 222 bytes and 0.9 s at 50, and
// would take 195 bytes and 1.06 s at 25.
const gcPercent = 50

func (a *app) serve(ctx context.Context, fs *pflag.FlagSet, o *serveOptions) error {
	if fs.Changed("new-token") {
		return a.newToken(o.NewToken)
	}
	s := &settings{flags: fs, getenv: a.getenv}
	if err := s.resolve(); err != nil {
		return &usageError{err, "pulsectl serve"}
	}
	o.sources = s.sources
	mo, err := o.monitoring(a)
	if err != nil {
		return &usageError{err, "pulsectl serve"}
	}
	forward, err := o.forwarder(a.getenv, mo.Log)
	if err != nil {
		return &usageError{err, "pulsectl serve"}
	}
	own, err := o.ownSnapshots(mo.Log)
	if err != nil {
		return &usageError{err, "pulsectl serve"}
	}
	tlsConfig, err := o.tls()
	if err != nil {
		return &usageError{err, "pulsectl serve"}
	}
	if _, err := memlimit.Set(memlimit.WithLogger(slog.New(slog.DiscardHandler))); err != nil {
		mo.Log.LogAttrs(ctx, slog.LevelDebug, "no memory limit set", slog.Any("error", err))
	}
	if a.getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	redis.SetLogger(redisLog{mo.Log})
	d, err := o.open(ctx, tlsConfig, mo.Log) // first: a port that is taken ends it
	if err != nil {
		return err
	}
	d.forward = forward
	dir, err := o.keep(&mo)
	if err != nil {
		return errors.Join(err, d.close())
	}
	if own != nil {
		mo.OnPanic = own.panicked
	}
	mo.Config, mo.Sources = o.config(d, dir), o.configSources()
	mo.Capabilities, mo.Listeners = []string{"otlp_http", "otlp_grpc"}, d.addresses()
	engine, err := o.queryEngine(&mo, d.api.Addr())
	if err != nil {
		return errors.Join(&usageError{err, "pulsectl serve"}, d.close(), closeDir(dir))
	}
	m, err := monitoring.New(mo)
	if err != nil {
		return errors.Join(&usageError{err, "pulsectl serve"}, d.close(), closeDir(dir))
	}
	query := func(ctx context.Context) error { return engine.Run(ctx, m.Metrics) }
	if own == nil {
		return errors.Join(a.serveOn(ctx, d, dir, m, mo.Log, o, nil, query), closeDir(dir))
	}
	own.write = m.Snapshot
	if err := own.begin(); err != nil {
		return errors.Join(&serverError{fmt.Errorf("snapshots: %w", err)}, d.close(), closeDir(dir))
	}
	err = a.serveOn(ctx, d, dir, m, mo.Log, o, own, query)
	own.close() // not deferred: a panic's words and snapshot are for the next run
	return errors.Join(err, closeDir(dir))
}

// newToken prints the secret to standard error, so that a redirection keeps
// only what belongs into the file.
func (a *app) newToken(spec string) error {
	secret, line, err := server.NewToken(spec)
	if err != nil {
		return &usageError{err, "pulsectl serve"}
	}
	fmt.Fprintf(a.streams.err, "token, shown only here: %s\n", secret)
	_, err = fmt.Fprintln(a.streams.out, line)
	return err
}

// monitoring returns the stack's options, or an error about a setting.
func (o *serveOptions) monitoring(a *app) (monitoring.Options, error) {
	if err := o.level.UnmarshalText([]byte(o.LogLevel)); err != nil {
		return monitoring.Options{}, fmt.Errorf("log level %q: want debug, info, warn or error", o.LogLevel)
	}
	for name, d := range map[string]time.Duration{
		"redis-timeout": o.RedisTimeout, "github-timeout": o.GithubTimeout, "linear-timeout": o.LinearTimeout,
		"openai-timeout": o.OpenaiTimeout, "trace-max-age": o.TraceMaxAge, "slow-threshold": o.SlowThreshold,
	} {
		if d <= 0 {
			return monitoring.Options{}, fmt.Errorf("%s: want more than 0s", name)
		}
	}
	for name, n := range map[string]int64{"trace-max-bytes": o.TraceMaxBytes, "cache-max-bytes": o.CacheMaxBytes, "otlp-forward-max-bytes": o.OTLPForwardMaxBytes} {
		if n <= 0 {
			return monitoring.Options{}, fmt.Errorf("%s: want more than 0 bytes", name)
		}
	}
	if o.ShareBreakers && o.RedisURL == "" {
		return monitoring.Options{}, errors.New("breakers-shared: the replicas share through a Redis, name it with --redis-url")
	}
	slow, err := parseSlowRoutes(o.SlowRoutes)
	if err != nil {
		return monitoring.Options{}, err
	}
	targets, err := o.profileTargets()
	if err != nil {
		return monitoring.Options{}, err
	}
	access := monitoring.Access{Anonymous: o.Anonymous}
	if o.AuthTokenFile != "" {
		var err error
		if access.Tokens, err = monitoring.LoadTokens(o.AuthTokenFile); err != nil {
			return monitoring.Options{}, err
		}
	}
	if err := o.checkPorts(len(access.Tokens) > 0); err != nil {
		return monitoring.Options{}, err
	}
	service := "pulsectl"
	if o.Demo {
		service = "pulse-api"
	}
	return monitoring.Options{
		Service: service, Version: version(), Commit: commit(), Environment: o.Environment, Debug: o.Debug,
		TraceMaxBytes: o.TraceMaxBytes, TraceMaxAge: o.TraceMaxAge, SlowThreshold: o.SlowThreshold,
		SlowThresholds: slow, ProfileTargets: targets,
		RedisURL: o.RedisURL, RedisTimeout: o.RedisTimeout, CacheMaxBytes: o.CacheMaxBytes,
		SharedBreakers:  o.ShareBreakers,
		BreakerTimeouts: map[string]time.Duration{"github_api": o.GithubTimeout, "linear_api": o.LinearTimeout, "openai_api": o.OpenaiTimeout},
		Access:          access, Log: slog.New(monitoring.JSONHandler(a.streams.err, o.level)),
	}, nil
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// redisLog keeps the Redis client's own lines, which are no JSON, off standard
// error.
type redisLog struct{ log *slog.Logger }

func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.LogAttrs(ctx, slog.LevelDebug, "redis client", slog.String("said", fmt.Sprintf(format, v...)))
}
