package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

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
	LeftOut    int            `json:"leftOut,omitempty"` // items that --limit cut off
	Errors     []Failure      `json:"errors"`
	Retention  *api.Retention `json:"retention,omitempty"` // what the server keeps and lost, where that limits the items
}

// Item is one thing of one instance. In JSON the instance stands first among
// the thing's own members.
type Item struct {
	Instance string
	Name     string // what -o name prints
	Value    any    // encodes as a JSON object

	raw []byte // the whole in JSON, once it has been asked for
}

// MarshalJSON puts the instance into the value's own object.
func (i Item) MarshalJSON() ([]byte, error) {
	err := i.encode()
	return i.raw, err
}

func (i *Item) encode() error {
	if i.raw != nil {
		return nil
	}
	body, err := marshal(i.Value)
	if err != nil {
		return err
	}
	head, err := marshal(i.Instance)
	if err != nil {
		return err
	}
	out := append([]byte(`{"instance":`), head...)
	if len(body) > 2 { // more than {}
		out = append(out, ',')
	}
	i.raw = append(out, body[1:]...)
	return nil
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
	out, err := yamlOf(b)
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// YAMLDocument writes an item of a stream as a document of its own.
func YAMLDocument(w io.Writer, v any) error {
	b, err := marshal(v)
	if err != nil {
		return err
	}
	out, err := yamlOf(b)
	if err != nil {
		return err
	}
	_, err = w.Write(append([]byte("---\n"), out...))
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
	return inert(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// inert escapes what encoding/json leaves as it is and terminals may act on: DEL
// and the control characters from U+0080 to U+009F, which stand in strings only.
func inert(b []byte) []byte {
	active := func(i int) bool { return b[i] == 0x7f || b[i] == 0xc2 && i+1 < len(b) && b[i+1] < 0xa0 }
	at := 0
	for at < len(b) && !active(at) {
		at++
	}
	if at == len(b) {
		return b
	}
	out := append([]byte(nil), b[:at]...)
	for ; at < len(b); at++ {
		switch {
		case !active(at):
			out = append(out, b[at])
		case b[at] == 0x7f:
			out = append(out, `\u007f`...)
		default:
			at++
			out = fmt.Appendf(out, `\u%04x`, b[at])
		}
	}
	return out
}
