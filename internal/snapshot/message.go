package snapshot

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// schema says where the texts of a protobuf message are: what a field holds, by
// its number. What is in none of them is no text.
type schema struct {
	fields map[uint64]*schema
	pair   bool // its field 1 is a name, its field 2 that name's value
}

var leaf = &schema{} // a text

func message(fields map[uint64]*schema) *schema { return &schema{fields: fields} }

// otlpRequest is an ExportTraceServiceRequest, of opentelemetry-proto 1.x.
var otlpRequest = func() *schema {
	value := message(map[uint64]*schema{1: leaf, 7: leaf})
	pair := &schema{fields: map[uint64]*schema{1: leaf, 2: value}, pair: true}
	value.fields[5] = message(map[uint64]*schema{1: value})
	value.fields[6] = message(map[uint64]*schema{1: pair})
	event := message(map[uint64]*schema{2: leaf, 3: pair})
	link := message(map[uint64]*schema{3: leaf, 4: pair})
	span := message(map[uint64]*schema{3: leaf, 5: leaf, 9: pair, 11: event, 13: link, 15: message(map[uint64]*schema{2: leaf})})
	scope := message(map[uint64]*schema{1: leaf, 2: leaf, 3: pair})
	scopes := message(map[uint64]*schema{1: scope, 2: span, 3: leaf})
	return message(map[uint64]*schema{1: message(map[uint64]*schema{1: message(map[uint64]*schema{1: pair}), 2: scopes, 3: leaf})})
}()

// metricFamily is io.prometheus.client.MetricFamily.
var metricFamily = func() *schema {
	pair := &schema{fields: map[uint64]*schema{1: leaf, 2: leaf}, pair: true}
	exemplar := message(map[uint64]*schema{1: pair})
	metric := message(map[uint64]*schema{
		1: pair, 3: message(map[uint64]*schema{2: exemplar}),
		7: message(map[uint64]*schema{3: message(map[uint64]*schema{3: exemplar}), 16: exemplar}),
	})
	return message(map[uint64]*schema{1: leaf, 2: leaf, 4: metric})
}()

// maxDepth bounds how deep messages are in one another.
const maxDepth = 64

var errMessage = errors.New("it is no protobuf message")

// message masks the texts of a message where they are, and returns how many.
func (r *Redactor) message(b []byte, s *schema) (int, error) { return r.walk(b, s, false, 0) }

// walk is message, of one that is depth deep. all masks every text in it.
func (r *Redactor) walk(b []byte, s *schema, all bool, depth int) (masked int, err error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("%w: it is more than %d deep", errMessage, maxDepth)
	}
	secret := false
	if s.pair { // the name may stand behind the value
		err = eachField(b, func(number uint64, data []byte) error {
			secret = secret || number == 1 && r.secret(string(data))
			return nil
		})
	}
	if err != nil {
		return 0, err
	}
	err = eachField(b, func(number uint64, data []byte) error {
		sub := s.fields[number]
		if sub == nil || data == nil {
			return nil
		}
		hide := all || s.pair && number == 2 && secret
		switch {
		case sub != leaf:
			n, err := r.walk(data, sub, hide, depth+1)
			masked += n
			return err
		case hide && len(bytes.Trim(data, "*")) > 0:
			stars(data)
			masked++
		default:
			masked += r.inPlace(data)
		}
		return nil
	})
	return masked, err
}

// eachField calls f with the fields of a message; data is nil of those that are
// numbers.
func eachField(b []byte, f func(number uint64, data []byte) error) error {
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errMessage
		}
		b = b[n:]
		var data []byte
		switch tag & 7 {
		case 0:
			_, n = binary.Uvarint(b)
		case 1:
			n = 8
		case 5:
			n = 4
		case 2:
			size, m := binary.Uvarint(b)
			if m <= 0 || size > uint64(len(b)-m) {
				return errMessage
			}
			n = m + int(size)
			data = b[m:n:n]
		default:
			return errMessage
		}
		if n <= 0 || n > len(b) {
			return errMessage
		}
		if err := f(tag>>3, data); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// families masks a sequence of MetricFamily messages.
func (r *Redactor) families(b []byte) (masked int, err error) {
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return masked, errMessage
		}
		m, err := r.message(b[n:n+int(size)], metricFamily)
		masked += m
		if err != nil {
			return masked, err
		}
		b = b[n+int(size):]
	}
	return masked, nil
}

// maxProfile bounds what a gzipped profile unpacks to.
const maxProfile = 256 << 20

// pprof masks the texts of a profile: every one, and as a whole those under a
// label whose name is a secret's. What is no pprof (an execution trace) comes as
// an error. A profile without secrets stays byte for byte what it was.
func (r *Redactor) pprof(packed []byte) ([]byte, int, error) {
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, 0, err
	}
	raw, err := io.ReadAll(io.LimitReader(gz, maxProfile+1))
	if err != nil || len(raw) > maxProfile {
		return nil, 0, errors.Join(err, fmt.Errorf("it unpacks to %d bytes or more", len(raw)))
	}
	masked, err := r.profile(raw)
	if err != nil || masked == 0 {
		return packed, 0, err
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(raw) // to memory
	w.Close()
	return out.Bytes(), masked, nil
}

// profile masks those of an unpacked profile (perftools.profiles.Profile): its
// texts are field 6, its samples field 2, whose labels are field 3.
func (r *Redactor) profile(raw []byte) (masked int, err error) {
	var texts [][]byte
	labels := map[[2]uint64]bool{}
	err = eachField(raw, func(number uint64, data []byte) error {
		switch number {
		case 6:
			texts = append(texts, data)
		case 2:
			return eachField(data, func(number uint64, label []byte) error {
				if number == 3 {
					labels[labelTexts(label)] = true
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for l := range labels {
		name, value := l[0], l[1]
		if name < uint64(len(texts)) && value > 0 && value < uint64(len(texts)) && r.secret(string(texts[name])) && len(bytes.Trim(texts[value], "*")) > 0 {
			stars(texts[value])
			masked++
		}
	}
	for _, t := range texts {
		masked += r.inPlace(t)
	}
	return masked, nil
}

// labelTexts are the indexes of a label's key and text.
func labelTexts(label []byte) (at [2]uint64) {
	for len(label) > 0 {
		tag, n := binary.Uvarint(label)
		if n <= 0 || tag&7 != 0 {
			return at
		}
		v, m := binary.Uvarint(label[n:])
		if m <= 0 {
			return at
		}
		if tag>>3 == 1 || tag>>3 == 2 {
			at[tag>>3-1] = v
		}
		label = label[n+m:]
	}
	return at
}
