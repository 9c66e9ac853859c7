package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asked runs a command line in this process and returns what it says.
func asked(t *testing.T, env map[string]string, args ...string) (out, said string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := newApp(streams{strings.NewReader(""), &stdout, &stderr}, func(name string) string { return env[name] })
	err := a.run(t.Context(), args)
	return stdout.String(), stderr.String() + failure(err), exitStatus(err)
}

// configured writes a configuration and returns the environment it is for.
func configured(t *testing.T, format string, args ...any) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "pulsectl"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pulsectl", "config.yaml"), fmt.Appendf(nil, format, args...), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{"XDG_CONFIG_HOME": dir}
}

// tokenEcho answers with a breaker that is named as the request's token.
func tokenEcho(w http.ResponseWriter, r *http.Request) {
	token := strings.ReplaceAll(r.Header.Get("Authorization"), " ", "_")
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"by_%s":{"state":"closed"}}`, token)
}

// A context's token goes to its own servers, whatever others are named beside
// them; that of the environment goes to all.
func TestTokensStayWithTheirServers(t *testing.T) {
	own, other := httptest.NewServer(http.HandlerFunc(tokenEcho)), httptest.NewServer(http.HandlerFunc(tokenEcho))
	t.Cleanup(func() { own.Close(); other.Close() })
	env := configured(t, "contexts:\n  prod:\n    servers: [%s]\n    token: sesame\n", own.URL)
	out, _, status := asked(t, env, "breakers", "-c", "prod", "-s", own.URL, "-s", other.URL, "-o", "name")
	if want := "by_Bearer_sesame\nby_\n"; out != want || status != 0 {
		t.Errorf("status %d, tokens %q, want %q", status, out, want)
	}
	if out, _, _ := asked(t, env, "breakers", "-c", "prod", "-s", own.URL+"/", "-o", "name"); out != "by_Bearer_sesame\n" {
		t.Errorf("with a slash at its end: %q", out)
	}
	env["PULSECTL_TOKEN"] = "mine"
	out, _, _ = asked(t, env, "breakers", "-c", "prod", "-s", own.URL, "-s", other.URL, "-o", "name")
	if want := "by_Bearer_mine\nby_Bearer_mine\n"; out != want {
		t.Errorf("tokens %q, want %q", out, want)
	}
}

func TestTokenFileIsBesideTheConfiguration(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(tokenEcho))
	t.Cleanup(ts.Close)
	env := configured(t, "current: prod\ncontexts:\n  prod:\n    servers: [%s]\n    token-file: prod.token\n", ts.URL)
	file := filepath.Join(env["XDG_CONFIG_HOME"], "pulsectl", "prod.token")
	if err := os.WriteFile(file, []byte("sesame\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, said, status := asked(t, env, "breakers"); status != exitUsage || !strings.Contains(said, "others can read prod.token") {
		t.Errorf("status %d, %q", status, said)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said, _ := asked(t, env, "breakers", "-o", "name"); out != "by_Bearer_sesame\n" {
		t.Errorf("token %q, %s", out, said)
	}
}

// A server that wants a certificate gets the context's, and must have one of the
// context's authority.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key, trust := certificate(t, dir)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewUnstartedServer(http.HandlerFunc(tokenEcho))
	ts.Config.ErrorLog = log.New(io.Discard, "", 0)
	ts.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trust.RootCAs}
	ts.StartTLS()
	t.Cleanup(ts.Close)
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	name := "127.0.0.1"
	if len(leaf.DNSNames) > 0 {
		name = leaf.DNSNames[0]
	}
	const file = "contexts:\n  prod:\n    servers: [%s]\n    ca: %s\n%s"
	for _, tt := range []struct {
		name, more string
		want       int
	}{
		{"with both", fmt.Sprintf("    cert: %s\n    key: %s\n    server-name: %s\n", cert, key, name), 0},
		{"without a certificate", fmt.Sprintf("    server-name: %s\n", name), exitUnreachable},
		{"of another name", fmt.Sprintf("    cert: %s\n    key: %s\n    server-name: elsewhere\n", cert, key), exitUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := configured(t, file, ts.URL, cert, tt.more)
			if _, said, status := asked(t, env, "breakers", "-c", "prod"); status != tt.want {
				t.Errorf("status %d, want %d: %s", status, tt.want, said)
			}
		})
	}
	env := configured(t, "contexts:\n  prod:\n    servers: [%s]\n", ts.URL)
	if _, said, status := asked(t, env, "breakers", "-c", "prod"); status != exitUnreachable || !strings.Contains(said, "certificate") {
		t.Errorf("without the authority: status %d: %s", status, said)
	}
}

func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "pulse.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ts := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(tokenEcho)}}
	ts.Start()
	t.Cleanup(ts.Close)
	out, said, status := asked(t, nil, "breakers", "-s", "unix://"+socket, "-o", "json")
	if status != 0 || !strings.Contains(out, `"instance": "unix://`+socket+`"`) {
		t.Errorf("status %d: %s%s", status, out, said)
	}
	out, _, _ = asked(t, nil, "breakers", "-s", "unix://"+socket, "--print-curl")
	if want := "curl -sS --unix-socket '" + socket + "' 'http://localhost/monitoring/circuit-breakers'\n"; out != want {
		t.Errorf("curl line %q, want %q", out, want)
	}
}
