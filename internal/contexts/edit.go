package contexts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// The ways in which an edit is refused.
var (
	ErrExists   = errors.New("there is one of that name")
	ErrNotFound = errors.New("no such context")
	errLayout   = errors.New("the file is laid out in a way that is not edited here: change it by hand")
)

// Keys are the settings of a context, in the order in which they are written.
var Keys = []string{
	"servers", "token", "token-file", "token-command", "ca", "cert", "key", "server-name",
	"readonly", "protected", "request-timeout", "output", "theme",
}

// Add puts a context into the file.
func (f *File) Add(name string, c Context) error {
	if _, exists := f.Contexts[name]; exists {
		return fmt.Errorf("context %q: %w", name, ErrExists)
	}
	if err := c.Check(name); err != nil {
		return err
	}
	if len(c.Servers) == 0 {
		return fmt.Errorf("context %q: it names no server", name)
	}
	var lines []string
	for _, key := range Keys {
		if text := c.text(key); text != "" {
			lines = append(lines, key+": "+text)
		}
	}
	want := f.copy()
	want.Contexts[name] = c
	return f.edit(want, []string{"contexts", name}, lines)
}

// Use makes a context the one that is used where none is named; "" for none.
func (f *File) Use(name string) error {
	if _, exists := f.Contexts[name]; !exists && name != "" {
		return fmt.Errorf("context %q: %w", name, ErrNotFound)
	}
	want := f.copy()
	want.Current = name
	if name == "" {
		return f.edit(want, []string{"current"}, nil)
	}
	return f.edit(want, []string{"current"}, []string{scalar(name)})
}

// Remove takes a context out of the file, as the current one too.
func (f *File) Remove(name string) error {
	if _, exists := f.Contexts[name]; !exists {
		return fmt.Errorf("context %q: %w", name, ErrNotFound)
	}
	want := f.copy()
	delete(want.Contexts, name)
	if err := f.edit(want, []string{"contexts", name}, nil); err != nil || f.Current != name {
		return err
	}
	return f.Use("")
}

// Set changes one setting of a context; an empty value takes it out.
func (f *File) Set(name, key, value string) error {
	c, exists := f.Contexts[name]
	if !exists {
		return fmt.Errorf("context %q: %w", name, ErrNotFound)
	}
	if err := c.set(key, value); err != nil {
		return err
	}
	if err := c.Check(name); err != nil {
		return err
	}
	want := f.copy()
	want.Contexts[name] = c
	var lines []string
	if text := c.text(key); text != "" {
		lines = []string{text}
	}
	return f.edit(want, []string{"contexts", name, key}, lines)
}

// member is the field of a setting.
func (c *Context) member(key string) reflect.Value {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == key {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func (c *Context) set(key, value string) error {
	switch m := c.member(key).Addr().Interface().(type) {
	case *[]string:
		*m = nil
		for s := range strings.SplitSeq(value, ",") {
			if s = strings.TrimSpace(s); s != "" {
				*m = append(*m, s)
			}
		}
	case *bool:
		v, err := strconv.ParseBool(value)
		if err != nil && value != "" {
			return fmt.Errorf("%s %q: want true or false", key, value)
		}
		*m = v
	case *string:
		*m = value
	}
	return nil
}

// text is a setting as it is written in the file, "" for the zero value.
func (c *Context) text(key string) string {
	m := c.member(key)
	if m.IsZero() {
		return ""
	}
	switch v := m.Interface().(type) {
	case []string:
		all := make([]string, len(v))
		for i := range v {
			all[i] = scalar(v[i])
		}
		return "[" + strings.Join(all, ", ") + "]"
	case bool:
		return "true"
	}
	return scalar(m.String())
}

// plainScalar is text that YAML takes for a string as it stands, in lists too.
var plainScalar = regexp.MustCompile(`^[A-Za-z/~][A-Za-z0-9_./@+~-]*(:[A-Za-z0-9_./@+~-]+)*$`)

// scalar writes a string.
func scalar(s string) string {
	if plainScalar.MatchString(s) && !slices.Contains([]string{"true", "false", "null", "yes", "no", "on", "off", "~"}, strings.ToLower(s)) {
		return s
	}
	b, _ := json.Marshal(s) // a string can be
	return string(b)
}

func (f *File) copy() content {
	c := content{Current: f.Current, Contexts: map[string]Context{}}
	for name, context := range f.Contexts {
		c.Contexts[name] = context
	}
	return c
}

// edit gives the member at path a new value, a line or the lines of a mapping,
// or takes it out where there are none, and writes the file. What then stands
// there must read as want.
func (f *File) edit(want content, path, value []string) error {
	if f.Path == "" {
		return errors.New("neither XDG_CONFIG_HOME nor HOME says where the configuration is")
	}
	src, err := rewrite(f.src, path, value)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	got, err := parse(src)
	if err != nil || !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: %w", f.Path, errLayout)
	}
	if !f.DryRun {
		if err := replace(f.Path, src); err != nil {
			return err
		}
	}
	f.src, f.Current, f.Contexts = src, got.Current, got.Contexts
	return nil
}

// pair is a member of a mapping: where its key is, and the line behind its end.
type pair struct {
	key                string
	value              ast.Node
	column, first, end int // lines from 0, columns from 0
}

// rewrite is the edit in text: it replaces, takes out or adds whole lines.
func rewrite(src []byte, path, value []string) ([]byte, error) {
	tree, err := parser.ParseBytes(src, 0)
	if err != nil {
		return nil, errLayout
	}
	lines := strings.Split(strings.TrimSuffix(string(src), "\n"), "\n")
	if len(bytes.TrimSpace(src)) == 0 {
		lines = nil
	}
	var body ast.Node
	if len(tree.Docs) > 0 {
		body = tree.Docs[0].Body
	}
	from, to, indent := len(lines), len(lines), 0
	first, end, column := 0, len(lines), 0
	for depth, name := range path {
		all, ok := pairs(body, lines, first, end)
		if !ok {
			return nil, errLayout
		}
		if len(all) > 0 {
			column = all[0].column
		}
		i := slices.IndexFunc(all, func(p pair) bool { return p.key == name })
		if i < 0 { // add it behind the last member, or first of an empty mapping
			from, to = end, end
			if len(all) > 0 {
				from, to = all[len(all)-1].end, all[len(all)-1].end
			} else if depth > 0 {
				from, to = first, first
			}
			return join(lines, from, to, nested(path[depth:], value, column, len(path) == 2)), nil
		}
		p := all[i]
		from, to, indent = p.first, p.end, p.column
		body, first, end, column = p.value, p.first+1, p.end, p.column+2
	}
	text := nested(path[len(path)-1:], value, indent, len(path) == 2)
	if len(text) == 1 && to == from+1 {
		text[0] += comment(lines[from])
	}
	return join(lines, from, to, text), nil
}

// pairs are the members of a mapping that is written in lines; ok is false for
// one that is not.
func pairs(body ast.Node, lines []string, first, end int) (all []pair, ok bool) {
	switch n := body.(type) {
	case nil, *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return nil, false
		}
		for _, v := range n.Values {
			all = append(all, newPair(v))
		}
	case *ast.MappingValueNode:
		all = append(all, newPair(n))
	default:
		return nil, false
	}
	for i := range all {
		all[i].end = end
		if i+1 < len(all) {
			all[i].end = all[i+1].first
		}
		for all[i].end > all[i].first+1 && outside(lines[all[i].end-1], all[i].column) {
			all[i].end--
		}
	}
	return all, true
}

func newPair(v *ast.MappingValueNode) pair {
	at := v.Key.GetToken().Position
	return pair{key: v.Key.GetToken().Value, value: v.Value, column: at.Column - 1, first: at.Line - 1}
}

// outside tells whether a line at the end of a member is none of it: it is
// blank, or a comment no deeper than its key.
func outside(line string, column int) bool {
	text := strings.TrimLeft(line, " \t")
	return text == "" || text[0] == '#' && len(line)-len(text) <= column
}

// comment is what stands behind a value on its line.
func comment(line string) string {
	if i := strings.LastIndex(line, " #"); i >= 0 && !strings.ContainsAny(line[i:], `"'`) {
		return " " + line[i:][1:]
	}
	return ""
}

// nested writes a value below the names that lead to it: on the line of the last,
// or of a context, which is path's second name, in lines of its own.
func nested(path, value []string, indent int, mapping bool) []string {
	if len(value) == 0 {
		return nil
	}
	blank := strings.Repeat(" ", indent)
	var out []string
	for _, name := range path[:len(path)-1] {
		out = append(out, blank+name+":")
		blank += "  "
	}
	last := blank + path[len(path)-1] + ":"
	if !mapping {
		return append(out, last+" "+value[0])
	}
	out = append(out, last)
	for _, line := range value {
		out = append(out, blank+"  "+line)
	}
	return out
}

func join(lines []string, from, to int, text []string) []byte {
	all := slices.Concat(lines[:from], text, lines[to:])
	if len(all) == 0 {
		return nil
	}
	return []byte(strings.Join(all, "\n") + "\n")
}

// replace writes a file in one step, readable for its owner alone. Of a link it
// replaces what that leads to.
func replace(path string, content []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".config-*.yaml") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already if all went well
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
