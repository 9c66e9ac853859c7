package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/traceformat"
	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/client"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// traceForms are the forms of a trace that other tools read.
var traceForms = []string{"otlp", "otlp-protobuf", "jaeger", "zipkin", "chrome"}

type exportOptions struct {
	Format string
	File   string
	Narrow client.TraceQuery
}

func newTracesExportCmd(a *app) *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export ID…",
		Short: "Write traces in the form of another tool",
		Long: `Write traces to standard output or a file, in one of these forms:
  otlp           OTLP/JSON, which holds all of a trace
  otlp-protobuf  the same, smaller
  jaeger         what the Jaeger UI loads
  zipkin         Zipkin JSON v2
  chrome         trace events, for Perfetto and chrome://tracing
Each of them can be imported again and is the same trace then.

` + selectorHelp + `

  pulsectl traces export @error > error.json
  pulsectl traces export 4bf9 00f0 --format jaeger -O both.json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.exportTraces(cmd.Context(), args, o) },
	}
	cmd.Flags().StringVar(&o.Format, "format", "otlp", strings.Join(traceForms, ", "))
	cmd.Flags().StringVarP(&o.File, "output-file", "O", "", "`FILE` to write, made with mode 0600; standard output without")
	narrowing(cmd.Flags(), &o.Narrow)
	return cmd
}

func (a *app) exportTraces(ctx context.Context, ids []string, o exportOptions) error {
	if !slices.Contains(traceForms, o.Format) {
		return &usageError{fmt.Errorf("format %q: want one of %s", o.Format, strings.Join(traceForms, ", ")), "pulsectl traces export"}
	}
	sels, err := parseSelectors(ids, o.Narrow, "pulsectl traces export")
	if err != nil {
		return err
	}
	if _, tty := terminal(a.streams.out); tty && o.File == "" && o.Format == "otlp-protobuf" {
		return &usageError{fmt.Errorf("protobuf is not for a terminal: want --output-file FILE, or a pipe"), "pulsectl traces export"}
	}
	var all traceformat.Data
	var silent []api.Result[struct{}]
	for _, sel := range sels {
		rs, err := a.exported(ctx, sel, o.Narrow)
		if err != nil {
			return err
		}
		rs = found(rs)
		for _, r := range rs {
			all = append(all, r.Value...)
		}
		failed := failures(rs)
		if len(failed) == len(rs) {
			return &fleetError{a.report(failed), 0}
		}
		for _, f := range failed {
			if !slices.ContainsFunc(silent, func(s api.Result[struct{}]) bool { return s.Instance == f.Instance }) {
				silent = append(silent, f)
			}
		}
	}
	if err := a.writeTraces(all, o); err != nil || len(silent) == 0 {
		return err
	}
	return &fleetError{a.report(silent), 1} // of the traces' servers, one at least
}

// writeTraces writes them to standard output or to a file.
func (a *app) writeTraces(all traceformat.Data, o exportOptions) error {
	b, err := traceformat.Write(traceformat.Format(o.Format), all)
	if err != nil {
		return err
	}
	if o.File == "" {
		_, err = a.streams.out.Write(b)
		return err
	}
	if err := os.WriteFile(o.File, b, 0o600); err != nil {
		return err
	}
	fmt.Fprintf(a.streams.err, "wrote %s to %s\n", contents(all), o.File)
	return nil
}

// traceForm is what -o names if it is another tool's form, else "".
func (a *app) traceForm() string {
	if slices.Contains(traceForms, a.flags.output) {
		return a.flags.output
	}
	return ""
}

// exportListed writes the traces of lists in the form of -o.
func (a *app) exportListed(ctx context.Context, rs []api.Result[api.TraceList]) error {
	if failed := a.report(failures(rs)); len(failed) > 0 {
		return &fleetError{failed, len(rs) - len(failed)}
	}
	var ids []string
	for _, r := range rs {
		for _, t := range r.Value.Traces {
			if !slices.Contains(ids, t.TraceID) {
				ids = append(ids, t.TraceID)
			}
		}
	}
	return a.exportTraces(ctx, ids, exportOptions{Format: a.traceForm()})
}

// parseSelectors reads the names of traces, and refuses filters that none of
// them goes by.
func parseSelectors(ids []string, narrow client.TraceQuery, command string) ([]selector, error) {
	sels := make([]selector, len(ids))
	for i, id := range ids {
		var err error
		if sels[i], err = parseSelector(id, command); err != nil {
			return nil, err
		}
	}
	return sels, checkNarrowing(narrow, command, sels...)
}

// exported reads a file, or asks every server for a trace.
func (a *app) exported(ctx context.Context, sel selector, narrow client.TraceQuery) ([]api.Result[traceformat.Data], error) {
	if sel.text == "-" || isFile(sel.text) {
		data, _, err := a.readTraces(sel.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", sel.text, err)
		}
		return []api.Result[traceformat.Data]{{Instance: sel.text, Value: data}}, nil
	}
	return ask(ctx, a, func(c *client.Client, ctx context.Context) (traceformat.Data, error) {
		return a.export(ctx, c, sel, narrow)
	})
}

// export fetches one trace of one server.
func (a *app) export(ctx context.Context, c *client.Client, sel selector, narrow client.TraceQuery) (traceformat.Data, error) {
	id := sel.text
	if sel.isName() {
		p, err := sel.summary(ctx, c, narrow)
		if err != nil {
			return nil, err
		}
		id = p.trace.TraceID
	}
	request, truncated, err := c.ExportTrace(ctx, id)
	if err != nil {
		return nil, err
	}
	data, _, err := traceformat.Read(request)
	if err != nil {
		return nil, &api.Error{Code: client.CodeUnreadable, Detail: err.Error()}
	}
	if truncated {
		fmt.Fprintf(a.streams.err, "pulsectl: %s: trace %s is larger than what is exported at once: its last spans are missing\n", c.Instance(), id)
	}
	return data, nil
}

// contents says what is in a file of traces.
func contents(d traceformat.Data) string {
	return fmt.Sprintf("%s, %s", render.Plural(len(d.TraceIDs()), "trace"), render.Plural(d.Spans(), "span"))
}

func newTracesImportCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE|-",
		Short: "Bring traces of a file to the server",
		Long: `Bring traces of a file, or of standard input, to the server. The form is told by
what is in it: OTLP in JSON or protobuf, Jaeger, Zipkin and Chrome JSON, and
this program's own -o json of traces with their spans; gzipped or not. --dry-run
only says what is in the file.

  pulsectl traces import error.json
  pulsectl -s http://a:8000 traces export @slowest | pulsectl -s http://b:8000 traces import -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.importTraces(cmd.Context(), args[0]) },
	}
}

func (a *app) importTraces(ctx context.Context, file string) error {
	data, format, err := a.readTraces(file)
	if err != nil {
		return &usageError{fmt.Errorf("%s: %w", file, err), "pulsectl traces import"}
	}
	if a.flags.dryRun {
		return show(a, local(file, imported{Spans: int64(data.Spans()), DryRun: true}), importView(data, format))
	}
	rs, err := ask(ctx, a, func(c *client.Client, ctx context.Context) (imported, error) { return bring(ctx, c, data) })
	if err != nil {
		return err
	}
	return show(a, rs, importView(data, format))
}

// readTraces reads a file of at most what the package takes.
func (a *app) readTraces(file string) (traceformat.Data, traceformat.Format, error) {
	in := io.NopCloser(a.streams.in)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, "", err
		}
		in = f
	}
	defer in.Close()
	b, err := io.ReadAll(io.LimitReader(in, traceformat.MaxBytes+1))
	if err != nil {
		return nil, "", err
	}
	return traceformat.Read(b)
}
