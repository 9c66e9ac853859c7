// Package gotemplate runs Go templates over JSON.
//
// The language is that of text/template, whose parser it uses; the values are
// what encoding/json makes of JSON, with numbers as [json.Number], so that they
// are printed as they stand. text/template itself looks methods up by name:
// a program that links it keeps every method of every type, which is a third of
// pulsectl's size.
package gotemplate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/template/parse"
)

// Template is a parsed template.
type Template struct {
	root  *parse.Tree
	trees map[string]*parse.Tree
	opts  Options
}

// Options are what a template may use beside the language. The zero value is
// the language alone.
type Options struct {
	Functions map[string]Function // the caller's; one of a name that is there already takes its place
	Missing   *string             // what nothing is printed as; nil means <no value>
}

// Function is one that templates call: with their arguments, the piped one last.
type Function = func(args []any) (any, error)

// maxDepth bounds templates that call themselves.
const maxDepth = 200

// Parse reads a template. An unknown function or variable is an error here.
func Parse(text string) (*Template, error) { return ParseWith(text, Options{}) }

// ParseWith is Parse with options.
func ParseWith(text string, o Options) (*Template, error) {
	known := map[string]any{}
	for name := range o.Functions {
		known[name] = true
	}
	for name := range functions {
		known[name] = true // of no use to the parser but to be there
	}
	trees, err := parse.Parse("template", text, "", "", known)
	if err != nil {
		return nil, err
	}
	t := &Template{trees["template"], trees, o}
	if t.root == nil { // of nothing but definitions
		t.root = &parse.Tree{Root: &parse.ListNode{}}
	}
	return t, nil
}

// Execute writes what the template makes of a value: nothing on an error.
func (t *Template) Execute(w io.Writer, data any) error {
	r := &run{trees: t.trees, opts: t.opts, vars: []variable{{"$", data}}}
	if err := r.list(t.root.Root, data); err != nil {
		return err
	}
	_, err := w.Write(r.out.Bytes())
	return err
}

type variable struct {
	name  string
	value any
}

// run is one execution.
type run struct {
	trees map[string]*parse.Tree
	opts  Options
	vars  []variable // those in scope, the innermost last
	out   bytes.Buffer
	depth int
}

var errBreak, errContinue = errors.New("break"), errors.New("continue")

func (r *run) list(l *parse.ListNode, dot any) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if err := r.node(n, dot); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) node(n parse.Node, dot any) error {
	switch n := n.(type) {
	case *parse.TextNode:
		r.out.Write(n.Text)
	case *parse.ActionNode:
		v, err := r.pipe(n.Pipe, dot)
		if err == nil && len(n.Pipe.Decl) == 0 {
			r.print(v)
		}
		return err
	case *parse.IfNode:
		return r.branch(&n.BranchNode, dot, false)
	case *parse.WithNode:
		return r.branch(&n.BranchNode, dot, true)
	case *parse.RangeNode:
		return r.rangeOver(n, dot)
	case *parse.TemplateNode:
		return r.call(n, dot)
	case *parse.BreakNode:
		return errBreak
	case *parse.ContinueNode:
		return errContinue
	}
	return nil
}

func (r *run) print(v any) {
	if v == nil && r.opts.Missing != nil {
		r.out.WriteString(*r.opts.Missing)
		return
	}
	r.out.WriteString(text(v))
}

// branch is if, and with where the value becomes the dot.
func (r *run) branch(n *parse.BranchNode, dot any, with bool) error {
	mark := len(r.vars)
	defer func() { r.vars = r.vars[:mark] }()
	v, err := r.pipe(n.Pipe, dot)
	switch {
	case err != nil:
		return err
	case !truth(v):
		return r.list(n.ElseList, dot)
	case with:
		dot = v
	}
	return r.list(n.List, dot)
}

func (r *run) rangeOver(n *parse.RangeNode, dot any) error {
	mark := len(r.vars)
	defer func() { r.vars = r.vars[:mark] }()
	v, err := r.evaluate(n.Pipe, dot)
	if err != nil {
		return err
	}
	keys, values, err := entries(v)
	if err != nil {
		return fmt.Errorf("%s: %w", n.Pipe, err)
	}
	if len(values) == 0 {
		return r.list(n.ElseList, dot)
	}
	for i, value := range values {
		r.vars = r.vars[:mark]
		switch decl := n.Pipe.Decl; {
		case len(decl) == 1:
			r.set(decl[0], value, n.Pipe.IsAssign)
		case len(decl) == 2:
			r.set(decl[0], keys[i], n.Pipe.IsAssign)
			r.set(decl[1], value, n.Pipe.IsAssign)
		}
		err := r.list(n.List, value)
		if errors.Is(err, errBreak) {
			break
		}
		if err != nil && !errors.Is(err, errContinue) {
			return err
		}
	}
	return nil
}

// entries are what a range goes over: a list, or an object by its sorted names.
func entries(v any) (keys, values []any, err error) {
	switch v := v.(type) {
	case nil:
	case []any:
		for i := range v {
			keys = append(keys, i)
		}
		return keys, v, nil
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			keys, values = append(keys, k), append(values, v[k])
		}
	default:
		return nil, nil, fmt.Errorf("range can't iterate over %s", text(v))
	}
	return keys, values, nil
}

func (r *run) call(n *parse.TemplateNode, dot any) error {
	tree := r.trees[n.Name]
	if tree == nil {
		return fmt.Errorf("template %q is not defined", n.Name)
	}
	if r.depth++; r.depth > maxDepth {
		return fmt.Errorf("template %q: nested more than %d deep", n.Name, maxDepth)
	}
	defer func() { r.depth-- }()
	var arg any
	if n.Pipe != nil {
		var err error
		if arg, err = r.pipe(n.Pipe, dot); err != nil {
			return err
		}
	}
	outer := r.vars
	r.vars = []variable{{"$", arg}}
	defer func() { r.vars = outer }()
	return r.list(tree.Root, arg)
}

// pipe evaluates a pipeline and declares its variables.
func (r *run) pipe(p *parse.PipeNode, dot any) (any, error) {
	v, err := r.evaluate(p, dot)
	if err != nil {
		return nil, err
	}
	for _, d := range p.Decl {
		r.set(d, v, p.IsAssign)
	}
	return v, nil
}

func (r *run) set(d *parse.VariableNode, v any, assign bool) {
	if !assign {
		r.vars = append(r.vars, variable{d.Ident[0], v})
		return
	}
	for i := len(r.vars) - 1; i >= 0; i-- {
		if r.vars[i].name == d.Ident[0] {
			r.vars[i].value = v
			return
		}
	}
}

func (r *run) evaluate(p *parse.PipeNode, dot any) (v any, err error) {
	for i, c := range p.Cmds {
		if v, err = r.command(c, dot, v, i > 0); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// command evaluates one command of a pipeline; last is the value before it.
func (r *run) command(c *parse.CommandNode, dot, last any, piped bool) (any, error) {
	id, isFunction := c.Args[0].(*parse.IdentifierNode)
	if !isFunction {
		if len(c.Args) > 1 || piped {
			return nil, fmt.Errorf("can't give argument to non-function %s", c.Args[0])
		}
		return r.operand(c.Args[0], dot)
	}
	if id.Ident == "and" || id.Ident == "or" {
		return r.shortCircuit(c, dot, last, piped)
	}
	var args []any
	for _, n := range c.Args[1:] {
		v, err := r.operand(n, dot)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	if piped {
		args = append(args, last)
	}
	f := r.opts.Functions[id.Ident]
	if f == nil {
		f = functions[id.Ident]
	}
	v, err := f(args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id.Ident, err)
	}
	return v, nil
}

// shortCircuit is and and or: they evaluate no more than they need.
func (r *run) shortCircuit(c *parse.CommandNode, dot, last any, piped bool) (v any, err error) {
	is := c.Args[0].(*parse.IdentifierNode).Ident == "or"
	if len(c.Args) == 1 && !piped {
		return nil, fmt.Errorf("%s: want an argument", c.Args[0])
	}
	for _, n := range c.Args[1:] {
		if v, err = r.operand(n, dot); err != nil || truth(v) == is {
			return v, err
		}
	}
	if piped {
		v = last
	}
	return v, nil
}

func (r *run) operand(n parse.Node, dot any) (any, error) {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot, nil
	case *parse.NilNode:
		return nil, errors.New("nil is not a command")
	case *parse.BoolNode:
		return n.True, nil
	case *parse.StringNode:
		return n.Text, nil
	case *parse.NumberNode:
		if n.IsInt {
			return int(n.Int64), nil
		}
		return n.Float64, nil
	case *parse.FieldNode:
		return field(dot, n.Ident)
	case *parse.VariableNode:
		for i := len(r.vars) - 1; i >= 0; i-- {
			if r.vars[i].name == n.Ident[0] {
				return field(r.vars[i].value, n.Ident[1:])
			}
		}
	case *parse.ChainNode:
		v, err := r.operand(n.Node, dot)
		if err != nil {
			return nil, err
		}
		return field(v, n.Field)
	case *parse.PipeNode:
		return r.pipe(n, dot)
	case *parse.IdentifierNode:
		return r.command(&parse.CommandNode{Args: []parse.Node{n}}, dot, nil, false)
	}
	return nil, fmt.Errorf("can't evaluate %s", n)
}

// field looks names up in objects within objects; what is not there is nil.
func field(v any, names []string) (any, error) {
	for _, name := range names {
		object, ok := v.(map[string]any)
		if !ok && v != nil {
			return nil, fmt.Errorf("can't evaluate field %s in %s", name, kind(v))
		}
		v = object[name]
	}
	return v, nil
}

func kind(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case string:
		return "a string"
	case bool:
		return "a truth value"
	}
	return "a number"
}

// text is a value as it is printed.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "<no value>"
	case string:
		return v
	case json.Number:
		return v.String()
	case []any, map[string]any:
		return fmt.Sprint(plain(v))
	}
	return fmt.Sprint(v)
}
