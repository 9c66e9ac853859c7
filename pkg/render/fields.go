package render

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// member is one named value of an item, as it stands in JSON.
type member struct {
	name string
	raw  json.RawMessage
}

// members are an item's, in their order.
func (i *Item) members() ([]member, error) {
	if err := i.encode(); err != nil {
		return nil, err
	}
	return membersOf(i.raw)
}

func membersOf(object []byte) (out []member, err error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var m member
		m.name, _ = name.(string)
		if err := dec.Decode(&m.raw); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// field is the member at a path of names with dots between them: stats.calls. A
// name may hold dots itself. It is nil where there is none.
func (i *Item) field(path string) json.RawMessage {
	if i.encode() != nil {
		return nil
	}
	return fieldOf(i.raw, path)
}

func fieldOf(object json.RawMessage, path string) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil {
		return nil
	}
	if raw, ok := all[path]; ok {
		return raw
	}
	for at := range len(path) {
		if path[at] != '.' {
			continue
		}
		if inner, ok := all[path[:at]]; ok {
			if raw := fieldOf(inner, path[at+1:]); raw != nil {
				return raw
			}
		}
	}
	return nil
}

// cell is a value as text: strings without quotes, nothing for null, lists and
// objects as JSON.
func cell(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return ""
	case raw[0] != '"':
		return string(raw)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return clean(s)
}

// Sort orders items by the member at a path: numbers the largest first, text as
// it is spelled, a minus before the path the other way round. Items without it
// come last. It returns where each item was, and whether any has it.
func Sort(items []Item, by string) (order []int, known bool) {
	by, backwards := strings.CutPrefix(by, "-")
	keys := make([]sortKey, len(items))
	for i := range items {
		order = append(order, i)
		keys[i] = newSortKey(items[i].field(by))
		known = known || keys[i].kind > 0
	}
	slices.SortStableFunc(order, func(x, y int) int {
		a, b := keys[x], keys[y]
		if a.kind == 0 || b.kind == 0 {
			return cmp.Compare(b.kind, a.kind) // absent last, whichever way
		}
		c := cmp.Or(cmp.Compare(b.kind, a.kind), cmp.Compare(b.number, a.number), cmp.Compare(a.text, b.text))
		if backwards {
			return -c
		}
		return c
	})
	return order, known
}

type sortKey struct {
	kind   int // 2 number or truth value, 1 text, 0 none
	number float64
	text   string
}

func newSortKey(raw json.RawMessage) sortKey {
	switch text := string(raw); {
	case text == "" || text == "null":
		return sortKey{}
	case text == "true":
		return sortKey{kind: 2, number: 1}
	case text == "false":
		return sortKey{kind: 2}
	}
	var n float64
	if json.Unmarshal(raw, &n) == nil {
		return sortKey{kind: 2, number: n}
	}
	return sortKey{kind: 1, text: cell(raw)}
}

// Columns are the names of the items' members in the order in which they come
// up; only those with one value of those, if plain is set.
func Columns(items []Item, plain bool) (names []string, err error) {
	seen := map[string]bool{}
	for i := range items {
		all, err := items[i].members()
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if !seen[m.name] && !(plain && (m.raw[0] == '{' || m.raw[0] == '[')) {
				seen[m.name] = true
				names = append(names, m.name)
			}
		}
	}
	return names, nil
}

// Unknown are the columns that no item has, if there are items.
func Unknown(items []Item, columns []string) (out []string) {
	for _, c := range columns {
		if len(items) > 0 && !slices.ContainsFunc(items, func(i Item) bool { return i.field(c) != nil }) {
			out = append(out, c)
		}
	}
	return out
}

// Fields draws the items of an envelope as a table of some of their members,
// with a line for each instance that failed. Without columns it is as many as
// there is room for, by, the one that the items are sorted by, among them.
func Fields(w io.Writer, e Envelope, columns []string, by string, o Options) error {
	s := newScreen(w, o)
	names := columns
	if len(names) == 0 {
		var err error
		if names, err = Columns(e.Items, true); err != nil {
			return err
		}
		if one := oneInstance(e); one {
			names = slices.DeleteFunc(names, func(n string) bool { return n == "instance" })
		}
		if by != "" {
			names = slices.DeleteFunc(names, func(n string) bool { return n == by })
			names = slices.Insert(names, min(2, len(names)), by)
		}
	}
	rows := make([][]string, len(e.Items))
	cols := make([]column, len(names))
	for i, name := range names {
		cols[i] = column{name: strings.ToUpper(clean(name)), flex: true, right: len(e.Items) > 0}
		if len(columns) == 0 && i > 0 && name != by {
			cols[i].drop = i
		}
		for r := range e.Items {
			raw := e.Items[r].field(name)
			text := cell(raw)
			if name == "instance" {
				text = instance(text)
			}
			rows[r] = append(rows[r], text)
			cols[i].right = cols[i].right && newSortKey(raw).kind != 1
		}
	}
	if len(rows) > 0 && len(cols) > 0 {
		if err := s.table(cols, rows); err != nil {
			return err
		}
	}
	for _, f := range e.Errors {
		s.failed(instance(f.Instance)+blanks(gutter), &api.Error{Detail: f.Detail})
	}
	return s.flush()
}

func oneInstance(e Envelope) bool {
	for _, it := range e.Items {
		if it.Instance != e.Items[0].Instance {
			return false
		}
	}
	return len(e.Errors) == 0
}
