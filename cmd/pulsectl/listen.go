package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/pulsectl/pulsectl/internal/datadir"
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

// config are the settings of serve that the stack does not know itself, by
// their groups in /monitoring/debug/config.
func (o *serveOptions) config(d *doors, dir *datadir.Dir) map[string]any {
	host, port, _ := net.SplitHostPort(o.Listen) // checked by checkPorts
	number, _ := strconv.Atoi(port)
	return map[string]any{
		"app":      map[string]any{"host": host, "port": number, "log_level": o.level.String(), "demo": o.Demo, "jaeger_api": o.JaegerAPI},
		"security": map[string]any{"auth_token_file": o.AuthTokenFile, "tls": o.TLSCert != "", "client_certificates": o.TLSClientCA != ""},
		"otlp":     d.otlpConfig, // asked each time: it counts what is forwarded
		"storage":  o.storageConfig(dir),
	}
}

// configKeys are the names that settings have in /monitoring/debug/config.
var configKeys = map[string][]string{
	"listen": {"app.host", "app.port"}, "otlp-http": {"otlp.http"}, "otlp-grpc": {"otlp.grpc"}, "otlp-forward": {"otlp.forward"},
	"otlp-forward-max-bytes": {"otlp.forward_queue_max_bytes"}, "demo": {"app.demo"}, "jaeger-api": {"app.jaeger_api"},
	"data-dir": {"storage.data_dir"}, "sync": {"storage.sync"},
	"environment": {"app.environment"}, "log-level": {"app.log_level"},
	"debug": {"app.debug"}, "trace-max-bytes": {"tracing.max_bytes"}, "trace-max-age": {"tracing.max_age"},
	"cache-max-bytes": {"cache.memory_max_bytes"}, "slow-threshold": {"profiling.slow_threshold"},
	"slow-threshold-routes": {"profiling.slow_thresholds"}, "profile-targets": {"profiling.targets"},
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
