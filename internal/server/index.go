package server

import (
	"net/http"

	"github.com/pulsectl/pulsectl/pkg/api"
)

func (s *Server) indexRoutes() []route {
	return []route{
		s.get("/monitoring/", "what this server is and what it answers", s.index),
	}
}

func (s *Server) index(*http.Request) (any, error) {
	out := api.Index{
		Service: s.opts.Service, Version: s.opts.Version, Commit: s.opts.Commit,
		StartedAt: api.Unix(s.opts.Started.UnixNano()), Instance: s.opts.Instance,
		Capabilities: s.capabilities(), Listeners: s.opts.Listeners,
	}
	for _, rt := range s.routes {
		out.Endpoints = append(out.Endpoints, api.Endpoint{Method: rt.Method, Path: rt.Path, Summary: rt.Summary})
	}
	return out, nil
}

// capabilities names what a client cannot see from the endpoints alone.
func (s *Server) capabilities() []string {
	own := []string{"dry_run", "cache_cursor"}
	if s.opts.Query != nil {
		own = append(own, "query", "alerts")
	}
	return append(own, s.opts.Capabilities...)
}
