package otelsdk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes one for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// The real exporters come through TLS with a token, and learn without one, in
// the words of their protocol, that they may not.
func TestSDKWithTLSAndToken(t *testing.T) {
	pulsectl, sender := build(t, "../..", "./cmd/pulsectl"), build(t, ".", "./sender")
	tokens, secret := newToken(t, pulsectl)
	cert, key := certificate(t)
	url := serve(t, pulsectl, "--auth-token-file", tokens, "--tls-cert", cert, "--tls-key", key)
	for _, tt := range []struct {
		name, token string
		args        []string
		says        string
	}{
		{"http", secret, nil, ""},
		{"grpc", secret, []string{"-grpc"}, ""},
		{"grpc gzip", secret, []string{"-grpc", "-gzip"}, ""},
		{"grpc, bad token", "nonsense", []string{"-grpc"}, "Unauthenticated desc = the token is not one of this server's"},
		{"grpc, no token", "", []string{"-grpc"}, "Unauthenticated desc = this needs a token"},
		{"http, bad token", "nonsense", nil, "the token is not one of this server's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"-endpoint", url, "-ca", cert, "-traces", "2", "-token", tt.token}, tt.args...)
			out, err := exec.Command(sender, args...).CombinedOutput()
			ok := err == nil && len(strings.Fields(string(out))) == 2
			if tt.says != "" {
				ok = err != nil && strings.Contains(string(out), tt.says)
			}
			if !ok {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// free returns an address that nobody listens on, for a server that goes and
// comes back.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// What comes in while the server that it is forwarded to is killed arrives
// there when it is back.
func TestForwardOutlivesTheOtherServer(t *testing.T) {
	pulsectl, sender := build(t, "../..", "./cmd/pulsectl"), build(t, ".", "./sender")
	for _, scheme := range []string{"http", "grpc"} {
		t.Run(scheme, func(t *testing.T) {
			addr := free(t)
			back, kill := start(t, pulsectl, "--otlp-"+scheme, addr)
			front := serve(t, pulsectl, "--otlp-forward", scheme+"://"+addr)
			send := func() string {
				return strings.TrimSpace(run(t, nil, sender, "-endpoint", front, "-grpc", "-spans", "4"))
			}
			arrive(t, pulsectl, back, send())
			kill()
			id := send() // acknowledged though the other is gone
			if _, err := show(pulsectl, front, id); err != nil {
				t.Errorf("the front itself: %v", err)
			}
			back, _ = start(t, pulsectl, "--otlp-"+scheme, addr)
			arrive(t, pulsectl, back, id)
		})
	}
}

func show(pulsectl, url, id string) (string, error) {
	out, err := exec.Command(pulsectl, "traces", "show", id, "-s", url).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return string(out), nil
}

func arrive(t *testing.T, pulsectl, url, id string) {
	t.Helper()
	var err error
	for range 150 {
		var screen string
		if screen, err = show(pulsectl, url, id); err == nil && strings.Contains(screen, "4 spans") {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("trace %s never arrived: %v", id, err)
}

// A forward goes through TLS with the headers of its file, by HTTP and by gRPC.
func TestForwardWithTLSAndToken(t *testing.T) {
	pulsectl, sender := build(t, "../..", "./cmd/pulsectl"), build(t, ".", "./sender")
	tokens, secret := newToken(t, pulsectl)
	cert, key := certificate(t)
	t.Setenv("SSL_CERT_FILE", cert) // for the programs that are started from here on
	t.Setenv("PULSECTL_TOKEN", secret)
	headers := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(headers, []byte("Authorization: Bearer "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	back := serve(t, pulsectl, "--auth-token-file", tokens, "--tls-cert", cert, "--tls-key", key)
	for _, scheme := range []string{"https", "grpcs"} {
		t.Run(scheme, func(t *testing.T) {
			to := scheme + strings.TrimPrefix(back, "https")
			front := serve(t, pulsectl, "--otlp-forward", to, "--otlp-forward-headers-file", headers)
			id := strings.TrimSpace(run(t, nil, sender, "-endpoint", front, "-spans", "4"))
			arrive(t, pulsectl, back, id)
		})
	}
}
