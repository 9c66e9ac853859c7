package exectrace

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// state is one of the states of package api, by number.
type state uint8

const (
	other state = iota
	running
	runnable
	channel
	mutex
	network
	sleep
	syscall
	gc
	states // how many
)

var stateNames = [states]string{
	api.StateOther, api.StateRunning, api.StateRunnable, api.StateChannel, api.StateMutex,
	api.StateNetwork, api.StateSleep, api.StateSyscall, api.StateGC,
}

// stateOfWait tells why a goroutine blocked by the words of the runtime
// (traceBlockReasonStrings in runtime/traceruntime.go), and by its stack where
// they are missing or the wait is the collector's.
func stateOfWait(reason string, functions iter.Seq[string]) state {
	switch reason {
	case "network":
		return network
	case "select", "chan send", "chan receive", "forever":
		return behind(channel, functions)
	case "sync", "sync.(*Cond).Wait":
		return behind(mutex, functions)
	case "sleep":
		return sleep
	case "preempted", "wait until GC ends": // suspended while its stack is scanned
		return gc
	}
	if strings.HasPrefix(reason, "GC ") {
		return gc
	}
	if s := stateOfStack(functions); s != running {
		return s
	}
	return other
}

// behind tells what a wait for another goroutine is for: that may be the one of
// the network or of the collector.
func behind(s state, functions iter.Seq[string]) state {
	if by := stateOfStack(functions); by == gc || by == network {
		return by
	}
	return s
}

// waits tells the state of a stack by the functions at its inner end.
var waits = []struct {
	function string
	state    state
}{
	{"internal/poll.runtime_pollWait", network},
	{"runtime.netpollblock", network},
	{"time.Sleep", sleep},
	{"runtime.chanrecv*", channel},
	{"runtime.chansend*", channel},
	{"runtime.selectgo", channel},
	{"runtime.block", channel},
	{"reflect.rselect", channel},
	{"reflect.chanrecv", channel},
	{"reflect.chansend*", channel},
	{"sync.runtime_Semacquire*", mutex},
	{"internal/sync.runtime_Semacquire*", mutex},
	{"internal/poll.runtime_Semacquire", mutex},
	{"sync.runtime_notifyListWait", mutex},
	{"runtime.semacquire*", mutex},
	{"runtime.gcAssistAlloc*", gc},
	{"runtime.gcParkAssist", gc},
	{"runtime.gcStart", gc},
	{"runtime.gcMarkDone", gc},
	{"runtime.GC", gc},
	{"runtime.deductSweepCredit", gc},
	{"syscall.Syscall*", syscall},
	{"syscall.RawSyscall*", syscall},
	{"syscall.rawSyscall*", syscall},
	{"syscall.syscall*", syscall},
	{"syscall.rawVforkSyscall", syscall},
	{"internal/runtime/syscall.*", syscall},
	{"golang.org/x/sys/unix.Syscall*", syscall},
	{"runtime.cgocall", syscall},
	{"runtime.entersyscall*", syscall},
	{"runtime.exitsyscall*", syscall},
	{"runtime.notetsleepg", syscall},
}

// remote are functions that wait for the network by a channel or a condition, as
// goroutines of their own read and write it for them.
var remote = []string{
	"net/http.(*persistConn).*",
	"net/http.(*Transport).getConn",
	"net/http.(*http2ClientConn).*",
	"net/http.(*http2clientStream).*",
	"net/http.(*http2pipe).Read",
	"net/http/internal/http2.*",
	"golang.org/x/net/http2.*",
	"google.golang.org/grpc/internal/transport.*",
	"net.(*Resolver).*",
	"net.(*sysDialer).*",
}

// stateOfStack tells the state of a goroutine by its innermost functions, as far
// as they are the standard library's. A wait inside of the collector is the
// collector's, one for who has the connection is the network's. Without any that
// is known a parked goroutine is other, one that is not parked is running.
func stateOfStack(functions iter.Seq[string]) state {
	found, parked := running, false
	for f := range functions {
		s := stateOfFunction(f)
		switch {
		case s == gc:
			return gc
		case (found == channel || found == mutex) && slices.ContainsFunc(remote, func(p string) bool { return matches(f, p) }):
			return network
		case found == running:
			found = s
		}
		if !isStandard(f) {
			break
		}
		parked = parked || strings.HasPrefix(f, "runtime.gopark")
	}
	if found == running && parked {
		return other
	}
	return found
}

// stateOfFunction returns running for a function that is no wait.
func stateOfFunction(f string) state {
	for _, w := range waits {
		if matches(f, w.function) {
			return w.state
		}
	}
	return running
}

// matches compares a function with a name that may end in * for all that begin so.
func matches(function, pattern string) bool {
	if prefix, many := strings.CutSuffix(pattern, "*"); many {
		return strings.HasPrefix(function, prefix)
	}
	return function == pattern
}

// userFunction returns the innermost function that is the service's own work:
// not the standard library's, and not what watches it. Failing that it is the
// innermost that is not the runtime's plumbing, or the first.
func userFunction(functions iter.Seq[string]) (name string) {
	first, second := "", ""
	for f := range functions {
		if !isStandard(f) && !isWatching(f) {
			return f
		}
		first = cmp.Or(first, f)
		if second == "" && !isPlumbing(f) {
			second = f
		}
	}
	return cmp.Or(second, first)
}

func isPlumbing(function string) bool {
	root, _, _ := strings.Cut(packageOf(function), "/")
	switch root {
	case "runtime", "internal", "sync", "syscall", "reflect":
		return true
	}
	return false
}

// isWatching tells whether a function wraps the service's for its monitoring.
func isWatching(function string) bool {
	return strings.HasPrefix(function, "github.com/pulsectl/pulsectl/pkg/monitoring") || strings.HasPrefix(function, "go.opentelemetry.io/")
}

// packageOf cuts a function's name to its import path: the last element's name
// ends at the first dot.
func packageOf(function string) string {
	// Type arguments may have slashes and dots of their own.
	name, _, _ := strings.Cut(function, "[")
	slash := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[slash:], '.'); dot >= 0 {
		return name[:slash+dot]
	}
	return name
}

// isStandard tells whether a function is of the standard library, or of the
// modules that stand between it and the system.
func isStandard(function string) bool {
	pkg := packageOf(function)
	if strings.HasPrefix(pkg, "golang.org/x/sys/") || strings.HasPrefix(pkg, "golang.org/x/net/") {
		return true
	}
	root, _, _ := strings.Cut(pkg, "/")
	return standard[root]
}

// standard holds the first elements of the import paths of the standard library.
var standard = func() map[string]bool {
	m := map[string]bool{}
	for root := range strings.FieldsSeq(`archive bufio bytes cmp compress container context crypto database
		debug embed encoding errors expvar flag fmt go hash html image index internal io iter log maps math mime
		net os path plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time
		unicode unique unsafe vendor weak`) {
		m[root] = true
	}
	return m
}()
