package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/itchyny/gojq"
	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/internal/gotemplate"
	"github.com/pulsectl/pulsectl/pkg/render"
)

// form is what -o names, ready to be used.
type form struct {
	name     string // one of outputForms, or of those that a command has beside them; "" means table
	code     *gojq.Code
	template *gotemplate.Template
}

// outputForms are the forms that every answer has. jq and go-template stand for
// jq=EXPRESSION and go-template=TEXT.
var outputForms = []string{"table", "wide", "json", "yaml", "ndjson", "name", "csv", "env", "jq", "go-template"}

const outputFormNames = "table, wide, json, yaml, ndjson, name, csv, env, jq=EXPR, go-template=TEXT"

// ownForms is the annotation of a command that has forms beside those of every
// answer, with commas between them.
const ownForms = "own forms"

// parseForm reads the value of -o. An expression is compiled: nothing is asked
// for one that makes no sense.
func parseForm(text string, own []string) (form, error) {
	name, expression, has := strings.Cut(text, "=")
	f := form{name: name}
	takes := name == "jq" || name == "go-template"
	switch {
	case slices.Contains(own, text):
		return f, nil
	case !slices.Contains(outputForms, name):
		return f, fmt.Errorf("output %q: want one of %s", text, strings.Join(append([]string{outputFormNames}, own...), ", "))
	case takes != has:
		return f, fmt.Errorf("output %q: jq and go-template, and only they, have an expression behind =: jq=.items[].name", text)
	}
	var err error
	switch name {
	case "jq":
		var query *gojq.Query
		if query, err = gojq.Parse(expression); err == nil {
			f.code, err = gojq.Compile(query)
		}
	case "go-template":
		f.template, err = gotemplate.Parse(expression)
	}
	if err != nil {
		return f, fmt.Errorf("output %s: %s", name, render.Clean(err.Error()))
	}
	return f, nil
}

// drawn tells whether the form is for people.
func (f form) drawn() bool { return f.name == "" || f.name == "table" || f.name == "wide" }

// checkForm settles the form of a command's answer, and refuses what does not go
// with it.
func (a *app) checkForm(cmd *cobra.Command) error {
	own := strings.FieldsFunc(cmd.Annotations[ownForms], func(r rune) bool { return r == ',' })
	f, err := parseForm(a.flags.output, own)
	if err != nil {
		return err
	}
	if len(a.flags.fields) > 0 && !f.drawn() && f.name != "csv" && f.name != "env" {
		return fmt.Errorf("columns go with -o table, wide, csv and env, not with %s", f.name)
	}
	a.form = f
	return nil
}

// encode writes an envelope in a form for machines.
func (a *app) encode(w io.Writer, e render.Envelope) error {
	switch f := a.form; f.name {
	case "json":
		if a.watching {
			return render.JSONLine(w, e)
		}
		return render.JSON(w, e)
	case "yaml":
		return render.YAML(w, e)
	case "ndjson":
		return render.Lines(w, e)
	case "name":
		return render.Names(w, e)
	case "csv":
		return render.CSV(w, e, a.flags.fields, !a.flags.noHeaders)
	case "env":
		return render.Env(w, e, a.flags.fields)
	case "jq", "go-template":
		return f.evaluate(w, e)
	}
	return fmt.Errorf("this answer has no form %s", a.form.name)
}

// evaluate writes what the expression makes of a value, as it is in JSON.
func (f form) evaluate(w io.Writer, value any) error {
	var line bytes.Buffer
	if err := render.JSONLine(&line, value); err != nil {
		return err
	}
	var v any
	dec := json.NewDecoder(&line)
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return err
	}
	var out bytes.Buffer
	if f.template != nil {
		if err := f.template.Execute(&out, v); err != nil {
			return fmt.Errorf("go-template: %w", err)
		}
	} else if err := f.query(&out, v); err != nil {
		return fmt.Errorf("jq: %w", err)
	}
	_, err := io.WriteString(w, render.CleanLines(out.String()))
	return err
}

// query writes each result on a line: text as it is, all else as JSON.
func (f form) query(out *bytes.Buffer, v any) error {
	for results := f.code.Run(v); ; {
		r, ok := results.Next()
		if !ok {
			return nil
		}
		var halt *gojq.HaltError
		switch r := r.(type) {
		case error:
			if errors.As(r, &halt) && halt.Value() == nil {
				return nil
			}
			return r
		case string:
			out.WriteString(r)
		default:
			b, err := gojq.Marshal(r)
			if err != nil {
				return err
			}
			out.Write(b)
		}
		out.WriteByte('\n')
	}
}

// streamForms are the forms of what comes one by one.
var streamForms = []string{"table", "wide", "json", "ndjson", "name", "yaml", "jq", "go-template"}

// checkStream refuses the forms that need the whole of an answer.
func (a *app) checkStream(command string) error {
	if !slices.Contains(streamForms, a.form.name) {
		return &usageError{fmt.Errorf("output %s: what is followed comes as %s", a.flags.output, strings.Join(streamForms, ", ")), command}
	}
	return nil
}

// streamed writes one thing of a stream in the form of -o for machines. It
// returns false where that is for people: the caller draws it.
func (a *app) streamed(it render.Item) (done bool, err error) {
	out := a.streams.out
	switch {
	case a.form.drawn():
		return false, nil
	case a.form.name == "json" || a.form.name == "ndjson":
		err = render.JSONLine(out, it)
	case a.form.name == "name":
		_, err = fmt.Fprintln(out, render.Clean(it.Name))
	case a.form.name == "yaml":
		err = render.YAMLDocument(out, it)
	default:
		err = a.form.evaluate(out, it)
	}
	return true, err
}
