package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pulsectl/pulsectl/internal/datadir"
	"github.com/pulsectl/pulsectl/internal/demo"
	"github.com/pulsectl/pulsectl/internal/jaegerapi"
	"github.com/pulsectl/pulsectl/pkg/monitoring"
	"github.com/pulsectl/pulsectl/pkg/monitoring/breaker"
)

// task is background work that ends when its context does.
type task func(context.Context) error

// assemble mounts everything on a mux, and returns it with what has to run
// beside it. base is the URL that the server will have.
func (o *serveOptions) assemble(m *monitoring.Monitor, log *slog.Logger, base string) (*http.ServeMux, []task, error) {
	mux, tasks := http.NewServeMux(), []task{m.Run}
	m.Mount(mux)
	if o.JaegerAPI {
		m.ServeJaeger(mux, jaegerapi.Patterns, jaegerapi.New(m.Traces))
	}
	if !o.Demo {
		for _, name := range []string{"github_api", "linear_api", "openai_api"} {
			if _, err := m.Breaker(name, breaker.Options{}); err != nil {
				return nil, nil, err
			}
		}
		return mux, tasks, nil
	}
	d, err := demo.New(m, log)
	if err != nil {
		return nil, nil, err
	}
	d.Mount(mux)
	return mux, append(tasks, func(ctx context.Context) error { return d.Run(ctx, base) }), nil
}

// serveOn serves until ctx is done or something fails, then lets the requests
// in flight end, and then what is to be forwarded go.
func (a *app) serveOn(ctx context.Context, d *doors, dir *datadir.Dir, m *monitoring.Monitor, log *slog.Logger, o *serveOptions, own *ownSnapshots, extra ...task) error {
	base := o.scheme() + d.api.Addr().String()
	mux, tasks, err := o.assemble(m, log, base)
	if err != nil {
		return errors.Join(err, d.close())
	}
	tasks = append(tasks, extra...)
	otlp, err := d.receive(m, mux, log)
	if err != nil {
		return errors.Join(err, d.close())
	}
	if d.forward != nil {
		tasks = append(tasks, d.forward.Run)
	}
	if dir != nil {
		watch, err := watchDisk(m, dir)
		if err != nil {
			return errors.Join(err, d.close())
		}
		tasks = append(tasks, watch)
	}
	main, beside := newServer(m.Middleware(mux), log), newServer(otlp, log)
	main.RegisterOnShutdown(m.EndStreams)
	for l, srv := range map[net.Listener]*http.Server{d.api: main, d.otlpHTTP: beside, d.otlpGRPC: beside} {
		if l != nil {
			tasks = append(tasks, serveTask(srv, l))
		}
	}
	log.LogAttrs(ctx, slog.LevelInfo, "serving", append([]slog.Attr{slog.String("address", base), slog.String("version", version())}, d.attrs()...)...)
	stop := func() { shutdown(ctx, main, beside) }
	if own != nil {
		tasks = append(tasks, own.Run)
		stop = func() { own.end(ctx); shutdown(ctx, main, beside) } // first: what is in flight then is worth seeing
	}
	err = runAll(ctx, tasks, stop)
	log.LogAttrs(ctx, slog.LevelInfo, "stopped")
	if err != nil {
		return &serverError{err}
	}
	return nil
}

func serveTask(srv *http.Server, l net.Listener) task {
	return func(context.Context) error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// runAll runs the tasks until ctx is done or one of them fails; then it calls
// stop, and then ends their context. It returns when all have ended.
func runAll(ctx context.Context, tasks []task, stop func()) (err error) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	failed := make(chan error, len(tasks))
	var wg sync.WaitGroup
	for _, t := range tasks {
		wg.Go(func() {
			if err := t(run); err != nil {
				failed <- err
			}
		})
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stop()
	cancel()
	wg.Wait()
	return err
}

// shutdown lets the requests in flight end for ten seconds, and cuts off those
// that have not by then.
func shutdown(ctx context.Context, servers ...*http.Server) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, srv := range servers {
		wg.Go(func() {
			if err := srv.Shutdown(grace); err != nil {
				srv.Close() // nothing is left to lose
			}
		})
	}
	wg.Wait()
}

func (o *serveOptions) scheme() string {
	if o.TLSCert != "" {
		return "https://"
	}
	return "http://"
}
