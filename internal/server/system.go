package server

import "net/http"

func (s *Server) systemRoutes() []route {
	return []route{
		s.get("/monitoring/system/info", "the process and its host", s.systemInfo),
	}
}

func (s *Server) systemInfo(*http.Request) (any, error) { return s.opts.Process.Info(), nil }
