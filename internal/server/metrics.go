package server

import "net/http"

const metricsPath = "/monitoring/metrics"

func (s *Server) metricRoutes() []route {
	return []route{
		{http.MethodGet, metricsPath, "the metrics, for Prometheus: text, OpenMetrics or protobuf by Accept", Viewer, s.opts.Metrics.Handler()},
	}
}
