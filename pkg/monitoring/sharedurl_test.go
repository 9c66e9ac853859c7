package monitoring_test

import (
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// Breakers are shared through every kind of Redis that the cache takes.
func TestSharedBreakersThroughClusterAndSentinel(t *testing.T) {
	var nodes []string
	for _, n := range testkit.RedisCluster(t, 3, 0) {
		nodes = append(nodes, n.Addr())
	}
	sentinel, _, _ := testkit.RedisSentinel(t)
	for _, url := range []string{"redis+cluster://" + strings.Join(nodes, ","), "redis+sentinel://" + sentinel.Addr() + "/mymaster/0"} {
		m1, b1 := shared(t, monitoring.Options{Service: "web", RedisURL: url})
		m2, b2 := shared(t, monitoring.Options{Service: "web", RedisURL: url})
		testkit.Until(t, "both share", func() bool { return m1.Fleet.Status().Shared && m2.Fleet.Status().Shared })
		b1.ForceOpen(breaker.Control{})
		testkit.Until(t, "open on the other replica", func() bool { return b2.State() == api.StateOpen })
	}
}
