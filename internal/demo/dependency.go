package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// dependency is an external API as its clients see it: calls go through its
// circuit breaker, each in a span.
type dependency struct {
	standIn   *standIn
	transport *http.Transport
	client    *http.Client
}

func newDependency(m *monitoring.Monitor, b *breaker.Breaker, s *standIn) *dependency {
	base := &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second}
	return &dependency{standIn: s, transport: base, client: &http.Client{Transport: m.Transport(b, base)}}
}

// statusError is an answer that is no success.
type statusError struct {
	host string
	code int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered %d %s", e.host, e.code, http.StatusText(e.code))
}

// maxAnswer bounds what is read of a dependency's answer.
const maxAnswer = 1 << 20

// ask sends in, if it is not nil, and reads a T from the answer.
func ask[T any](ctx context.Context, d *dependency, method, path string, in any) (T, error) {
	var out T
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return out, fmt.Errorf("ask %s: %w", d.standIn.host, err)
		}
		body = bytes.NewReader(b)
	}
	template, _, _ := strings.Cut(path, "?") // its paths hold no ids
	ctx = monitoring.WithEndpoint(ctx, template)
	req, err := http.NewRequestWithContext(ctx, method, "http://"+d.standIn.host+path, body)
	if err != nil {
		return out, fmt.Errorf("ask %s: %w", d.standIn.host, err)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return out, err // says method and URL
	}
	defer resp.Body.Close()
	answer := io.LimitReader(resp.Body, maxAnswer)
	if resp.StatusCode >= 400 {
		_, err := io.Copy(io.Discard, answer) // so that the connection can be used again
		return out, errors.Join(&statusError{d.standIn.host, resp.StatusCode}, err)
	}
	b, err := io.ReadAll(answer)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return out, fmt.Errorf("answer of %s: %w", d.standIn.host, err)
	}
	return out, nil
}

// listen opens the stand-in's port and returns the function that serves it
// until ctx is done.
func (d *dependency) listen(ctx context.Context) (serve func(), err error) {
	s := d.standIn
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.host, err)
	}
	addr := l.Addr().String()
	s.addr.Store(&addr)
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends those that hang
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	return func() {
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		select {
		case <-ctx.Done():
		case err := <-served:
			s.log.Warn("stand-in ended", slog.String("host", s.host), slog.Any("error", err))
			served <- nil
		}
		s.addr.Store(nil)
		d.transport.CloseIdleConnections()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close() // who has not gone by now is cut off
		}
		<-served
		d.transport.CloseIdleConnections()
	}, nil
}
