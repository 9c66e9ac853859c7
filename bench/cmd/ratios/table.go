package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

const cpu = "cpu-ns/op"

// cost is what one implementation took for a row.
type cost struct {
	name            string
	ns, allocs, rss float64
}

// costs returns ours and the cheapest peer; ok is false if ours did not run.
func (g goal) costs(m measured) (ours, peer cost, ok bool) {
	impls := m.values[g.bench]
	base := impls[g.less]
	for name, v := range impls {
		c := cost{name, v[cpu] - base[cpu], v["allocs/op"] - base["allocs/op"], v["max-rss-B"]}
		switch {
		case name == cmp.Or(g.ours, "pulsectl"):
			ours, ok = c, true
		case name == "bare", strings.Contains(g.exclude, " "+name+" "), strings.HasPrefix(name, "pulsectl"):
		case peer.name == "" || c.ns < peer.ns:
			peer = c
		}
	}
	return ours, peer, ok
}

// misses says what of the goal is not reached.
func (g goal) misses(ours, peer cost) (out []string) {
	if g.ns > 0 && ours.ns > g.ns {
		out = append(out, times(ours.ns/g.ns)+" the time")
	}
	if g.allocs >= 0 && ours.allocs > g.allocs {
		out = append(out, fmt.Sprintf("%.0f allocs", ours.allocs))
	}
	if g.rss > 0 && ours.rss > g.rss {
		out = append(out, fmt.Sprintf("%.0f MB", ours.rss/1e6))
	}
	if g.ratio > 0 && peer.name != "" && peer.ns/ours.ns < g.ratio {
		out = append(out, fmt.Sprintf("%s, not %.0f×", times(peer.ns/ours.ns), g.ratio))
	}
	return out
}

// limits writes the goal in words, "–" if the row has none.
func (g goal) limits() string {
	var out []string
	if g.ns > 0 {
		out = append(out, "≤ "+took(g.ns))
	}
	if g.allocs >= 0 {
		out = append(out, fmt.Sprintf("≤ %.0f allocs", g.allocs))
	}
	if g.rss > 0 {
		out = append(out, fmt.Sprintf("≤ %.0f MB", g.rss/1e6))
	}
	if g.ratio > 0 {
		out = append(out, fmt.Sprintf("≥ %.0f×", g.ratio))
	}
	return cmp.Or(strings.Join(out, ", "), "–")
}

// writeTable writes the machine and the rows that were measured.
func writeTable(w io.Writer, m measured) {
	c := m.config
	fmt.Fprintf(w, "%s cores of %s, %s, %s/%s, commit %s; processor time, medians of %d runs.\n\n", c["cores"], c["cpu"], c["go"], c["goos"], c["goarch"], c["commit"], m.runs)
	fmt.Fprintln(w, "| operation | ours | best peer | ratio | goal | reached |\n| --- | --- | --- | --- | --- | --- |")
	var with, reached int
	var missing []string
	for _, g := range goals {
		ours, peer, ok := g.costs(m)
		if !ok {
			missing = append(missing, g.row)
			continue
		}
		verdict := "–"
		if g.limits() != "–" {
			with++
			if missed := g.misses(ours, peer); len(missed) > 0 {
				verdict = "**no**: " + strings.Join(missed, ", ")
			} else {
				verdict = "yes"
				reached++
			}
		}
		beside, ratio := "nobody has it", "–"
		if peer.name != "" {
			beside, ratio = peer.name+" "+peer.String(), times(peer.ns/ours.ns)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", g.row, ours, beside, ratio, g.limits(), verdict)
	}
	fmt.Fprintf(w, "\n%d of %d goals reached.\n", reached, with)
	if len(missing) > 0 {
		fmt.Fprintf(w, "Not measured in this run: %s.\n", strings.Join(missing, "; "))
	}
}

// String shows the time and the allocations, or the memory of a process.
func (c cost) String() string {
	if c.rss > 0 {
		return fmt.Sprintf("%s, %.0f MB", took(c.ns), c.rss/1e6)
	}
	return fmt.Sprintf("%s, %.0f allocs", took(c.ns), c.allocs)
}

// times shows a ratio.
func times(r float64) string {
	if r < 1 {
		return fmt.Sprintf("%.2f×", r)
	}
	return fmt.Sprintf("%.1f×", r)
}

// took shows three digits or so.
func took(ns float64) string {
	if ns < 100 {
		return fmt.Sprintf("%.3g ns", ns)
	}
	d := time.Duration(ns)
	for unit := time.Duration(1); ; unit *= 10 {
		if d < 1000*unit {
			return strings.Replace(d.Round(unit).String(), "ns", " ns", 1)
		}
	}
}
