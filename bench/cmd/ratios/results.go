package main

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// measured is what the files say: the machine, and the medians by benchmark,
// implementation and unit.
type measured struct {
	config map[string]string
	runs   int // of the benchmark that ran most often
	values map[string]map[string]map[string]float64
}

func readFiles(paths []string) (measured, error) {
	m := measured{config: map[string]string{}, values: map[string]map[string]map[string]float64{}}
	all := map[[3]string][]float64{}
	files := benchfmt.Files{Paths: paths}
	for files.Scan() {
		switch rec := files.Result().(type) {
		case *benchfmt.SyntaxError:
			return m, rec
		case *benchfmt.Result:
			for _, c := range rec.Config {
				m.config[c.Key] = string(c.Value)
			}
			bench, impl, ok := split(rec.Name)
			if !ok {
				continue
			}
			for _, v := range rec.Values {
				value, unit := v.Value, v.Unit
				if v.OrigUnit != "" {
					value, unit = v.OrigValue, v.OrigUnit
				}
				k := [3]string{bench, impl, unit}
				all[k] = append(all[k], value)
			}
		}
	}
	if err := files.Err(); err != nil {
		return m, err
	}
	if len(all) == 0 {
		return m, fmt.Errorf("%s: no benchmark of the form Row/impl=library", strings.Join(paths, ", "))
	}
	for k, vs := range all {
		m.runs = max(m.runs, len(vs))
		m.set(k[0], k[1], k[2], median(vs))
	}
	return m, nil
}

func (m measured) set(bench, impl, unit string, v float64) {
	if m.values[bench] == nil {
		m.values[bench] = map[string]map[string]float64{}
	}
	if m.values[bench][impl] == nil {
		m.values[bench][impl] = map[string]float64{}
	}
	m.values[bench][impl][unit] = v
}

// split takes ChildSpan/impl=otel-sdk-2 apart.
func split(name benchfmt.Name) (bench, impl string, ok bool) {
	base, parts := name.Parts()
	bench = string(base)
	for _, p := range parts {
		switch v, is := strings.CutPrefix(string(p), "/impl="); {
		case is:
			impl, ok = v, true
		case p[0] == '/':
			bench += string(p)
		}
	}
	return bench, impl, ok
}

func median(vs []float64) float64 {
	slices.Sort(vs)
	n := len(vs)
	return (vs[(n-1)/2] + vs[n/2]) / 2
}
