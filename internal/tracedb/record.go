package tracedb

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// MaxPayload bounds a record's payload in bytes. A longer one that is read is
// taken for damage.
const MaxPayload = 64 << 20

// A frame is what a record is on disk, little endian:
//
//	 0  4  magic
//	 4  1  kind
//	 5  3  zero
//	 8  8  sequence number
//	16  8  when it was appended, Unix nanoseconds
//	24  4  length of the payload
//	28  4  CRC-32C of the 28 bytes before
//	32  4  CRC-32C of the payload
//	36     payload
const frameBytes = 36

var (
	magic      = [4]byte{'P', 'L', 'R', '1'}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Record is what [Log.Append] was given, and where it is.
type Record struct {
	Ref     Ref
	Seq     uint64 // one more than that of the record before it in the log
	Time    time.Time
	Kind    byte
	Payload []byte
}

// Ref is the place of a record in its log. It stays valid until the record is
// dropped.
type Ref struct {
	Segment uint64 // sequence number that its file begins with
	Offset  int64  // of the frame
}

type frame struct {
	kind    byte
	seq     uint64
	at      int64
	length  int
	payload uint32 // checksum
}

func (f *frame) append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, magic[:]...)
	dst = append(dst, f.kind, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, f.seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.at))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.length))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	return binary.LittleEndian.AppendUint32(dst, f.payload)
}

// parseFrame reads a frame; it is false if b does not begin with one.
func parseFrame(b []byte) (f frame, ok bool) {
	if len(b) < frameBytes || [4]byte(b) != magic || binary.LittleEndian.Uint32(b[28:]) != crc32.Checksum(b[:28], castagnoli) {
		return f, false
	}
	length := binary.LittleEndian.Uint32(b[24:])
	f = frame{
		kind: b[4], seq: binary.LittleEndian.Uint64(b[8:]), at: int64(binary.LittleEndian.Uint64(b[16:])),
		length: int(length), payload: binary.LittleEndian.Uint32(b[32:]),
	}
	return f, length <= MaxPayload
}
