package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const grpcExport = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// otlpPorts are the settings that open both doors on free ports.
var otlpPorts = []string{"--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"}

// doors returns the addresses that the server tells, and its capabilities.
func (r *running) doors(t *testing.T, c *http.Client) (at map[string]string, capabilities []string) {
	t.Helper()
	resp, err := c.Get(r.base + "/monitoring/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var index struct {
		Listeners    map[string]string
		Capabilities []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&index); err != nil {
		t.Fatal(err)
	}
	return index.Listeners, index.Capabilities
}

// h2c returns a client that speaks HTTP/2, with TLS where a configuration is given.
func h2c(t *testing.T, c *tls.Config) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: c}
	tr.Protocols.SetHTTP2(true)
	tr.Protocols.SetUnencryptedHTTP2(c == nil)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// export calls TraceService/Export with an empty request.
func export(t *testing.T, c *http.Client, base, token string) (grpcStatus string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, base+grpcExport, bytes.NewReader(make([]byte, 5)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	if s := resp.Header.Get("Grpc-Status"); s != "" {
		return s
	}
	return resp.Trailer.Get("Grpc-Status")
}

// Each port takes spans by HTTP and by gRPC.
func TestServeTakesOTLPOnEachPort(t *testing.T) {
	r := serve(t, nil, otlpPorts...)
	at, capabilities := r.doors(t, http.DefaultClient)
	if len(at) != 3 || !strings.Contains(strings.Join(capabilities, " "), "otlp_http otlp_grpc") {
		t.Fatalf("listeners %v, capabilities %v", at, capabilities)
	}
	for name, addr := range at {
		if !strings.Contains(r.log.String(), addr) {
			t.Errorf("the log does not tell %s", addr)
		}
		base := "http://" + addr
		if got := export(t, h2c(t, nil), base, ""); got != "0" {
			t.Errorf("gRPC at %s: status %q", name, got)
		}
		resp, err := http.Post(base+"/v1/traces", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("HTTP at %s: %s", name, resp.Status)
		}
	}
	resp, err := http.Get("http://" + at["otlp_http"] + "/monitoring/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 404 || !strings.Contains(string(body), at["api"]) {
		t.Errorf("the API at OTLP's port: %s %s", resp.Status, body)
	}
	_, metrics := r.get(t, "/monitoring/metrics")
	for _, want := range []string{
		`pulse_api_receiver_requests_total{outcome="accepted",protocol="grpc"} 3`,
		`pulse_api_receiver_requests_total{outcome="accepted",protocol="http/json"} 3`,
		`pulse_api_receiver_in_flight_bytes 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if _, body := r.get(t, "/monitoring/traces?state=all"); !strings.Contains(body, `"total":0`) {
		t.Errorf("what came to the doors left traces of itself: %s", body)
	}
}

// The rules of the API's port hold at the others: Host, Origin, proxies.
func TestServeGuardsItsDoors(t *testing.T) {
	r := serve(t, nil, otlpPorts...)
	at, _ := r.doors(t, http.DefaultClient)
	for _, tt := range []struct {
		name, header, value string
		status              int
	}{
		{"another host", "Host", "evil.example", http.StatusMisdirectedRequest},
		{"a page of another origin", "Origin", "https://evil.example", http.StatusForbidden},
		{"by a proxy", "X-Forwarded-For", "10.1.2.3", http.StatusForbidden},
	} {
		req, err := http.NewRequest(http.MethodPost, "http://"+at["otlp_http"]+"/v1/traces", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if req.Header.Set(tt.header, tt.value); tt.header == "Host" {
			req.Host = tt.value
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.status || !strings.Contains(string(body), `"code":7`) {
			t.Errorf("%s: %s %s, want %d in OTLP's form", tt.name, resp.Status, body, tt.status)
		}
	}
}

func TestServeTakesOTLPWithTLSAndTokens(t *testing.T) {
	dir := t.TempDir()
	var lines, said bytes.Buffer
	secrets := map[string]string{}
	for _, role := range []string{"writer", "viewer"} {
		a := newApp(streams{strings.NewReader(""), &lines, &said}, func(string) string { return "" })
		if err := a.run(t.Context(), []string{"serve", "--new-token", role + ":" + role}); err != nil {
			t.Fatal(err)
		}
		secrets[role] = strings.TrimSpace(said.String()[strings.LastIndex(said.String(), " ")+1:])
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key, trust := certificate(t, dir)
	r := serve(t, nil, append([]string{"--auth-token-file", tokens, "--anonymous", "viewer", "--tls-cert", cert, "--tls-key", key}, otlpPorts...)...)
	c := h2c(t, trust)
	at, _ := r.doors(t, c)
	for name, addr := range at {
		base := "https://" + addr
		for token, want := range map[string]string{secrets["writer"]: "0", secrets["viewer"]: "7", "wrong": "16", "": "16"} {
			if got := export(t, c, base, token); got != want {
				t.Errorf("gRPC at %s with %.10q: status %q, want %s", name, token, got, want)
			}
		}
	}
}

// certificate makes one for 127.0.0.1, and the configuration that trusts it.
func certificate(t *testing.T, dir string) (cert, key string, trust *tls.Config) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private), &tls.Config{RootCAs: pool}
}

// A port that is taken ends the start where a setting names it, and not where
// it is only the default.
func TestServeWithATakenPortOfOTLP(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		env  map[string]string
		args []string
	}{
		{nil, []string{"--otlp-grpc", taken.Addr().String(), "--otlp-http", "off"}},
		{map[string]string{"PULSECTL_OTLP_HTTP": taken.Addr().String()}, []string{"--otlp-grpc", "off"}},
	} {
		a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(k string) string { return tt.env[k] })
		err := a.run(t.Context(), append([]string{"serve", "--listen", "127.0.0.1:0"}, tt.args...))
		if exitStatus(err) != exitUnreachable || !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("%v %v: %v, status %d", tt.env, tt.args, err, exitStatus(err))
		}
	}
}

func TestServeGoesOnWithoutADefaultPort(t *testing.T) {
	if l, err := net.Listen("tcp", "127.0.0.1:4318"); err == nil { // else another holds it, which is as good
		defer l.Close()
	}
	r := start(t, nil, "--otlp-grpc", "off")
	if !strings.Contains(r.log.String(), "a default port of OTLP is taken") || !strings.Contains(r.log.String(), "--otlp-http") {
		t.Errorf("the log does not say so: %s", r.log)
	}
	if at, _ := r.doors(t, http.DefaultClient); at["otlp_http"] != "" || at["api"] == "" {
		t.Errorf("listeners %v", at)
	}
	if status, body := r.get(t, "/health/live"); status != 200 {
		t.Errorf("the server: %d %s", status, body)
	}
}

func TestServeForwards(t *testing.T) {
	back := serve(t, nil)
	headers := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(headers, []byte("X-Scope-OrgID: shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	front := serve(t, nil, "--otlp-forward", back.base, "--otlp-forward-headers-file", headers)
	body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"POST /pay","startTimeUnixNano":"1795434987000000000","endTimeUnixNano":"1795434988000000000"}]}]}]}`
	resp, err := http.Post(front.base+"/v1/traces", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back.eventually(t, "/monitoring/traces?state=all", "POST /pay")
	front.eventually(t, "/monitoring/metrics", "pulse_api_forward_spans_sent_total 1")
	_, config := front.get(t, "/monitoring/debug/config")
	for _, want := range []string{`"forward":"` + back.base + `/v1/traces"`, `"sent_spans":1`, `"otlp.forward":"flag"`} {
		if !strings.Contains(config, want) {
			t.Errorf("config lacks %s: %s", want, config)
		}
	}
}

func TestServeRefusesNonsenseAboutOTLP(t *testing.T) {
	dir := t.TempDir()
	open, broken := filepath.Join(dir, "open"), filepath.Join(dir, "broken")
	for path, mode := range map[string]os.FileMode{open: 0o644, broken: 0o600} {
		if err := os.WriteFile(path, []byte("Authorization Bearer s3cret\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, []string{"--otlp-grpc", "4317"}, `otlp-grpc "4317": want HOST:PORT`},
		{nil, []string{"--otlp-http", "0.0.0.0:0"}, "otlp-http 0.0.0.0:0: without tokens only loopback is served"},
		{nil, []string{"--otlp-forward", "collector:4317"}, "otlp-forward to: want a URL like"},
		{nil, []string{"--otlp-forward", "https://me:s3cret@collector"}, "want no credentials"},
		{nil, []string{"--otlp-forward", "http://c", "--otlp-forward-headers-file", open}, "make it mode 0600"},
		{nil, []string{"--otlp-forward", "http://c", "--otlp-forward-headers-file", broken}, "line 1: want NAME: VALUE"},
		{nil, []string{"--otlp-forward-max-bytes", "0"}, "otlp-forward-max-bytes: want more than 0 bytes"},
		{map[string]string{"PULSECTL_OTLP_FORWARD_HEADERS": "s3cret"}, []string{"--otlp-forward", "http://c"}, "PULSECTL_OTLP_FORWARD_HEADERS: header 1"},
	} {
		a := newApp(streams{strings.NewReader(""), io.Discard, io.Discard}, func(k string) string { return tt.env[k] })
		err := a.run(t.Context(), append([]string{"serve", "--listen", "127.0.0.1:0"}, tt.args...))
		if err == nil || !strings.Contains(err.Error(), tt.want) || exitStatus(err) != exitUsage || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("serve %v = %v (status %d), want status 2 and %q", tt.args, err, exitStatus(err), tt.want)
		}
	}
}
