package datadir

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/pulsectl/pulsectl/internal/tracedb"
	"github.com/pulsectl/pulsectl/pkg/api"
)

// maxAuditBytes is what the audit records may have on disk: some hundred
// thousand of them. The oldest go first, file by file.
const maxAuditBytes = 64 << 20

const kindAudit = 1 // an entry as JSON

// Audit is the log of audit records.
type Audit struct {
	dir  *Dir
	log  *tracedb.Log
	last []api.AuditEntry // read at the start, until somebody asks for them
}

func (d *Dir) openAudit() error {
	a := &Audit{dir: d}
	var chain api.AuditChain
	log, report, err := d.db.Log("audit", maxAuditBytes/8, func(r tracedb.Record) error {
		var e api.AuditEntry
		if err := json.Unmarshal(r.Payload, &e); err != nil || r.Kind != kindAudit {
			d.unreadable("audit", fmt.Errorf("record %d: %w", r.Seq, errRecord))
			return nil
		}
		chain.Add(e)
		if a.last = append(a.last, e); len(a.last) >= 2*maxAuditEntries {
			a.last = append(a.last[:0:0], a.last[len(a.last)-maxAuditEntries:]...)
		}
		return nil
	})
	if err != nil {
		return err
	}
	a.log, d.audit = log, a
	d.found("audit", report)
	if c := chain.Check(); !c.Whole {
		d.log.Error("audit log is not whole", slog.Int64("seq", c.Breaks[0].Seq.Value()), slog.String("why", c.Breaks[0].Detail), slog.Int("breaks", len(c.Breaks)))
	}
	return nil
}

// maxAuditEntries is how many records the start hands out.
const maxAuditEntries = 10_000

// Keep writes a record.
func (a *Audit) Keep(e api.AuditEntry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, _, err = a.log.Append(kindAudit, data); err == nil {
		_, err = a.log.Shrink(maxAuditBytes)
	}
	return a.dir.wrote(err)
}

// Last returns the records that were there at the start, oldest first, at most
// 10,000, and gives them up.
func (a *Audit) Last() []api.AuditEntry {
	last := a.last
	a.last = nil
	return last[max(len(last)-maxAuditEntries, 0):]
}
