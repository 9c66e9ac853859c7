package hotspot_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/pulsectl/pulsectl/internal/hotspot"
)

// hostile returns messages that say much with few bytes: each entry of theirs
// is as short as it can be and costs what it can.
func hostile(size int) map[string][]byte {
	field := func(b []byte, n int, body ...byte) []byte {
		return append(binary.AppendUvarint(append(b, byte(n<<3|2)), uint64(len(body))), body...)
	}
	number := func(v uint64) []byte { return binary.AppendUvarint(nil, v) }
	head := func() []byte {
		b := field(nil, 1, 8, 1, 16, 2)
		for _, s := range []string{"", "cpu", "count", "fn"} {
			b = field(b, 6, []byte(s)...)
		}
		return b
	}
	fill := func(b []byte, next func(b []byte, i uint64) []byte) []byte {
		for i := uint64(1); len(b) < size; i++ {
			b = next(b, i)
		}
		return b
	}
	locations := func(b []byte, n, lines int) []byte { // of function 1
		for i := range n {
			b = field(b, 4, append([]byte{8, byte(i + 1)}, bytes.Repeat([]byte{34, 2, 8, 1}, lines)...)...)
		}
		return b
	}
	many := func(n int, unit ...byte) []byte { return bytes.Repeat(unit, n/len(unit)) }
	return map[string][]byte{
		"strings":   fill(head(), func(b []byte, _ uint64) []byte { return field(b, 6) }),
		"functions": fill(head(), func(b []byte, i uint64) []byte { return field(b, 5, append([]byte{8}, number(i)...)...) }),
		"sparse functions": fill(head(), func(b []byte, i uint64) []byte {
			return field(b, 5, append([]byte{8}, number(1<<50+i*7919)...)...)
		}),
		"locations": fill(head(), func(b []byte, i uint64) []byte { return field(b, 4, append([]byte{8}, number(i)...)...) }),
		"sparse locations": fill(head(), func(b []byte, i uint64) []byte {
			return field(b, 4, append([]byte{8}, number(1<<50+i*7919)...)...)
		}),
		"mappings": fill(head(), func(b []byte, i uint64) []byte { return field(b, 3, append([]byte{8}, number(i)...)...) }),
		"samples":  fill(head(), func(b []byte, _ uint64) []byte { return field(b, 2, 16, 1) }),
		"labelled samples": fill(head(), func(b []byte, i uint64) []byte {
			return field(b, 2, append([]byte{16, 1, 26, 4, 8, 3, 24}, number(i%127+1)...)...)
		}),
		"types":      fill(nil, func(b []byte, _ uint64) []byte { return field(b, 1) }),
		"comments":   fill(head(), func(b []byte, _ uint64) []byte { return append(b, 13<<3, 1) }),
		"lines":      field(head(), 4, append([]byte{8, 1}, many(size, 34, 0)...)...),
		"deep stack": field(field(head(), 4, 8, 1), 2, append(append(append([]byte{10}, number(uint64(size))...), many(size, 1)...), 16, 1)...),
		"deep stacks": fill(field(head(), 4, 8, 1), func(b []byte, _ uint64) []byte {
			return field(b, 2, append(append(append([]byte{10}, number(1<<18)...), many(1<<18, 1)...), 16, 1)...)
		}),
		"different stacks": fill(locations(head(), 127, 0), func(b []byte, i uint64) []byte {
			return field(b, 2, 10, 3, byte(i%127+1), byte(i/127%127+1), byte(i/127/127%127+1), 16, 1)
		}),
		"inlined": fill(field(locations(head(), 1, 1<<14), 5, 8, 1, 16, 3), func(b []byte, _ uint64) []byte {
			return field(b, 2, append(append(append([]byte{10}, number(1<<16)...), many(1<<16, 1)...), 16, 1)...)
		}),
		"long names": fill(field(locations(field(head(), 6, many(1<<20, 'x')...), 1, 1), 5, 8, 1, 16, 4), func(b []byte, i uint64) []byte {
			return field(b, 2, append(append(append([]byte{10}, number(1024+i)...), many(int(1024+i), 1)...), 16, 1)...)
		}),
		"labels":      field(head(), 2, append([]byte{16, 1}, many(size, 26, 4, 8, 3, 24, 1)...)...),
		"values":      field(head(), 2, append(append([]byte{18}, number(uint64(size))...), many(size, 1)...)...),
		"long string": field(head(), 6, many(size, 'x')...),
		"folded":      fill(nil, func(b []byte, i uint64) []byte { return append(strconv.AppendUint(b, i, 36), " 1\n"...) }),
		"deep folded": append(many(size, 'a', ';'), " 1\n"...),
		"legacy heap": fill([]byte("heap profile: 1: 1 [1: 1] @ heapprofile\n"), func(b []byte, i uint64) []byte {
			if len(b) > 4<<20-64 {
				return append(b, make([]byte, size)...) // what is longer is refused at once
			}
			return fmt.Appendf(b, "1: 1 [1: 1] @ 0x%x\n", i)
		})[:4<<20-64],
		"legacy depth": append([]byte("heap profile: 1: 1 [1: 1] @ heapprofile\n1: 1 [1: 1] @"), bytes.Repeat([]byte(" 0x1"), size/4)...),
	}
}

// TestMemoryIsBounded reads, in a process of its own for each, hostile uploads
// that inflate to 8 MiB, and makes every report of what is accepted. What the
// process held at most stays within a few times that.
func TestMemoryIsBounded(t *testing.T) {
	const raw, most = 8 << 20, 13 // the process itself takes two, and a comparison has two sides
	if name := os.Getenv("HOTSPOT_HOSTILE"); name != "" {
		readHostile(t, os.Getenv("HOTSPOT_FILE"), raw)
		return
	}
	if testing.Short() || raceEnabled {
		t.Skip("a process for each, whose memory is measured")
	}
	for name, in := range hostile(raw - 1<<19) {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
			z.Write(in)
			z.Close()
			file := t.TempDir() + "/hostile"
			if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryIsBounded$", "-test.v")
			cmd.Env = append(os.Environ(), "HOTSPOT_HOSTILE="+name, "HOTSPOT_FILE="+file)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			m := regexp.MustCompile(`held (\d+) kB: (.*)`).FindStringSubmatch(string(out))
			if m == nil {
				t.Skipf("no measure of memory in\n%s", out)
			}
			held, _ := strconv.Atoi(m[1])
			t.Logf("%d MiB, %v of processor: %s", held>>10, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), m[2])
			limit := most * raw
			if strings.HasPrefix(name, "legacy") {
				limit = 256 << 20 // whatever the limits are
			}
			if held > limit>>10 {
				t.Errorf("%d MiB for %d MiB of input, want at most %d", held>>10, raw>>20, limit>>20)
			}
		})
	}
}

func readHostile(t *testing.T, file string, raw int) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := hotspot.ParseReader(f, hotspot.Limits{MaxInput: raw, MaxRaw: raw})
	if err == nil {
		_, err = hotspot.Top(p, hotspot.TopOptions{N: 50})
	}
	if err == nil {
		_, err = hotspot.Tags(p, hotspot.Selection{})
	}
	if err == nil {
		_, err = hotspot.Flame(p, hotspot.FlameOptions{})
	}
	if err == nil {
		err = p.WriteFolded(io.Discard, hotspot.Selection{})
	}
	if err == nil {
		err = p.WriteSpeedscope(io.Discard, "hostile", hotspot.Selection{})
	}
	if err == nil {
		_, err = hotspot.Compare(p, p, hotspot.CompareOptions{N: 10})
	}
	if err != nil && (strings.Contains(err.Error(), "\n") || !errors.Is(err, hotspot.ErrFormat) && !errors.Is(err, hotspot.ErrTooLarge)) {
		t.Fatalf("error %q", err)
	}
	status, _ := os.ReadFile("/proc/self/status")
	peak := regexp.MustCompile(`VmHWM:\s*(\d+)`).FindSubmatch(status)
	if peak == nil {
		t.Skip("no /proc/self/status")
	}
	t.Logf("held %s kB: %v", peak[1], err)
}
