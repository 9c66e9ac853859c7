//go:build unix

package testkit

import "syscall"

// Stop freezes the server (SIGSTOP): its port accepts, nothing answers.
func (s *RedisServer) Stop() { s.signal(syscall.SIGSTOP) }

// Cont lets a frozen server go on (SIGCONT).
func (s *RedisServer) Cont() { s.signal(syscall.SIGCONT) }

func (s *RedisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("redis-server: %v: %v", sig, err)
	}
}
