package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/pulsectl/pulsectl/pkg/client"
)

// tls returns the server's TLS settings, nil without a certificate.
func (o *serveOptions) tls() (*tls.Config, error) {
	switch {
	case o.TLSCert == "" && o.TLSKey == "" && o.TLSClientCA == "":
		return nil, nil
	case o.TLSCert == "" || o.TLSKey == "":
		return nil, fmt.Errorf("tls: want both --tls-cert and --tls-key")
	}
	cert, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("tls certificate: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if o.TLSClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(o.TLSClientCA)
	if err != nil {
		return nil, fmt.Errorf("tls client authorities: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls client authorities %s: no certificate in it", o.TLSClientCA)
	}
	return c, nil
}

// checkListen tells what is wrong with the address before anything is started.
func (o *serveOptions) checkListen() error {
	_, port, err := net.SplitHostPort(o.Listen)
	if err != nil || port == "" {
		return fmt.Errorf("listen %q: want HOST:PORT, like 127.0.0.1:8000 or [::1]:8000", o.Listen)
	}
	return nil
}

// listen opens the port. That it cannot is the server's failure, not the
// command line's.
func (o *serveOptions) listen(ctx context.Context, c *tls.Config) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, &serverError{fmt.Errorf("listen on %s: %s", o.Listen, client.TransportError(err).Detail)}
	}
	if c != nil {
		l = tls.NewListener(l, c)
	}
	return l, nil
}

// config are the settings of serve that the stack does not know itself, by
// their groups in /monitoring/debug/config.
func (o *serveOptions) config() map[string]any {
	host, port, _ := net.SplitHostPort(o.Listen) // checked by listen
	number, _ := strconv.Atoi(port)
	return map[string]any{
		"app":      map[string]any{"host": host, "port": number, "log_level": o.level.String(), "demo": o.Demo},
		"security": map[string]any{"auth_token_file": o.AuthTokenFile, "tls": o.TLSCert != "", "client_certificates": o.TLSClientCA != ""},
	}
}

// configKeys are the names that settings have in /monitoring/debug/config.
var configKeys = map[string][]string{
	"listen": {"app.host", "app.port"}, "demo": {"app.demo"}, "environment": {"app.environment"}, "log-level": {"app.log_level"},
	"debug": {"app.debug"}, "trace-max-bytes": {"tracing.max_bytes"}, "trace-max-age": {"tracing.max_age"},
	"cache-max-bytes": {"cache.memory_max_bytes"}, "slow-threshold": {"profiling.slow_threshold"},
	"breakers-shared": {"circuit_breakers.shared"},
	"redis-url":       {"cache.redis_enabled"}, "redis-timeout": {"cache.redis_timeout"},
	"github-timeout": {"external_apis.github_timeout"}, "linear-timeout": {"external_apis.linear_timeout"},
	"openai-timeout": {"external_apis.openai_timeout"}, "anonymous": {"security.anonymous"},
	"auth-token-file": {"security.auth_token_file"}, "tls-cert": {"security.tls"}, "tls-client-ca": {"security.client_certificates"},
}

func (o *serveOptions) configSources() map[string]string {
	out := map[string]string{}
	for flag, from := range o.sources {
		for _, key := range configKeys[flag] {
			out[key] = from
		}
	}
	return out
}
