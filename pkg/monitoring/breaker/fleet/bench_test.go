package fleet_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulsectl/pulsectl/internal/testkit"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker/fleet"
)

// replicaOf is the variable that makes the test binary a replica: Redis's address.
const replicaOf = "FLEET_REPLICA_OF"

// benchNames are the breakers of the replicas in processes of their own.
var benchNames = func() (names []string) {
	for i := range 100 {
		names = append(names, fmt.Sprintf("dep%d", i))
	}
	return names
}()

// follower is a replica in a process of its own, which writes a line for each
// move that it was told: who made it, and when it had happened here.
func follower(addr string) {
	set := new(breaker.Set)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	events := set.Subscribe(ctx)
	var err error
	for _, name := range benchNames {
		_, aerr := set.Add(name, breaker.Options{})
		err = errors.Join(err, aerr)
	}
	f, ferr := fleet.New(fleet.Options{Breakers: set, Connect: connectTo(addr), Fleet: "bench"})
	if err := errors.Join(err, ferr); err != nil {
		fmt.Println(err)
		return
	}
	go f.Run(ctx)
	go func() {
		bufio.NewReader(os.Stdin).ReadByte() // until the parent has gone
		os.Exit(0)
	}()
	for !f.Status().Shared {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("ready 0")
	for e := range events {
		if e.Remote {
			fmt.Println(e.Actor, time.Now().UnixNano())
		}
	}
}

// followers starts replicas in processes of their own; each line that one
// writes comes by its channel.
func followers(b *testing.B, addr string, n int) []<-chan string {
	var all []<-chan string
	for range n {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), replicaOf+"="+addr)
		in, err := cmd.StdinPipe()
		out, oerr := cmd.StdoutPipe()
		if err := errors.Join(err, oerr, cmd.Start()); err != nil {
			b.Fatal(err)
		}
		lines := make(chan string, 1024)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		b.Cleanup(func() {
			in.Close()
			cmd.Wait()
		})
		all = append(all, lines)
	}
	for _, lines := range all {
		if got := <-lines; got != "ready 0" {
			b.Fatal(got)
		}
	}
	return all
}

// BenchmarkSeenEverywhere is the time from moves in one process until the last
// of three others has made the last of them: of one breaker, and of a hundred
// at once, as by reset-all.
func BenchmarkSeenEverywhere(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("breakers=%d", n), func(b *testing.B) { seenEverywhere(b, benchNames[:n]) })
	}
}

func seenEverywhere(b *testing.B, names []string) {
	server := testkit.Redis(b)
	r := start(b, fleet.Options{Connect: connectTo(server.Addr()), Fleet: "bench"}, names...)
	r.shares()
	others := followers(b, server.Addr(), 3)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		begun, actor := time.Now(), fmt.Sprintf("m%d", i)
		for _, name := range names {
			if i%2 == 0 {
				r.get(name).ForceOpen(breaker.Control{Actor: actor})
			} else {
				r.get(name).Reset(api.StateClosed, breaker.Control{Actor: actor})
			}
		}
		last := time.Duration(0)
		for _, lines := range others {
			for range names {
				line := <-lines
				who, when, _ := strings.Cut(line, " ")
				var ns int64
				if _, err := fmt.Sscan(when, &ns); err != nil || who != actor {
					b.Fatalf("move %s came as %q", actor, line)
				}
				last = max(last, time.Duration(ns-begun.UnixNano()))
			}
		}
		took = append(took, last)
	}
	slices.Sort(took)
	for name, share := range map[string]float64{"p50-µs": 0.5, "p99-µs": 0.99, "max-µs": 1} {
		b.ReportMetric(float64(took[int(share*float64(len(took)-1))].Microseconds()), name)
	}
}

// BenchmarkCall is a call through a breaker that is alone, and through one that
// is shared: nothing of the fleet is on its way.
func BenchmarkCall(b *testing.B) {
	work := func(context.Context) (int, error) { return 0, nil }
	call := func(b *testing.B, br *breaker.Breaker) {
		b.ReportAllocs()
		ctx := context.Background()
		for b.Loop() {
			if _, err := breaker.Do(ctx, br, work); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("alone", func(b *testing.B) {
		br, err := new(breaker.Set).Add("api", breaker.Options{Timeout: -1})
		if err != nil {
			b.Fatal(err)
		}
		call(b, br)
	})
	b.Run("shared", func(b *testing.B) {
		r := start(b, fleet.Options{Connect: connectTo(testkit.Redis(b).Addr())})
		r.shares()
		br, err := r.Add("api", breaker.Options{Timeout: -1})
		if err != nil {
			b.Fatal(err)
		}
		call(b, br)
	})
}
