package rules

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

const (
	defaultInterval = 15 * time.Second // of a group that names none, and of a subquery's steps
	maxFile         = 4 << 20          // bytes of a rule file
)

// Group is a group of rules as a file has it.
type Group struct {
	File        string
	Name        string
	Interval    time.Duration // 0 means 15s
	QueryOffset time.Duration
	Limit       int // alerts, or series, that a rule may give; 0 means any number
	Labels      map[string]string
	Rules       []Rule
}

// Rule is a rule as a file has it: Alert or Record is its name.
type Rule struct {
	Alert, Record string
	Expr          string
	For           time.Duration
	KeepFiringFor time.Duration
	Labels        map[string]string // those of the group too
	Annotations   map[string]string
	Line          int // of the rule in its file
}

// Name is the alert's name, or that of the series that is recorded.
func (r *Rule) Name() string { return cmp.Or(r.Alert, r.Record) }

// Problem is what is wrong with a rule file, and where.
type Problem struct {
	File         string `json:"file"`
	Line, Column int
	Message      string
	Warning      bool // it can be used as it is, but may not do what is meant
}

func (p Problem) Error() string {
	if p.Line == 0 {
		return p.File + ": " + p.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Load reads the rule files that the patterns name. A pattern that names no
// file is an error. All that is wrong comes as one error, a line for each.
func Load(patterns []string) ([]Group, error) {
	files, err := Expand(patterns)
	if err != nil {
		return nil, err
	}
	var groups []Group
	var errs []error
	for _, f := range files {
		gs, ps, err := ReadFile(f)
		if err != nil {
			return nil, err
		}
		groups = append(groups, gs...)
		for _, p := range ps {
			if !p.Warning {
				errs = append(errs, p)
			}
		}
	}
	return groups, errors.Join(errs...)
}

// Expand returns the files that patterns name, each once, in their order. One
// that names none is an error.
func Expand(patterns []string) (files []string, err error) {
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, fmt.Errorf("rule files %q: %w", p, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("rule files %q: there is none of that name", p)
		}
		for _, f := range found {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

// ReadFile reads one rule file. Its groups are what is right in it.
func ReadFile(path string) ([]Group, []Problem, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("rule file: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("rule file %s: %w", path, err)
	}
	if len(src) > maxFile {
		return nil, nil, fmt.Errorf("rule file %s: it has more than %d bytes", path, maxFile)
	}
	groups, problems := Parse(path, src)
	return groups, problems, nil
}

// Parse reads the text of a rule file, whose name is for the messages.
func Parse(file string, src []byte) ([]Group, []Problem) {
	r := &reader{file: file, src: strings.Split(string(src), "\n"), anchors: map[string]node{}}
	root := r.document(src)
	if root == nil {
		return nil, r.problems
	}
	var groups []Group
	names := map[string]bool{}
	r.mapping(*root, map[string]func(node){"groups": func(n node) {
		for _, item := range r.list(n) {
			g, at := r.group(item)
			if names[g.Name] && g.Name != "" {
				r.wrong(at, "the group %q is there already in this file", g.Name)
			}
			names[g.Name] = true
			groups = append(groups, g)
		}
	}})
	r.doubles(groups)
	slices.SortStableFunc(r.problems, func(a, b Problem) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	return groups, r.problems
}

// group reads a group, and where its name stands.
func (r *reader) group(n node) (Group, node) {
	g, at := Group{File: r.file, Interval: defaultInterval}, n
	var rules []node
	r.mapping(n, map[string]func(node){
		"name":         func(v node) { g.Name, at = r.text(v), v },
		"interval":     func(v node) { g.Interval = cmp.Or(r.duration(v), defaultInterval) },
		"query_offset": func(v node) { g.QueryOffset = r.duration(v) },
		"limit":        func(v node) { g.Limit = r.integer(v) },
		"labels":       func(v node) { g.Labels = r.labels(v, "label") },
		"rules":        func(v node) { rules = r.list(v) },
	})
	if g.Name == "" {
		r.wrong(at, "a group needs a name")
	}
	for _, item := range rules {
		g.Rules = append(g.Rules, r.rule(item, g.Labels))
	}
	return g, at
}

func (r *reader) rule(n node, shared map[string]string) Rule {
	out := Rule{Line: n.line(), Labels: map[string]string{}, Annotations: map[string]string{}}
	for k, v := range shared {
		out.Labels[k] = v
	}
	at := map[string]node{}
	in := func(name string, read func(node)) func(node) {
		return func(v node) { at[name] = v; read(v) }
	}
	own := map[string]string{}
	r.mapping(n, map[string]func(node){
		"alert":           in("alert", func(v node) { out.Alert = r.text(v) }),
		"record":          in("record", func(v node) { out.Record = r.text(v) }),
		"expr":            in("expr", func(v node) { out.Expr = r.text(v) }),
		"for":             in("for", func(v node) { out.For = r.duration(v) }),
		"keep_firing_for": in("keep_firing_for", func(v node) { out.KeepFiringFor = r.duration(v) }),
		"labels":          in("labels", func(v node) { own = r.labels(v, "label") }),
		"annotations":     in("annotations", func(v node) { out.Annotations = r.labels(v, "annotation") }),
	})
	for k, v := range own {
		out.Labels[k] = v
	}
	r.checkName(n, at, &out)
	r.checkExpr(n, at, &out)
	r.checkTemplates(n, at, &out)
	return out
}

func (r *reader) checkName(n node, at map[string]node, rule *Rule) {
	switch {
	case rule.Alert != "" && rule.Record != "":
		r.wrong(at["alert"], "a rule is either an alert or a record")
	case rule.Alert == "" && rule.Record == "":
		r.wrong(n, "a rule needs `alert: NAME` or `record: NAME`")
	}
	if rule.Record == "" {
		return
	}
	if !model.UTF8Validation.IsValidMetricName(rule.Record) || strings.ContainsAny(rule.Record, "{}") {
		r.wrong(at["record"], "%q is no name of a metric", rule.Record)
	}
	for _, name := range []string{"for", "keep_firing_for", "annotations"} {
		if v, ok := at[name]; ok && (rule.For != 0 && name == "for" || rule.KeepFiringFor != 0 && name == "keep_firing_for" || name == "annotations" && len(rule.Annotations) > 0) {
			r.wrong(v, "a rule that records has no %s", name)
		}
	}
}

// checkExpr parses the expression, and says of one that looks back further than
// samples are kept that it does.
func (r *reader) checkExpr(n node, at map[string]node, rule *Rule) {
	v, ok := at["expr"]
	if !ok || strings.TrimSpace(rule.Expr) == "" {
		if ok {
			n = v
		}
		r.wrong(n, "%q needs an expr", rule.Name())
		return
	}
	e, err := parse(rule.Expr)
	if err != nil {
		r.wrongExpr(v, err)
		return
	}
	if back := need(e, time.Now()) + rule.For; back > time.Hour {
		r.add(v, true, fmt.Sprintf("%q looks %s back, its `for` included; a server keeps samples of 1h: there is never enough history", rule.Name(), model.Duration(back)))
	}
}

func (r *reader) checkTemplates(n node, at map[string]node, rule *Rule) {
	if rule.Alert == "" {
		return
	}
	for what, texts := range map[string]map[string]string{"labels": rule.Labels, "annotations": rule.Annotations} {
		for name, text := range texts {
			if err := checkTemplate(text); err != nil {
				v, ok := at[what]
				if !ok {
					v = n // a label of the group
				}
				r.wrong(v, "%s %s: %v", strings.TrimSuffix(what, "s"), name, err)
			}
		}
	}
}

// doubles warns of rules that would write the same series or alerts twice.
func (r *reader) doubles(groups []Group) {
	seen := map[string]int{}
	for _, g := range groups {
		for _, rule := range g.Rules {
			key := fmt.Sprintf("%s\xff%s\xff%v", rule.Alert, rule.Record, rule.Labels)
			if first, ok := seen[key]; ok && rule.Name() != "" {
				r.problems = append(r.problems, Problem{File: r.file, Line: rule.Line, Column: 1, Warning: true,
					Message: fmt.Sprintf("%q is there already with the same labels, at line %d", rule.Name(), first)})
				continue
			}
			seen[key] = rule.Line
		}
	}
}
