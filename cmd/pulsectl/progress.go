package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/pulsectl/pulsectl/pkg/render"
)

// progress is one line on a terminal's standard error that tells how far long
// work is. It is nothing where that is no terminal.
type progress struct {
	mu    sync.Mutex
	w     io.Writer               // nil where no one looks
	parts map[string]progressPart // guarded by mu; by instance
	width int
	what  string
}

type progressPart struct {
	share float64
	count int64
}

// uncounted is the count of work that counts nothing.
const uncounted = -1

// progress starts a line that says what is going on.
func (a *app) progress(what string) *progress {
	p := &progress{parts: map[string]progressPart{}, what: what}
	if columns, tty := terminal(a.streams.err); tty && !a.flags.quiet {
		p.w, p.width = a.streams.err, max(columns, 40)
	}
	return p
}

// tell draws the line anew: of several servers the mean of their shares.
func (p *progress) tell(instance string, share float64, count int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w == nil {
		return
	}
	p.parts[instance] = progressPart{share, count}
	var all progressPart
	for _, part := range p.parts {
		all.share += part.share / float64(len(p.parts))
		all.count += part.count
	}
	fmt.Fprintf(p.w, "\r%s\x1b[K", render.Progress(p.what, all.share, all.count, render.Options{Width: p.width}))
}

// done takes the line away.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.w != nil && len(p.parts) > 0 {
		io.WriteString(p.w, "\r\x1b[K")
	}
	p.w = nil
}
