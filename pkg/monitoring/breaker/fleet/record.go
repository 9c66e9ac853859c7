package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// record is a move as it stands in the fleet's log and table:
//
//	SEQ AT EPOCH BODY
//
// SEQ counts the moves of an epoch, AT is Redis's time in milliseconds when it
// took the move. No other clock is in it.
type record struct {
	seq   uint64
	at    int64
	epoch string
	body  body

	due time.Time // when body.Left is over, by this process's monotonic clock; zero: never
}

// body is what a replica says of its move. Put.lua reads o, g and x.
type body struct {
	Name       string    `json:"n"`
	State      api.State `json:"s"`
	Mode       api.Mode  `json:"m"`
	Left       int64     `json:"l,omitempty"` // ms until the next probe, the end of a forced state or of a claim to probe; 0: never
	Reason     string    `json:"r,omitempty"`
	Actor      string    `json:"a,omitempty"`
	TraceID    string    `json:"t,omitempty"`
	Origin     string    `json:"o"`           // the replica, one run of it
	Instance   string    `json:"i,omitempty"` // as people call it; "" if it passes on what another did
	Generation string    `json:"g"`           // of the origin's breaker
	Ordered    bool      `json:"x,omitempty"` // by an operator
	Reset      bool      `json:"z,omitempty"`
}

const (
	maxRecord = 4096                 // bytes; our own are below 2,000
	maxLeft   = 366 * 24 * time.Hour // longer is as good as that
	maxWords  = 512                  // bytes of a reason or an actor
)

var errRecord = errors.New("no record of a breaker's move")

// parseRecord reads a record. Whatever is not one is an error that wraps
// errRecord: others may write to the same Redis.
func parseRecord(s string) (r record, err error) {
	if len(s) > maxRecord {
		return r, fmt.Errorf("%w: %d bytes", errRecord, len(s))
	}
	f := strings.SplitN(s, " ", 4)
	if len(f) != 4 || len(f[2]) > 32 {
		return r, fmt.Errorf("%w: %.40q", errRecord, s)
	}
	if r.seq, err = strconv.ParseUint(f[0], 10, 53); err != nil || r.seq == 0 {
		return r, fmt.Errorf("%w: number %.40q", errRecord, f[0])
	}
	if r.at, err = strconv.ParseInt(f[1], 10, 53); err != nil {
		return r, fmt.Errorf("%w: time %.40q", errRecord, f[1])
	}
	r.epoch = f[2]
	if err := json.Unmarshal([]byte(f[3]), &r.body); err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	return r, r.body.check()
}

func (b *body) check() error {
	switch {
	case !breaker.ValidName(b.Name):
		return fmt.Errorf("%w: name %.40q", errRecord, b.Name)
	case !breaker.Remote{State: b.State, Mode: b.Mode}.Possible():
		return fmt.Errorf("%w: state %.20q in mode %.20q", errRecord, b.State, b.Mode)
	}
	if b.Left < 0 || b.Left > maxLeft.Milliseconds() {
		return fmt.Errorf("%w: %d ms left", errRecord, b.Left)
	}
	if len(b.Reason) > 2*maxWords || len(b.Actor) > 2*maxWords || len(b.TraceID) > 64 || len(b.Origin) > 64 || len(b.Instance) > 128 {
		return fmt.Errorf("%w: words that are too long", errRecord)
	}
	return nil
}

// clip cuts s to at most n bytes at a character's border.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
