package profiling

import (
	"bytes"
	"runtime"
	"strconv"
)

const goexit = "runtime.goexit" // the outermost call of every goroutine

// goroutineID returns the id of the calling goroutine, which the runtime tells
// in no other way than at the head of its stack. It takes some 400 ns.
func goroutineID() int64 {
	var b [64]byte
	_, head, _ := bytes.Cut(b[:runtime.Stack(b[:], false)], []byte(" "))
	digits, _, _ := bytes.Cut(head, []byte(" "))
	id, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// callers returns the functions that the calling goroutine has yet to return
// to, innermost first, without those that skip says and without goexit.
func callers(skip int) (names []string) {
	var pcs [128]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(skip+2, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function != "" && f.Function != goexit {
			names = append(names, f.Function)
		}
		if !more {
			return names
		}
	}
}
