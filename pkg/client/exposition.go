package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protodelim"
)

const (
	maxLine   = 1 << 20  // bytes of one line of an exposition
	maxFamily = 64 << 20 // bytes of one family in protobuf
	chunkSize = 64 << 10 // bytes of text that are parsed at once
)

// readExposition reads an exposition of a content type and calls f with each
// part of a family. A family may come in several parts.
func readExposition(r io.Reader, contentType string, f func(*dto.MetricFamily)) error {
	kind, params, err := mime.ParseMediaType(contentType)
	if contentType != "" && err != nil {
		return fmt.Errorf("content type %.100q: %w", contentType, err)
	}
	switch kind {
	case "", "text/plain", "application/octet-stream":
		return readText(r, f)
	case expfmt.ProtoType:
		if params["encoding"] != "delimited" {
			return fmt.Errorf("content type %.100q: want it delimited", contentType)
		}
		return readProtobuf(r, f)
	case expfmt.OpenMetricsType:
		return readOpenMetrics(r, params["version"], f)
	}
	return fmt.Errorf("it is %.100q", kind)
}

// readText reads text a chunk of whole lines at a time, so that what is kept of
// a scrape is the caller's to bound. The types of families are told again to
// the parser in each chunk that has samples of them.
func readText(r io.Reader, f func(*dto.MetricFamily)) error {
	c := chunks{parser: expfmt.NewTextParser(model.UTF8Validation), f: f, types: map[string]string{}, told: map[string]bool{}}
	in := bufio.NewReaderSize(r, chunkSize)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			line, err = longLine(in, line)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(line) > 0 {
			c.line(line)
		}
		if err != nil || len(c.text) >= chunkSize {
			if perr := c.parse(); perr != nil {
				return perr
			}
		}
		if err != nil {
			return nil
		}
	}
}

// longLine reads the rest of a line that is longer than the reader's buffer.
func longLine(in *bufio.Reader, start []byte) ([]byte, error) {
	line := bytes.Clone(start)
	for {
		more, err := in.ReadSlice('\n')
		if line = append(line, more...); len(line) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d bytes: %.60q…", maxLine, line)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// chunks is text on its way to the parser.
type chunks struct {
	parser expfmt.TextParser
	f      func(*dto.MetricFamily)
	text   []byte
	start  int               // lines before text
	lines  int               // of text that were read
	added  int               // of text that are ours
	types  map[string]string // of the families so far
	told   map[string]bool   // of them, those that text tells of
	name   string            // of the sample before
}

// line takes one line.
func (c *chunks) line(line []byte) {
	c.lines++
	switch trimmed := bytes.TrimLeft(line, " \t"); {
	case bytes.HasPrefix(trimmed, []byte("#")):
		if w := strings.Fields(string(trimmed[:min(len(trimmed), 4096)])); len(w) == 4 && w[0] == "#" && w[1] == "TYPE" {
			name := strings.Trim(w[2], `"`)
			c.types[name], c.told[name] = w[3], true
		}
	case len(trimmed) > 1:
		c.tell(trimmed)
	}
	c.text = append(c.text, line...)
}

// tell puts the type of a sample's family before it, where the chunk lacks it.
func (c *chunks) tell(sample []byte) {
	name := sample
	if i := bytes.IndexAny(sample, "{ \t"); i >= 0 {
		name = sample[:i]
	}
	if quoted, found := bytes.CutPrefix(sample, []byte(`{"`)); found { // the name stands among the labels
		name, _, _ = bytes.Cut(quoted, []byte(`"`))
	}
	if string(name) == c.name {
		return
	}
	c.name = string(name)
	family := c.name
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		base, cut := strings.CutSuffix(c.name, suffix)
		if _, known := c.types[base]; cut && known {
			family = base
			break
		}
	}
	if kind, known := c.types[family]; known && !c.told[family] {
		c.told[family] = true
		c.added++
		c.text = append(c.text, "# TYPE "...)
		if model.LegacyValidation.IsValidMetricName(family) {
			c.text = append(c.text, family...)
		} else {
			c.text = append(append(append(c.text, '"'), family...), '"')
		}
		c.text = append(append(append(c.text, ' '), kind...), '\n')
	}
}

// parse hands on what has been read.
func (c *chunks) parse() error {
	families, err := c.parser.TextToMetricFamilies(bytes.NewReader(c.text))
	if err != nil {
		var parse expfmt.ParseError
		if errors.As(err, &parse) { // its line is the chunk's
			parse.Line = c.start + max(parse.Line-c.added, 1)
			err = parse
		}
		return err
	}
	for _, mf := range families {
		c.f(mf)
	}
	c.text, c.name = c.text[:0], ""
	c.start, c.lines, c.added = c.start+c.lines, 0, 0
	clear(c.told)
	return nil
}

func readProtobuf(r io.Reader, f func(*dto.MetricFamily)) error {
	in := bufio.NewReader(r)
	for {
		mf := new(dto.MetricFamily)
		err := protodelim.UnmarshalOptions{MaxSize: maxFamily}.UnmarshalFrom(in, mf)
		var large *protodelim.SizeTooLargeError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &large):
			return fmt.Errorf("a family of %d bytes: want at most %d", large.Size, large.MaxSize)
		case err != nil:
			return err
		}
		f(mf)
	}
}

// readOpenMetrics reads the form that is not asked for, but some servers have
// no other. The decoder knows a content type that is written in full alone.
func readOpenMetrics(r io.Reader, version string, f func(*dto.MetricFamily)) error {
	switch version {
	case "", expfmt.OpenMetricsVersion_0_0_1, expfmt.OpenMetricsVersion_1_0_0:
	default:
		return fmt.Errorf("OpenMetrics %.20q: want 1.0.0", version)
	}
	d := expfmt.NewDecoder(io.LimitReader(r, maxBody), expfmt.FmtOpenMetrics_1_0_0.WithEscapingScheme(model.NoEscaping))
	for {
		mf := new(dto.MetricFamily)
		err := d.Decode(mf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f(mf)
	}
}
