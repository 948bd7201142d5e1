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

// An answer is what a good attempt learnt.
type answer struct {
	rtt    time.Duration // http: connect to header; tcp: connect
	Report               // zero if the node said nothing
}

// attempt tries a check once; ctx has the timeout.
func attempt(ctx context.Context, c *healthfeed.Check) (answer, error) {
	if c.Type == "tcp" {
		return attemptTCP(ctx, c)
	}
	return attemptHTTP(ctx, c)
}

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
var client = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// attemptHTTP asks with HEAD, or with GET for a body. A server that has no HEAD is
// asked with GET as well.
func attemptHTTP(ctx context.Context, c *healthfeed.Check) (answer, error) {
	if c.Body != "" {
		a, _, err := exchange(ctx, c, http.MethodGet)
		return a, err
	}
	a, status, err := exchange(ctx, c, http.MethodHead)
	if status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented {
		a, _, err = exchange(ctx, c, http.MethodGet)
	}
	return a, err
}

// exchange is one request and its answer. The status is 0 when there was none.
func exchange(ctx context.Context, c *healthfeed.Check, method string) (a answer, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, method, c.URL, nil)
	if err != nil {
		return answer{}, status, err
	}
	request.Header.Set("User-Agent", "tandem-probe")
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
	if status < 200 || status > 399 {
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
