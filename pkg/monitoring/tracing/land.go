package tracing

import "github.com/pulsectl/pulsectl/internal/otlp"

// local is what a trace of this process hands to the store: when none of its
// spans runs any more, and before that each time the ended ones have grown to
// landAt bytes. Spans come once; what was said of the trace comes again with
// each landing. The store copies what it keeps; the tracer uses the memory again.
type local struct {
	trace             TraceID
	at                int64 // now
	requestID, userID string
	metadata          []otlp.KeyValue
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

func (l *local) note() note { return note{l.requestID, l.userID, l.metadata, l.profiles} }

// land keeps the spans of l. The caller may hold the mu of their active trace,
// so nothing in here waits for one.
func (s *Store) land(l *local) {
	if len(l.spans) == 0 {
		return
	}
	s.mu.Lock()
	sequence := s.sequence(plain)
	for i := range l.spans {
		a := l.arrival(&l.spans[i], s.localSender(l.scopes[l.spans[i].scope]))
		if why := s.insertOwn(&a, l.at); why != numReasons {
			s.dropped[why].Add(1)
		}
	}
	if p, found := s.traces.find(&l.trace); found {
		n := l.note()
		s.annotate(p, &n)
	}
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
	f, n := newForm(plain), l.note()
	encoded := string(n.append(nil))
	for i := range l.spans {
		sp := &l.spans[i]
		f.put(l.message(sp), sp.outcome, senders[sp.scope])
		f.note(l.trace, encoded)
	}
	return f
}

func (l *local) arrival(sp *localSpan, from *sender) arrival {
	return arrival{trace: l.trace, message: l.message(sp), name: l.name(sp), from: from, row: row{
		id: sp.id, parent: sp.parent, start: sp.start, took: sp.end - sp.start, kind: sp.kind, outcome: sp.outcome,
	}}
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
