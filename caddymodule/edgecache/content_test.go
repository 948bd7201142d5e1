package edgecache

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"
)

// Clients are told the length of what is stored, whoever works it out, and
// get as much.
func TestLengthOfHits(t *testing.T) {
	e := newEdge(t, site, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Content-Length", r.URL.Path[1:])
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = w.Write(bytes.Repeat([]byte("x"), n))
	})
	cert, key, roots := certificate(t)
	e.addr = freeAddr(t)
	if err := e.load("auto_https disable_redirects", "https://%s {\ntls "+cert+" "+key+"\nedgecache\nreverse_proxy %s\n}"); err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: roots} // a Transport writes its protocols into its own
	one, two := &http.Transport{TLSClientConfig: config.Clone(), Protocols: new(http.Protocols)}, &http.Transport{TLSClientConfig: config.Clone(), Protocols: new(http.Protocols)}
	one.Protocols.SetHTTP1(true)
	two.Protocols.SetHTTP2(true)
	three := &http3.Transport{TLSClientConfig: config}
	defer three.Close()
	for major, transport := range map[int]http.RoundTripper{1: one, 2: two, 3: three} {
		client := &http.Client{Transport: transport}
		for _, size := range []int{0, 1, smallContent, smallContent + 1, 100_000} {
			url := fmt.Sprintf("https://%s/%d", e.addr, size)
			for _, method := range []string{"GET", "HEAD", "GET"} {
				req, err := http.NewRequest(method, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Accept-Encoding", "identity")
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				want := size
				if method == "HEAD" {
					want = 0
				}
				if err != nil || res.ProtoMajor != major || res.ContentLength != int64(size) || len(body) != want {
					t.Errorf("HTTP/%d, %s of %d bytes: HTTP/%d, Content-Length %d, %d bytes, %v", major, method, size, res.ProtoMajor, res.ContentLength, len(body), err)
				}
				eventually(t, "stored", func() bool { return theState(t).flights.Len() == 0 })
			}
			if asked := e.asked.Swap(0); asked > 1 {
				t.Errorf("HTTP/%d, %d bytes: the origin server was asked %d times", major, size, asked)
			}
		}
		client.CloseIdleConnections()
	}
}

// timed is a client that notes the deadline of every piece it is sent.
type timed struct {
	discard
	deadline time.Time
	pieces   []time.Duration
}

func (c *timed) SetWriteDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *timed) Write(p []byte) (int, error) {
	c.pieces = append(c.pieces, time.Until(c.deadline).Round(time.Minute))
	return c.discard.Write(p)
}

func TestPiecesOfContent(t *testing.T) {
	const piece = caddyhttp.DefaultMaxWriteChunk
	for _, c := range []struct {
		name        string
		chunk, size int
		want        string
	}{
		{"one-piece", piece, piece, "[1m0s]"},
		{"one-wide-piece", piece, piece + 1, "[4m0s]"},
		{"several", piece, 9 * piece, "[4m0s 4m0s 4m0s]"},
		{"size-chosen", 2 * piece, 5 * piece, "[1m0s 1m0s 1m0s]"},
	} {
		client := &timed{discard: discard{header: make(http.Header)}}
		idle := &caddyhttp.IdleTimeoutWriter{
			ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: client},
			Ctrl:                  http.NewResponseController(client),
			Deadline:              caddyhttp.IdleDeadline{Start: time.Now(), Timeout: time.Minute},
			MaxChunk:              c.chunk,
			Logger:                zap.NewNop(),
		}
		r := aRequest(0)
		r = r.WithContext(caddyhttp.ContextWithIdleTimeouts(r.Context(), nil, idle))
		restore := widen(r, int64(c.size))
		_, _ = idle.Write(make([]byte, c.size))
		restore()
		if got := fmt.Sprint(client.pieces); got != c.want || client.bytes != c.size {
			t.Errorf("%s: %d bytes in pieces with deadlines %s, want %s", c.name, client.bytes, got, c.want)
		}
		if idle.MaxChunk != c.chunk || idle.Deadline.Timeout != time.Minute {
			t.Errorf("%s: the next response gets pieces of %d with %v", c.name, idle.MaxChunk, idle.Deadline.Timeout)
		}
	}
}
