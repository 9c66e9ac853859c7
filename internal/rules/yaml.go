package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	maxNodes    = 200_000 // that a file may come to, with what its aliases repeat
	maxProblems = 100     // that are told of one file
)

// reader walks the tree of a rule file and collects all that is wrong with it.
type reader struct {
	file     string
	src      []string // lines
	anchors  map[string]node
	nodes    int
	problems []Problem
}

// node is a value of the file.
type node struct{ ast.Node }

func (n node) line() int {
	if n.Node == nil || n.GetToken() == nil {
		return 0
	}
	return n.GetToken().Position.Line
}

func (r *reader) wrong(n node, format string, args ...any) {
	r.add(n, false, fmt.Sprintf(format, args...))
}

func (r *reader) add(n node, warning bool, message string) {
	p := Problem{File: r.file, Message: message, Warning: warning, Line: 1, Column: 1}
	if n.Node != nil && n.GetToken() != nil {
		t := n.GetToken()
		if m, ok := n.Node.(*ast.MappingNode); ok && len(m.Values) > 0 {
			t = m.Values[0].Key.GetToken() // that of the map is its first colon
		} else if m, ok := n.Node.(*ast.MappingValueNode); ok {
			t = m.Key.GetToken()
		}
		p.Line, p.Column = t.Position.Line, t.Position.Column
	}
	r.put(p)
}

func (r *reader) put(p Problem) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, p)
	}
}

// wrongExpr tells of an error in an expression where it is in the file, as far as
// the lines of the file are those of the expression.
func (r *reader) wrongExpr(v node, err error) {
	var all parser.ParseErrors
	if !errors.As(err, &all) || len(all) == 0 {
		r.wrong(v, "expr: %v", err)
		return
	}
	first := all[0]
	p := Problem{File: r.file, Line: v.line(), Column: v.GetToken().Position.Column, Message: "expr: " + first.Err.Error()}
	before := first.Query[:min(max(int(first.PositionRange.Start), 0), len(first.Query))]
	line, column := strings.Count(before, "\n"), len(before)-strings.LastIndexByte(before, '\n')-1
	switch n := v.Node.(type) {
	case *ast.LiteralNode:
		if strings.HasPrefix(n.Start.Value, "|") {
			p.Line += 1 + line
			p.Column = column + 1
			if p.Line-1 < len(r.src) {
				text := r.src[p.Line-1]
				p.Column += len(text) - len(strings.TrimLeft(text, " "))
			}
		}
	case *ast.StringNode:
		if p.Line-1 < len(r.src) && line == 0 && strings.Contains(r.src[p.Line-1], first.Query) {
			p.Column = strings.Index(r.src[p.Line-1], first.Query) + column + 1
		}
	}
	r.put(p)
}

// document parses the file, and returns nil where there is nothing in it or it
// is no YAML.
func (r *reader) document(src []byte) *node {
	tree, err := yamlparser.ParseBytes(src, 0)
	if err != nil {
		p := Problem{File: r.file, Line: 1, Column: 1, Message: strings.TrimSpace(yaml.FormatError(err, false, false))}
		var at yaml.Error
		if errors.As(err, &at) && at.GetToken() != nil {
			p.Line, p.Column, p.Message = at.GetToken().Position.Line, at.GetToken().Position.Column, at.GetMessage()
		}
		r.put(p)
		return nil
	}
	for i, doc := range tree.Docs {
		if i > 0 && doc.Body != nil {
			r.add(node{doc.Body}, true, "a second document: only the first one counts")
			break
		}
	}
	if len(tree.Docs) == 0 || tree.Docs[0].Body == nil || tree.Docs[0].Body.Type() == ast.NullType {
		return nil
	}
	return &node{tree.Docs[0].Body}
}

// resolve follows anchors, aliases and tags to the value itself.
func (r *reader) resolve(n node) node {
	for depth := 0; depth < 100; depth++ {
		switch v := n.Node.(type) {
		case *ast.AnchorNode:
			n = node{v.Value}
			r.anchors[v.Name.GetToken().Value] = n
		case *ast.AliasNode:
			to, ok := r.anchors[v.Value.GetToken().Value]
			if !ok {
				r.wrong(n, "there is no anchor %q above", v.Value.GetToken().Value)
				return node{}
			}
			n = to
		case *ast.TagNode:
			n = node{v.Value}
		default:
			return n
		}
	}
	r.wrong(n, "anchors that lead to themselves")
	return node{}
}

// count tells whether there is room for one more node.
func (r *reader) count() bool {
	r.nodes++
	if r.nodes == maxNodes+1 {
		r.put(Problem{File: r.file, Line: 1, Column: 1, Message: fmt.Sprintf("more than %d values, with what aliases repeat", maxNodes)})
	}
	return r.nodes <= maxNodes
}

// pairs yields the keys and values of a map; those of a merged one that it has
// itself count as its own.
func (r *reader) pairs(n node, yield func(key string, at, value node)) {
	m, ok := n.Node.(ast.MapNode)
	if !ok {
		if n.Node != nil && n.Type() != ast.NullType {
			r.wrong(n, "want NAME: VALUE, got a %s", strings.ToLower(n.Type().String()))
		}
		return
	}
	own := map[string]bool{}
	var merged []node
	for it := m.MapRange(); it.Next() && r.count(); {
		if it.Key().IsMergeKey() {
			merged = append(merged, node{it.Value()})
			continue
		}
		key := it.Key().GetToken().Value
		own[key] = true
		yield(key, node{it.KeyValue().Key}, node{it.Value()})
	}
	for _, value := range merged {
		r.pairs(r.resolve(value), func(key string, at, value node) {
			if !own[key] {
				own[key] = true
				yield(key, at, value)
			}
		})
	}
}

// mapping reads a map whose keys are known.
func (r *reader) mapping(n node, fields map[string]func(node)) {
	r.pairs(r.resolve(n), func(key string, at, value node) {
		read, ok := fields[key]
		if !ok {
			r.wrong(at, "there is no field %q here: want %s", key, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
			return
		}
		read(r.resolve(value))
	})
}

func (r *reader) list(n node) (items []node) {
	seq, ok := n.Node.(*ast.SequenceNode)
	if !ok {
		if n.Node != nil && n.Type() != ast.NullType {
			r.wrong(n, "want a list, got a %s", strings.ToLower(n.Type().String()))
		}
		return nil
	}
	for _, v := range seq.Values {
		if !r.count() {
			break
		}
		items = append(items, r.resolve(node{v}))
	}
	return items
}

// text reads a scalar as it is written.
func (r *reader) text(n node) string {
	switch v := n.Node.(type) {
	case nil, *ast.NullNode:
		return ""
	case *ast.StringNode:
		return v.Value
	case *ast.LiteralNode:
		return v.Value.Value
	case ast.ScalarNode:
		return v.GetToken().Value
	}
	r.wrong(n, "want a text, got a %s", strings.ToLower(n.Type().String()))
	return ""
}

func (r *reader) duration(n node) time.Duration {
	s := r.text(n)
	if s == "" {
		return 0
	}
	d, err := model.ParseDuration(s)
	if err != nil {
		r.wrong(n, "%q is no duration: want one like 30s or 5m", s)
	}
	return time.Duration(d)
}

func (r *reader) integer(n node) int {
	s := r.text(n)
	if s == "" {
		return 0
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 0 {
		r.wrong(n, "%q: want a whole number", s)
	}
	return v
}

// labels reads labels or annotations.
func (r *reader) labels(n node, what string) map[string]string {
	out := map[string]string{}
	r.pairs(n, func(key string, at, value node) {
		v := r.text(r.resolve(value))
		switch {
		case !model.UTF8Validation.IsValidLabelName(key) || what == "label" && key == model.MetricNameLabel:
			r.wrong(at, "%q is no name of a %s", key, what)
		case !model.LabelValue(v).IsValid():
			r.wrong(at, "%s %s: its value is no UTF-8", what, key)
		default:
			out[key] = v
		}
	})
	return out
}
