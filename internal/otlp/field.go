package otlp

import (
	"fmt"
	"math"

	"github.com/VictoriaMetrics/easyproto"
)

// fields calls f for each field of the message src, which is called what.
func fields(src []byte, what string, f func(*easyproto.FieldContext) error) error {
	var fc easyproto.FieldContext
	var err error
	for len(src) > 0 {
		if src, err = next(&fc, src, what); err != nil {
			return err
		}
		if err := f(&fc); err != nil {
			return err
		}
	}
	return nil
}

// next reads one field of a message and returns the rest. A loop over next
// allocates nothing where fields allocates its context for f; so the messages
// that each span has many of use it.
func next(fc *easyproto.FieldContext, src []byte, what string) ([]byte, error) {
	src, err := afterGroups(src, what)
	if err != nil || len(src) == 0 {
		fc.FieldNum = maxFieldNum // none that anybody reads
		return src, err
	}
	rest, err := fc.NextField(src)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
	}
	if fc.FieldNum == 0 || fc.FieldNum > maxFieldNum {
		return nil, fmt.Errorf("%w: %s: field number %d", ErrMalformed, what, fc.FieldNum)
	}
	return rest, nil
}

// afterGroups steps over groups, which easyproto does not know.
func afterGroups(src []byte, what string) ([]byte, error) {
	for len(src) > 0 && src[0]&7 == wireGroup {
		_, _, _, _, end := element(src, 0)
		if end < 0 {
			return nil, malformed(src, 0, what)
		}
		src = src[end:]
	}
	return src, nil
}

// maxFieldNum is the largest field number that protobuf has.
const maxFieldNum = 1<<29 - 1

func wrongType(what string) error {
	return fmt.Errorf("%w: %s has the wrong wire type", ErrMalformed, what)
}

func message(fc *easyproto.FieldContext, what string) ([]byte, error) {
	if b, ok := fc.MessageData(); ok {
		return b, nil
	}
	return nil, wrongType(what)
}

func str(fc *easyproto.FieldContext, what string) (string, error) {
	if s, ok := fc.String(); ok {
		return s, nil
	}
	return "", wrongType(what)
}

func enum(fc *easyproto.FieldContext, what string) (int32, error) {
	n, ok := fc.Uint64()
	if !ok {
		return 0, wrongType(what)
	}
	return int32(n), nil // protobuf cuts wider numbers
}

func fixed64(fc *easyproto.FieldContext, what string) (uint64, error) {
	if n, ok := fc.Fixed64(); ok {
		return n, nil
	}
	return 0, wrongType(what)
}

func fixed32(fc *easyproto.FieldContext, what string) (uint32, error) {
	if n, ok := fc.Fixed32(); ok {
		return n, nil
	}
	return 0, wrongType(what)
}

func setUint32(fc *easyproto.FieldContext, dst *uint32, what string) error {
	n, ok := fc.Uint64()
	if !ok {
		return wrongType(what)
	}
	*dst = uint32(n)
	return nil
}

// addUint32 is setUint32 for a counter that the limits here count in as well.
func addUint32(fc *easyproto.FieldContext, dst *uint32, what string) error {
	n, ok := fc.Uint64()
	if !ok {
		return wrongType(what)
	}
	*dst = uint32(min(n+uint64(*dst), math.MaxUint32))
	return nil
}

// appendAttr decodes a KeyValue and appends it, unless MaxAttrs are there.
func appendAttr(dst []KeyValue, dropped *uint32, fc *easyproto.FieldContext) ([]KeyValue, error) {
	data, err := message(fc, "attribute")
	if err != nil {
		return dst, err
	}
	kv, err := decodeKeyValue(data, 0)
	if err != nil {
		return dst, err
	}
	if len(dst) >= MaxAttrs {
		*dropped++
		return dst, nil
	}
	return append(dst, kv), nil
}

func decodeKeyValue(src []byte, depth int) (kv KeyValue, err error) {
	var fc easyproto.FieldContext
	for len(src) > 0 && err == nil {
		if src, err = next(&fc, src, "attribute"); err != nil {
			break
		}
		switch fc.FieldNum {
		case 1:
			kv.Key, err = str(&fc, "attribute key")
		case 2:
			var data []byte
			if data, err = message(&fc, "attribute value"); err == nil {
				err = kv.Value.decode(data, depth)
			}
		}
	}
	return kv, err
}

// EachAttr calls f for each field of a message that has nothing but KeyValues,
// as [AppendAttr] writes them, with the field's number.
func EachAttr(src string, f func(field uint32, kv KeyValue)) error {
	return fields(alias(src), "attributes", func(fc *easyproto.FieldContext) error {
		data, err := message(fc, "attribute")
		if err != nil {
			return err
		}
		kv, err := decodeKeyValue(data, 0)
		if err == nil {
			f(fc.FieldNum, kv)
		}
		return err
	})
}
