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
	boxes = append(boxes, Box{zoom, g.Nodes[zoom].Depth, 0, width})
	for at := len(boxes) - 1; at < len(boxes); at++ {
		if box := boxes[at]; maxDepth <= 0 || int(box.Depth)+1 < maxDepth {
			boxes = g.divide(boxes, box)
		}
	}
	return boxes
}

// divide places the children of a box below it. Their edges are rounded from the
// sum of all widths to their left within it, so they meet and do not drift.
func (g *FlameGraph) divide(boxes []Box, box Box) []Box {
	n := &g.Nodes[box.Node]
	if n.Width <= 0 {
		return boxes
	}
	sum, x0 := int64(0), box.X0
	for c, to := g.Children(box.Node); c < to && x0 < box.X1; c++ {
		sum += g.Nodes[c].Width
		x1 := min(box.X0+int(float64(sum)/float64(n.Width)*float64(box.X1-box.X0)+0.5), box.X1)
		if x1 > x0 {
			boxes = append(boxes, Box{c, g.Nodes[c].Depth, x0, x1})
			x0 = x1
		}
	}
	return boxes
}
