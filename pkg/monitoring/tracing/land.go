package tracing

// local is what a trace of this process hands to the store: when none of its
// spans runs any more, and before that each time the ended ones have grown to
// landAt bytes. Spans come once; what was said of the trace comes again with
// each landing. The store copies what it keeps; the tracer uses the memory again.
type local struct {
	trace             TraceID
	at                int64 // now
	requestID, userID string
	metadata          []byte      // encoded as in a note
	facts             int         // attributes in metadata
	profiles          []string    // ids linked while it was active
	spans             []localSpan // in the order of their ends
	buf               []byte      // encoded Span messages (without tag and length), one behind the other
	scopes            []string
}

// localSpan says where a span's message lies in local.buf, and what the index
// needs of it.
type localSpan struct {
	id, parent     SpanID
	start, end     int64
	off, size      uint32 // of the message in buf
	nameOff, nameN uint32 // of the name in the message
	scope          uint16 // in scopes
	kind           uint8
	outcome        outcome
}

func (l *local) message(sp *localSpan) []byte { return l.buf[sp.off : sp.off+sp.size] }

func (l *local) name(sp *localSpan) []byte {
	return l.message(sp)[sp.nameOff : sp.nameOff+sp.nameN]
}

// note returns what was said of the trace. It aliases metadata.
func (l *local) note() note {
	n, _ := readNote(alias(l.metadata)) // as it was written
	n.requestID, n.userID, n.profiles = l.requestID, l.userID, l.profiles
	return n
}

// appendNote appends the same as [note.append] writes it.
func (l *local) appendNote(dst []byte) []byte {
	n := note{requestID: l.requestID, userID: l.userID, profiles: l.profiles}
	return n.append(append(dst, l.metadata...))
}

// land keeps the spans of l. The caller may hold the mu of their active trace,
// so nothing in here waits for one.
func (s *Store) land(l *local) {
	if len(l.spans) == 0 {
		return
	}
	s.mu.Lock()
	sequence := s.sequence(plain)
	p := s.keepOwn(l)
	s.annotateOwn(p, l)
	s.settle()
	waiting := len(s.unpacked)
	var senders []*sender
	if sequence > 0 {
		senders = s.localSenders(l)
	}
	s.mu.Unlock()
	if sequence > 0 {
		told := l.told(senders)
		s.record(plain, sequence, told.record(), told.n())
	}
	if waiting > packLater {
		s.packFull()
	}
}

// localSenders returns the senders of l's spans by scope. The caller holds mu.
func (s *Store) localSenders(l *local) []*sender {
	senders := make([]*sender, len(l.scopes))
	for i := range l.spans {
		if n := l.spans[i].scope; senders[n] == nil {
			senders[n] = s.localSender(l.scopes[n])
		}
	}
	return senders
}

// told is l as the log is told of it. Of the senders it reads what never
// changes.
func (l *local) told(senders []*sender) *form {
	f, encoded := newForm(plain), string(l.appendNote(nil))
	for i := range l.spans {
		sp := &l.spans[i]
		f.put(l.message(sp), sp.outcome, senders[sp.scope])
		f.note(l.trace, encoded)
	}
	return f
}

// arrive describes a span of l in a, field by field: a is used for all of them.
func (l *local) arrive(a *arrival, sp *localSpan, from *sender) {
	a.trace, a.message, a.name, a.from = l.trace, l.message(sp), l.name(sp), from
	r := &a.row
	r.id, r.parent, r.start, r.took, r.kind, r.outcome = sp.id, sp.parent, sp.start, sp.end-sp.start, sp.kind, sp.outcome
}

// localSender returns this process as the sender of a scope's spans. The caller
// holds mu.
func (s *Store) localSender(scope string) *sender {
	if s.locals == nil {
		s.locals = map[string]*sender{}
	}
	from := s.locals[scope]
	if from == nil {
		if len(s.locals) >= maxLocals {
			clear(s.locals)
		}
		from = &sender{resource: s.resource.raw, scope: scopeMessage(scope), service: s.resource.service, name: clip(scopeName(scope), maxName)}
		s.locals[scope] = from
	}
	return from
}

// maxLocals is how many scopes of this process the store knows by heart.
const maxLocals = 256

// keepOwn keeps the spans of l, which come once: as long as their trace has none
// of others, nothing needs to be looked for. That takes 250 ns off a span of a
// trace of a thousand. It returns the trace's place. The caller holds mu.
func (s *Store) keepOwn(l *local) uint32 {
	x := &s.traces
	p, found := x.find(&l.trace)
	if !found {
		p = s.found(&l.trace)
	}
	var a arrival
	var from *sender
	for i := range l.spans {
		sp := &l.spans[i]
		if i == 0 || sp.scope != l.spans[i-1].scope {
			from = s.localSender(l.scopes[sp.scope])
		}
		l.arrive(&a, sp, from)
		why := reason(numReasons)
		switch {
		case x.flags[p]&mixed != 0:
			why = s.insert(&a, l.at)
		case int(x.spans[p]) >= s.opts.MaxSpans:
			why = overLimit
		default:
			s.add(plain, p, &a, l.at)
		}
		if why != numReasons {
			s.dropped[why].Add(1)
		}
	}
	return p
}
