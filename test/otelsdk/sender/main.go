// Sender exports traces over OTLP, by HTTP or gRPC, with the OpenTelemetry Go
// SDK, as any service does. Scripts and people try a receiver with it:
//
//	go -C test/otelsdk run ./sender -endpoint http://127.0.0.1:8000 -traces 3 -spans 5
//
// It prints the id of each trace that the receiver acknowledged, one a line.
// It is a module of its own because the SDK's exporter links gRPC, which the
// project does without.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"
)

type options struct {
	Endpoint string // where the receiver is, without /v1/traces
	GRPC     bool   // over gRPC
	CA       string // PEM file of the authority of an https receiver; "" for the system's
	Service  string
	Token    string // bearer token; "" for none
	Traces   int
	Spans    int  // of each trace, its root included
	Gzip     bool // compress the batches
	Fail     bool // the last span of each trace fails
}

func main() {
	var o options
	flag.StringVar(&o.Endpoint, "endpoint", "http://127.0.0.1:4318", "`URL` of the receiver, without /v1/traces")
	flag.BoolVar(&o.GRPC, "grpc", false, "send over gRPC")
	flag.StringVar(&o.CA, "ca", "", "PEM `FILE` of the authority that an https receiver's certificate is from")
	flag.StringVar(&o.Service, "service", "sender", "service.name of the spans")
	flag.StringVar(&o.Token, "token", os.Getenv("PULSECTL_TOKEN"), "bearer token, default $PULSECTL_TOKEN")
	flag.IntVar(&o.Traces, "traces", 1, "how many traces to send")
	flag.IntVar(&o.Spans, "spans", 5, "spans of each trace, its root included")
	flag.BoolVar(&o.Gzip, "gzip", false, "compress")
	flag.BoolVar(&o.Fail, "fail", false, "let the last span of each trace fail")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "sender:", err)
		os.Exit(1)
	}
}

// run sends the traces and prints their ids.
func run(ctx context.Context, o options) (err error) {
	exporter, err := newExporter(ctx, o)
	if err != nil {
		return err
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(max(2048, 2*o.Traces*o.Spans))),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", o.Service))),
	)
	defer func() { err = errors.Join(err, provider.Shutdown(ctx)) }()
	tracer := provider.Tracer("github.com/pulsectl/pulsectl/test/otelsdk")
	var ids []string
	for range o.Traces {
		ids = append(ids, send(ctx, tracer, o))
	}
	if err := provider.ForceFlush(ctx); err != nil {
		return err
	}
	for _, id := range ids {
		fmt.Println(id)
	}
	return nil
}

func newExporter(ctx context.Context, o options) (sdk.SpanExporter, error) {
	trust, err := o.trust()
	if err != nil {
		return nil, err
	}
	headers := map[string]string{}
	if o.Token != "" {
		headers["Authorization"] = "Bearer " + o.Token
	}
	if o.GRPC {
		opts := []otlptracegrpc.Option{
			otlptracegrpc.WithEndpointURL(o.Endpoint), otlptracegrpc.WithTimeout(10 * time.Second), otlptracegrpc.WithHeaders(headers),
		}
		if o.Gzip {
			opts = append(opts, otlptracegrpc.WithCompressor("gzip"))
		}
		if trust != nil {
			opts = append(opts, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(trust)))
		}
		return otlptracegrpc.New(ctx, opts...)
	}
	opts := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(o.Endpoint + "/v1/traces"), otlptracehttp.WithTimeout(10 * time.Second), otlptracehttp.WithHeaders(headers),
	}
	if o.Gzip {
		opts = append(opts, otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	}
	if trust != nil {
		opts = append(opts, otlptracehttp.WithTLSClientConfig(trust))
	}
	return otlptracehttp.New(ctx, opts...)
}

// trust is how an https receiver is known, nil for the system's way.
func (o options) trust() (*tls.Config, error) {
	if o.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it", o.CA)
	}
	return &tls.Config{RootCAs: pool}, nil
}

// send makes one trace and returns its id.
func send(ctx context.Context, tracer trace.Tracer, o options) string {
	ctx, root := tracer.Start(ctx, "GET /orders/{id}", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", "GET"), attribute.Int("http.response.status_code", 200)))
	defer root.End()
	for i := range o.Spans - 1 {
		_, sp := tracer.Start(ctx, fmt.Sprintf("SELECT orders %d", i), trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.Int("db.rows", i)))
		if o.Fail && i == o.Spans-2 {
			err := errors.New("connection reset by peer")
			sp.RecordError(err)
			sp.SetStatus(codes.Error, err.Error())
		}
		sp.End()
	}
	return root.SpanContext().TraceID().String()
}
