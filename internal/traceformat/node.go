package traceformat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// documents are the JSON documents of an input, one behind the other.
type documents struct {
	src []byte
	dec *json.Decoder
}

// next returns the root of the next document, nil behind the last.
func (d *documents) next() (*node, error) {
	if d.dec == nil {
		d.dec = json.NewDecoder(bytes.NewReader(d.src))
		d.dec.UseNumber()
	}
	var v any
	err := d.dec.Decode(&v)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		at := d.dec.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = syntax.Offset
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, position(d.src, at), err)
	}
	return &node{r: &reading{}, v: v}, nil
}

// position tells where in src an offset is.
func position(src []byte, at int64) string {
	head := src[:min(max(at, 0), int64(len(src)))]
	line := bytes.Count(head, []byte("\n")) + 1
	return fmt.Sprintf("line %d, column %d", line, len(head)-bytes.LastIndexByte(head, '\n')-1)
}

// reading keeps the first error that any node of a document met.
type reading struct{ err error }

// node is a value in a JSON document that knows where it is. Its methods return
// zero values for what is not there, and note an error for what is of another
// type.
type node struct {
	r    *reading
	up   *node
	name string // of the member; "" in a list
	i    int    // in the list
	v    any    // as encoding/json decodes it, numbers as json.Number
}

// path writes where the node is, like data[0].spans[3].startTime.
func (n *node) path() string {
	switch {
	case n.up == nil:
		return ""
	case n.name == "":
		return n.up.path() + "[" + strconv.Itoa(n.i) + "]"
	case n.up.up == nil && n.up.path() == "":
		return n.name
	}
	return n.up.path() + "." + n.name
}

func (n *node) fail(format string, args ...any) {
	if n.r.err == nil {
		where := n.path()
		if where == "" {
			where = "the document"
		}
		n.r.err = fmt.Errorf("%w: %.300s: %s", ErrFormat, where, fmt.Sprintf(format, args...))
	}
}

// has tells whether the node is an object with such a member.
func (n *node) has(member string) bool {
	m, _ := n.v.(map[string]any)
	_, found := m[member]
	return found
}

// field returns the first of these members that is there, else one without a
// value. Names that begin with a small letter are the ones of OTLP; JSON of
// protobuf may have them with underscores too.
func (n *node) field(member string) *node {
	m, _ := n.v.(map[string]any)
	v, found := m[member]
	if !found {
		v = m[snake(member)]
	}
	return &node{r: n.r, up: n, name: member, v: v}
}

func snake(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// items returns the elements of a list.
func (n *node) items() []*node {
	if n.v == nil {
		return nil
	}
	list, ok := n.v.([]any)
	if !ok {
		n.fail("want a list, got %s", n.kind())
	}
	out := make([]*node, len(list))
	for i, v := range list {
		out[i] = &node{r: n.r, up: n, i: i, v: v}
	}
	return out
}

// members returns those of an object, sorted by name.
func (n *node) members() []*node {
	if n.v == nil {
		return nil
	}
	m, ok := n.v.(map[string]any)
	if !ok {
		n.fail("want an object, got %s", n.kind())
	}
	out := make([]*node, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, &node{r: n.r, up: n, name: name, v: m[name]})
	}
	return out
}

func (n *node) kind() string {
	switch v := n.v.(type) {
	case nil:
		return "nothing"
	case string:
		return fmt.Sprintf("the text %.60q", v)
	case json.Number:
		return fmt.Sprintf("the number %.60s", v)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	default:
		return "an object"
	}
}

func (n *node) object() {
	if _, ok := n.v.(map[string]any); !ok {
		n.fail("want an object, got %s", n.kind())
	}
}

func (n *node) text() string {
	s, ok := n.v.(string)
	if !ok && n.v != nil {
		n.fail("want a text, got %s", n.kind())
	}
	return s
}

func (n *node) bool() bool {
	switch v := n.v.(type) {
	case bool:
		return v
	case nil:
	case string:
		if b, err := strconv.ParseBool(v); err == nil {
			return b
		}
		n.fail("want true or false, got %s", n.kind())
	default:
		n.fail("want true or false, got %s", n.kind())
	}
	return false
}

// number returns the text of a number, also of one in quotes.
func (n *node) number() string {
	switch v := n.v.(type) {
	case json.Number:
		return v.String()
	case string:
		return v
	case nil:
		return ""
	}
	n.fail("want a number, got %s", n.kind())
	return ""
}

func (n *node) int64() int64 {
	s := n.number()
	if s == "" {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err == nil {
		return v
	}
	if f, bad := strconv.ParseFloat(s, 64); bad == nil && f == math.Trunc(f) && math.Abs(f) < 1<<63 {
		return int64(f) // 1e3, 5.0
	}
	n.fail("want a whole number, got %s", n.kind())
	return 0
}

func (n *node) uint64() uint64 {
	s := n.number()
	if s == "" {
		return 0
	}
	v, err := strconv.ParseUint(s, 10, 64)
	if err == nil {
		return v
	}
	if f, bad := strconv.ParseFloat(s, 64); bad == nil && f == math.Trunc(f) && f >= 0 && f < 1<<64 {
		return uint64(f)
	}
	n.fail("want a whole number of 0 or more, got %s", n.kind())
	return 0
}

func (n *node) uint32() uint32 {
	v := n.uint64()
	if v > math.MaxUint32 {
		n.fail("want at most %d, got %s", uint32(math.MaxUint32), n.kind())
	}
	return uint32(v)
}

func (n *node) float() float64 {
	s := n.number()
	if s == "" {
		return 0
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		n.fail("want a number, got %s", n.kind())
	}
	return v
}

// encode writes v as one line of JSON.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("write trace: %w", err)
	}
	return b.Bytes(), nil
}

// inline is encode for a tag's text.
func inline(v any) string {
	b, err := encode(v)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

// inlined returns the root of a JSON text that a tag holds, nil if it is none:
// then the tag is somebody else's.
func inlined(text string) *node {
	docs := documents{src: []byte(text)}
	n, err := docs.next()
	if err != nil {
		return nil
	}
	return n
}
