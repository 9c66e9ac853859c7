package server

import (
	_ "embed"
	"net/http"
)

// document is openapi.yaml as JSON: made once, by the test that compares them.
//
//go:embed openapi.json
var document []byte

func (s *Server) openapiRoutes() []route {
	return []route{
		{http.MethodGet, "/monitoring/openapi.json", "the OpenAPI document of all this", Viewer, http.HandlerFunc(s.openapi)},
	}
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(document) // a client that has gone needs no answer
}
