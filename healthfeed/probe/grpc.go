package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A grpcProbe asks a server by the health protocol of gRPC, grpc.health.v1:
//
//	POST /grpc.health.v1.Health/Check     over HTTP/2
//	  0 | length (4) | HealthCheckRequest{1: service}
//	200, a message HealthCheckResponse{1: status}, and grpc-status as a trailer
//
// That is one request of HTTP/2 with a message of a few bytes, for which the client of
// net/http will do. The connection is kept, as every client of gRPC does; the first
// attempt after a failure makes a new one.
type grpcProbe struct {
	dialer *dialer
	client *http.Client
	url    string

	mu    sync.Mutex
	conns []net.Conn // at most keptConns, oldest first
	shut  bool       // nothing is kept any more
}

// keptConns is how many connections are remembered, to be closed. One is in use; others
// are what the server is about to close, or what was dialled for too long.
const keptConns = 4

// healthPath is the method that is called.
const healthPath = "/grpc.health.v1.Health/Check"

// maxHealth is how long an answer may be, in bytes; one of 7 says it all.
const maxHealth = 1 << 10

func newGRPC(d *dialer) *grpcProbe {
	transport := &http.Transport{
		Protocols:              new(http.Protocols),
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	g := &grpcProbe{dialer: d, client: &http.Client{Transport: transport, CheckRedirect: noRedirect}}
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return g.keep(d.dialPlain(ctx, network, addr))
	}
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return g.keep(d.dial(ctx, network, addr, "h2"))
	}
	scheme := "http://"
	if d.check.TLS {
		scheme = "https://"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	g.url = scheme + d.check.Addr + healthPath
	return g
}

func (g *grpcProbe) attempt(ctx context.Context) (answer, error) {
	a, err := g.exchange(ctx)
	if err != nil {
		g.close(false)
	}
	return a, err
}

// keep remembers a connection that was made.
func (g *grpcProbe) keep(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		conn.Close()
		return nil, net.ErrClosed
	}
	if len(g.conns) == keptConns {
		g.conns[0].Close()
		g.conns = slices.Delete(g.conns, 0, 1)
	}
	g.conns = append(g.conns, conn)
	return conn, nil
}

// close closes the connections, for good or until the next attempt. The transport would leave one open, and use it, on
// which a request was just given up.
func (g *grpcProbe) close(forGood bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = forGood
	for _, conn := range g.conns {
		conn.Close()
	}
	g.conns = nil
}

func (g *grpcProbe) exchange(ctx context.Context) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(healthRequest(g.dialer.check.Service)))
	if err != nil {
		return answer{}, err
	}
	request.Host = g.dialer.check.Host
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	request.Header.Set("User-Agent", userAgent)
	start := time.Now()
	response, err := g.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	a := answer{rtt: time.Since(start)}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "application/grpc") {
		return answer{}, fmt.Errorf("status %d with content of type %.40q is no answer of gRPC", response.StatusCode, kind)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHealth+1))
	if err != nil {
		return answer{}, err
	}
	// An answer without a message has its status in the header.
	status, message := response.Trailer.Get("Grpc-Status"), response.Trailer.Get("Grpc-Message")
	if status == "" {
		status, message = response.Header.Get("Grpc-Status"), response.Header.Get("Grpc-Message")
	}
	if err := grpcError(status, message); err != nil {
		return answer{}, err
	}
	if err := serving(body); err != nil {
		return answer{}, err
	}
	// A bad report says nothing about whether the node is up.
	a.Report, _ = ParseReport(response.Header.Get(LoadHeader))
	return a, nil
}

// healthRequest is the message that asks about a service.
func healthRequest(service string) []byte {
	message := make([]byte, 5, 16)
	if service != "" {
		message = protowire.AppendTag(message, 1, protowire.BytesType)
		message = protowire.AppendString(message, service)
	}
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-5))
	return message
}

// grpcError says what a status other than OK means.
func grpcError(status, message string) error {
	switch status {
	case "0":
		return nil
	case "":
		return errors.New("the answer ends without a grpc-status")
	case "5":
		return errors.New("NOT_FOUND: the server does not know the service")
	case "12":
		return errors.New("UNIMPLEMENTED: the server does not speak grpc.health.v1")
	}
	return fmt.Errorf("grpc-status %.10q: %.80q", status, message)
}

// serving reads the message of an answer, and returns an error unless it says that
// the service is served.
func serving(body []byte) error {
	if len(body) < 5 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-5) {
		return fmt.Errorf("the answer of %d bytes is not one message", len(body))
	}
	if body[0] != 0 {
		return errors.New("the message is compressed, which was not asked for")
	}
	status := uint64(0) // what is left out is 0
	for rest := body[5:]; len(rest) > 0; {
		field, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return protowire.ParseError(n)
		}
		rest = rest[n:]
		if field == 1 && kind == protowire.VarintType {
			if status, n = protowire.ConsumeVarint(rest); n < 0 {
				return protowire.ParseError(n)
			}
		} else if n = protowire.ConsumeFieldValue(field, kind, rest); n < 0 {
			return protowire.ParseError(n)
		}
		rest = rest[n:]
	}
	switch status {
	case 1:
		return nil
	case 2:
		return errors.New("NOT_SERVING")
	case 3:
		return errors.New("SERVICE_UNKNOWN")
	}
	return fmt.Errorf("health status %d", status)
}
