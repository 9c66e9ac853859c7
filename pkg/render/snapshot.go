package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Snapshots draws what an archive holds of each server, and what it does not.
func Snapshots(w io.Writer, rs []api.Result[api.Snapshot], o Options) error {
	s := newScreen(w, o)
	for i, r := range rs {
		if i > 0 {
			s.line()
		}
		if r.Error != nil {
			s.heading(instance(r.Instance), s.mark(broken, "not in it"))
			s.line(clean(r.Error.Error()))
			continue
		}
		if err := s.snapshot(instance(r.Instance), r.Value); err != nil {
			return err
		}
	}
	return s.flush()
}

func (s *screen) snapshot(where string, m api.Snapshot) error {
	if !s.NoHeaders {
		s.heading(where, s.mark(fine, "whole"))
		cause := clean(m.Cause)
		if m.Detail != "" {
			cause += ": " + clean(m.Detail)
		}
		s.facts([]fact{
			{"server", clean(strings.Join(strings.Fields(m.Service+" "+m.Version+" "+m.Environment), "  "))},
			{"created", fmt.Sprintf("%s, %s ago", s.time(m.Created.Time), age(s.Now.Sub(m.Created.Time)))},
			{"cause", cause},
			{"masked", Plural(int(m.Redacted), "secret")},
		})
		s.line()
	}
	var rows [][]string
	for _, g := range groupParts(m.Parts) {
		rows = append(rows, []string{clean(g.name), count(g.parts), size(g.bytes)})
	}
	rows = append(rows, []string{"all", count(int64(len(m.Parts))), size(int64(m.Bytes))})
	if err := s.table([]column{{name: "PART", flex: true}, {name: "FILES", right: true}, {name: "SIZE", right: true}}, rows); err != nil {
		return err
	}
	if len(m.LeftOut) > 0 {
		s.line()
	}
	var left []fact
	for _, l := range m.LeftOut {
		left = append(left, fact{"left out", clean(l.What) + ": " + clean(l.Why)})
	}
	s.facts(left)
	return nil
}

type partGroup struct {
	name         string
	parts, bytes int64
}

// groupParts sums the parts up by the first word of their names, in their order.
func groupParts(parts []api.SnapshotPart) (out []partGroup) {
	at := map[string]int{}
	for _, p := range parts {
		name := p.Name
		if i := strings.IndexAny(name, "/."); i > 0 {
			name = name[:i]
		}
		i, found := at[name]
		if !found {
			i = len(out)
			at[name] = i
			out = append(out, partGroup{name: name})
		}
		out[i].parts++
		out[i].bytes += int64(p.Bytes)
	}
	return out
}
