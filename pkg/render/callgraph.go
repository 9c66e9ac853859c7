package render

import (
	"io"
	"strings"

	"github.com/pulsectl/pulsectl/internal/hotspot"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// CallGraphShown are functions with their callers and callees, and the profile
// that they are of.
type CallGraphShown struct {
	*hotspot.CallGraph
	ProfileID string
}

// CallGraph draws functions, each with its callers above it and its callees
// below, a screen an instance.
func CallGraph(w io.Writer, rs []api.Result[CallGraphShown], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, g CallGraphShown) error {
		if !s.NoHeaders {
			s.heading(titled("Callers and callees", where), s.muted.Render(profileScope(g.Header, g.ProfileID, false)))
			s.line()
		}
		if len(g.Entries) == 0 {
			s.line(s.muted.Render("No function has a value in this profile."))
			return nil
		}
		cols := []column{
			{name: "FLAT", right: true}, {name: "FLAT%", right: true, drop: 1}, {name: "CUM", right: true}, {name: "CUM%", right: true},
			{name: "FUNCTION", flex: true},
		}
		var rows [][]string
		for i, e := range g.Entries {
			if i > 0 {
				rows = append(rows, make([]string, len(cols)))
			}
			rows = append(rows, s.graphRows(e, g.Unit)...)
		}
		if err := s.table(cols, rows); err != nil {
			return err
		}
		if !s.NoHeaders {
			s.leftOut(len(g.Entries), g.Nodes, "functions")
		}
		return nil
	})
}

// graphRows are a function's own row between those of its calls, whose share is
// of its whole value.
func (s *screen) graphRows(e hotspot.GraphEntry, unit string) (rows [][]string) {
	call := func(c hotspot.Call, branch string) {
		name := clean(hotspot.ShortName(c.Function))
		if c.Inline {
			name += s.muted.Render(" inlined")
		}
		rows = append(rows, []string{"", "", amount(c.Value, unit), part(c.Value, c.Ratio), s.faint.Render(branch) + " " + name})
	}
	for i, c := range e.Callers {
		call(c, map[bool]string{true: "╭─", false: "├─"}[i == 0])
	}
	rows = append(rows, []string{
		amount(e.Flat, unit), part(e.Flat, e.FlatRatio), amount(e.Cum, unit), part(e.Cum, e.CumRatio),
		s.title.Render(clean(hotspot.ShortName(e.Function))),
	})
	for i, c := range e.Callees {
		call(c, map[bool]string{true: "╰─", false: "├─"}[i == len(e.Callees)-1])
	}
	return rows
}

// TagsShown are the labels of a profile's samples.
type TagsShown struct {
	*hotspot.TagReport
	ProfileID string
}

// tagRows are the values of a key that are shown unless told otherwise.
const tagRows = 10

// ProfileTags draws what the labels of a profile's samples add up to, a screen
// an instance.
func ProfileTags(w io.Writer, rs []api.Result[TagsShown], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, t TagsShown) error {
		if !s.NoHeaders {
			s.heading(titled("Labels of the samples", where), s.muted.Render(profileScope(t.Header, t.ProfileID, false)))
			s.line()
		}
		if len(t.Keys) == 0 {
			s.line(s.muted.Render("No sample has a label."))
			return nil
		}
		most := s.Limit
		if most == 0 {
			most = tagRows
		}
		var rows [][]string
		shown, all := 0, 0
		for _, k := range t.Keys {
			for i, v := range k.Values {
				all++
				if most > 0 && i >= most {
					continue
				}
				shown++
				key := ""
				if i == 0 {
					key = clean(k.Key)
				}
				rows = append(rows, []string{key, amount(v.Value, t.Unit), part(v.Value, v.Ratio), s.accent.Render(bar(v.Ratio, 1, topBar)), clean(v.Label)})
			}
		}
		cols := []column{{name: "KEY"}, {name: strings.ToUpper(whole(t.Unit)), right: true}, {name: "SHARE", right: true}, {drop: 1}, {name: "VALUE", flex: true}}
		if err := s.table(cols, rows); err != nil {
			return err
		}
		if !s.NoHeaders {
			s.leftOut(shown, all, "values")
		}
		return nil
	})
}
