package doctor

import (
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// causes says which rule's findings explain which others', where both are about
// the same dependency or the same route. Earlier rows win: what lies deepest
// comes first.
var causes = []struct {
	cause   string
	effects []string
	by      func(cause, effect *finding) bool
}{
	{"redis-down", []string{"breaker-local", "redis-errors", "redis-slow"}, always},
	{"redis-down", []string{"check-failing", "breaker-open"}, sameDependency},
	{"redis-evicts", []string{"redis-errors"}, always},
	{"dependency-slow", []string{"breaker-open", "breaker-flapping", "calls-slow", "calls-fail", "check-failing"}, timedOut},
	{"dependency-slow", []string{"route-slower"}, sameRoute},
	{"breaker-open", []string{"breaker-flapping", "calls-fail", "calls-slow", "check-failing", "route-errors"}, sameDependency},
	{"breaker-forced", []string{"route-errors", "check-failing"}, sameDependency},
	{"breaker-flapping", []string{"calls-fail", "calls-slow", "check-failing", "route-errors"}, sameDependency},
	{"calls-fail", []string{"calls-slow", "route-errors", "check-failing"}, sameDependency},
	{"check-failing", []string{"route-errors"}, sameDependency},
	{"cpu-quota", []string{"route-slower"}, sameInstance},
	{"cpu-host", []string{"route-slower"}, sameInstance},
	{"db-pool", []string{"route-slower"}, sameInstance},
	{"goroutines", []string{"memory-growth"}, sameInstance},
	{"memory-growth", []string{"memory-limit"}, sameInstance},
}

func always(_, _ *finding) bool { return true }

func sameInstance(a, b *finding) bool { return overlap(a.Instances, b.Instances, equal) }

func sameRoute(a, b *finding) bool {
	return sameInstance(a, b) && overlap(a.routes, b.routes, equal)
}

// sameDependency takes github for github_api: a check and a breaker of one
// dependency are named alike, seldom the same.
func sameDependency(a, b *finding) bool {
	return sameInstance(a, b) && overlap(a.dependencies, b.dependencies, alike)
}

// timedOut is sameDependency where the effect is one of slowness, as far as it
// tells.
func timedOut(a, b *finding) bool {
	if !sameDependency(a, b) {
		return false
	}
	if b.Rule == "calls-slow" {
		return true
	}
	text := b.Cause
	for _, e := range b.Evidence {
		text += " " + e.Text
	}
	text = strings.ToLower(text)
	return slices.ContainsFunc([]string{"timeout", "deadline", "timed out", "slow"}, func(w string) bool { return strings.Contains(text, w) })
}

func equal(a, b string) bool { return a == b }

// alike tells whether one name is the other's beginning up to a separator.
func alike(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a)
	return ok && a != "" && (rest == "" || strings.ContainsRune("_-.: /", rune(rest[0])))
}

func overlap(a, b []string, same func(x, y string) bool) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.ContainsFunc(b, func(y string) bool { return same(x, y) }) })
}

// link puts each finding that another explains below it. What an effect
// explains itself goes to the same cause.
func link(found []finding) []finding {
	parent := make([]int, len(found))
	for i := range parent {
		parent[i] = -1
	}
	for _, c := range causes {
		for i := range found {
			if found[i].Rule != c.cause {
				continue
			}
			for k := range found {
				if i != k && parent[k] < 0 && root(parent, i) != k && slices.Contains(c.effects, found[k].Rule) && c.by(&found[i], &found[k]) {
					parent[k] = i
				}
			}
		}
	}
	var out []finding
	at := map[int]int{}
	for i := range found {
		if parent[i] < 0 {
			at[i] = len(out)
			out = append(out, found[i])
		}
	}
	for i := range found {
		if parent[i] < 0 {
			continue
		}
		to, f := &out[at[root(parent, i)]], &found[i]
		to.Effects = append(to.Effects, api.Effect{Rule: f.Rule, Subject: f.Subject, Severity: f.Severity, Cause: f.Cause, Evidence: f.Evidence, Instances: f.Instances})
		if weight(f.Severity) < weight(to.Severity) { // a cause is as bad as what it does
			to.Severity = f.Severity
		}
	}
	return out
}

func root(parent []int, i int) int {
	for parent[i] >= 0 {
		i = parent[i]
	}
	return i
}
