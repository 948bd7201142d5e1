package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// bodyLimit is how much of an answer is searched for Check.Body, in bytes.
const bodyLimit = 5120

// maxHeader is how long the header of an answer may be, in bytes.
const maxHeader = 64 << 10

// userAgent is how a prober calls itself.
const userAgent = "tandem-probe"

// An answer is what a good attempt learnt.
type answer struct {
	rtt    time.Duration // http, grpc: request to header, with connect for http; redis: connect to PONG; tcp: connect; icmp: to the reply
	Report               // zero if the node said nothing
}

type (
	// attemptFunc tries a check once; ctx has the timeout.
	attemptFunc func(ctx context.Context) (answer, error)

	// openFunc returns how to attempt a check, and how to let go of what that keeps
	// from one attempt to the next. Attempts of one check are not made at the same time.
	openFunc func(*key) (attempt attemptFunc, closed func())
)

// open is the openFunc that asks nodes.
func open(k *key) (attempt attemptFunc, closed func()) {
	c := &k.check
	d := &dialer{check: c, spiffe: k.spiffe}
	if c.Foreign != "" {
		return func(context.Context) (answer, error) {
			return answer{}, unable("the check was declared elsewhere, and has a type, a field or a file that is unknown here")
		}, func() {}
	}
	switch c.Type {
	case "http":
		client := d.client()
		return func(ctx context.Context) (answer, error) { return attemptHTTP(ctx, client, c) }, client.CloseIdleConnections
	case "grpc":
		g := newGRPC(d)
		return g.attempt, func() { g.close(true) }
	case "redis":
		return func(ctx context.Context) (answer, error) { return attemptRedis(ctx, d) }, func() {}
	case "icmp":
		return func(ctx context.Context) (answer, error) { return attemptICMP(ctx, c) }, func() {}
	}
	return func(ctx context.Context) (answer, error) { return attemptTCP(ctx, c) }, func() {}
}

// An unableError is why this prober cannot tell how the node is: the fault is its own,
// so it abstains.
type unableError struct{ error }

func (e unableError) Unwrap() error { return e.error }

func unable(format string, args ...any) error { return unableError{fmt.Errorf(format, args...)} }

func attemptTCP(ctx context.Context, c *healthfeed.Check) (answer, error) {
	var d net.Dialer
	start := time.Now()
	conn, err := d.DialContext(ctx, "tcp", c.Addr)
	if err != nil {
		return answer{}, err
	}
	rtt := time.Since(start)
	conn.Close()
	return answer{rtt: rtt}, nil
}

// client makes a new connection for every attempt, since what is asked is whether
// a client could connect now; it takes no proxy from the environment, and follows
// no redirect, which would be a check of another node.
func (d *dialer) client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:            d.dialHTTP,
			DialTLSContext:         d.dialHTTPS,
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: noRedirect,
	}
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// attemptHTTP asks with HEAD, or with GET for a body. A server that has no HEAD is
// asked with GET as well.
func attemptHTTP(ctx context.Context, client *http.Client, c *healthfeed.Check) (answer, error) {
	if c.Body != "" {
		a, _, err := exchange(ctx, client, c, http.MethodGet)
		return a, err
	}
	a, status, err := exchange(ctx, client, c, http.MethodHead)
	if err != nil && (status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented) {
		a, _, err = exchange(ctx, client, c, http.MethodGet)
	}
	return a, err
}

// exchange is one request and its answer. The status is 0 when there was none.
func exchange(ctx context.Context, client *http.Client, c *healthfeed.Check, method string) (a answer, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.URL, nil)
	if err != nil {
		return answer{}, status, err
	}
	request.Header.Set("User-Agent", userAgent)
	request.Host = c.Host
	start := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return answer{}, status, err
	}
	defer response.Body.Close()
	a, status = answer{rtt: time.Since(start)}, response.StatusCode
	// A bad report says nothing about whether the node is up.
	a.Report, _ = ParseReport(response.Header.Get(LoadHeader))
	if status == http.StatusServiceUnavailable && a.Drain {
		// It is well and says so; the status is for those who know no drain.
		return a, status, nil
	}
	if !c.Accepts(status) {
		return answer{}, status, fmt.Errorf("%s: status %d", method, status)
	}
	if c.Body != "" {
		if err := find(response.Body, []byte(c.Body)); err != nil {
			return answer{}, status, err
		}
	}
	return a, status, nil
}

// find looks for want in the first bodyLimit bytes of r, and reads no further
// than it has to.
func find(r io.Reader, want []byte) error {
	buf := make([]byte, 0, bodyLimit)
	for len(buf) < bodyLimit {
		n, err := r.Read(buf[len(buf):bodyLimit])
		buf = buf[:len(buf)+n]
		if bytes.Contains(buf, want) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("body does not have %q in its first %d bytes", want, bodyLimit)
}
