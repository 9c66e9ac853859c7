package render

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ServiceGraph draws who calls whom as a tree: a service, and below it those
// that it calls. A service that several call has its own calls below the first.
func ServiceGraph(w io.Writer, rs []api.Result[api.ServiceGraph], o Options) error {
	return screens(w, rs, o, func(s *screen, where string, g api.ServiceGraph) error {
		if !s.NoHeaders {
			verdict := Plural(len(g.Nodes), "service")
			if d := g.To.Sub(g.From.Time); d > 0 {
				verdict += s.muted.Render("  last " + age(d))
			}
			s.heading(titled("Services", where), verdict)
			s.line()
		}
		if len(g.Nodes) == 0 {
			s.line(s.muted.Render("No span has ended."))
			return nil
		}
		t := graphTree{screen: s, nodes: map[string]*api.ServiceNode{}, calls: map[string][]*api.ServiceEdge{}, drawn: map[string]bool{}}
		return t.draw(&g)
	})
}

type graphTree struct {
	*screen
	nodes map[string]*api.ServiceNode
	calls map[string][]*api.ServiceEdge // by caller, the busiest first
	drawn map[string]bool
	rows  [][]string
}

func (t *graphTree) draw(g *api.ServiceGraph) error {
	called := map[string]bool{}
	for i := range g.Nodes {
		t.nodes[g.Nodes[i].Name] = &g.Nodes[i]
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		t.calls[e.From] = append(t.calls[e.From], e)
		called[e.To] = true
	}
	for _, edges := range t.calls {
		slices.SortStableFunc(edges, func(a, b *api.ServiceEdge) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.To, b.To))
		})
	}
	for i := range g.Nodes {
		if n := &g.Nodes[i]; !called[n.Name] {
			t.root(n)
		}
	}
	for i := range g.Nodes { // those of circles that nobody outside calls
		if n := &g.Nodes[i]; !t.drawn[n.Name] {
			t.root(n)
		}
	}
	return t.table([]column{{name: "SERVICE", flex: true}, {name: "CALLS", right: true}, {name: "RATE", right: true, drop: 1}, {name: "ERRORS", right: true}, {name: "P95", right: true}}, t.rows)
}

func (t *graphTree) root(n *api.ServiceNode) {
	t.rows = append(t.rows, []string{t.title.Render(clean(n.Name)), count(int64(n.Calls)), "–", t.errors(n.Errors, n.Calls), duration(n.P95.Duration())})
	t.below(n.Name, "")
}

// below adds the rows of what a service calls, once.
func (t *graphTree) below(name, indent string) {
	if t.drawn[name] {
		return
	}
	t.drawn[name] = true
	edges := t.calls[name]
	for i, e := range edges {
		branch, next := "├─", "│ "
		if i == len(edges)-1 {
			branch, next = "╰─", "  "
		}
		label := clean(e.To)
		switch n := t.nodes[e.To]; {
		case n != nil && n.External:
			label += t.muted.Render("  external")
		case t.drawn[e.To] && len(t.calls[e.To]) > 0:
			label += t.muted.Render("  shown above")
		}
		t.rows = append(t.rows, []string{t.faint.Render(indent+branch) + label, count(int64(e.Calls)), rate(e.Rate), t.errors(e.Errors, e.Calls), duration(e.P95.Duration())})
		t.below(e.To, indent+next)
	}
}

func (t *graphTree) errors(failed, all api.Count) string {
	if failed == 0 || all == 0 {
		return "–"
	}
	return t.bad.Render(count(int64(failed)) + " " + share(float64(failed)/float64(all)))
}
