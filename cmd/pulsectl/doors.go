package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pulsectl/pulsectl/internal/receiver"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
)

// doors are the ways into a server, and the one on for the spans that come in.
type doors struct {
	api      net.Listener
	otlpHTTP net.Listener // nil: off, or its default port is taken
	otlpGRPC net.Listener // the same
	forward  *receiver.Forwarder
}

// otlpOff closes one of the doors for OTLP.
const otlpOff = "off"

// ports are the settings that name an address, by their flags.
func (o *serveOptions) ports() map[string]string {
	all := map[string]string{"listen": o.Listen}
	for flag, addr := range map[string]string{"otlp-http": o.OTLPHTTP, "otlp-grpc": o.OTLPGRPC} {
		if addr != otlpOff {
			all[flag] = addr
		}
	}
	return all
}

// checkPorts tells what is wrong with the addresses before anything is started.
// Without tokens they must be loopback.
func (o *serveOptions) checkPorts(tokens bool) error {
	for flag, addr := range o.ports() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil || port == "" {
			return fmt.Errorf("%s %q: want HOST:PORT, like 127.0.0.1:8000 or [::1]:8000", flag, addr)
		}
		if !tokens && !isLoopback(addr) {
			return fmt.Errorf("%s %s: without tokens only loopback is served; "+
				"make one with --new-token NAME:ROLE and name its file with --auth-token-file", flag, addr)
		}
	}
	return nil
}

// open opens the ports, before anything else is started: one that is taken ends
// the start, unless it is a default of OTLP's that nobody asked for.
func (o *serveOptions) open(ctx context.Context, c *tls.Config, log *slog.Logger) (d *doors, err error) {
	d = &doors{}
	if d.api, err = listen(ctx, o.Listen, c); err != nil {
		return nil, err
	}
	for _, one := range []struct {
		flag, addr string
		l          *net.Listener
	}{{"otlp-http", o.OTLPHTTP, &d.otlpHTTP}, {"otlp-grpc", o.OTLPGRPC, &d.otlpGRPC}} {
		if one.addr == otlpOff {
			continue
		}
		l, err := listen(ctx, one.addr, c)
		switch {
		case err == nil:
			*one.l = l
		case o.sources[one.flag] == "default":
			log.LogAttrs(ctx, slog.LevelWarn, "a default port of OTLP is taken: spans come in on the other ports only",
				slog.String("flag", "--"+one.flag), slog.String("error", err.Error()))
		default:
			return nil, errors.Join(err, d.close())
		}
	}
	return d, nil
}

// listen opens a port. That it cannot is the server's failure, not the command
// line's.
func listen(ctx context.Context, addr string, c *tls.Config) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &serverError{fmt.Errorf("listen on %s: %s", addr, client.TransportError(err).Detail)}
	}
	l = receiver.Listen(l)
	if c != nil {
		l = tls.NewListener(l, c)
	}
	return l, nil
}

// close closes the ports that are open.
func (d *doors) close() error {
	var errs []error
	for _, l := range []net.Listener{d.api, d.otlpHTTP, d.otlpGRPC} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	return errors.Join(errs...)
}

// addresses are where the doors are, by what they are for.
func (d *doors) addresses() map[string]string {
	all := map[string]string{}
	for name, l := range map[string]net.Listener{"api": d.api, "otlp_http": d.otlpHTTP, "otlp_grpc": d.otlpGRPC} {
		if l != nil {
			all[name] = l.Addr().String()
		}
	}
	return all
}

// attrs are the addresses of OTLP's doors for the log.
func (d *doors) attrs() []slog.Attr {
	var all []slog.Attr
	at := d.addresses()
	for _, name := range []string{"otlp_http", "otlp_grpc"} {
		if at[name] != "" {
			all = append(all, slog.String(name, at[name]))
		}
	}
	return all
}

// forwarder returns what sends spans on, nil without --otlp-forward.
func (o *serveOptions) forwarder(getenv func(string) string, log *slog.Logger) (*receiver.Forwarder, error) {
	if o.OTLPForward == "" {
		return nil, nil
	}
	headers, err := receiver.ParseHeaderList(getenv("PULSECTL_OTLP_FORWARD_HEADERS"))
	if err != nil {
		return nil, fmt.Errorf("PULSECTL_OTLP_FORWARD_HEADERS: %w", err)
	}
	if o.OTLPForwardHeaders != "" {
		text, err := readSecret(o.OTLPForwardHeaders)
		if err != nil {
			return nil, fmt.Errorf("otlp-forward-headers-file: %w", err)
		}
		if headers, err = receiver.ParseHeaders(text); err != nil {
			return nil, fmt.Errorf("otlp-forward-headers-file %s: %w", o.OTLPForwardHeaders, err)
		}
	}
	f, err := receiver.NewForwarder(receiver.ForwardOptions{URL: o.OTLPForward, Headers: headers, MaxBytes: o.OTLPForwardMaxBytes, Log: log})
	if err != nil {
		return nil, fmt.Errorf("otlp-%w", err)
	}
	return f, nil
}

// otlpConfig is the group otlp of /monitoring/debug/config.
func (d *doors) otlpConfig() map[string]any {
	at := d.addresses()
	out := map[string]any{"http": at["otlp_http"], "grpc": at["otlp_grpc"]}
	if d.forward != nil {
		st := d.forward.Stats()
		out["forward"], out["forward_queue_max_bytes"] = st.Endpoint, st.QueueMax
		out["forwarding"] = map[string]any{
			"sent_spans": st.Sent, "dropped_spans": st.Dropped, "failed_attempts": st.Failures,
			"queue_bytes": st.QueueBytes, "failing": st.Failing, "last_error": st.LastError,
		}
	}
	return out
}

// receive mounts what takes spans in on the API's mux, and returns a handler of
// that alone for the ports of OTLP: each of them speaks all of it, so that a
// sender that mixes them up is served all the same.
func (d *doors) receive(m *monitoring.Monitor, mux *http.ServeMux, log *slog.Logger) (http.Handler, error) {
	rc, err := receiver.New(receiver.Options{Keep: m.Traces.AddOTLP, Forward: d.forward, Log: log})
	if err != nil {
		return nil, err
	}
	alone := http.NewServeMux()
	for _, rt := range rc.Routes() {
		m.Receive(mux, rt.Pattern, rt.Handler)
		m.Receive(alone, rt.Pattern, rt.Handler)
	}
	zipkin := rc.Zipkin()
	m.Receive(mux, "POST /api/v2/spans", zipkin)
	m.Receive(alone, "POST /api/v2/spans", zipkin)
	text := "This port takes spans by OTLP. The API is at " + d.api.Addr().String() + ".\n"
	alone.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, http.StatusNotFound) })
	if err := m.Metrics.Register(rc); err != nil {
		return nil, err
	}
	if d.forward != nil {
		err = m.Metrics.Register(d.forward)
	}
	return m.Quiet(alone), err
}

// newServer returns a server that speaks HTTP/1.1 and HTTP/2 on any port, with
// TLS or without: gRPC needs the latter.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		Protocols: p, HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 128,
			// Windows wide enough that a batch never waits for an update.
			MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 3 << 20, MaxReadFrameSize: 1 << 20,
			SendPingTimeout: time.Minute, WriteByteTimeout: 30 * time.Second,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
