package testkit

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// RedisServer is a redis-server of the test's own, without persistence, on a
// free loopback port. It ends with the test.
type RedisServer struct {
	t    testing.TB
	addr string
	args []string

	cmd *exec.Cmd

	sentinel string // the file it runs by as a sentinel; "" for a server of keys
}

// Redis starts a redis-server; args are appended to its command line. Where
// none is installed the test is skipped, and fails if CI is set.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	Need(t, "redis-server", "redis-server")
	return startRedis(t, func() []string { return args })
}

// startRedis starts a server on a port of its own, on another where someone
// else was quicker to take that.
func startRedis(t testing.TB, args func() []string) *RedisServer {
	t.Helper()
	var err error
	for range 5 {
		s := &RedisServer{t: t, addr: FreeAddr(t), args: args()}
		t.Cleanup(s.Kill)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// Addr returns the server's host and port. It stays the same over restarts.
func (s *RedisServer) Addr() string { return s.addr }

// URL returns the server's address as REDIS_URL takes it.
func (s *RedisServer) URL() string { return "redis://" + s.addr + "/0" }

// Kill ends the server at once, as a crash does. Killing a dead one is fine.
func (s *RedisServer) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // an error means that it has ended already
	_ = s.cmd.Wait()         // reaps it; the status of a killed process says nothing
	s.cmd = nil
}

// Restart starts the server again, empty, and waits until it answers.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

// start starts the server and waits until it answers. Its error is that it does
// not, as one does whose port is taken.
func (s *RedisServer) start() error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir()}, s.args...)
	if s.sentinel != "" {
		args = []string{s.sentinel, "--sentinel", "--port", port, "--bind", "127.0.0.1"}
	}
	cmd := exec.Command("redis-server", args...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.cmd = cmd
	deadline := time.Now().Add(5 * time.Second)
	for err = s.ping(); err != nil; err = s.ping() {
		if time.Now().After(deadline) {
			s.Kill()
			return fmt.Errorf("redis-server on %s: %w", s.addr, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// ping asks the server for any answer; one that wants a password answers too.
func (s *RedisServer) ping() error {
	conn, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-NOAUTH") {
		return fmt.Errorf("answer to PING: %q", line)
	}
	return err
}

// FreeAddr returns a loopback address that nothing listens on. Another process
// may take it before the caller does; that is rare enough for tests.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
