package render

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Lines writes the items, and the instances that failed, as an object a line.
func Lines(w io.Writer, e Envelope) error {
	var out bytes.Buffer
	for i := range e.Items {
		if err := JSONLine(&out, e.Items[i]); err != nil {
			return err
		}
	}
	for _, f := range e.Errors {
		line := struct {
			Instance string  `json:"instance"`
			Error    Failure `json:"error"`
		}{f.Instance, f}
		if err := JSONLine(&out, line); err != nil {
			return err
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// CSV writes the items as comma-separated values (RFC 4180, with \n) of the
// columns, or of all their members. Text that a spreadsheet would take for a
// formula has an apostrophe before it. An instance that failed has a row, in the
// columns instance and error; the latter is there only then.
func CSV(w io.Writer, e Envelope, columns []string, header bool) error {
	if len(columns) == 0 {
		var err error
		if columns, err = Columns(e.Items, false); err != nil {
			return err
		}
		if len(columns) == 0 {
			columns = []string{"instance"}
		}
	}
	if len(e.Errors) > 0 {
		columns = append(columns[:len(columns):len(columns)], "error")
	}
	var out bytes.Buffer
	to := csv.NewWriter(&out)
	write := func(of func(column string) string) {
		row := make([]string, len(columns))
		for i, c := range columns {
			row[i] = of(c)
		}
		_ = to.Write(row) // into memory; a column's name may be anything
	}
	if header {
		write(func(c string) string { return harmless(clean(c)) })
	}
	for i := range e.Items {
		write(func(c string) string {
			raw := e.Items[i].field(c)
			if len(raw) > 0 && raw[0] == '"' {
				return harmless(cell(raw))
			}
			return cell(raw)
		})
	}
	for _, f := range e.Errors {
		write(func(c string) string {
			return map[string]string{"instance": harmless(clean(f.Instance)), "error": harmless(clean(f.Detail))}[c]
		})
	}
	to.Flush()
	_, err := w.Write(out.Bytes())
	return err
}

// harmless keeps a spreadsheet from taking text for a formula.
func harmless(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Env writes the items as assignments for a shell's eval: BREAKER_STATE=open.
// The names begin with the kind of the items; in a list, or where there are
// several, then comes the number of the item, from 1. Values of objects are
// named by the way to them, lists are JSON. …_COUNT says how many items there are,
// and …_ERRORS how many instances failed.
func Env(w io.Writer, e Envelope, columns []string) error {
	kind, list := strings.CutSuffix(e.Kind, "List")
	v := &variables{prefix: snake(kind), seen: map[string]bool{}}
	v.assign("COUNT", strconv.Itoa(len(e.Items)))
	v.assign("ERRORS", strconv.Itoa(len(e.Errors)))
	for i := range e.Items {
		at := ""
		if list || len(e.Items) > 1 {
			at = strconv.Itoa(i+1) + "_"
		}
		for _, c := range columns {
			v.value(at+c, e.Items[i].field(c))
		}
		if len(columns) > 0 {
			continue
		}
		all, err := e.Items[i].members()
		if err != nil {
			return err
		}
		for _, m := range all {
			v.value(at+m.name, m.raw)
		}
	}
	_, err := w.Write(v.out.Bytes())
	return err
}

type variables struct {
	prefix string
	out    bytes.Buffer
	seen   map[string]bool
}

// value assigns a value, those of an object one by one.
func (v *variables) value(name string, raw json.RawMessage) {
	if len(raw) > 0 && raw[0] == '{' {
		inner, err := membersOf(raw)
		for _, m := range inner {
			v.value(name+"_"+m.name, m.raw)
		}
		if err == nil {
			return
		}
	}
	v.assign(name, cell(raw))
}

// assign writes one assignment; of names that come to the same the first counts.
func (v *variables) assign(name, value string) {
	name = v.prefix + "_" + snake(name)
	if v.seen[name] {
		return
	}
	v.seen[name] = true
	v.out.WriteString(name + "=" + shellWord(value) + "\n")
}

// snake makes a variable's name of a member's or a kind's: STATS_P95 of stats.p95,
// TRACE_DIFF of TraceDiff.
func snake(s string) string {
	var b strings.Builder
	before := '_'
	for _, r := range s {
		switch {
		case r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r):
			r = '_'
		case unicode.IsUpper(r) && unicode.IsLower(before):
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
		before = r
	}
	return b.String()
}

// shellWord is a value as one word of a shell, whatever is in it.
func shellWord(s string) string {
	s = clean(s)
	safe := func(r rune) bool {
		return r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:+,@%", r))
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// CleanLines is Clean for text of several lines: newlines and tabs stay.
func CleanLines(s string) string {
	if !strings.ContainsAny(s, "\n\t") {
		return clean(s)
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "\n\t")
		if i < 0 {
			i = len(s)
		}
		b.WriteString(clean(s[:i]))
		if i < len(s) {
			b.WriteByte(s[i])
			i++
		}
		s = s[i:]
	}
	return b.String()
}
