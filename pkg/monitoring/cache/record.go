package cache

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// Codec turns values into bytes and back. What Decode makes of bytes that
// another program wrote does not matter as long as it returns: an error counts
// as a miss, and so does a panic.
type Codec[T any] struct {
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// JSON is the codec that a [Cache] has unless it is told another.
func JSON[T any]() Codec[T] {
	return Codec[T]{
		Encode: func(v T) ([]byte, error) { return json.Marshal(v) },
		Decode: func(b []byte) (v T, err error) {
			err = json.Unmarshal(b, &v)
			return v, err
		},
	}
}

// try decodes bytes that may be anything.
func (c Codec[T]) try(b []byte) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode: panic: %v", p)
		}
	}()
	return c.Decode(b)
}

// head stands before each value that a [Cache] keeps.
type head struct {
	version uint8 // Options.Version of who wrote it
	absent  bool  // the loader found that there is no such thing
	fresh   int64 // until then it is fresh, Unix milliseconds; 0 means always
	ends    int64 // the tier drops it then, Unix milliseconds; 0 means never
}

// A record in Redis: two bytes that tell it from what others write, the
// version of the value's type, flags, two times, the encoded value.
const (
	recordMagic   = 0xc5
	recordFormat  = 1
	recordAbsent  = 1 << 0
	recordHeadLen = 20
)

func (h head) append(dst []byte) []byte {
	var flags byte
	if h.absent {
		flags |= recordAbsent
	}
	dst = append(dst, recordMagic, recordFormat, h.version, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.fresh))
	return binary.BigEndian.AppendUint64(dst, uint64(h.ends))
}

// parseRecord splits a record; ok is false for what is none.
func parseRecord(b []byte) (h head, payload []byte, ok bool) {
	if len(b) < recordHeadLen || b[0] != recordMagic || b[1] != recordFormat || b[3]&^recordAbsent != 0 {
		return head{}, nil, false
	}
	h = head{
		version: b[2], absent: b[3]&recordAbsent != 0,
		fresh: int64(binary.BigEndian.Uint64(b[4:])), ends: int64(binary.BigEndian.Uint64(b[12:])),
	}
	return h, b[recordHeadLen:], h.fresh >= 0 && h.ends >= 0
}

// until is the moment d from now in a head's milliseconds, 0 for Forever and
// for what no clock will reach.
func until(now time.Time, d time.Duration) int64 {
	if d < 0 || d > 100*365*24*time.Hour {
		return 0
	}
	return now.Add(d).UnixMilli()
}

// remaining is how long a head has to live, Forever where it has no end.
func (h head) remaining(now time.Time) time.Duration {
	if h.ends == 0 {
		return Forever
	}
	return max(time.UnixMilli(h.ends).Sub(now), 0)
}
