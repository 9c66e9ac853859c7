package render

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Envelope is the one shape of machine-readable output: what kind of things,
// when they were observed, the things, and what could not be asked.
type Envelope struct {
	APIVersion string         `json:"apiVersion"` // "pulsectl/v1"
	Kind       string         `json:"kind"`
	Context    string         `json:"context"`
	Unit       string         `json:"unit,omitempty"` // of a profile's values
	ObservedAt time.Time      `json:"observedAt"`
	Items      []Item         `json:"items"`
	Errors     []Failure      `json:"errors"`
	Retention  *api.Retention `json:"retention,omitempty"` // what the server keeps and lost, where that limits the items
}

// Item is one thing of one instance. In JSON the instance stands first among
// the thing's own members.
type Item struct {
	Instance string
	Name     string // what -o name prints
	Value    any    // encodes as a JSON object
}

// MarshalJSON puts the instance into the value's own object.
func (i Item) MarshalJSON() ([]byte, error) {
	body, err := marshal(i.Value)
	if err != nil {
		return nil, err
	}
	head, err := marshal(i.Instance)
	if err != nil {
		return nil, err
	}
	out := append([]byte(`{"instance":`), head...)
	if len(body) > 2 { // more than {}
		out = append(out, ',')
	}
	return append(out, body[1:]...), nil
}

// Failure is an instance that could not be asked, or said no.
type Failure struct {
	Instance string `json:"instance"`
	Status   int    `json:"status"` // HTTP status; 0 if no answer came
	Detail   string `json:"detail"`
}

// NewEnvelope returns an envelope without items.
func NewEnvelope(kind string, now time.Time) Envelope {
	return Envelope{APIVersion: "pulsectl/v1", Kind: kind, ObservedAt: now.UTC(), Items: []Item{}, Errors: []Failure{}}
}

// JSON writes the envelope, indented.
func JSON(w io.Writer, e Envelope) error {
	b, err := marshal(e)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = w.Write(out.Bytes())
	return err
}

// JSONLine writes an item of a stream, or an envelope, on a line of its own.
func JSONLine(w io.Writer, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// YAML writes the envelope with the members of its JSON form, in their order.
func YAML(w io.Writer, e Envelope) error {
	b, err := marshal(e)
	if err != nil {
		return err
	}
	out, err := yaml.JSONToYAML(b)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// Names writes a line each: the names of the items, made safe to print.
func Names(w io.Writer, e Envelope) error {
	var out bytes.Buffer
	for _, it := range e.Items {
		out.WriteString(clean(it.Name))
		out.WriteByte('\n')
	}
	_, err := w.Write(out.Bytes())
	return err
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
