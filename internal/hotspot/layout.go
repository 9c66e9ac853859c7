package hotspot

// Box is a node of a flame graph with its place: cells from X0 up to X1, row
// Depth from the top.
type Box struct {
	Node   int32
	Depth  int32
	X0, X1 int
}

// Layout places node zoom over the whole width, what it calls below it, and
// above it the way to it. Nodes that have no cell are left out with all below
// them, so the work is bounded by the size of the screen, not of the graph. maxDepth bounds
// the rows; 0 means all.
func (g *FlameGraph) Layout(zoom int32, width int, maxDepth int) []Box {
	var boxes []Box
	for n := g.Nodes[zoom].Parent; n >= 0; n = g.Nodes[n].Parent {
		boxes = append(boxes, Box{n, g.Nodes[n].Depth, 0, width})
	}
	for i, j := 0, len(boxes)-1; i < j; i, j = i+1, j-1 {
		boxes[i], boxes[j] = boxes[j], boxes[i]
	}
	if maxDepth > 0 && len(boxes) >= maxDepth {
		return boxes[:maxDepth]
	}
	// Edges are rounded from the sum of all widths to their left, so they meet and do not drift.
	type place struct {
		node int32
		left int64 // of its left edge from that of zoom
	}
	total := g.Nodes[zoom].Width
	if total <= 0 {
		return append(boxes, Box{zoom, g.Nodes[zoom].Depth, 0, width})
	}
	cell := func(at int64) int { return int(float64(at)/float64(total)*float64(width) + 0.5) }
	for queue := []place{{zoom, 0}}; len(queue) > 0; queue = queue[1:] {
		q := queue[0]
		n := &g.Nodes[q.node]
		box := Box{q.node, n.Depth, cell(q.left), cell(q.left + n.Width)}
		if box.X0 == box.X1 || maxDepth > 0 && int(n.Depth) >= maxDepth {
			continue
		}
		boxes = append(boxes, box)
		left := q.left
		for c, to := g.Children(q.node); c < to; c++ {
			if cell(left) >= box.X1 {
				break
			}
			queue = append(queue, place{c, left})
			left += g.Nodes[c].Width
		}
	}
	return boxes
}
