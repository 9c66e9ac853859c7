package fleet

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

//go:embed put.lua
var putLua string

var put = redis.NewScript(putLua)

const (
	maxBatch = 256                // moves that are told at once
	keepKeys = 7 * 24 * time.Hour // after the last replica of a fleet has gone
	lateness = 2 * time.Second    // older orders give way to newer ones: they were held up
)

// told is a move on its way.
type told struct {
	body body
	base uint64
	late bool
	cmd  *redis.Cmd
}

// write tells the fleet what the own breakers did, until ctx is done.
func (f *Fleet) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		for batch := f.take(); len(batch) > 0; batch = f.take() {
			err := f.tell(ctx, batch)
			err = cmp.Or(err, f.answered(batch))
			if ctx.Err() == nil {
				f.say(func(l *link) { l.write, l.stale = err, l.stale || err != nil })
			}
			for _, m := range batch {
				f.settle(m.body.Name)
			}
			if err != nil {
				break // follow finds out how Redis is, and signals when it is back
			}
		}
	}
}

// take returns the next moves to tell; none while Redis does not answer.
func (f *Fleet) take() []*told {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.link.synced || f.link.stale {
		return nil
	}
	var out []*told
	for len(f.queue) > 0 && len(out) < maxBatch {
		name := f.queue[0]
		f.queue = f.queue[1:]
		en := f.entries[name]
		en.queued = false
		if !en.dirty {
			continue
		}
		out = append(out, &told{body: f.body(name, en), base: en.base, late: time.Since(en.local.Time) > lateness})
		en.dirty, en.writing, en.reset = false, true, false
	}
	return out
}

// tell sends moves to Redis in one go.
func (f *Fleet) tell(ctx context.Context, batch []*told) error {
	err := f.send(ctx, batch, (*redis.Script).EvalSha)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		err = f.send(ctx, batch, (*redis.Script).Eval)
	}
	return err
}

func (f *Fleet) send(ctx context.Context, batch []*told, eval func(*redis.Script, context.Context, redis.Scripter, []string, ...any) *redis.Cmd) error {
	ctx, cancel := context.WithTimeout(ctx, f.opts.Timeout)
	defer cancel()
	pipe := f.writer.Pipeline()
	for _, m := range batch {
		text, err := json.Marshal(m.body)
		if err != nil {
			return fmt.Errorf("encode a move: %w", err) // of strings and numbers: it never happens
		}
		m.cmd = eval(put, ctx, pipe, []string{f.table, f.stream}, m.body.Name, m.base, m.body.Generation, m.body.Origin,
			bit(m.body.Ordered), bit(m.late), text, f.opts.MaxLog, breaker.MaxBreakers, keepKeys.Milliseconds(), random())
	}
	_, err := pipe.Exec(ctx)
	return err
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// answered takes in what became of moves. If there was no answer, they are told
// again: Redis knows those that it has taken.
func (f *Fleet) answered(batch []*told) (failed error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range batch {
		en := f.entries[m.body.Name]
		en.writing = false
		a, err := readAnswer(m.cmd)
		switch {
		case errors.Is(err, errRecord) && a.record.seq != 0: // refused for something that is none of ours: it goes
			f.count.Ignored++
			en.base = a.record.seq
		case err != nil:
			failed = err
		case a.epoch != f.link.epoch: // what this move was based on is no more
			f.link.stale = true
		default:
			f.accept(en, m, a)
			continue
		}
		en.reset = en.reset || m.body.Reset
		f.enqueue(m.body.Name, en)
	}
	return failed
}

// accept takes in Redis's answer to a move. The caller holds the lock.
func (f *Fleet) accept(en *entry, m *told, a answer) {
	f.fold(a.record)
	if a.verdict == refused {
		f.count.Refused++
		return
	}
	f.count.Sent++
	if a.verdict == unkept {
		f.count.Unkept++
	}
	en.base = max(en.base, a.record.seq)
	if m.body.State == api.StateHalfOpen {
		en.probes, _ = strconv.ParseUint(m.body.Generation, 10, 64) // our own number
	}
}

// answer is what put.lua gives: the move as it was taken, or the one for which
// it was refused.
type answer struct {
	verdict int64
	record  record
	epoch   string // that Redis is in
}

const (
	refused = 0
	unkept  = 2
)

var errAnswer = errors.New("redis gave an unknown answer")

func readAnswer(cmd *redis.Cmd) (a answer, err error) {
	if cmd == nil {
		return a, errAnswer
	}
	out, err := cmd.Slice()
	if err != nil {
		return a, err
	}
	if len(out) != 3 {
		return a, errAnswer
	}
	verdict, ok := out[0].(int64)
	text, ok2 := out[1].(string)
	epoch, ok3 := out[2].(string)
	if !ok || !ok2 || !ok3 {
		return a, errAnswer
	}
	a = answer{verdict: verdict, epoch: epoch}
	a.record, err = parseRecord(text)
	return a, err
}
