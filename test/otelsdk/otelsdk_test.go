// Package otelsdk_test shows that spans of the real OpenTelemetry SDK, exported
// over OTLP by HTTP and gRPC by its own exporters, can be read with the real
// pulsectl, and with another one that it forwards to.
package otelsdk_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build compiles one of the programs.
func build(t *testing.T, dir, pkg string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-o", bin, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return bin
}

// serve starts the server on a free port and returns its URL.
func serve(t *testing.T, bin string, args ...string) string {
	t.Helper()
	url, _ := start(t, bin, args...)
	return url
}

// start is serve for servers that do not live as long as the test: kill ends it
// at once, as a crash does.
func start(t *testing.T, bin string, args ...string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"serve", "--listen", "127.0.0.1:0", "--otlp-http", "off", "--otlp-grpc", "off"}, args...)...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		killed = true
		cmd.Process.Kill()
		cmd.Wait()
	}
	t.Cleanup(func() {
		if killed {
			return
		}
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve ended: %v", err)
		}
	})
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Message, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "serving" {
			go io.Copy(io.Discard, log)
			return line.Address, kill
		}
	}
	t.Fatal("the server did not say where it serves")
	return "", nil
}

func run(t *testing.T, env []string, bin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(bin), strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// newToken makes an operator's token: the file with its digest, and itself.
func newToken(t *testing.T, pulsectl string) (file, secret string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "tokens")
	cmd := exec.Command(pulsectl, "serve", "--new-token", "sdk:operator")
	var said bytes.Buffer
	cmd.Stderr = &said
	line, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, line, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(said.String()[strings.LastIndex(said.String(), " ")+1:])
}

func TestSDKShowsUpInTracesShow(t *testing.T) {
	pulsectl, sender := build(t, "../..", "./cmd/pulsectl"), build(t, ".", "./sender")
	tokens, secret := newToken(t, pulsectl)
	for _, tt := range []struct {
		name  string
		serve []string
		token string
		send  []string
	}{
		{"plain", nil, "", nil},
		{"gzip", nil, "", []string{"-gzip"}},
		{"token", []string{"--auth-token-file", tokens}, secret, []string{"-gzip"}},
		{"grpc", nil, "", []string{"-grpc"}},
		{"grpc gzip", nil, "", []string{"-grpc", "-gzip"}},
		{"grpc token", []string{"--auth-token-file", tokens}, secret, []string{"-grpc"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, pulsectl, tt.serve...)
			env := []string{"PULSECTL_SERVER=" + url, "PULSECTL_TOKEN=" + tt.token, "COLUMNS=120"}
			args := append([]string{"-endpoint", url, "-service", "orders", "-traces", "3", "-spans", "5", "-fail"}, tt.send...)
			ids := strings.Fields(run(t, env, sender, args...))
			if len(ids) != 3 {
				t.Fatalf("the sender gave %d ids", len(ids))
			}
			for _, id := range ids { // readable as soon as acknowledged
				screen := run(t, env, pulsectl, "traces", "show", id)
				for _, want := range []string{id, "✗ 1 error", "GET /orders/{id}", "5 spans", "a orders", "SELECT orders 2", "connection reset by peer", "db.system.name  postgresql"} {
					if !strings.Contains(screen, want) {
						t.Errorf("traces show lacks %q:\n%s", want, screen)
					}
				}
			}
			var list struct {
				Items []struct{ Service, Root, Status string }
			}
			if err := json.Unmarshal([]byte(run(t, env, pulsectl, "traces", "list", "--status", "error", "-o", "json")), &list); err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != 3 || list.Items[0].Service != "orders" || list.Items[0].Root != "GET /orders/{id}" {
				t.Errorf("traces list --status error = %+v", list.Items)
			}
		})
	}
}
