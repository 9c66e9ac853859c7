package check

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// The bounds of a plugin's output. Monitoring cores cut at 4 to 8 KiB, in the
// middle of a value if need be; what is left out here is counted.
const (
	mostLine   = 500  // bytes of a line of text
	mostDetail = 3000 // bytes of the lines below the first
	mostPerf   = 3500 // bytes of performance data
)

// Overall is the worst status of several results.
func Overall(rs []api.Result[Result]) Status {
	var all []Status
	for _, r := range rs {
		all = append(all, r.Value.Status)
	}
	return Worst(all...)
}

// Nagios writes results as a plugin does: a line with the status, what is wrong
// and the performance data behind a bar; then a line for each problem.
func Nagios(w io.Writer, rs []api.Result[Result]) error {
	fleet := len(rs) > 1
	var perf, details []string
	for _, r := range rs {
		for _, v := range r.Value.Values {
			if fleet {
				v.Name = place(r.Instance) + "/" + v.Name
			}
			if !math.IsNaN(float64(v.Value)) && !math.IsInf(float64(v.Value), 0) {
				perf = append(perf, v.perf())
			}
		}
		for _, p := range r.Value.Problems {
			name := p.Name
			switch {
			case fleet:
				name = place(r.Instance) + " " + name
			case p.Detail == r.Value.Summary:
				continue // the first line says it
			}
			details = append(details, line(fmt.Sprintf("%v: %s: %s", p.Status, name, p.Detail)))
		}
	}
	first := line(strings.ToUpper(name(rs)) + " " + Overall(rs).String() + " - " + headline(rs, fleet))
	if len(perf) > 0 {
		kept, _ := within(perf, mostPerf)
		first += " | " + strings.Join(kept, " ")
	}
	kept, left := within(details, mostDetail)
	if left > 0 {
		kept = append(kept, fmt.Sprintf("and %d more", left))
	}
	_, err := io.WriteString(w, strings.Join(append([]string{first}, kept...), "\n")+"\n")
	return err
}

func name(rs []api.Result[Result]) string {
	if len(rs) == 0 {
		return "check"
	}
	return rs[0].Value.Check
}

// headline says in one line how things stand, the worst problem first.
func headline(rs []api.Result[Result], fleet bool) string {
	worst := slices.MaxFunc(rs, func(a, b api.Result[Result]) int { return a.Value.Status.rank() - b.Value.Status.rank() })
	out := worst.Value.Summary
	if fleet {
		bad := 0
		for _, r := range rs {
			if r.Value.Status != OK {
				bad++
			}
		}
		out = fmt.Sprintf("%d of %d servers OK", len(rs)-bad, len(rs))
		if bad > 0 {
			out += "; " + place(worst.Instance) + ": " + worst.Value.Summary
		}
	}
	if ps := worst.Value.Problems; len(ps) > 0 && ps[0].Detail != worst.Value.Summary {
		out += "; " + ps[0].Name + ": " + ps[0].Detail
	}
	return out
}

// within keeps as many texts as fit, and counts the others.
func within(all []string, most int) (kept []string, left int) {
	for i, s := range all {
		if most -= len(s) + 1; most < 0 {
			return all[:i:i], len(all) - i
		}
	}
	return all, 0
}

// line makes text one that a monitoring core takes as it is: no bar, which
// begins performance data, nothing that does not print, and not too long.
func line(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '|':
			return '¦'
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '·'
		}
		return r
	}, s)
	if len(s) <= mostLine {
		return s
	}
	cut := mostLine - len("…")
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// place is an instance without its scheme.
func place(instance string) string {
	if _, rest, found := strings.Cut(instance, "://"); found {
		return strings.TrimRight(rest, "/")
	}
	return instance
}

// perf writes a value as performance data: 'label'=value[unit];warn;crit;min;max,
// without the semicolons at the end that have nothing behind them.
func (v *Value) perf() string {
	by, unit := 1.0, ""
	switch v.Unit {
	case "seconds":
		unit = "s"
	case "ratio":
		by, unit = 100, "%"
	case "bytes":
		unit = "B"
	case "total":
		unit = "c"
	}
	limit := func(f *float64) string {
		if f == nil || unit == "%" { // of a percentage they are known
			return ""
		}
		return plain(*f)
	}
	out := label(v.Name) + "=" + plain(float64(v.Value)*by) + unit
	return strings.TrimRight(strings.Join([]string{out, v.warn.scaled(by), v.crit.scaled(by), limit(v.min), limit(v.max)}, ";"), ";")
}

// label writes a name as the label of performance data: without an equals sign,
// in single quotes where it needs them.
func label(name string) string {
	const most = 120
	name = strings.ReplaceAll(line(name), "=", "_")
	if r := []rune(name); len(r) > most { // its end tells more than its middle
		name = string(r[:most/2-1]) + "…" + string(r[len(r)-most/2:])
	}
	if name == "" {
		name = "value"
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r == '\'' || r <= ' ' }) {
		return "'" + strings.ReplaceAll(name, "'", "''") + "'"
	}
	return name
}

// Textfile writes results as metrics for a file that a node exporter's textfile
// collector reads, at that time in Unix seconds.
func Textfile(w io.Writer, rs []api.Result[Result], at float64) error {
	var b strings.Builder
	head := func(name, help string) {
		b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " gauge\n")
	}
	sample := func(name, server, check string, v float64, more ...string) {
		b.WriteString(name + `{check="` + escape(check) + `",server="` + escape(place(server)) + `"`)
		for i := 0; i+1 < len(more); i += 2 {
			b.WriteString("," + more[i] + `="` + escape(more[i+1]) + `"`)
		}
		b.WriteString("} " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
	}
	head("pulsectl_check_status", "Outcome of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.")
	for _, r := range rs {
		sample("pulsectl_check_status", r.Instance, r.Value.Check, float64(r.Value.Status))
	}
	head("pulsectl_check_problems", "Things that the check found not to be OK.")
	for _, r := range rs {
		sample("pulsectl_check_problems", r.Instance, r.Value.Check, float64(len(r.Value.Problems)))
	}
	if slices.ContainsFunc(rs, func(r api.Result[Result]) bool { return len(r.Value.Values) > 0 }) {
		head("pulsectl_check_value", "What the check measured, in the unit of its label.")
	}
	for _, r := range rs {
		seen := map[string]bool{}
		for _, v := range r.Value.Values {
			if key := escape(v.Name); !seen[key] {
				seen[key] = true
				sample("pulsectl_check_value", r.Instance, r.Value.Check, float64(v.Value), "name", v.Name, "unit", v.Unit)
			}
		}
	}
	head("pulsectl_check_last_run_timestamp_seconds", "When the check was made, in Unix seconds.")
	for _, r := range rs {
		sample("pulsectl_check_last_run_timestamp_seconds", r.Instance, r.Value.Check, at)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escape makes text the value of a label.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(strings.ReplaceAll(line(s), "¦", "|"))
}
