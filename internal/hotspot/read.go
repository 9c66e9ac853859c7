package hotspot

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// read returns all of r, inflated where it is gzip. Input is read as it is
// inflated, and what it inflates to has one place from the start where its end
// can be seen: that saves half of the memory.
func read(r io.Reader, lim Limits) (string, error) {
	size := sizeOf(r, lim)
	in := &io.LimitedReader{R: r, N: int64(lim.MaxInput) + 1}
	buf := bufio.NewReaderSize(in, 64<<10)
	magic, _ := buf.Peek(2)
	var from io.Reader = buf
	limit, zipped := int64(lim.MaxInput), len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b
	if zipped {
		z, err := gzip.NewReader(buf)
		if err != nil {
			return "", fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
		from, limit = z, int64(lim.MaxRaw)
	}
	var out strings.Builder
	out.Grow(size)
	n, err := io.Copy(&out, io.LimitReader(from, limit+1))
	switch {
	case in.N <= 0:
		return "", fmt.Errorf("%w: more than %d bytes", ErrTooLarge, lim.MaxInput)
	case n > limit:
		return "", fmt.Errorf("%w: inflates to more than %d bytes", ErrTooLarge, limit)
	case err != nil && zipped:
		return "", fmt.Errorf("%w: gzip: %w", ErrFormat, err)
	case err != nil:
		return "", fmt.Errorf("read profile: %w", err)
	}
	return out.String(), nil
}

// maxDeflate is what a byte of deflate can become at most.
const maxDeflate = 1032

// sizeOf guesses what r holds once inflated, from what its end says as far as
// that is possible: pages that stay untouched cost no memory.
func sizeOf(r io.Reader, lim Limits) int {
	var size int64
	switch r := r.(type) {
	case interface{ Size() int64 }:
		size = r.Size()
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := r.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	}
	at, ok := r.(io.ReaderAt)
	var head [2]byte
	var tail [4]byte
	if !ok || size < 18 || size > int64(lim.MaxInput) {
		return 0
	}
	if _, err := at.ReadAt(head[:], 0); err != nil {
		return 0
	}
	if head != [2]byte{0x1f, 0x8b} {
		return int(size)
	}
	if _, err := at.ReadAt(tail[:], size-4); err != nil {
		return 0
	}
	return int(min(int64(binary.LittleEndian.Uint32(tail[:])), int64(lim.MaxRaw), maxDeflate*size))
}
