package cache

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrCursor is what a cursor gets that no page and no clearing has given out.
var ErrCursor = errors.New("cursor: want one that an earlier answer gave")

const defaultKeys = 100

// Keys implements [Tier]: in the order of their names, so that a cursor is the
// last name of its page. It holds Limit names at a time, whatever the cache does.
func (m *Memory) Keys(ctx context.Context, q KeyQuery) (page KeyPage, err error) {
	after, err := decodeCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	limit, pattern := cmp.Or(q.Limit, defaultKeys), cmp.Or(q.Pattern, "*")
	var names largestFirst
	more := false
	for key := range m.otter.Keys() {
		if err := ctx.Err(); err != nil {
			return page, err
		}
		if q.Cursor != "" && key <= after || !match(pattern, key) {
			continue
		}
		if heap.Push(&names, key); len(names) > limit {
			heap.Pop(&names)
			more = true
		}
	}
	slices.Sort(names)
	for _, key := range names {
		if k, ok := m.describe(key); ok {
			page.Keys = append(page.Keys, k)
		}
	}
	if more {
		page.Next = encodeCursor(names[len(names)-1])
	}
	return page, nil
}

// describe looks at a key so that it does not look used.
func (m *Memory) describe(key string) (Key, bool) {
	e, ok := m.otter.GetEntryQuietly(key)
	if !ok {
		return Key{}, false
	}
	k := Key{Name: key, Size: e.Value.size, TTL: Forever, Hits: e.Value.hits.Load(), Idle: -1}
	if e.Value.ttl < 1<<62 {
		k.TTL = max(time.Duration(e.ExpiresAtNano-e.SnapshotAtNano), 0)
	}
	return k, true
}

// largestFirst is a heap of names: the one to give up is at its top.
type largestFirst []string

func (h largestFirst) Len() int           { return len(h) }
func (h largestFirst) Less(i, j int) bool { return h[i] > h[j] }
func (h largestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *largestFirst) Push(x any)        { *h = append(*h, x.(string)) }
func (h *largestFirst) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// maxCursor bounds a cursor: a key of the memory tier may be long.
const maxCursor = 64 << 10

func encodeCursor(s string) string { return "k" + base64.RawURLEncoding.EncodeToString([]byte(s)) }

func decodeCursor(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	text, ok := strings.CutPrefix(cursor, "k")
	if !ok || len(cursor) > maxCursor {
		return "", ErrCursor
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCursor, err)
	}
	return string(b), nil
}
