package render

import (
	"io"
	"net/url"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// instance is a server's name in a table: its host and port, with the path if
// it has one.
func instance(server string) string {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return clean(server)
	}
	return clean(u.Host + strings.TrimRight(u.Path, "/"))
}

// fleetTable writes the rows of each instance under one header. With more than
// one instance the first column names it, and one that failed has a line below
// the table that says why.
func fleetTable[T any](s *screen, rs []api.Result[T], cols []column, rows func(T) [][]string) error {
	fleet, names := len(rs) > 1, 0
	if fleet {
		cols = append([]column{{name: "INSTANCE"}}, cols...)
	}
	var all [][]string
	for _, r := range rs {
		names = max(names, cells(instance(r.Instance)))
		if r.Error != nil {
			continue
		}
		for _, row := range rows(r.Value) {
			if fleet {
				row = append([]string{instance(r.Instance)}, row...)
			}
			all = append(all, row)
		}
	}
	if len(all) > 0 {
		if err := s.table(cols, all); err != nil {
			return err
		}
	}
	for _, r := range rs {
		if fleet && r.Error != nil {
			s.failed(fit(instance(r.Instance), names)+blanks(gutter), r.Error)
		}
	}
	return nil
}

// screens draws a screen an instance, with a blank line between two, and a line
// for an instance that failed. With more than one instance draw is told whose
// screen it is, else where is "".
func screens[T any](w io.Writer, rs []api.Result[T], o Options, draw func(s *screen, where string, v T) error) error {
	s := newScreen(w, o)
	for i, r := range rs {
		if i > 0 {
			s.line()
		}
		where := instance(r.Instance)
		if r.Error != nil {
			s.failed(where+blanks(gutter), r.Error)
			continue
		}
		if len(rs) == 1 {
			where = ""
		}
		if err := draw(s, where, r.Value); err != nil {
			return err
		}
	}
	return s.flush()
}

// titled puts the instance behind a screen's title, where there is one to tell.
func titled(title, where string) string {
	if where == "" {
		return title
	}
	return title + "  " + where
}

// failed writes the line of an instance that gave no answer.
func (s *screen) failed(where string, err *api.Error) {
	s.line(where, s.bad.Render(strings.TrimRight(fit("✗ "+clean(err.Error()), s.Width-cells(where)), " ")))
}

// answered counts the instances that answered.
func answered[T any](rs []api.Result[T]) (n int) {
	for _, r := range rs {
		if r.Error == nil {
			n++
		}
	}
	return n
}
