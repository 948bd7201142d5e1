package test

import (
	"net"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// grpcHealth are the health servers of a script, by port.
type grpcHealth map[string]*health.Server

// set starts a server of grpc.health.v1 at a port of 127.0.0.1, unless there is one, and
// has it say of a service that it is serving, or not-serving.
func (g grpcHealth) set(ts *testscript.TestScript, neg bool, args []string) {
	states := map[string]healthgrpc.HealthCheckResponse_ServingStatus{
		"serving": healthgrpc.HealthCheckResponse_SERVING, "not-serving": healthgrpc.HealthCheckResponse_NOT_SERVING,
	}
	if len(args) != 3 || states[args[2]] == 0 {
		ts.Fatalf("usage: grpc-health PORT SERVICE serving|not-serving")
	}
	port := args[0]
	if g[port] == nil {
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		ts.Check(err)
		g[port] = health.NewServer()
		s := grpc.NewServer()
		healthgrpc.RegisterHealthServer(s, g[port])
		go s.Serve(l)
		ts.Defer(s.Stop)
	}
	g[port].SetServingStatus(args[1], states[args[2]])
}

// healthOf is grpcHealth of the script that runs.
func healthOf(ts *testscript.TestScript, neg bool, args []string) {
	ts.Value(grpcHealthKey{}).(grpcHealth).set(ts, neg, args)
}

type grpcHealthKey struct{}
