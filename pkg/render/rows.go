package render

import (
	"io"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Rows draws what rows makes of each answer as one plain table, or says what
// empty says where there are no rows.
func Rows[T any](rows func(T) (header []string, rows [][]string), empty string) func(io.Writer, []api.Result[T], Options) error {
	return func(w io.Writer, rs []api.Result[T], o Options) error {
		s := newScreen(w, o)
		var header []string
		total := 0
		for _, r := range rs {
			if r.Error == nil {
				h, all := rows(r.Value)
				header, total = h, total+len(all)
			}
		}
		if total == 0 && empty != "" {
			s.line(s.muted.Render(empty))
			return s.flush()
		}
		cols := make([]column, len(header))
		for i, name := range header {
			cols[i] = column{name: name, flex: true}
		}
		err := fleetTable(s, rs, cols, func(v T) [][]string {
			_, all := rows(v)
			for _, row := range all {
				for i := range row {
					row[i] = clean(row[i])
				}
			}
			return all
		})
		if err != nil {
			return err
		}
		return s.flush()
	}
}

// Facts draws labels and texts, a line each.
func Facts[T any](of func(T) [][2]string) func(io.Writer, []api.Result[T], Options) error {
	return func(w io.Writer, rs []api.Result[T], o Options) error {
		return screens(w, rs, o, func(s *screen, _ string, v T) error {
			var facts []fact
			for _, f := range of(v) {
				facts = append(facts, fact{f[0], clean(f[1])})
			}
			s.facts(facts)
			return nil
		})
	}
}
