package client

import (
	"bytes"
	"context"
	"net/http"
	"net/url"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ProfileData returns a profile as the server keeps it: gzipped pprof, or a Go
// execution trace.
func (c *Client) ProfileData(ctx context.Context, id string) ([]byte, error) {
	if err := c.keepsSamples(ctx); err != nil {
		return nil, err
	}
	var data []byte
	err := c.get(ctx, profilingPath+"/profiles/"+url.PathEscape(id), url.Values{"format": {"pprof"}}, &data)
	return data, err
}

// keepsSamples is an error for a Python server: it has summaries of its own
// profiles and nothing else.
func (c *Client) keepsSamples(ctx context.Context) error {
	python, err := c.isPython(ctx)
	if err == nil && python {
		err = api.Errorf(http.StatusNotFound, "this server keeps no samples: a Python server has only summaries of its own profiles, for profiles show and top")
	}
	return err
}

// ProfileUpload says what an uploaded profile is of.
type ProfileUpload struct {
	Operation, Service string   // "" for none
	Labels             []string // KEY=VALUE
}

// UploadProfile brings a profile to the server: pprof, gzipped or not, or what
// else the server reads. It returns the summary of what is kept.
func (c *Client) UploadProfile(ctx context.Context, data []byte, u ProfileUpload) (api.Profile, error) {
	var kept api.Profile
	if err := c.keepsSamples(ctx); err != nil {
		return kept, err
	}
	q := url.Values{}
	for name, text := range map[string]string{"operation": u.Operation, "service": u.Service} {
		if text != "" {
			q.Set(name, text)
		}
	}
	if len(u.Labels) > 0 {
		q["label"] = u.Labels
	}
	err := c.doWith(ctx, http.MethodPost, profilingPath+"/profiles", q, http.Header{"Content-Type": {"application/octet-stream"}}, bytes.NewReader(data), &kept)
	return kept, err
}
