package hotspot

// flameQueue is a heap that gives the widest node next.
type flameQueue struct {
	g     *FlameGraph
	nodes []int32
}

func (q *flameQueue) wider(i, j int) bool {
	return q.g.Nodes[q.nodes[i]].Width > q.g.Nodes[q.nodes[j]].Width
}

func (q *flameQueue) push(n int32) {
	q.nodes = append(q.nodes, n)
	for i := len(q.nodes) - 1; i > 0 && q.wider(i, (i-1)/2); i = (i - 1) / 2 {
		q.nodes[i], q.nodes[(i-1)/2] = q.nodes[(i-1)/2], q.nodes[i]
	}
}

func (q *flameQueue) pop() int32 {
	last := len(q.nodes) - 1
	top := q.nodes[0]
	q.nodes[0], q.nodes = q.nodes[last], q.nodes[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c+1 < last && q.wider(c+1, c) {
			c++
		}
		if c >= last || !q.wider(c, i) {
			return top
		}
		q.nodes[i], q.nodes[c] = q.nodes[c], q.nodes[i]
		i = c
	}
}
