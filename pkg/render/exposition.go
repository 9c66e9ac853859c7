package render

import (
	"bufio"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Exposition writes families in Prometheus's text form, control characters
// apart, which no terminal and no log should meet. The series of a fleet carry a
// label instance.
func Exposition(w io.Writer, rs []api.Result[[]api.MetricFamily]) error {
	out := bufio.NewWriter(w)
	names, byName := []string{}, map[string][]api.Result[api.MetricFamily]{}
	for _, r := range rs {
		for _, f := range r.Value {
			if byName[f.Name] == nil {
				names = append(names, f.Name)
			}
			byName[f.Name] = append(byName[f.Name], api.Result[api.MetricFamily]{Instance: r.Instance, Value: f})
		}
	}
	for _, name := range names {
		all := byName[name]
		e := exposition{w: out, name: clean(name)}
		e.header(all[0].Value)
		for _, r := range all {
			if e.instance = ""; len(rs) > 1 {
				e.instance = instance(r.Instance)
			}
			for i := range r.Value.Series {
				e.series(&r.Value.Series[i])
			}
		}
	}
	return out.Flush()
}

// exposition writes one family.
type exposition struct {
	w              *bufio.Writer
	name, instance string
}

func (e *exposition) header(f api.MetricFamily) {
	if f.Help != "" {
		e.w.WriteString("# HELP " + e.name + " " + strings.ReplaceAll(clean(f.Help), `\`, `\\`) + "\n")
	}
	kind := f.Type
	if kind == "gauge_histogram" {
		kind = "histogram"
	}
	e.w.WriteString("# TYPE " + e.name + " " + clean(kind) + "\n")
}

func (e *exposition) series(m *api.MetricSeries) {
	if m.Value != nil {
		e.sample("", m.Labels, "", 0, *m.Value)
		return
	}
	last := math.Inf(-1)
	for _, b := range m.Buckets {
		last = float64(b.UpperBound)
		e.sample("_bucket", m.Labels, "le", b.UpperBound, b.Count)
	}
	if (m.Buckets != nil || m.Native != nil) && !math.IsInf(last, 1) && m.Count != nil {
		e.sample("_bucket", m.Labels, "le", api.Float(math.Inf(1)), *m.Count)
	}
	for _, q := range m.Quantiles {
		e.sample("", m.Labels, "quantile", q.Quantile, q.Value)
	}
	if m.Sum != nil {
		e.sample("_sum", m.Labels, "", 0, *m.Sum)
	}
	if m.Count != nil {
		e.sample("_count", m.Labels, "", 0, *m.Count)
	}
}

// sample writes a line; extra is the label of a bucket or quantile.
func (e *exposition) sample(suffix string, labels map[string]string, extra string, at, v api.Float) {
	e.w.WriteString(e.name + suffix)
	sep := "{"
	label := func(name, value string) {
		value = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(value))
		e.w.WriteString(sep + clean(name) + `="` + value + `"`)
		sep = ","
	}
	if e.instance != "" {
		label("instance", e.instance)
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "instance" || e.instance == "" {
			label(name, labels[name])
		}
	}
	if extra != "" {
		label(extra, expositionNumber(at))
	}
	if sep == "," {
		e.w.WriteByte('}')
	}
	e.w.WriteString(" " + expositionNumber(v) + "\n")
}

func expositionNumber(v api.Float) string { return strconv.FormatFloat(float64(v), 'g', -1, 64) }
