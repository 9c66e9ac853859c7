package tracing

// family is what a trace of many spans needs to know of each that comes:
// whether it is there already, and whether its parent is. Small traces look
// through their rows instead.
type family struct {
	seen    map[spanKey]struct{}
	members map[SpanID]kin
}

type spanKey struct {
	id          SpanID
	start, took int64
}

// kin is what is known of one id.
type kin struct {
	present uint32 // spans that have it
	waiting uint32 // spans that have it as their parent
}

const (
	manySpans   = 32
	familyBytes = 150 // of each span
)

// meet says whether the span is there already; if not, it counts the orphans
// that the trace has with it. The caller holds mu.
func (s *Store) meet(p uint32, r *row) (again bool) {
	if s.traces.flags[p]&manyKnown != 0 {
		return s.families[p].meet(s, p, r)
	}
	if s.traces.spans[p] >= manySpans {
		s.acquaint(p)
		return s.families[p].meet(s, p, r)
	}
	known := relatives{r: r}
	for i := range s.shelves {
		if head := s.traces.head[i][p]; head != 0 && known.among(&s.shelves[i], head) {
			return true
		}
	}
	if known.children > 0 { // a second span with an id brings nobody a parent again
		s.traces.orphans[p] -= min(s.orphansOf(p, r.id), s.traces.orphans[p])
	}
	if r.parent.IsValid() && r.parent != r.id && !known.parent {
		s.traces.orphans[p]++
	}
	return false
}

// relatives are what a small trace has of a span that comes.
type relatives struct {
	r        *row
	parent   bool
	children uint32
}

// among looks through the rows of one shelf, and stops at the span itself.
func (k *relatives) among(sh *shelf, number uint32) (again bool) {
	r := k.r
	c, i := sh.at(number)
	for c != nil {
		id := c.id[i]
		if id == r.id && c.start[i] == r.start && c.took[i] == r.took {
			return true
		}
		k.parent = k.parent || id == r.parent
		if c.parent[i] == r.id {
			k.children++
		}
		switch back := c.back[i]; {
		case back == 0:
			return false
		case uint32(i) >= back:
			i -= int(back)
		default:
			c, i = sh.at(c.row(i) - back)
		}
	}
	return false
}

// orphansOf returns how many spans wait for a parent with this id.
func (s *Store) orphansOf(p uint32, id SpanID) (n uint32) {
	there := false
	for i, sh := range s.shelves {
		sh.walk(s.traces.head[i][p], func(c *chunk, i int) bool {
			there = there || c.id[i] == id
			if c.parent[i] == id && c.id[i] != id {
				n++
			}
			return !there
		})
	}
	if there {
		return 0
	}
	return n
}

// recount counts the orphans of a trace of which nobody has yet.
func (s *Store) recount(p uint32) {
	s.traces.orphans[p] = 0
	for _, k := range s.gather(p).members {
		if k.present == 0 {
			s.traces.orphans[p] += k.waiting
		}
	}
}

// acquaint begins a family with the spans that are there.
func (s *Store) acquaint(p uint32) {
	f := s.gather(p)
	s.traces.flags[p] |= manyKnown
	s.families[p] = f
	s.bytes.Add(familyBytes * int64(len(f.seen)))
}

// gather makes a family of the spans that are there.
func (s *Store) gather(p uint32) *family {
	f := &family{seen: map[spanKey]struct{}{}, members: map[SpanID]kin{}}
	for i, sh := range s.shelves {
		sh.walk(s.traces.head[i][p], func(c *chunk, i int) bool {
			f.join(&row{id: c.id[i], parent: c.parent[i], start: c.start[i], took: c.took[i]})
			return true
		})
	}
	return f
}

func (f *family) join(r *row) {
	f.seen[spanKey{r.id, r.start, r.took}] = struct{}{}
	k := f.members[r.id]
	k.present++
	f.members[r.id] = k
	if r.parent.IsValid() && r.parent != r.id {
		k := f.members[r.parent]
		k.waiting++
		f.members[r.parent] = k
	}
}

func (f *family) meet(s *Store, p uint32, r *row) (again bool) {
	if _, again = f.seen[spanKey{r.id, r.start, r.took}]; again {
		return true
	}
	if k := f.members[r.id]; k.present == 0 {
		s.traces.orphans[p] -= min(k.waiting, s.traces.orphans[p])
	}
	if r.parent.IsValid() && r.parent != r.id && f.members[r.parent].present == 0 {
		s.traces.orphans[p]++
	}
	f.join(r)
	s.bytes.Add(familyBytes)
	return false
}

// leave takes an evicted span out.
func (f *family) leave(s *Store, c *chunk, i int) {
	delete(f.seen, spanKey{c.id[i], c.start[i], c.took[i]})
	s.bytes.Add(-familyBytes)
	k := f.members[c.id[i]]
	k.present--
	f.members[c.id[i]] = k
	if k == (kin{}) {
		delete(f.members, c.id[i])
	}
	if parent := c.parent[i]; parent.IsValid() && parent != c.id[i] {
		k := f.members[parent]
		if k.waiting--; k == (kin{}) {
			delete(f.members, parent)
		} else {
			f.members[parent] = k
		}
	}
}

// disband ends the family of a trace that goes.
func (s *Store) disband(p uint32) {
	if f := s.families[p]; f != nil {
		s.bytes.Add(-familyBytes * int64(len(f.seen)))
		delete(s.families, p)
	}
}
