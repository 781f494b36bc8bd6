// Grpc protects a service of google.golang.org/grpc with API keys, by a unary
// and a stream interceptor. The glue is in glue.go. It serves gRPC's standard
// health service, and calls it itself:
//
//	go run ./examples/frameworks/grpc
//
// It speaks without TLS, on this machine only. Tokens belong on encrypted
// connections: see google.golang.org/grpc/credentials.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keyturn/apikey"
	"github.com/keyturn/apikey/examples/frameworks/internal/demo"
)

// scopes says which scope each method needs. One that is missing is refused.
var scopes = map[string]string{
	healthpb.Health_Check_FullMethodName: "health:read",
	healthpb.Health_Watch_FullMethodName: "health:read",
	healthpb.Health_List_FullMethodName:  "health:list",
}

func main() {
	demo.Main(func(l net.Listener, keys apikey.Validator) error { return newServer(keys, health.NewServer()).Serve(l) }, show)
}

func newServer(keys apikey.Validator, service healthpb.HealthServer) *grpc.Server {
	g := guard{keys}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream))
	healthpb.RegisterHealthServer(server, service)
	return server
}

// show calls the server with the token and without.
func show(out io.Writer, addr, token string) error {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client := healthpb.NewHealthClient(conn)
	with := metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)

	reply, err := client.Check(with, &healthpb.HealthCheckRequest{})
	fmt.Fprintln(out, "Check with the key:    ", status.Code(err), reply.GetStatus())
	_, err = client.Check(ctx, &healthpb.HealthCheckRequest{})
	fmt.Fprintln(out, "Check without:         ", err)
	_, err = client.List(with, &healthpb.HealthListRequest{})
	fmt.Fprintln(out, "List, needs health:list:", err)
	_, err = fmt.Fprintf(out, "The server runs at %s until Ctrl-C. The key is\n%s\n", addr, token)
	return err
}
