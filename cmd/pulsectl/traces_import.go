package main

import (
	"context"
	"fmt"
	"io"

	"github.com/pulsectl/pulsectl/internal/traceformat"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// imported is what one server made of a file.
type imported struct {
	Format   string   `json:"format"`
	TraceIDs []string `json:"trace_ids"`
	Spans    int64    `json:"spans"`    // kept, or there already
	Rejected int64    `json:"rejected"` // not kept
	Why      string   `json:"why,omitempty"`
	DryRun   bool     `json:"dry_run,omitempty"` // this is what is in the file
}

// importBatch is how many spans go in one request.
const importBatch = 2000

// bring sends the spans, so many a request.
func bring(ctx context.Context, c *client.Client, data traceformat.Data) (out imported, err error) {
	for _, part := range parts(data) {
		b, err := traceformat.Write(traceformat.Protobuf, part)
		if err != nil {
			return out, err
		}
		rejected, why, err := c.ImportSpans(ctx, b)
		if err != nil {
			return out, err
		}
		out.Spans += int64(part.Spans()) - rejected
		out.Rejected += rejected
		if why != "" {
			out.Why = why
		}
	}
	return out, nil
}

// parts cuts data into pieces of at most importBatch spans.
func parts(data traceformat.Data) (out []traceformat.Data) {
	var part traceformat.Data
	n := 0
	for _, b := range data {
		for spans := b.Spans; len(spans) > 0; {
			take := min(importBatch-n, len(spans))
			part = append(part, traceformat.Batch{Resource: b.Resource, Scope: b.Scope, Spans: spans[:take]})
			spans = spans[take:]
			if n += take; n == importBatch {
				out, part, n = append(out, part), nil, 0
			}
		}
	}
	if len(part) > 0 {
		out = append(out, part)
	}
	return out
}

func importView(data traceformat.Data, format traceformat.Format) view[imported] {
	var ids []string
	for _, id := range data.TraceIDs() {
		ids = append(ids, fmt.Sprintf("%x", id))
	}
	return view[imported]{
		kind: "TraceImport",
		items: func(im imported) []render.Item {
			im.Format, im.TraceIDs = string(format), ids
			return []render.Item{{Name: fmt.Sprintf("%d spans", im.Spans), Value: im}}
		},
		draw: func(w io.Writer, rs []api.Result[imported], o render.Options) error {
			return render.Done(w, rs, func(im imported) string {
				verb := "imported"
				if im.DryRun {
					verb = "would import"
				}
				line := fmt.Sprintf(verb+" %s, %s (%s)", render.Plural(len(ids), "trace"), render.Plural(int(im.Spans), "span"), format)
				if im.Rejected > 0 {
					line += fmt.Sprintf("; %d not kept: %s", im.Rejected, render.Clean(im.Why))
				}
				return line
			}, o)
		},
	}
}
