package testkit

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// RedisCluster starts masters, each with so many replicas, and joins them to a
// Cluster whose failovers take about a second. The masters come first. Where
// redis-cli is not installed the test is skipped.
func RedisCluster(t testing.TB, masters, replicas int) []*RedisServer {
	t.Helper()
	redisCLI(t, "--version")
	var all []*RedisServer
	var addrs []string
	for range masters * (1 + replicas) {
		s := startRedis(t, func() []string {
			return []string{
				"--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--cluster-require-full-coverage", "no",
				"--cluster-replica-validity-factor", "0", "--cluster-port", clusterPort(t),
			}
		})
		all, addrs = append(all, s), append(addrs, s.Addr())
	}
	redisCLI(t, append(append([]string{"--cluster", "create"}, addrs...), "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")...)
	Until(t, "each node knows all of the Cluster", func() bool {
		for _, s := range all {
			info := redisCLI(t, "-p", s.port(), "cluster", "info")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(all))) {
				return false
			}
			role := redisCLI(t, "-p", s.port(), "info", "replication")
			if strings.Contains(role, "role:slave") && !strings.Contains(role, "master_link_status:up") {
				return false
			}
		}
		return true
	})
	return all
}

// clusterPort finds a port for the nodes' own bus: the default, 10,000 above the
// clients', may not exist.
func clusterPort(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// RedisSentinel starts a master of the name mymaster, a replica of it, and one
// sentinel that watches them and fails over within about a second.
func RedisSentinel(t testing.TB) (sentinel, master, replica *RedisServer) {
	t.Helper()
	master = Redis(t)
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica = Redis(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	Until(t, "the master knows its replica", func() bool { // or the sentinel asks again only ten seconds later
		return strings.Contains(redisCLI(t, "-p", port, "info", "replication"), "state=online")
	})
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("sentinel monitor mymaster %s %s 1\nsentinel down-after-milliseconds mymaster 300\nsentinel failover-timeout mymaster 2000\n", host, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel = &RedisServer{t: t, addr: FreeAddr(t), sentinel: conf}
	t.Cleanup(sentinel.Kill)
	sentinel.Restart()
	Until(t, "the sentinel knows the replica", func() bool {
		info := redisCLI(t, "-p", sentinel.port(), "sentinel", "replicas", "mymaster")
		return strings.Contains(info, replica.port()) && strings.Contains(info, "master-link-status\nok")
	})
	return sentinel, master, replica
}

func (s *RedisServer) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// redisCLI runs redis-cli and returns what it says.
func redisCLI(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(Need(t, "redis-cli", "redis-tools"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.ReplaceAll(string(out), "\r", "")
}

// Until waits up to 20 seconds for what other processes have to bring about.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(30 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20s: %s", what)
		}
	}
}
