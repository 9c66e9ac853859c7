// Sink receives OTLP traces by several transports and forgets them. Loading it
// with otlpload shows what a transport alone costs a server, which no server
// that keeps its spans can beat, and what pulsectl's own door costs beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/mem"

	"github.com/pulsectl/pulsectl/internal/receiver"
)

const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

const maxBatch = 64 << 20

func main() {
	grpcAddr := flag.String("grpc-go", "127.0.0.1:5317", "gRPC by google.golang.org/grpc")
	connectAddr := flag.String("connect", "127.0.0.1:5327", "gRPC by connectrpc.com/connect on net/http")
	plainAddr := flag.String("plain", "127.0.0.1:5337", "pulsectl's receiver without reading ahead: HTTP and gRPC")
	doorAddr := flag.String("door", "127.0.0.1:5318", "pulsectl's receiver as it is: HTTP and gRPC")
	flag.Parse()
	failed := make(chan error)
	go func() { failed <- serveGRPC(*grpcAddr) }()
	go func() { failed <- serveHTTP(*connectAddr, connectHandler(), nil) }()
	go func() { failed <- serveHTTP(*plainAddr, door(), nil) }()
	go func() { failed <- serveHTTP(*doorAddr, door(), receiver.Listen) }()
	fmt.Println("pid", os.Getpid())
	log.Fatal(<-failed)
}

// rawCodec leaves messages encoded. A received one is only a list of the
// buffers it came in; making it whole is part of the cost of any use of it.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(any) (mem.BufferSlice, error) { return nil, nil }

func (rawCodec) Unmarshal(data mem.BufferSlice, _ any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	buf.Free()
	return nil
}

func serveGRPC(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(maxBatch))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "Export",
			Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				return nil, decode(nil)
			},
		}},
	}, nil)
	return s.Serve(l)
}

// serveHTTP serves with the windows that pulsectl has.
func serveHTTP(addr string, h http.Handler, ahead func(net.Listener) net.Listener) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if ahead != nil {
		l = ahead(l)
	}
	s := &http.Server{Handler: h, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{
		MaxReceiveBufferPerStream: 1 << 20, MaxReceiveBufferPerConnection: 3 << 20, MaxReadFrameSize: 1 << 20,
	}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.Serve(l)
}

// door is pulsectl's receiver before a store that forgets.
func door() http.Handler {
	rc, err := receiver.New(receiver.Options{Keep: func([]byte) (int, int, error) { return 1, 0, nil }})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, rt := range rc.Routes() {
		mux.Handle(rt.Pattern, rt.Handler)
	}
	return mux
}

// message is a request that connect leaves encoded.
type message struct{}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

type connectCodec struct{}

func (connectCodec) Name() string { return "proto" }

func (connectCodec) Marshal(any) ([]byte, error) { return nil, nil }

// Unmarshal copies the message, whose memory connect uses again.
func (connectCodec) Unmarshal(b []byte, _ any) error {
	p := buffers.Get().(*[]byte)
	*p = append((*p)[:0], b...)
	buffers.Put(p)
	return nil
}

func connectHandler() http.Handler {
	return connect.NewUnaryHandler(exportMethod, func(context.Context, *connect.Request[message]) (*connect.Response[message], error) {
		return connect.NewResponse(new(message)), nil
	}, connect.WithCodec(connectCodec{}), connect.WithReadMaxBytes(maxBatch))
}
