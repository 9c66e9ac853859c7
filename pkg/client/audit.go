package client

import (
	"context"
	"net/url"
	"slices"
	"strconv"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// Audit lists what was changed on the server, newest first: at most limit
// records, since a time in a form that the API takes, "" for all.
func (c *Client) Audit(ctx context.Context, since string, limit int) (api.Audit, error) {
	return c.auditPage(ctx, since, 0, limit)
}

// auditPage lists records of a smaller seq than before; 0 for the newest.
func (c *Client) auditPage(ctx context.Context, since string, before api.Count, limit int) (api.Audit, error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if since != "" {
		q.Set("since", since)
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before.Value(), 10))
	}
	var out api.Audit
	err := c.get(ctx, "/monitoring/audit", q, &out)
	return out, err
}

// CheckAudit fetches every record that the server has and checks that they are
// one chain.
func (c *Client) CheckAudit(ctx context.Context) (api.AuditCheck, error) {
	const page = 1000
	var all []api.AuditEntry // newest first
	for before := api.Count(0); ; {
		got, err := c.auditPage(ctx, "", before, page)
		if err != nil {
			return api.AuditCheck{}, err
		}
		all = append(all, got.Entries...)
		if len(got.Entries) < page || len(all) > maxAudit {
			break
		}
		last := got.Entries[len(got.Entries)-1].Seq
		if last <= 1 || before > 0 && last >= before {
			break // records without a number have no next page, and a server may not know of pages
		}
		before = last
	}
	var chain api.AuditChain
	for _, e := range slices.Backward(all) {
		chain.Add(e)
	}
	return chain.Check(), nil
}

// maxAudit bounds how many records are fetched: a server keeps 10,000.
const maxAudit = 100_000
