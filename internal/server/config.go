package server

import (
	"net/http"

	"github.com/pulsectl/pulsectl/pkg/api"
)

func (s *Server) configRoutes() []route {
	rt := s.get("/monitoring/debug/config", "the effective configuration, without secrets", s.debugConfig)
	rt.Role = Operator
	return []route{rt}
}

func (s *Server) debugConfig(*http.Request) (any, error) {
	if s.opts.Config == nil {
		return api.Config{}, nil
	}
	return s.opts.Config(), nil
}
