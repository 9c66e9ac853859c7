package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// AuditEntry is one state-changing request: who, what, why, what changed. The
// entries of a server are a chain: each holds the hash of the one before it, so
// that none can be changed, taken out or put in without the chain showing it.
type AuditEntry struct {
	Seq       Count  `json:"seq,omitempty"` // 1, 2, 3 …; 0 where the entry is of no chain
	Time      Time   `json:"time"`
	Actor     string `json:"actor"` // token name, or remote address
	Reason    string `json:"reason,omitempty"`
	Action    string `json:"action"` // the route's name: breakers.reset
	Target    string `json:"target,omitempty"`
	Before    any    `json:"before,omitempty"`
	After     any    `json:"after,omitempty"`
	Status    int    `json:"status"` // of the answer
	RequestID string `json:"request_id"`
	Previous  string `json:"previous,omitempty"` // hash of the entry before; "" of the first
	Hash      string `json:"hash,omitempty"`     // of this entry: see [AuditEntry.Sum]
}

// UnmarshalJSON reads an entry. Numbers in Before and After keep their digits,
// as [json.Number]: the hash is of the text.
func (e *AuditEntry) UnmarshalJSON(b []byte) error {
	type plain AuditEntry
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return dec.Decode((*plain)(e))
}

// Sum returns what Hash must be: SHA-256, in hex, of the entry as JSON without
// hash, its members in the order above, those of Before and After sorted by
// name, no blanks, <, > and & as they are. The error is that of a state which
// JSON cannot hold.
func (e AuditEntry) Sum() (string, error) {
	e.Hash = ""
	for _, state := range []*any{&e.Before, &e.After} {
		b, err := json.Marshal(*state)
		if err != nil {
			return "", fmt.Errorf("audit entry %d: %w", e.Seq.Value(), err)
		}
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		*state = nil
		if err := dec.Decode(state); err != nil {
			return "", fmt.Errorf("audit entry %d: %w", e.Seq.Value(), err)
		}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return "", fmt.Errorf("audit entry %d: %w", e.Seq.Value(), err)
	}
	sum := sha256.Sum256(bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	return hex.EncodeToString(sum[:]), nil
}

// Chain returns the entry as it goes into a chain behind the entry last: with a
// number, the hash of that one and its own. It is the entry as it comes out of
// JSON, so that it has the same hash for whoever reads it there.
func (e AuditEntry) Chain(last AuditEntry) (AuditEntry, error) {
	e.Seq, e.Previous, e.Hash = last.Seq+1, last.Hash, ""
	text, err := json.Marshal(e)
	if err != nil {
		return e, fmt.Errorf("audit entry %d: %w", e.Seq.Value(), err)
	}
	var out AuditEntry
	if err := json.Unmarshal(text, &out); err != nil {
		return e, fmt.Errorf("audit entry %d: %w", e.Seq.Value(), err)
	}
	out.Hash, err = out.Sum()
	return out, err
}

// Audit is the answer of GET /monitoring/audit.
type Audit struct {
	Entries []AuditEntry `json:"entries"` // newest first
	Total   Count        `json:"total"`   // that match, those beyond the limit included
	Dropped Count        `json:"dropped"` // since the start, to stay within what is kept
}

// AuditCheck says whether a chain of entries is whole. Nothing in the chain
// tells of entries cut off at its end: Head is to be compared with one that was
// noted elsewhere, as in the log, which has each entry's hash.
type AuditCheck struct {
	Entries   Count        `json:"entries"`
	Unchained Count        `json:"unchained,omitempty"` // of a time before entries had hashes
	First     Count        `json:"first"`               // seq of the oldest entry that is there
	Last      Count        `json:"last"`
	Since     *Time        `json:"since,omitempty"` // time of the oldest entry
	Until     *Time        `json:"until,omitempty"`
	Head      string       `json:"head"` // hash of the newest entry
	Whole     bool         `json:"whole"`
	Breaks    []AuditBreak `json:"breaks"` // the first 100
}

// AuditBreak is a place where a chain is not whole.
type AuditBreak struct {
	Seq    Count  `json:"seq"` // of the entry at which it shows
	Detail string `json:"detail"`
}

const maxAuditBreaks = 100

// AuditChain checks entries as they come, the oldest first. The zero value has
// seen none.
type AuditChain struct {
	check AuditCheck
	begun bool // an entry with a hash has come
}

// Add takes the next entry.
func (c *AuditChain) Add(e AuditEntry) {
	c.check.Entries++
	at := e.Time
	if c.check.Since == nil {
		c.check.Since = &at
	}
	c.check.Until = &at
	if !c.begun && e.Hash == "" && e.Seq == 0 {
		c.check.Unchained++
		return
	}
	sum, err := e.Sum()
	switch {
	case err != nil:
		c.broken(e.Seq, err.Error())
	case sum != e.Hash:
		c.broken(e.Seq, "the entry was changed: its hash is another")
	}
	switch next := c.check.Last + 1; {
	case !c.begun:
		c.check.First = e.Seq
		if e.Seq == 1 && e.Previous != "" {
			c.broken(e.Seq, "the first entry names one before it")
		}
	case e.Seq > next:
		c.broken(e.Seq, fmt.Sprintf("entries %d to %d are missing", next.Value(), e.Seq.Value()-1))
	case e.Seq < next:
		c.broken(e.Seq, fmt.Sprintf("the entry is out of order: it comes after %d", c.check.Last.Value()))
	case e.Previous != c.check.Head:
		c.broken(e.Seq, "the entry before it is another than the one it was written after")
	}
	c.begun, c.check.Last, c.check.Head = true, e.Seq, e.Hash
}

func (c *AuditChain) broken(seq Count, detail string) {
	if len(c.check.Breaks) < maxAuditBreaks {
		c.check.Breaks = append(c.check.Breaks, AuditBreak{seq, detail})
	}
}

// Check returns what is known so far.
func (c *AuditChain) Check() AuditCheck {
	out := c.check
	out.Whole = len(out.Breaks) == 0
	out.Breaks = append([]AuditBreak{}, out.Breaks...)
	return out
}
